"""Outlines of regions as one stroke, as polygons with holes, and as labels.

Both ways no pixel changes sides.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.rois.geometry import LabelledRoi
from napari_hrpn.core import Box
from napari_hrpn.core.errors import AnalysisError
from napari_hrpn.slides import Annotation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.analysis.rois.geometry import LabelledRoi

    Ring = NDArray[np.float64]

_HALF_A_PIXEL = 0.5


def one_stroke(annotation: Annotation) -> NDArray[np.float64]:
    """Draw all outlines of an annotation without lifting the pen.

    From one outline the pen goes to the next and the same way back, so the ways between enclose nothing.

    Parameters
    ----------
    annotation : Annotation
        With any number of polygons and holes.

    Returns
    -------
    numpy.ndarray, shape (n, 2)
        y and x; a point is inside if it is inside an odd number of outlines.
    """
    first, *others = (ring for polygon in annotation.rings for ring in polygon)
    if not others:
        return first
    start = first[:1]
    ways = [np.concatenate([ring, ring[:1], start]) for ring in others]
    # the last way back is the edge that closes the outline
    return np.concatenate([first, start, *ways])[:-1]


def outlined(annotation: Annotation) -> Annotation:
    """Take the outlines of an annotation that was drawn in one stroke apart.

    Parameters
    ----------
    annotation : Annotation
        Its outlines may come back to points where they were before.

    Returns
    -------
    Annotation
        The same pixels, as polygons with holes.
    """
    return replace(
        annotation, rings=_nested([ring for one in annotation.rings for part in one for ring in _loops(part)])
    )


def label_outline(roi: LabelledRoi) -> Annotation:
    """The outline of a label.

    Parameters
    ----------
    roi : LabelledRoi
        With a pixel at least.

    Returns
    -------
    Annotation
        Polygons with holes half way between pixels that are inside and those that are not; the pixels inside are the
        same where those of the label are no larger than those of the slide.
    """
    from skimage.measure import find_contours

    padded = np.pad(roi.inside, 1).astype(np.float64)
    back = np.linalg.inv(roi.matrix).T
    rings = [
        (contour[:-1] - 1 - roi.offset) @ back + _HALF_A_PIXEL
        for contour in find_contours(padded, 0.5, fully_connected="low")
    ]
    return Annotation(roi.name, "include", _nested(rings))


def _loops(ring: Ring) -> list[Ring]:
    """The loops of a line that crosses itself at its points; those that go and come back the same way are none."""
    path: list[tuple[float, float]] = []
    loops = []
    where: dict[tuple[float, float], int] = {}
    for point in [*map(tuple, ring.tolist()), tuple(ring[0].tolist())]:
        if point in where:
            start = where[point]
            loop = path[start:]
            for gone in loop:
                where.pop(gone)
            del path[start:]
            if len(loop) > 2:
                loops.append(np.array(loop))
        where[point] = len(path)
        path.append(point)
    return loops


def _nested(rings: Sequence[Ring]) -> tuple[tuple[Ring, ...], ...]:
    """Polygons with their holes: a ring in an odd number of others is a hole in the smallest of them."""
    from matplotlib.path import Path

    if len(rings) < 2:
        return tuple((ring,) for ring in rings)
    paths = [Path(ring) for ring in rings]
    areas = [abs(_area(ring)) for ring in rings]
    around = [
        [k for k, path in enumerate(paths) if k != i and areas[k] > areas[i] and _is_in(ring, path)]
        for i, ring in enumerate(rings)
    ]
    outer = [i for i, others in enumerate(around) if len(others) % 2 == 0]
    holes: dict[int, list[Ring]] = {i: [] for i in outer}
    for i, others in enumerate(around):
        if i not in holes:
            holes[min((k for k in others if k in holes), key=lambda k: areas[k])].append(rings[i])
    return tuple((rings[i], *holes[i]) for i in outer)


def _is_in(ring: Ring, path: object) -> bool:
    # some of its points may lie on the other
    inside: NDArray[np.bool_] = path.contains_points(ring)  # type: ignore[attr-defined]
    return bool(inside.mean() > 0.5)


def _area(ring: Ring) -> float:
    y, x = ring.T
    return float(np.dot(y, np.roll(x, -1)) - np.dot(x, np.roll(y, -1))) / 2


_MOST_LABELS = 1000
STRIP_PX = 2**22
# up to it, the places of all values are listed, whether there or not
_LARGEST_LISTED = 2**16


def labelled_rois(labels: Any, matrix: NDArray[np.float64], offset: NDArray[np.float64]) -> dict[int, LabelledRoi]:  # noqa: ANN401
    """Find the region of each label but 0.

    Parameters
    ----------
    labels : array-like of int, shape (y, x)
        In memory or lazy; read twice, strip by strip and label by label.
    matrix : numpy.ndarray, shape (2, 2)
        From pixels of the slide to pixels of the labels, with `offset`; both are counted from the centre of the first.
    offset : numpy.ndarray, shape (2,)
        Label pixel at the centre of the slide's first pixel.

    Returns
    -------
    dict
        By value, in the order of the values.

    Raises
    ------
    AnalysisError
        If there are more than 1,000, which cannot be meant as regions.
    """
    height, width = labels.shape
    step = max(1, STRIP_PX // max(1, width))
    boxes: dict[int, Box] = {}
    for top in range(0, height, step):
        for value, box in _boxes(np.asarray(labels[top : top + step]), top):
            boxes[value] = box if value not in boxes else _around(boxes[value], box)
        if len(boxes) > _MOST_LABELS:
            raise AnalysisError(
                f"The labels have more than {_MOST_LABELS:,} values, expected one for each region: "
                "choose another layer."
            )
    return {value: _roi(labels, value, boxes[value], matrix, offset) for value in sorted(boxes)}


def _boxes(strip: NDArray[np.integer], top: int) -> Iterator[tuple[int, Box]]:
    from scipy.ndimage import find_objects

    if strip.min() < 0 or strip.max() > _LARGEST_LISTED:
        found, which = np.unique(strip, return_inverse=True)
        values, strip = found.tolist(), which.reshape(strip.shape) + 1
    else:
        values = range(1, int(strip.max()) + 1)
    for value, place in zip(values, find_objects(strip), strict=True):
        if value != 0 and place is not None:
            rows, columns = place
            yield value, Box(top + rows.start, top + rows.stop, columns.start, columns.stop)


def _around(one: Box, other: Box) -> Box:
    return Box(min(one.y0, other.y0), max(one.y1, other.y1), min(one.x0, other.x0), max(one.x1, other.x1))


def _roi(
    labels: Any,  # noqa: ANN401
    value: int,
    box: Box,
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
) -> LabelledRoi:
    inside = np.asarray(labels[box.y0 : box.y1, box.x0 : box.x1]) == value
    return LabelledRoi(f"label {value}", inside, matrix, offset - (box.y0, box.x0))

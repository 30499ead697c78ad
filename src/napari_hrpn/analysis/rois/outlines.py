"""Outlines in one stroke, as a drawing program keeps them, and polygons with holes, as a file does.

Both ways no pixel changes sides.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides import Annotation

if TYPE_CHECKING:
    from collections.abc import Sequence

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

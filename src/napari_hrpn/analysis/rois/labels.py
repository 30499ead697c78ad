"""The region of each label of a label image, a strip of it in memory at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis.errors import AnalysisError
from napari_hrpn.analysis.rois.geometry import LabelledRoi
from napari_hrpn.core import Box

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

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

"""Regions out of a layer that the user drew, in pixels of the real slide; the layer is only looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis import LabelledRoi, Roi, roi_digest
from napari_hrpn.plugin.layers.drawn_regions import AREAS, HALF_A_PIXEL, _area, _between, _kind, _outline
from napari_hrpn.slides import Annotation, SlideError

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels, Shapes
    from numpy.typing import NDArray

MOST_LABELS = 1000
NAME = "name"


@dataclass(frozen=True, eq=False)
class ListedRoi:
    """A region and where it comes from.

    Attributes
    ----------
    index : int
        Number of the shape in its layer, or value of the label.
    name : str
        What the table calls it.
    roi : Annotation or LabelledRoi
        In full-resolution pixels of the real slide.
    digest : str
        Fingerprint of its place.
    """

    index: int
    name: str
    roi: Roi
    digest: str


@dataclass(frozen=True, eq=False)
class RoiList:
    """What a layer holds.

    Attributes
    ----------
    rois : tuple of ListedRoi
        In the order of the layer.
    note : str
        What was left out and why; empty where nothing was.
    """

    rois: tuple[ListedRoi, ...] = ()
    note: str = ""


@dataclass(frozen=True, eq=False)
class PaintedLabels:
    """Labels taken over from their layer, to be searched in any thread.

    Attributes
    ----------
    name : str
        Of the layer.
    labels : array-like of int, shape (y, x)
        At full size.
    matrix : numpy.ndarray, shape (2, 2)
        From pixels of the slide to pixels of the labels, with `offset`.
    offset : numpy.ndarray, shape (2,)
        Label pixel at the centre of the slide's first pixel.
    """

    name: str
    labels: Any
    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]

    def search(self) -> RoiList:
        """Find the region of each label but 0.

        Returns
        -------
        RoiList
            In the order of their values.

        Raises
        ------
        SlideError
            If there are so many that they cannot be meant as regions.
        """
        from scipy.ndimage import find_objects

        values, which = np.unique(np.asarray(self.labels), return_inverse=True)
        if len(values) > MOST_LABELS + 1:
            raise SlideError(
                f"The labels {self.name!r} have {len(values)} values, expected {MOST_LABELS} at most, one for each "
                "region: choose another layer."
            )
        which = which.reshape(np.shape(self.labels)) + 1
        found = []
        for number, (value, place) in enumerate(zip(values.tolist(), find_objects(which), strict=True), start=1):
            if value != 0 and place is not None:
                corner = np.array([part.start for part in place], float)
                roi = LabelledRoi(f"label {value}", which[place] == number, self.matrix, self.offset - corner)
                found.append(ListedRoi(value, roi.name, roi, roi_digest(roi)))
        return RoiList(tuple(found))


def painted_labels(layer: Labels, image: Image, viewer: napari.Viewer) -> PaintedLabels:
    """Take over labels and where they lie.

    Parameters
    ----------
    layer : napari.layers.Labels
        Of two dimensions, under any transform.
    image : napari.layers.Image
        The real layer, under any transform.
    viewer : napari.Viewer
        In which both lie.

    Returns
    -------
    PaintedLabels
        The pixels are those of the layer, no copy.

    Raises
    ------
    SlideError
        If the labels are no picture.
    """
    if layer.ndim != 2:
        raise SlideError(
            f"The labels {layer.name!r} have {layer.ndim} dimensions, expected 2: split them with Layers > Split Stack."
        )
    matrix, offset = _between(layer, image, viewer)
    inverse = np.asarray(np.linalg.inv(matrix), np.float64)
    return PaintedLabels(layer.name, layer.data[0] if layer.multiscale else layer.data, inverse, -inverse @ offset)


def shape_rois(layer: Shapes, image: Image, viewer: napari.Viewer, only: set[int] | None = None) -> RoiList:
    """Regions of shapes.

    Parameters
    ----------
    layer : napari.layers.Shapes
        Under any transform.
    image : napari.layers.Image
        The real layer, under any transform.
    viewer : napari.Viewer
        In which both lie.
    only : set of int, optional
        Numbers of the shapes to look at; all where left out.

    Returns
    -------
    RoiList
        Of rectangles, ellipses and polygons that have an area and do not exclude; the note tells of the others.
    """
    matrix, offset = _between(layer, image, viewer)
    found = []
    lines = excluding = 0
    for index, (vertices, kind) in enumerate(zip(layer.data, layer.shape_type, strict=True)):
        if only is not None and index not in only:
            continue
        if kind not in AREAS:
            lines += 1
        elif _kind(layer, index) == "exclude":
            excluding += 1
        else:
            ring = _outline(vertices[:, -2:], kind) @ matrix.T + offset + HALF_A_PIXEL
            if _area(ring) > 0:
                roi = Annotation(roi_name(layer, index), "include", ((ring,),))
                found.append(ListedRoi(index, roi.name, roi, roi_digest(roi)))
    return RoiList(tuple(found), _left_out(lines, excluding))


def roi_name(layer: Shapes, index: int) -> str:
    """What a shape is called.

    Parameters
    ----------
    layer : napari.layers.Shapes
        Its layer.
    index : int
        Its number.

    Returns
    -------
    str
        Its feature "name", where there is one, else its number.
    """
    told = layer.features[NAME].iloc[index] if NAME in layer.features else None
    return told if isinstance(told, str) and told else f"ROI {index + 1}"


def in_layer(ring: NDArray[np.float64], layer: Shapes, image: Image, viewer: napari.Viewer) -> NDArray[np.float64]:
    """Points of the slide as points of a layer: the way back.

    Parameters
    ----------
    ring : numpy.ndarray, shape (n, 2)
        y and x in full-resolution pixels from the slide's outer corner.
    layer : napari.layers.Shapes
        Under any transform.
    image : napari.layers.Image
        The real layer.
    viewer : napari.Viewer
        In which both lie.

    Returns
    -------
    numpy.ndarray, shape (n, 2)
        In the coordinates of the layer's data.
    """
    matrix, offset = _between(layer, image, viewer)
    return np.asarray((ring - HALF_A_PIXEL - offset) @ np.linalg.inv(matrix).T)


def _left_out(lines: int, excluding: int) -> str:
    told = []
    if lines:
        told.append(f"{lines} {'path or line has' if lines == 1 else 'paths or lines have'} no area")
    if excluding:
        told.append(f"{excluding} {'shape excludes' if excluding == 1 else 'shapes exclude'}")
    return f"Left out: {' and '.join(told)}." if told else ""

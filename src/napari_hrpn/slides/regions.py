"""Where on a slide something is: a mask at a coarse level, from drawn regions or a label image.

A point is in pixels of the full resolution from the slide's outer corner, so the first pixel is from 0 to 1.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.annotation_mask import painted
from napari_hrpn.slides.annotations import read_geojson
from napari_hrpn.slides.errors import SlideError, SlideWarning
from napari_hrpn.slides.label_image import LABEL_IMAGES, read_label_image
from napari_hrpn.slides.location import user_path

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_hrpn.slides.annotations import Annotation
    from napari_hrpn.slides.finished_tiles import FinishedTiles

_LARGEST_PX = 4096
_GEOJSON = (".geojson", ".json", ".gz")


@dataclass(frozen=True, eq=False)
class RegionMask:
    """A part of a slide at a coarse level, that covers the whole slide.

    Attributes
    ----------
    mask : numpy.ndarray of bool, shape (y, x)
        True inside.
    downsample : tuple of float
        Full-resolution pixels per pixel of the mask, along y and x.
    """

    mask: NDArray[np.bool_]
    downsample: tuple[float, float]

    def meets(self, y0: int, y1: int, x0: int, x1: int) -> bool:
        """Whether any of it is in a rectangle of full-resolution pixels.

        Parameters
        ----------
        y0, y1, x0, x1 : int
            Half-open rows and columns; they may reach beyond the slide.

        Returns
        -------
        bool
            True also where it only touches the rectangle.
        """
        rows = slice(max(0, math.floor(y0 / self.downsample[0])), max(0, math.ceil(y1 / self.downsample[0])))
        columns = slice(max(0, math.floor(x0 / self.downsample[1])), max(0, math.ceil(x1 / self.downsample[1])))
        return bool(self.mask[rows, columns].any())

    def share(self, y0: int, y1: int, x0: int, x1: int) -> float:
        """Share of a rectangle of full-resolution pixels that is inside, by area.

        Parameters
        ----------
        y0, y1, x0, x1 : int
            Half-open rows and columns; what reaches beyond the slide does not count.

        Returns
        -------
        float
            0 to 1; 0 where the rectangle lies beside the slide.
        """
        (first_row, rows), (first_column, columns) = (
            _lengths(start, stop, factor, size)
            for start, stop, factor, size in zip((y0, x0), (y1, x1), self.downsample, self.mask.shape, strict=True)
        )
        part = self.mask[first_row : first_row + len(rows), first_column : first_column + len(columns)]
        area = float(rows.sum() * columns.sum())
        return float(rows @ part @ columns) / area if area else 0.0

    def within(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Whether each full-resolution pixel of a rectangle is inside.

        Parameters
        ----------
        rows, columns : slice
            With a start and a stop.

        Returns
        -------
        numpy.ndarray of bool
            Shape (rows, columns).
        """
        y, x = (
            np.minimum(np.arange(part.start, part.stop) // factor, size - 1).astype(np.intp)
            for part, factor, size in zip((rows, columns), self.downsample, self.mask.shape, strict=True)
        )
        # rows after columns: whole rows are copied fast, and there are few before they are repeated
        near: NDArray[np.bool_] = self.mask[y[0] : y[-1] + 1][:, x][y - y[0]] if len(y) else self.mask[:0][:, x]
        return near

    def intersected(self, other: RegionMask) -> RegionMask:
        """What is inside both.

        Parameters
        ----------
        other : RegionMask
            Of the same slide, at any level.

        Returns
        -------
        RegionMask
            At the finer level of the two.
        """
        shape = (max(self.mask.shape[0], other.mask.shape[0]), max(self.mask.shape[1], other.mask.shape[1]))
        height, width = (size * factor for size, factor in zip(self.mask.shape, self.downsample, strict=True))
        mask = _spread(self.mask, shape) & _spread(other.mask, shape)
        return RegionMask(mask, (height / shape[0], width / shape[1]))

    @property
    def fraction(self) -> float:
        """Share of the slide that is inside."""
        return float(self.mask.mean())

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """Smallest rectangle y0, y1, x0, x1 of full-resolution pixels that holds all of it; zeros if there is none."""
        edges: list[int] = []
        for axis, factor in enumerate(self.downsample):
            there = np.flatnonzero(self.mask.any(axis=1 - axis))
            if not len(there):
                return 0, 0, 0, 0
            whole = round(self.mask.shape[axis] * factor)
            edges += [math.floor(there[0] * factor), min(whole, math.ceil((there[-1] + 1) * factor))]
        return edges[0], edges[1], edges[2], edges[3]

    @property
    def digest(self) -> str:
        """A fingerprint of 16 hexadecimal digits that changes with the mask."""
        facts = repr((self.mask.shape, tuple(float(factor) for factor in self.downsample)))
        return hashlib.sha256(facts.encode() + np.packbits(self.mask).tobytes()).hexdigest()[:16]


def region_mask(
    annotations: Sequence[Annotation], slide_shape: tuple[int, int], *, source: str = "the annotations"
) -> RegionMask:
    """Mask of annotated regions: those to include together, less those to exclude.

    Parameters
    ----------
    annotations : sequence of Annotation
        With none to include, everything is included that is not excluded.
    slide_shape : tuple of int
        Height and width of the slide in pixels.
    source : str
        What a message calls the annotations, such as the name of their file.

    Returns
    -------
    RegionMask
        At most 4096 px a side and no finer than the slide; a pixel is inside where its centre is.

    Raises
    ------
    SlideError
        If an annotation lies outside the slide, or the regions hold no pixel.
    """
    for index, annotation in enumerate(annotations):
        _check_place(annotation, index, slide_shape, source)
    shape = _grid(slide_shape)
    downsample = (slide_shape[0] / shape[0], slide_shape[1] / shape[1])
    include = [annotation for annotation in annotations if annotation.kind == "include"]
    exclude = [annotation for annotation in annotations if annotation.kind == "exclude"]
    mask = painted(include, shape, downsample) if include or not exclude else np.ones(shape, bool)
    mask &= ~painted(exclude, shape, downsample)
    return _filled(RegionMask(mask, downsample), source)


def read_regions(path: str | os.PathLike[str], slide_shape: tuple[int, int]) -> RegionMask:
    """Read regions of a slide from a file.

    Parameters
    ----------
    path : str or os.PathLike
        GeoJSON as `read_geojson` takes it, or a label image (.tif, .png, .npy) of any size, spread over the whole
        slide, in which all that is not zero is inside.
    slide_shape : tuple of int
        Height and width of the slide in pixels.

    Returns
    -------
    RegionMask
        At most 4096 px a side and no finer than the slide.

    Raises
    ------
    SlideError
        If the file cannot be read, does not fit the slide, or holds no region.
    """
    checked = user_path(path)
    if checked.suffix.lower() not in LABEL_IMAGES:
        _check_text(checked)
        annotations = read_geojson(checked)
        warn_of_parts_beyond(annotations, slide_shape, checked.name)
        return region_mask(annotations, slide_shape, source=checked.name)
    mask = read_label_image(checked, slide_shape, _grid(slide_shape))
    downsample = (slide_shape[0] / mask.shape[0], slide_shape[1] / mask.shape[1])
    return _filled(RegionMask(mask, downsample), checked.name)


def warn_of_parts_beyond(annotations: Sequence[Annotation], slide_shape: tuple[int, int], source: str) -> None:
    """Say that annotations reach beyond a slide, where they do by a pixel or more.

    Parameters
    ----------
    annotations : sequence of Annotation
        In full-resolution pixels.
    slide_shape : tuple of int
        Height and width of the slide in pixels.
    source : str
        What the warning calls them.
    """
    outlines = [polygon[0] for annotation in annotations for polygon in annotation.rings]
    number = sum(bool((ring <= -1).any() or (ring >= np.add(slide_shape, 1)).any()) for ring in outlines)
    if number:
        height, width = slide_shape
        what = f"1 outline of {source} reaches" if number == 1 else f"{number} outlines of {source} reach"
        msg = f"{what} beyond the slide of {width} x {height} px: only what lies on it counts."
        warnings.warn(msg, SlideWarning, stacklevel=3)


def predicted_part(region: RegionMask, finished: FinishedTiles | None, slide_shape: tuple[int, int]) -> RegionMask:
    """What of a region is predicted, for a look at coarse levels; at full resolution `FinishedTiles.within` is exact.

    Parameters
    ----------
    region : RegionMask
        Of the slide.
    finished : FinishedTiles or None
        None where all pixels are there.
    slide_shape : tuple of int
        Height and width of the slide in pixels.

    Returns
    -------
    RegionMask
        The region itself where all pixels are there.
    """
    if finished is None:
        return region
    height, width = np.maximum(region.mask.shape, _grid(slide_shape)).tolist()
    downsample = slide_shape[0] / height, slide_shape[1] / width
    mask = finished.within(slice(0, height), slice(0, width), downsample)
    return region.intersected(RegionMask(mask, downsample))


def _check_text(path: Path) -> None:
    """Refuse a file that neither its ending nor its first character makes GeoJSON."""
    if path.suffix.lower() in _GEOJSON or not path.exists():
        return
    start = b""
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start.startswith((b"{", b"[")):
        msg = (
            f"{path.name} is neither GeoJSON nor a label image of a kind that is known ({', '.join(LABEL_IMAGES)}): "
            "export the regions as GeoJSON, or the labels as one of these."
        )
        raise SlideError(msg)


def _filled(regions: RegionMask, source: str) -> RegionMask:
    if not regions.mask.any():
        msg = (
            f"The regions of {source} cover no pixel of the slide, expected some to be included: draw them larger, "
            "or take away what excludes them."
        )
        raise SlideError(msg)
    return regions


def _check_place(annotation: Annotation, index: int, slide_shape: tuple[int, int], source: str) -> None:
    outer = np.concatenate([polygon[0] for polygon in annotation.rings])
    top, left = outer.min(axis=0)
    bottom, right = outer.max(axis=0)
    height, width = slide_shape
    if bottom <= 0 or right <= 0 or top >= height or left >= width:
        named = f" ({annotation.name})" if annotation.name else ""
        msg = (
            f"Annotation {index + 1}{named} of {source} lies outside the slide of {width} x {height} px, at x "
            f"{left:.0f} to {right:.0f} and y {top:.0f} to {bottom:.0f}: check that it belongs to this slide and "
            "is in pixels of its full resolution."
        )
        raise SlideError(msg)


def _grid(slide_shape: tuple[int, int]) -> tuple[int, int]:
    factor = max(1.0, max(slide_shape) / _LARGEST_PX)
    height, width = (min(_LARGEST_PX, size, max(1, math.ceil(size / factor))) for size in slide_shape)
    return height, width


def _lengths(start: float, stop: float, factor: float, size: int) -> tuple[int, NDArray[np.float64]]:
    """First mask pixel that an interval meets, and the length of it in each pixel from there."""
    start, stop = (min(max(edge / factor, 0.0), float(size)) for edge in (start, stop))
    first, last = math.floor(start), max(math.floor(start), math.ceil(stop))
    edges = np.clip(np.arange(first, last + 1), start, max(start, stop))
    return first, np.diff(edges)


def _spread(mask: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask on a finer grid over the same slide, each pixel as it is at its centre."""
    y, x = (((np.arange(size) + 0.5) * own / size).astype(np.intp) for own, size in zip(mask.shape, shape, strict=True))
    return mask[np.ix_(y, x)]

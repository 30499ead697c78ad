"""Masks of the regions in a file: drawn ones, or the labels of an image.

In a label image, which may be of any size and is spread over the whole slide, all that is not zero is inside.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.annotations import RegionMask, painted
from napari_hrpn.slides.errors import SlideError, warn
from napari_hrpn.slides.formats import open_slide
from napari_hrpn.slides.geojson import read_geojson
from napari_hrpn.slides.location import user_path
from napari_hrpn.slides.slide_builder import COLOURS

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from pathlib import Path

    import dask.array as da
    from numpy.typing import NDArray

    from napari_hrpn.slides.annotations import Annotation
    from napari_hrpn.slides.predictions import FinishedTiles

_LABEL_IMAGES = (".tif", ".tiff", ".png", ".npy")
_LARGEST_PX = 4096
_LARGEST_STRETCH = 1.05
_GEOJSON = (".geojson", ".json", ".gz")


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
    include, exclude = (
        tuple(polygon for one in annotations if one.kind == kind for polygon in one.rings)
        for kind in ("include", "exclude")
    )
    mask = painted(include, shape, downsample=downsample) if include or not exclude else np.ones(shape, bool)
    mask &= ~painted(exclude, shape, downsample=downsample)
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
    if checked.suffix.lower() not in _LABEL_IMAGES:
        _check_text(checked)
        annotations = read_geojson(checked)
        warn_of_parts_beyond(annotations, slide_shape, checked.name)
        return region_mask(annotations, slide_shape, source=checked.name)
    mask = _label_mask(checked, slide_shape, _grid(slide_shape))
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
        warn(f"{what} beyond the slide of {width} x {height} px: only what lies on it counts.")


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
            f"{path.name} is neither GeoJSON nor a label image of a kind that is known ({', '.join(_LABEL_IMAGES)}): "
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


def _label_mask(path: Path, slide_shape: tuple[int, int], largest: tuple[int, int]) -> NDArray[np.bool_]:
    """Where the labels of an image are not zero."""
    image = _opened_labels(path, largest)
    if image.ndim != 2 or 0 in image.shape or image.dtype.kind not in "biuf":
        shape = " x ".join(map(str, image.shape)) or "1"
        raise SlideError(
            f"{path.name} holds {shape} values of type {image.dtype}, expected rows and columns of whole numbers: "
            "export the label image again."
        )
    stretch = (image.shape[0] / image.shape[1]) / (slide_shape[0] / slide_shape[1])
    if max(stretch, 1 / stretch) > _LARGEST_STRETCH:
        raise SlideError(
            f"{path.name} is {image.shape[1]} x {image.shape[0]} px, expected the proportions of the slide, "
            f"{slide_shape[1]} x {slide_shape[0]} px: export the labels of the whole slide."
        )
    rows, columns = (
        ((np.arange(count) + 0.5) * size / count).astype(np.intp)
        for size, count in ((size, min(size, most)) for size, most in zip(image.shape, largest, strict=True))
    )
    labels = np.asarray(image[rows][:, columns])
    # not a number is no label
    return np.asarray(np.nan_to_num(labels) != 0)


def _opened_labels(path: Path, largest: tuple[int, int]) -> NDArray[np.generic] | da.Array:
    """An image of shape (y, x), as far as possible without its pixels."""
    if path.suffix.lower() in (".tif", ".tiff"):
        return _tiff_labels(path, largest)
    try:
        return np.lib.format.open_memmap(path, mode="r") if path.suffix.lower() == ".npy" else _png_labels(path)
    except FileNotFoundError as error:
        raise SlideError(f"There is no file {path}, expected a label image: check the path.") from error
    except Exception as error:
        raise SlideError(f"{path.name} cannot be read as a label image ({error}): export it again.") from error


def _tiff_labels(path: Path, largest: tuple[int, int]) -> da.Array:
    slide = open_slide(path)
    channels = len(slide.channel_names)
    if channels > 1 and slide.channel_names != COLOURS:
        raise SlideError(f"{path.name} has {channels} channels, expected a label image with one: choose another file.")
    stored = slide.levels[: slide.stored_levels]
    fine_enough = [level for level in stored if all(np.greater_equal(level.shape[1:], largest))]
    level = fine_enough[-1] if fine_enough else stored[0]
    return level[0] if channels == 1 else level.any(axis=0)


def _png_labels(path: Path) -> NDArray[np.generic]:
    from PIL import Image

    with warnings.catch_warnings():
        # twice the size that Pillow warns of is refused, and less is no danger
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path, formats=("PNG",)) as picture:
            # the numbers of a palette are the labels, whatever their colours
            pixels = np.asarray(picture)
            opaque = pixels.shape[-1] - picture.mode.endswith("A") if pixels.ndim == 3 else 0
    return np.asarray(pixels[..., :opaque].any(axis=-1)) if pixels.ndim == 3 else pixels

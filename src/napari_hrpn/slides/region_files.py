"""Regions read from a file as one mask of the slide, and the regions of a label image, one for each label.

A label image in a file may have any size and is spread over the whole slide; all pixels that are not zero are inside.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.core import Box
from napari_hrpn.slides.errors import SlideError, warn
from napari_hrpn.slides.formats import open_slide
from napari_hrpn.slides.geojson import read_geojson
from napari_hrpn.slides.location import user_path
from napari_hrpn.slides.region import LabelRegion
from napari_hrpn.slides.region_mask import RegionMask, coarse_grid, filled, region_mask
from napari_hrpn.slides.slide_builder import COLOURS

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import dask.array as da
    from numpy.typing import NDArray

    from napari_hrpn.slides.region import Annotation

LABEL_IMAGES = (".tif", ".tiff", ".png", ".npy")
_LARGEST_STRETCH = 1.05
_GEOJSON = (".geojson", ".json", ".gz")
_MOST_LABELS = 1000
STRIP_PX = 2**22
# up to this value, positions are listed by value, including values that do not occur
_LARGEST_LISTED = 2**16


def read_regions(
    path: str | os.PathLike[str], slide_shape: tuple[int, int], *, classes: Sequence[str] = ()
) -> RegionMask:
    """Read regions of a slide from a file.

    Parameters
    ----------
    path : str or os.PathLike
        GeoJSON as for `read_geojson`, or a label image (.tif, .png, .npy) of any size, spread over the whole slide; all
        pixels that are not zero are inside.
    slide_shape : tuple of int
        Height and width of the slide in pixels.
    classes : sequence of str
        As for `read_geojson`; a label image has no classes.

    Returns
    -------
    RegionMask
        Mask of at most 4096 px a side and no finer than the slide.

    Raises
    ------
    SlideError
        If the file cannot be read, does not fit the slide, or holds no region.
    """
    checked = user_path(path)
    if checked.suffix.lower() not in LABEL_IMAGES:
        _check_text(checked)
        annotations = read_geojson(checked, classes=classes)
        warn_of_parts_beyond(annotations, slide_shape, checked.name)
        return region_mask(annotations, slide_shape, source=checked.name)
    if classes:
        raise SlideError(
            f"{checked.name} is a label image, whose objects have no class, expected GeoJSON to choose "
            f"{' or '.join(classes)} from: export the objects as GeoJSON, or use all labels."
        )
    rows, columns, _ = coarse_grid(slide_shape)
    mask = _label_mask(checked, slide_shape, (rows.stop, columns.stop))
    downsample = (slide_shape[0] / mask.shape[0], slide_shape[1] / mask.shape[1])
    return filled(RegionMask(mask, downsample), checked.name)


def warn_of_parts_beyond(annotations: Sequence[Annotation], slide_shape: tuple[int, int], source: str) -> None:
    """Warn of annotations that reach beyond a slide by a pixel or more.

    Parameters
    ----------
    annotations : sequence of Annotation
        Annotations in full-resolution pixels.
    slide_shape : tuple of int
        Height and width of the slide in pixels.
    source : str
        Name of their source in the warning.
    """
    outlines = [polygon[0] for annotation in annotations for polygon in annotation.rings]
    number = sum(bool((ring <= -1).any() or (ring >= np.add(slide_shape, 1)).any()) for ring in outlines)
    if number:
        height, width = slide_shape
        what = f"1 outline of {source} reaches" if number == 1 else f"{number} outlines of {source} reach"
        warn(f"{what} beyond the slide of {width} x {height} px: only the part on the slide counts.")


def _check_text(path: Path) -> None:
    """Refuse a file that is no GeoJSON by its suffix or its first character."""
    if path.suffix.lower() in _GEOJSON or not path.exists():
        return
    start = b""
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start.startswith((b"{", b"[")):
        msg = (
            f"{path.name} is neither GeoJSON nor a label image of a known kind ({', '.join(LABEL_IMAGES)}): "
            "export the regions as GeoJSON, or the labels as one of these."
        )
        raise SlideError(msg)


def _label_mask(path: Path, slide_shape: tuple[int, int], largest: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask of the pixels of a label image that are not zero."""
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
    # NaN is no label
    return np.asarray(np.nan_to_num(labels) != 0)


def _opened_labels(path: Path, largest: tuple[int, int]) -> NDArray[np.generic] | da.Array:
    """Image of shape (y, x); its pixels are not read yet, if the format allows that."""
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
        # Pillow refuses images of twice the size that it warns of, and smaller ones are no danger
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path, formats=("PNG",)) as picture:
            # the indices of a palette are the labels, not their colours
            pixels = np.asarray(picture)
            opaque = pixels.shape[-1] - picture.mode.endswith("A") if pixels.ndim == 3 else 0
    return np.asarray(pixels[..., :opaque].any(axis=-1)) if pixels.ndim == 3 else pixels


def label_regions(image: LabelRegion) -> dict[int, LabelRegion]:
    """Find the region of each label except 0.

    Parameters
    ----------
    image : LabelRegion
        The whole label image; it is read twice, strip by strip and label by label.

    Returns
    -------
    dict
        Regions by label, in the order of the labels.

    Raises
    ------
    SlideError
        If there are more than 1,000 labels, which cannot be meant as regions.
    """
    labels = image.labels
    height, width = labels.shape
    step = max(1, STRIP_PX // max(1, width))
    found: dict[int, Box] = {}
    for top in range(0, height, step):
        for value, box in _boxes(np.asarray(labels[top : top + step]), top):
            found[value] = box if value not in found else box.union(found[value])
        if len(found) > _MOST_LABELS:
            raise SlideError(
                f"The labels have more than {_MOST_LABELS:,} values, expected one for each region: "
                "choose another layer."
            )
    regions = {}
    for value, box in sorted(found.items()):
        inside = np.asarray(labels[box.slices]) == value
        regions[value] = LabelRegion(f"label {value}", inside, image.matrix, image.offset - (box.y0, box.x0))
    return regions


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

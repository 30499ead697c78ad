"""Label images of a slide: whatever is not zero is inside; of any size, spread over the whole slide."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.open_slide import open_slide
from napari_hrpn.slides.slide_builder import COLOURS

if TYPE_CHECKING:
    from pathlib import Path

    import dask.array as da
    from numpy.typing import NDArray

LABEL_IMAGES = (".tif", ".tiff", ".png", ".npy")
_LARGEST_STRETCH = 1.05


def read_label_image(path: Path, slide_shape: tuple[int, int], largest: tuple[int, int]) -> NDArray[np.bool_]:
    """Where the labels of an image are not zero."""
    image = _opened(path, largest)
    if image.ndim != 2 or 0 in image.shape or image.dtype.kind not in "biuf":
        shape = " x ".join(map(str, image.shape)) or "1"
        raise SlideError(
            f"{path.name} holds {shape} values of type {image.dtype}, expected rows and columns of whole numbers: "
            "export the label image again."
        )
    _check_aspect(path, image.shape, slide_shape)
    rows, columns = (
        ((np.arange(count) + 0.5) * size / count).astype(np.intp)
        for size, count in ((size, min(size, most)) for size, most in zip(image.shape, largest, strict=True))
    )
    labels = np.asarray(image[rows][:, columns])
    # not a number is no label
    return np.asarray(np.nan_to_num(labels) != 0)


def _opened(path: Path, largest: tuple[int, int]) -> NDArray[np.generic] | da.Array:
    """An image of shape (y, x), as far as possible without its pixels."""
    if path.suffix.lower() in (".tif", ".tiff"):
        return _tiff(path, largest)
    try:
        return np.lib.format.open_memmap(path, mode="r") if path.suffix.lower() == ".npy" else _png(path)
    except FileNotFoundError as error:
        raise SlideError(f"There is no file {path}, expected a label image: check the path.") from error
    except Exception as error:
        raise SlideError(f"{path.name} cannot be read as a label image ({error}): export it again.") from error


def _tiff(path: Path, largest: tuple[int, int]) -> da.Array:
    slide = open_slide(path)
    channels = len(slide.channel_names)
    if channels > 1 and slide.channel_names != COLOURS:
        raise SlideError(f"{path.name} has {channels} channels, expected a label image with one: choose another file.")
    stored = slide.levels[: slide.stored_levels]
    fine_enough = [level for level in stored if all(np.greater_equal(level.shape[1:], largest))]
    level = fine_enough[-1] if fine_enough else stored[0]
    return level[0] if channels == 1 else level.any(axis=0)


def _png(path: Path) -> NDArray[np.generic]:
    from PIL import Image

    with warnings.catch_warnings():
        # twice the size that Pillow warns of is refused, and less is no danger
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path, formats=("PNG",)) as picture:
            # the numbers of a palette are the labels, whatever their colours
            pixels = np.asarray(picture)
            opaque = pixels.shape[-1] - picture.mode.endswith("A") if pixels.ndim == 3 else 0
    return np.asarray(pixels[..., :opaque].any(axis=-1)) if pixels.ndim == 3 else pixels


def _check_aspect(path: Path, shape: tuple[int, ...], slide_shape: tuple[int, int]) -> None:
    stretch = (shape[0] / shape[1]) / (slide_shape[0] / slide_shape[1])
    if max(stretch, 1 / stretch) > _LARGEST_STRETCH:
        raise SlideError(
            f"{path.name} is {shape[1]} x {shape[0]} px, expected the proportions of the slide, {slide_shape[1]} x "
            f"{slide_shape[0]} px: export the labels of the whole slide."
        )

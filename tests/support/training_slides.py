"""Slides to cut patches from, whose pixels say where they are."""

from collections.abc import Callable
from pathlib import Path

import dask.array as da
import numpy as np

from napari_hrpn.slides import RegionMask, Slide
from napari_hrpn.training import SlideEntry, TrainingSlide


def addressed(height: int, width: int, dtype: str = "uint16") -> np.ndarray:
    """Three channels: row + 1, column + 1, and a sum that tells the two apart."""
    y, x = np.mgrid[1 : height + 1, 1 : width + 1]
    return np.stack([y, x, 3 * y + x]).astype(dtype)


def training_slide(
    pixels: np.ndarray,
    regions: RegionMask | None = None,
    *,
    name: str = "slide.zarr",
    inputs: tuple[int, ...] = (0, 1),
    target: int = 2,
    chunks: tuple[int, int, int] = (1, 512, 512),
    on_read: Callable[[np.ndarray], np.ndarray] | None = None,
) -> TrainingSlide:
    """A slide in memory; `on_read` is called for every chunk that is read."""
    level = da.from_array(pixels, chunks=chunks, name=False)
    if on_read is not None:
        level = level.map_blocks(on_read, dtype=pixels.dtype, meta=np.empty((0, 0, 0), pixels.dtype))
    slide = Slide((level,), ("DAPI", "AF488", "QD")[: len(pixels)], (0.5, 0.5), Path("/nowhere") / name)
    return TrainingSlide(SlideEntry(slide.source), slide, inputs, target, regions)


def region(shape: tuple[int, int], *boxes: tuple[int, int, int, int], downsample: int = 1) -> RegionMask:
    """Regions made of rectangles y0, y1, x0, x1 of full-resolution pixels."""
    mask = np.zeros([-(-size // downsample) for size in shape], bool)
    for y0, y1, x0, x1 in boxes:
        mask[y0 // downsample : y1 // downsample, x0 // downsample : x1 // downsample] = True
    return RegionMask(mask, (float(downsample), float(downsample)))

"""Construction of a slide from the image in a file: choice of image and plane, names, pixel size, coarse levels."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.core.plain_text import printable
from napari_hrpn.slides.errors import SlideError, warn
from napari_hrpn.slides.lazy_pixels import ChunkCache, PixelSource
from napari_hrpn.slides.pyramid import coarser_levels
from napari_hrpn.slides.slide import Slide
from napari_hrpn.slides.units import expected_pixel_size, usable_pixel_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import dask.array as da

    from napari_hrpn.slides.location import Location

COLOURS = ("Red", "Green", "Blue")
MAXIMUM = "max"
"""Value of `z` for the maximum over all planes."""
HUGE_CHUNK_BYTES = 256 * 10**6
_LARGEST_FLAT = 1024
_FREE_CHUNK_PX, _MOST_CHUNKS = 512, 2**22
_MOST_CHANNELS = 1000
_NOUNS = {"series": "image", "z": "plane", "t": "time point"}
# names of pictures that formats store in addition to the slide
_PICTURE_BESIDE = re.compile(r"\b(thumbnail|label|macro|map|preview|overview|barcode)\b", re.IGNORECASE)
# share of the highest value above which the background of a photograph is light; it is sampled in nine squares
_LIGHT = 0.4
_MOST_PIXELS_OF_A_CHUNK = 4_000_000
_SQUARE_PX = 192


@dataclass(frozen=True)
class SeriesInfo:
    """Description of one image of a file.

    Attributes
    ----------
    index : int
        Value of `series` for `open_slide`.
    name : str
        Its name in the file.
    shape : tuple of int
        Number of channels, height and width.
    pixel_size_um : tuple of float or None
        Height and width of a pixel in µm.
    z_planes : int
        Number of planes of its stack.
    timepoints : int
        Number of time points of its time series.
    """

    index: int
    name: str
    shape: tuple[int, int, int]
    pixel_size_um: tuple[float, float] | None
    z_planes: int = 1
    timepoints: int = 1


@dataclass(frozen=True)
class RawImage:
    """Image as a reader found it in a file, from which a slide is made."""

    path: Location  # file or folder
    sources: tuple[PixelSource, ...]  # stored levels, finest first
    names: Sequence[str]  # channel names; empty strings or too few if the file has none
    pixel_size_um: tuple[float, float] | None  # height and width of a pixel
    # as in `Slide`
    series: int = 0
    z: int | None = None
    t: int | None = None
    is_brightfield: bool = False


def choose_series(source: str, count: int, requested: int | None, images: Callable[[], Sequence[SeriesInfo]]) -> int:
    """Index of the image to open: the requested one, or the largest, with a warning, if a file has several."""
    found = _checked_choice(source, "series", count, requested)
    if requested is not None or count == 1:
        return requested or 0
    listed = images()
    slides = [image for image in listed if not _PICTURE_BESIDE.search(image.name)] or listed
    largest = max(slides, key=lambda image: image.shape[1] * image.shape[2])
    warn(
        f"{found} and image {largest.index} ({largest.shape[2]} x {largest.shape[1]} px) is opened: give series from 0 "
        f"to {count - 1} for another."
    )
    return largest.index


def choose_plane(source: str, axis: str, count: int, requested: int | None) -> int | None:
    """Index of the plane to open along z or t; None if there is only one."""
    found = _checked_choice(source, axis, count, requested)
    if count == 1 or requested is not None:
        return requested if count > 1 else None
    chosen = count // 2 if axis == "z" else 0
    warn(f"{found} and {axis}={chosen} is opened: give {axis} from 0 to {count - 1} for another.")
    return chosen


def _checked_choice(source: str, choice: str, count: int, requested: int | None) -> str:
    """Number of images, planes or time points, as the beginning of a sentence."""
    if not count:
        raise SlideError(f"{source} has 0 images, expected at least one: export it again.")
    found = f"{source} has {count} {_NOUNS[choice]}{'s' if count > 1 else ''}"
    if requested is not None and not 0 <= requested < count:
        raise SlideError(f"{found}, expected {choice} from 0 to {count - 1} but got {requested}.")
    return found


def light_background(coarsest: PixelSource, path: Location) -> bool:
    """Whether the median pixel of a colour image is light in red, green and blue, as in transmitted light."""
    if not np.issubdtype(coarsest.dtype, np.integer) or math.prod(coarsest.chunks) > 3 * _MOST_PIXELS_OF_A_CHUNK:
        return False
    pixels = coarsest.guarded(path)
    squares = (
        [slice(start, min(start + _SQUARE_PX, length)) for start in sorted({0, end // 2, end})]
        for length, end in ((length, max(0, length - _SQUARE_PX)) for length in coarsest.shape[1:])
    )
    blocks = (pixels.read(slice(0, 3), *square) for square in product(*squares))
    darkest = np.concatenate([block[:, ::4, ::4].min(axis=0).ravel() for block in blocks])
    return bool(np.median(darkest) > _LIGHT * np.iinfo(pixels.dtype).max)


def assemble(found: RawImage) -> Slide:
    """Slide with a name for every channel, and with levels down to a size that fits on a screen."""
    name, shape = found.path.name, found.sources[0].shape
    if shape[0] > _MOST_CHANNELS:
        raise SlideError(f"{name} has {shape[0]} channels, expected {_MOST_CHANNELS} at most: export the stains alone.")
    if min(shape) < 1 or math.prod(-(-side // _FREE_CHUNK_PX) for side in shape[1:]) > _MOST_CHUNKS:
        raise SlideError(
            f"{name} says that it is {shape[2]:,} x {shape[1]:,} px with {shape[0]} channels, expected 1 px or more "
            "and 10^12 at most: the file may be damaged, copy it again from where it came."
        )
    stored = [source.lazy_level(found.path) for source in found.sources if 0 not in source.shape]
    _warn_of_huge_chunks(found)
    if found.is_brightfield:
        warn(
            f"{name} seems to be a brightfield photograph, not fluorescence: it opens as red, green and blue, from "
            "which no channel can be predicted."
        )
    names = [printable(str(channel_name)) for channel_name in found.names]
    return Slide(
        levels=(*stored, *_computed(stored[-1])),
        channel_names=tuple("".join(names[index : index + 1]) or f"Channel {index}" for index in range(shape[0])),
        pixel_size_um=_pixel_size(found),
        source=found.path,
        series=found.series,
        z=found.z,
        t=found.t,
        stored_levels=len(stored),
        is_brightfield=found.is_brightfield,
    )


def _computed(coarsest: da.Array) -> tuple[da.Array, ...]:
    """Coarser levels, down to a size that fits on a screen."""
    return coarser_levels(coarsest) if max(coarsest.shape[1:]) > _LARGEST_FLAT else ()


def maximum(planes: Sequence[Slide]) -> Slide:
    """Slide whose pixels are the maximum over the planes of a stack; coarser levels are computed from it."""
    first, cache = planes[0], ChunkCache(0)

    def read(*parts: slice) -> np.ndarray:
        """Pixels of shape (c, y, x), plane by plane, so that few are in memory at once."""
        highest: np.ndarray = reduce(np.maximum, (cache.read(plane.levels[0], *parts) for plane in planes))
        return highest

    if len(planes) == 1:
        return first
    level = first.levels[0]
    finest = PixelSource(level.shape, level.dtype, level.chunksize, read).lazy()
    return replace(first, levels=(finest, *_computed(finest)), z=MAXIMUM, stored_levels=1)


def _pixel_size(found: RawImage) -> tuple[float, float] | None:
    """Pixel size stated by the file; None, with a warning, if a microscope cannot have it."""
    stated, size = found.pixel_size_um, usable_pixel_size(found.pixel_size_um)
    if stated is not None and size is None:
        warn(
            f"{found.path.name} states a pixel size of {stated[1]:.4g} x {stated[0]:.4g} µm, expected "
            f"{expected_pixel_size()}: it is not used, state the pixel size yourself (--pixel-size on the command "
            "line, pixel_size_um in a script)."
        )
    return size


def _warn_of_huge_chunks(found: RawImage) -> None:
    finest = found.sources[0]
    size = math.prod(map(min, finest.chunks, finest.shape)) * np.dtype(finest.dtype).itemsize
    if size > HUGE_CHUNK_BYTES:
        warn(
            f"{found.path.name} stores a whole page as one piece, so reading any part takes {size / 1e9:.1f} GB of "
            "memory: make a tiled copy with `napari-hrpn convert`."
        )

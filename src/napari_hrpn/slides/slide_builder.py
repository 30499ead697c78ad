"""Completion of what a reader finds in a file: image and plane to take, channel names, pixel size, coarse levels."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.core.plain_text import printable
from napari_hrpn.slides.errors import SlideError, warn
from napari_hrpn.slides.pyramid import coarser_levels
from napari_hrpn.slides.slide import Slide
from napari_hrpn.slides.units import expected_pixel_size, usable_pixel_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_hrpn.slides.lazy_pixels import PixelSource
    from napari_hrpn.slides.location import Location

COLOURS = ("Red", "Green", "Blue")
HUGE_CHUNK_BYTES = 256 * 10**6
_LARGEST_FLAT = 1024
_FREE_CHUNK_PX, _MOST_CHUNKS = 512, 2**22
_MOST_CHANNELS = 1000
_NOUNS = {"series": "image", "z": "plane", "t": "time point"}
# what formats call the pictures that they store beside the slide
_PICTURE_BESIDE = re.compile(r"\b(thumbnail|label|macro|map|preview|overview|barcode)\b", re.IGNORECASE)
# the background of a colour photograph is looked at in nine squares, and is light above a share of the highest value
_LIGHT = 0.4
_MOST_PIXELS_OF_A_CHUNK = 4_000_000
_SQUARE_PX = 192


@dataclass(frozen=True)
class SeriesInfo:
    """One of the images of a file.

    Attributes
    ----------
    index : int
        What to give `open_slide` as `series`.
    name : str
        What the file calls it.
    shape : tuple of int
        Channels, height, width.
    pixel_size_um : tuple of float or None
        Height and width of a pixel in µm.
    z_planes : int
        Planes of its stack.
    timepoints : int
        Images of its time series.
    """

    index: int
    name: str
    shape: tuple[int, int, int]
    pixel_size_um: tuple[float, float] | None
    z_planes: int = 1
    timepoints: int = 1


@dataclass(frozen=True)
class RawImage:
    """What a reader found in a file, before it is completed."""

    path: Location  # The file or folder
    sources: tuple[PixelSource, ...]  # The stored levels, finest first
    names: Sequence[str]  # Channel names; empty strings or too few where the file does not say
    pixel_size_um: tuple[float, float] | None  # Height and width of a pixel
    # As in `Slide`
    series: int = 0
    z: int | None = None
    t: int | None = None
    is_brightfield: bool = False


def choose_series(source: str, count: int, asked: int | None, images: Callable[[], Sequence[SeriesInfo]]) -> int:
    """Index of the image to take out of a file: the one that was asked for, or else the largest."""
    found = _checked_choice(source, "series", count, asked)
    if asked is not None or count == 1:
        return asked or 0
    listed = images()
    slides = [image for image in listed if not _PICTURE_BESIDE.search(image.name)] or listed
    taken = max(slides, key=lambda image: image.shape[1] * image.shape[2])
    warn(
        f"{found} and image {taken.index} ({taken.shape[2]} x {taken.shape[1]} px) is taken: give series from 0 to "
        f"{count - 1} for another."
    )
    return taken.index


def choose_plane(source: str, axis: str, count: int, asked: int | None) -> int | None:
    """Index of the plane to take along z or t; None where there is only one."""
    found = _checked_choice(source, axis, count, asked)
    if count == 1 or asked is not None:
        return asked if count > 1 else None
    taken = count // 2 if axis == "z" else 0
    warn(f"{found} and {axis}={taken} is taken: give {axis} from 0 to {count - 1} for another.")
    return taken


def _checked_choice(source: str, choice: str, count: int, asked: int | None) -> str:
    """How many images, planes or time points there are, as the beginning of a sentence."""
    if not count:
        raise SlideError(f"{source} has 0 images, expected at least one: export it again.")
    found = f"{source} has {count} {_NOUNS[choice]}{'s' if count > 1 else ''}"
    if asked is not None and not 0 <= asked < count:
        raise SlideError(f"{found}, expected {choice} from 0 to {count - 1} but got {asked}.")
    return found


def light_background(coarsest: PixelSource, path: Location) -> bool:
    """Whether the typical pixel of a colour image is light in red, green and blue, as in transmitted light."""
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
    """A slide with a name for every channel and levels down to a size that fits on a screen."""
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
            f"{name} looks like a brightfield photograph, not fluorescence: it opens as red, green and blue, which no "
            "channel can be predicted from."
        )
    computed = coarser_levels(stored[-1]) if max(stored[-1].shape[1:]) > _LARGEST_FLAT else ()
    names = [printable(str(one)) for one in found.names]
    return Slide(
        levels=(*stored, *computed),
        channel_names=tuple("".join(names[index : index + 1]) or f"Channel {index}" for index in range(shape[0])),
        pixel_size_um=_pixel_size(found),
        source=found.path,
        series=found.series,
        z=found.z,
        t=found.t,
        stored_levels=len(stored),
        is_brightfield=found.is_brightfield,
    )


def _pixel_size(found: RawImage) -> tuple[float, float] | None:
    """What the file says, if that can be; else nothing, and the user is warned."""
    said, size = found.pixel_size_um, usable_pixel_size(found.pixel_size_um)
    if said is not None and size is None:
        warn(
            f"{found.path.name} says that a pixel is {said[1]:.4g} x {said[0]:.4g} µm, expected "
            f"{expected_pixel_size()}: it is not used, give the pixel size yourself (--pixel-size on the command "
            "line, pixel_size_um in a script)."
        )
    return size


def _warn_of_huge_chunks(found: RawImage) -> None:
    finest = found.sources[0]
    size = math.prod(map(min, finest.chunks, finest.shape)) * np.dtype(finest.dtype).itemsize
    if size > HUGE_CHUNK_BYTES:
        warn(
            f"{found.path.name} stores a whole page as one piece, so every look at it takes {size / 1e9:.1f} GB of "
            "memory: make a tiled copy once with `napari-hrpn convert`."
        )

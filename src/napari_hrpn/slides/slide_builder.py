"""From a reader's findings to a Slide: the one place where names, sizes and missing levels are completed."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.core.plain_text import printable
from napari_hrpn.slides.errors import SlideError, SlideWarning
from napari_hrpn.slides.guarded_array import lazy_level
from napari_hrpn.slides.pyramid import coarser_levels
from napari_hrpn.slides.slide import Slide
from napari_hrpn.slides.units import expected_pixel_size, usable_pixel_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.slides.guarded_array import PixelSource
    from napari_hrpn.slides.location import Location

_LARGEST_FLAT = 1024
_MOST_CHANNELS = 1000
HUGE_CHUNK_BYTES = 256 * 10**6
COLOURS = ("Red", "Green", "Blue")


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


def assemble(found: RawImage) -> Slide:
    """A slide with a name for every channel and levels down to a size that fits on a screen."""
    shape = found.sources[0].shape
    if 0 in shape:
        raise SlideError(
            f"{found.path.name} holds an empty image ({shape[2]} x {shape[1]} px), expected "
            "at least one pixel: export it again."
        )
    if shape[0] > _MOST_CHANNELS:
        raise SlideError(
            f"{found.path.name} has {shape[0]} channels, expected {_MOST_CHANNELS} at most: export the stains alone."
        )
    stored = [lazy_level(source, found.path) for source in found.sources if 0 not in source.shape]
    _warn_of_huge_chunks(found)
    computed = coarser_levels(stored[-1]) if max(stored[-1].shape[1:]) > _LARGEST_FLAT else ()
    return Slide(
        levels=(*stored, *computed),
        channel_names=_complete_names(found.names, shape[0]),
        pixel_size_um=_pixel_size(found),
        source=found.path,
        series=found.series,
        z=found.z,
        t=found.t,
        stored_levels=len(stored),
        is_brightfield=found.is_brightfield,
    )


def _complete_names(names: Sequence[str], count: int) -> tuple[str, ...]:
    given = [printable(str(name)) for name in names][:count]
    given += [""] * (count - len(given))
    return tuple(name or f"Channel {index}" for index, name in enumerate(given))


def _pixel_size(found: RawImage) -> tuple[float, float] | None:
    """What the file says, if that can be; else nothing, and the user is told."""
    said, size = found.pixel_size_um, usable_pixel_size(found.pixel_size_um)
    if said is not None and size is None:
        warnings.warn(
            f"{found.path.name} says that a pixel is {said[1]:.4g} x {said[0]:.4g} µm, expected "
            f"{expected_pixel_size()}: it is not used, give the pixel size yourself (--pixel-size on the command "
            "line, pixel_size_um in a script).",
            SlideWarning,
            stacklevel=2,
        )
    return size


def _warn_of_huge_chunks(found: RawImage) -> None:
    finest = found.sources[0]
    size = math.prod(min(pair) for pair in zip(finest.chunks, finest.shape, strict=True))
    size *= np.dtype(finest.dtype).itemsize
    if size > HUGE_CHUNK_BYTES:
        warnings.warn(
            f"{found.path.name} stores a whole page as one piece, so every look at it takes "
            f"{size / 1e9:.1f} GB of memory: make a tiled copy once with `napari-hrpn convert`.",
            SlideWarning,
            stacklevel=2,
        )

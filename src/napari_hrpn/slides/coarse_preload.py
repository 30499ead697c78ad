"""Looking at a slide from afar more than once, while its pixels are read only once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_hrpn.slides.guarded_array import from_guarded
from napari_hrpn.slides.pyramid import halve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import dask.array as da

    from napari_hrpn.slides.slide import Slide

MOST_BYTES = 64 << 20


def glance(slide: Slide, channels: Sequence[int], pixel_size_um: float) -> Slide:
    """Read the coarse levels that a slide does not store into memory, for those who look at them several times.

    Each look at a level that is computed reads all the pixels beneath it. Stored levels are left on disk.

    Parameters
    ----------
    slide : Slide
        Not changed.
    channels : sequence of int
        Channels to be looked at.
    pixel_size_um : float
        Of the finest level to be looked at, as for `Slide.level_for`.

    Returns
    -------
    Slide
        Only these channels, in this order. What is read takes 64 MiB at most: finer levels are still computed.

    Raises
    ------
    SlideError
        Where the slide cannot be read.
    """
    levels = tuple(level[list(channels)] for level in slide.levels)
    computed = range(max(slide.level_for(pixel_size_um), slide.stored_levels), len(levels))
    finest = next((index for index in computed if levels[index].nbytes <= MOST_BYTES), None)
    if finest is not None:
        levels = (*levels[:finest], *_held(levels[finest:]))
    names = tuple(slide.channel_names[channel] for channel in channels)
    return replace(slide, levels=levels, channel_names=names)


def _held(levels: Sequence[da.Array]) -> Iterator[da.Array]:
    pixels = levels[0].compute()
    for level in levels:
        yield from_guarded(pixels, level.chunksize, "glance")
        pixels = halve(pixels)

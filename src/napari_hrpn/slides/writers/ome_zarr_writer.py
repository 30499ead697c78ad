"""Writer of OME-Zarr 0.5 and 0.4, in memory that does not grow with the slide; metadata are written last.

Pyramids are written block by block: each block of the finest level is read once, and its part of all levels written.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da

from napari_hrpn.core import Progress
from napari_hrpn.core.files import patiently
from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.location import local_path, user_path
from napari_hrpn.slides.metadata import (
    OLDER_VERSION,
    OME_ZARR_VERSION,
    channel_colors,
    contrast_limits,
    multiscales_metadata,
)
from napari_hrpn.slides.pyramid import halve
from napari_hrpn.slides.units import expected_pixel_size, usable_pixel_size
from napari_hrpn.slides.writers.output_path import partial_output

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    import numpy as np
    import zarr

    from napari_hrpn.slides.slide import Slide

# rows y0 to y1 and columns x0 to x1
Box = tuple[int, int, int, int]

CHUNK_EDGE = 512
# 2^11: a block holds whole pixels of eleven coarser levels, enough for slides of a million pixels a side
_BLOCK_EDGE = 2048
_BLOCK_BYTES = 128 * 2**20
_WAIT_SECONDS = 60


def write_ome_zarr(
    slide: Slide,
    path: str | Path,
    *,
    overwrite: bool = False,
    colors: Sequence[str] | None = None,
    version: str = OME_ZARR_VERSION,
) -> Generator[Progress, None, Path]:
    """Write a slide with a new pyramid as an OME-Zarr group.

    Only the finest level of the slide is read; coarser ones are computed from it down to 512 px and not copied. Closing
    the generator early deletes everything.

    Parameters
    ----------
    slide : Slide
        The slide.
    path : str or pathlib.Path
        The new folder, usually ``NAME.ome.zarr``.
    overwrite : bool
        Whether an OME-Zarr of that name may be replaced.
    colors : sequence of str, optional
        Six hexadecimal digits per channel; by default chosen by role.
    version : str
        "0.5", or "0.4" for programs that do not read 0.5 yet; the pixels are the same.

    Yields
    ------
    Progress
        After each block.

    Returns
    -------
    pathlib.Path
        The written folder.

    Raises
    ------
    SlideError
        If the output exists, overlaps the input or cannot be written, or the slide cannot be read.
    """
    import zarr

    path = user_path(local_path(path))
    with partial_output(path, slide.source, overwrite=overwrite) as folder:
        levels = create_levels(folder, level_shapes(slide.levels[0].shape), slide.dtype, version=version)
        yield from copy_pyramid(slide, levels)
        name = path.name.removesuffix(".zarr").removesuffix(".ome")
        ome = _attributes(slide, levels, name, colors, version)
        # attributes of 0.4 are one level higher
        zarr.open_group(folder, mode="r+").update_attributes(ome if version == OLDER_VERSION else {"ome": ome})
    return path


def copy_pyramid(slide: Slide, levels: Sequence[zarr.Array[Any]]) -> Generator[Progress, None, None]:
    """Fill the levels of a new pyramid from the finest level of a slide."""
    size = slide.pixel_size_um
    if size is not None and usable_pixel_size(size) is None:
        raise SlideError(
            f"{slide.source.name} has pixels of {size[0]:g} x {size[1]:g} µm, expected {expected_pixel_size()}: state "
            "the correct size, or None."
        )
    boxes = block_boxes(*block_grid(slide.levels[0]))
    for done, box in enumerate(boxes, start=1):
        copy_block(slide.levels[0], levels, box, coarser_only=False)
        yield Progress(done, len(boxes))


def _attributes(
    slide: Slide, levels: Sequence[zarr.Array[Any]], name: str, colors: Sequence[str] | None, version: str
) -> dict[str, Any]:
    written = tuple(da.from_array(level, chunks=level.chunks, name=False) for level in levels)
    return multiscales_metadata(
        name,
        [level.shape for level in levels],
        slide.channel_names,
        slide.pixel_size_um,
        colors or channel_colors(slide.channel_names, is_brightfield=slide.is_brightfield),
        contrast_limits(replace(slide, levels=written, stored_levels=len(written))),
        dtype=slide.dtype,
        version=version,
    )


def block_grid(level: da.Array) -> Box:
    """Height and width of a lazy level and of its blocks, which are larger than usual if its chunks are."""
    _, height, width = level.shape
    block_height, block_width = (-(-max(chunks) // _BLOCK_EDGE) * _BLOCK_EDGE for chunks in level.chunks[1:])
    return height, width, block_height, block_width


def block_boxes(height: int, width: int, block_height: int, block_width: int) -> list[Box]:
    """Blocks of a level row by row; those of the last row and column are smaller."""
    return [
        (y0, min(y0 + block_height, height), x0, min(x0 + block_width, width))
        for y0 in range(0, height, block_height)
        for x0 in range(0, width, block_width)
    ]


def level_shapes(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Shapes of all levels of a pyramid, like those of `coarser_levels`."""
    shapes = [shape]
    while max(shapes[-1][1:]) > CHUNK_EDGE:
        channels, height, width = shapes[-1]
        shapes.append((channels, -(-height // 2), -(-width // 2)))
    return tuple(shapes)


def create_levels(
    folder: Path,
    shapes: Sequence[tuple[int, ...]],
    dtype: np.dtype,
    *,
    with_checksums: bool = False,
    version: str = OME_ZARR_VERSION,
) -> tuple[zarr.Array[Any], ...]:
    """Create the empty arrays "0", "1", ... of a zarr group."""
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    coding: dict[str, Any] = {
        "compressors": [ZstdCodec(level=1), *([Crc32cCodec()] if with_checksums else [])],
        "dimension_names": ("c", "y", "x"),
    }
    if version == OLDER_VERSION:
        # as bioformats2raw writes it: older readers do not know zstd without blosc
        coding = {
            "compressors": {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1},
            "chunk_key_encoding": {"name": "v2", "separator": "/"},
        }
    group = zarr.create_group(folder, zarr_format=2 if version == OLDER_VERSION else 3)
    return tuple(
        group.create_array(
            str(level),
            shape=shape,
            dtype=dtype,
            chunks=(1, CHUNK_EDGE, CHUNK_EDGE),
            **coding,
        )
        for level, shape in enumerate(shapes)
    )


def copy_block(source: da.Array, levels: Sequence[zarr.Array[Any]], box: Box, *, coarser_only: bool) -> None:
    """Read one block of a slide and write its part of every level."""
    y0, y1, x0, x1 = box
    for channels in _channel_groups(source, (y1 - y0) * (x1 - x0)):
        pixels = source[channels, y0:y1, x0:x1].compute(scheduler="threads")
        for y in range(0, y1 - y0, _BLOCK_EDGE):
            for x in range(0, x1 - x0, _BLOCK_EDGE):
                part = pixels[:, y : y + _BLOCK_EDGE, x : x + _BLOCK_EDGE]
                origin = (channels.start, y0 + y, x0 + x)
                write_part(part, origin, levels, coarser_only=coarser_only)


def _channel_groups(source: da.Array, pixels: int) -> Iterator[slice]:
    """Groups of channels that fit into the memory for a block; interleaved channels stay together."""
    together = max(source.chunks[0])
    count = max(_BLOCK_BYTES // (pixels * source.dtype.itemsize) // together, 1) * together
    for first in range(0, source.shape[0], count):
        yield slice(first, min(first + count, source.shape[0]))


def write_part(
    pixels: np.ndarray,
    origin: tuple[int, int, int],
    levels: Sequence[zarr.Array[Any]],
    *,
    coarser_only: bool = False,
) -> np.ndarray:
    """Write pixels of the finest level and their means on all coarser levels."""
    channel, y, x = origin
    for index, level in enumerate(levels):
        if index > 0 or coarser_only:
            pixels, y, x = halve(pixels), y // 2, x // 2
        count, height, width = pixels.shape
        place = (slice(channel, channel + count), slice(y, y + height), slice(x, x + width))
        patiently(_write, level, place, pixels)
    return pixels


def _write(level: zarr.Array[Any], place: tuple[slice, ...], pixels: np.ndarray) -> None:
    with _whole_writes():
        level[place] = pixels


@contextmanager
def _whole_writes() -> Iterator[None]:
    """Wait for all writes of zarr after an error, because zarr continues with the other chunks in the background."""
    try:
        yield
    except BaseException:
        from zarr.core.sync import sync

        # errors of the other writes add nothing to the first one
        with suppress(Exception):
            sync(_others_end(), timeout=_WAIT_SECONDS)
        raise


async def _others_end() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)

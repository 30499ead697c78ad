"""Writer of tiled pyramidal OME-TIFF, in memory that does not grow with the slide.

The pages of a TIFF follow each other, so all levels are first written to temporary zarr arrays next to it.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import count, product
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from napari_hrpn.core import Progress
from napari_hrpn.core.plain_text import printable
from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.location import local_path, user_path
from napari_hrpn.slides.metadata import channel_colors
from napari_hrpn.slides.writers.ome_zarr_writer import (
    CHUNK_EDGE,
    copy_pyramid,
    create_levels,
    level_shapes,
)
from napari_hrpn.slides.writers.output_path import partial_output

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    import zarr

    from napari_hrpn.slides.slide import Slide

# temporary arrays next to the output, which never has this name
_SCRATCH = ".levels"
_STRIP_TILES = 8
_COMPRESSED_TOGETHER_BYTES = 32 * 2**20
CLASSIC_TIFF_BYTES = 3.5e9
_OME_TYPES = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")


class _StoppedError(Exception):
    """The caller does not wait for the file any more."""


def write_ome_tiff(
    slide: Slide, path: str | Path, *, overwrite: bool = False, colors: Sequence[str] | None = None
) -> Generator[Progress, None, Path]:
    """Write a slide with a new pyramid as an OME-TIFF: 512 px tiles, deflate, BigTIFF if needed.

    Only the finest level of the slide is read. While it runs, temporary files need about as much additional disk space
    as the file. Closing the generator early deletes everything.

    Parameters
    ----------
    slide : Slide
        The slide.
    path : str or pathlib.Path
        The new file, usually ``NAME.ome.tif``.
    overwrite : bool
        Whether a file of that name may be replaced.
    colors : sequence of str, optional
        Six hexadecimal digits per channel; by default chosen by role.

    Yields
    ------
    Progress
        Many times in each half: first writing the temporary levels, then the file.

    Returns
    -------
    pathlib.Path
        The written file.

    Raises
    ------
    SlideError
        If the output exists, overlaps the input or cannot be written, if the slide cannot be read, or if OME-TIFF does
        not support its pixel type.
    """
    path = user_path(local_path(path))
    if slide.dtype.name not in _OME_TYPES:
        raise SlideError(
            f"{slide.source.name} holds {slide.dtype.name} pixels, which OME-TIFF does not support: "
            "write an OME-Zarr instead."
        )
    if path.is_dir():
        raise SlideError(f"{path} is a folder: choose a name for a file.")
    with partial_output(path, slide.source, overwrite=overwrite) as partial:
        levels = create_levels(partial.with_name(_SCRATCH), level_shapes(slide.levels[0].shape), slide.dtype)
        strips = sum(len(_strips(level)) for level in levels)
        for report in copy_pyramid(slide, levels):
            yield Progress(strips * report.done // report.total, 2 * strips)
        for done in _reported(lambda report: _write_file(partial, slide, colors, levels, report)):
            yield Progress(strips + done, 2 * strips)
    return path


def _reported(write: Callable[[Callable[[int], None]], None]) -> Generator[int, None, None]:
    """Run a function that reports through a callback, and yield its reports; closing the generator stops it."""
    reports: SimpleQueue[int | None] = SimpleQueue()
    stopped = Event()

    def report(done: int) -> None:
        if stopped.is_set():
            raise _StoppedError
        reports.put(done)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(write, report)
        future.add_done_callback(lambda _: reports.put(None))
        try:
            yield from iter(reports.get, None)
        finally:
            stopped.set()
    future.result()


def _write_file(
    path: Path,
    slide: Slide,
    colors: Sequence[str] | None,
    levels: Sequence[zarr.Array[Any]],
    report: Callable[[int], None],
) -> None:
    from tifffile import TiffWriter

    strips = count(1)
    size = sum(level.nbytes for level in levels)
    with path.open("w+b") as file:
        with TiffWriter(file, bigtiff=size > CLASSIC_TIFF_BYTES, ome=True) as writer:
            # the signature is written last: the file of a killed run must not open as a slide with fewer channels
            signature = _exchange_start(file, bytes(4))
            for index, level in enumerate(levels):
                finest = index == 0
                writer.write(
                    _tiles(level, lambda: report(next(strips))),
                    shape=level.shape,
                    dtype=level.dtype,
                    subifds=len(levels) - 1 if finest else None,
                    subfiletype=0 if finest else 1,
                    metadata=_ome_metadata(slide, path, colors) if finest else None,
                    **_page_options(slide, 2**index),
                )
        _exchange_start(file, signature)


def _exchange_start(file: BinaryIO, start: bytes) -> bytes:
    """Replace the first bytes of a file, and return the previous ones."""
    position = file.tell()
    file.seek(0)
    former = file.read(len(start))
    file.seek(0)
    file.write(start)
    file.seek(position)
    return former


def _page_options(slide: Slide, downsample: int) -> dict[str, Any]:
    options: dict[str, Any] = {
        "tile": (CHUNK_EDGE, CHUNK_EDGE),
        "photometric": "minisblack",
        "compression": "zlib",
        "compressionargs": {"level": 1},
        # common readers do not support the predictor for floating-point pixels
        "predictor": np.issubdtype(slide.dtype, np.integer),
        "maxworkers": os.cpu_count(),
        "buffersize": _COMPRESSED_TOGETHER_BYTES,
        "software": "napari-hrpn",
    }
    if slide.pixel_size_um is not None:
        size_y, size_x = slide.pixel_size_um
        options["resolution"] = (1e4 / (size_x * downsample), 1e4 / (size_y * downsample))
        options["resolutionunit"] = "CENTIMETER"
    return options


def _ome_metadata(slide: Slide, path: Path, colors: Sequence[str] | None) -> dict[str, Any]:
    colors = colors or channel_colors(slide.channel_names, is_brightfield=slide.is_brightfield)
    metadata: dict[str, Any] = {
        "axes": "CYX",
        "Name": printable(path.name.split(".ome.")[0]),
        "Channel": {
            "Name": [printable(name) for name in slide.channel_names],
            "Color": [_rgba_number(color) for color in colors],
        },
    }
    if slide.pixel_size_um is not None:
        size_y, size_x = slide.pixel_size_um
        metadata |= {"PhysicalSizeY": size_y, "PhysicalSizeYUnit": "µm"}
        metadata |= {"PhysicalSizeX": size_x, "PhysicalSizeXUnit": "µm"}
    return metadata


def _rgba_number(color: str) -> int:
    """A colour in the form of OME-XML: red, green, blue and opacity in a signed 32-bit integer."""
    return int.from_bytes(bytes.fromhex(color) + b"\xff", "big", signed=True)


def _strips(level: zarr.Array[Any]) -> list[tuple[int, int, int]]:
    """Channel, first row and first column of a few tiles each, in the order in which they are written."""
    channels, height, width = level.shape
    return list(product(range(channels), range(0, height, CHUNK_EDGE), range(0, width, _STRIP_TILES * CHUNK_EDGE)))


def _tiles(level: zarr.Array[Any], strip_done: Callable[[], None]) -> Iterator[np.ndarray]:
    for channel, y, x in _strips(level):
        strip = np.asarray(level[channel, y : y + CHUNK_EDGE, x : x + _STRIP_TILES * CHUNK_EDGE])
        strip_done()
        for left in range(0, strip.shape[1], CHUNK_EDGE):
            yield strip[:, left : left + CHUNK_EDGE]

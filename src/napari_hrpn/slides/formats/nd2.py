"""Nikon ND2, read by the nd2 library; the file is opened for each read and not kept open."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.errors import reading_errors
from napari_hrpn.slides.lazy_pixels import PixelSource
from napari_hrpn.slides.slide_builder import (
    COLOURS,
    RawImage,
    SeriesInfo,
    assemble,
    choose_plane,
    choose_series,
    light_background,
)
from napari_hrpn.slides.units import usable_pixel_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nd2 import ND2File

    from napari_hrpn.slides.slide import Slide

_FREE_CHUNK = 512


def read_slide(path: Path, *, series: int | None, z: int | None, t: int | None) -> Slide:
    """Read a slide from an ND2."""
    with _opened(path) as file:
        sizes = dict(file.sizes)
        chosen = choose_series(path.name, sizes.get("P", 1), series, partial(_positions, file))
        chosen_z = choose_plane(path.name, "z", sizes.get("Z", 1), z)
        chosen_t = choose_plane(path.name, "t", sizes.get("T", 1), t)
        source = _frame_source(file, path, {"P": chosen, "Z": chosen_z or 0, "T": chosen_t or 0})
        is_colour = bool(file.is_rgb) and source.shape[0] == 3
        names = COLOURS if is_colour else _names(file)
        size = _pixel_size(file)
    is_brightfield = is_colour and light_background(source, path)
    return assemble(RawImage(path, (source,), names, size, chosen, chosen_z, chosen_t, is_brightfield=is_brightfield))


def read_series(path: Path) -> tuple[SeriesInfo, ...]:
    """List the positions of an ND2."""
    with _opened(path) as file:
        return _positions(file)


def _positions(file: ND2File) -> tuple[SeriesInfo, ...]:
    sizes, size = dict(file.sizes), usable_pixel_size(_pixel_size(file))
    return tuple(
        SeriesInfo(index, f"Position {index}", _shape(file), size, sizes.get("Z", 1), sizes.get("T", 1))
        for index in range(sizes.get("P", 1))
    )


@contextmanager
def _opened(path: Path) -> Iterator[ND2File]:
    import nd2

    with reading_errors(f"{path.name} cannot be read as an ND2"), nd2.ND2File(path) as file:
        yield file


def _frame_source(file: ND2File, path: Path, position: dict[str, int]) -> PixelSource:
    """A frame with its channels, at a position along the axes over frames."""
    axes = [axis for axis in file.sizes if axis not in "CYXS"]
    numbers, lengths = [position.get(axis, 0) for axis in axes], [file.sizes[axis] for axis in axes]
    frame = int(np.ravel_multi_index(numbers, lengths)) if axes else 0
    shape, lock = _shape(file), threading.Lock()
    is_compressed = getattr(file.attributes, "compressionType", None) is not None

    def read(channels: slice, rows: slice, columns: slice) -> np.ndarray:
        with lock, _opened(path) as opened:
            pixels = _channels_first(opened.read_frame(frame), shape)
            # copied, because the frame is a view of the file, which is closed here
            return np.array(pixels[channels, rows, columns])

    chunks = shape if is_compressed else (shape[0], _FREE_CHUNK, _FREE_CHUNK)
    return PixelSource(shape, np.dtype(file.dtype), chunks, read)


def _channels_first(frame: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """A frame of shape (c, y, x), from (y, x), (c, y, x), (y, x, rgb) or (c, y, x, rgb)."""
    if frame.ndim == 4:
        frame = np.moveaxis(frame, -1, 1)
    elif frame.ndim == 3 and frame.shape != shape:
        frame = np.moveaxis(frame, -1, 0)
    return frame.reshape(shape)


def _shape(file: ND2File) -> tuple[int, int, int]:
    sizes = file.sizes
    return sizes.get("C", 1) * sizes.get("S", 1), sizes["Y"], sizes["X"]


def _names(file: ND2File) -> tuple[str, ...]:
    channels = getattr(file.metadata, "channels", None) or []
    return tuple(channel.channel.name or "" for channel in channels)


def _pixel_size(file: ND2File) -> tuple[float, float] | None:
    size = file.voxel_size()
    # the library returns exactly 1 µm along all axes if the file has no calibration
    if not size.x or not size.y or (size.x == size.y == size.z == 1.0):
        return None
    return float(size.y), float(size.x)

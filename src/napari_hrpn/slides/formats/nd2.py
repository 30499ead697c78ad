"""Nikon ND2 through the nd2 library; a file is opened for each read, so none is held open."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.formats.brightfield import light_background, warn_of_brightfield
from napari_hrpn.slides.guarded_array import reason
from napari_hrpn.slides.plane_selection import SeriesInfo, choose_plane, choose_series
from napari_hrpn.slides.slide_builder import COLOURS, RawImage, assemble
from napari_hrpn.slides.units import usable_pixel_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nd2 import ND2File

    from napari_hrpn.slides.slide import Slide

_FREE_CHUNK = 512


class _ND2Frame:
    """One frame of an ND2, with its channels."""

    def __init__(self, path: Path, frame: int, shape: tuple[int, int, int], dtype: np.dtype, compressed: bool) -> None:
        self._path = path
        self._frame = frame
        self._lock = threading.Lock()
        self.shape = shape
        self.dtype = dtype
        self.chunks = shape if compressed else (shape[0], _FREE_CHUNK, _FREE_CHUNK)

    def read(self, channels: slice, rows: slice, columns: slice) -> np.ndarray:
        """Pixels of a block, of shape (c, y, x)."""
        with self._lock, _opened(self._path) as file:
            frame = _channels_first(file.read_frame(self._frame), self.shape)
            # the frame is a view of a file that is about to be closed
            return np.array(frame[channels, rows, columns])


def _channels_first(frame: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """A frame as (c, y, x), from (y, x), (c, y, x), (y, x, rgb) or (c, y, x, rgb)."""
    if frame.ndim == 4:
        frame = np.moveaxis(frame, -1, 1).reshape(-1, *shape[1:])
    elif frame.ndim == 3 and frame.shape != shape:
        frame = np.moveaxis(frame, -1, 0)
    return frame.reshape(shape)


def open_nd2(path: Path, *, series: int | None, z: int | None, t: int | None) -> Slide:
    """A slide from an ND2."""
    with _opened(path) as file:
        sizes = dict(file.sizes)
        chosen = choose_series(path.name, sizes.get("P", 1), series, partial(_positions, file))
        chosen_z = choose_plane(path.name, "z", sizes.get("Z", 1), z)
        chosen_t = choose_plane(path.name, "t", sizes.get("T", 1), t)
        frame = _frame_number(file, {"P": chosen, "Z": chosen_z or 0, "T": chosen_t or 0})
        is_colour = bool(file.is_rgb)
        shape = _shape(sizes)
        compressed = getattr(file.attributes, "compressionType", None) is not None
        source = _ND2Frame(path, frame, shape, np.dtype(file.dtype), compressed)
        names = COLOURS if is_colour and shape[0] == 3 else _names(file)
        size = _pixel_size(file)
    is_brightfield = is_colour and shape[0] == 3 and light_background(source, path)
    if is_brightfield:
        warn_of_brightfield(path.name)
    return assemble(RawImage(path, (source,), names, size, chosen, chosen_z, chosen_t, is_brightfield=is_brightfield))


def series_of_nd2(path: Path) -> tuple[SeriesInfo, ...]:
    """The positions of an ND2."""
    with _opened(path) as file:
        return _positions(file)


def _positions(file: ND2File) -> tuple[SeriesInfo, ...]:
    sizes, size = dict(file.sizes), usable_pixel_size(_pixel_size(file))
    return tuple(
        SeriesInfo(index, f"Position {index}", _shape(sizes), size, sizes.get("Z", 1), sizes.get("T", 1))
        for index in range(sizes.get("P", 1))
    )


@contextmanager
def _opened(path: Path) -> Iterator[ND2File]:
    import nd2

    try:
        with nd2.ND2File(path) as file:
            yield file
    except SlideError:
        raise
    except Exception as error:
        raise SlideError(f"{path.name} cannot be read as an ND2 ({reason(error)}).") from error


def _shape(sizes: dict[str, int]) -> tuple[int, int, int]:
    return sizes.get("C", 1) * sizes.get("S", 1), sizes["Y"], sizes["X"]


def _frame_number(file: ND2File, position: dict[str, int]) -> int:
    """Number of a frame from its place along the axes that were acquired one after the other."""
    axes = [axis for axis in file.sizes if axis not in "CYXS"]
    if not axes:
        return 0
    lengths = [file.sizes[axis] for axis in axes]
    return int(np.ravel_multi_index([position.get(axis, 0) for axis in axes], lengths))


def _names(file: ND2File) -> tuple[str, ...]:
    channels = getattr(file.metadata, "channels", None) or []
    return tuple(channel.channel.name or "" for channel in channels)


def _pixel_size(file: ND2File) -> tuple[float, float] | None:
    size = file.voxel_size()
    # 1 µm exactly along all axes is what the library answers where the file has no calibration
    if not size.x or not size.y or (size.x == size.y == size.z == 1.0):
        return None
    return float(size.y), float(size.x)

"""OME-Zarr metadata of a written slide, with contrast and colours of the channels.

Contrast limits are percentiles of a coarse stored level, of which only a few blocks are read.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.slides.channel_roles import guess_roles
from napari_hrpn.slides.lazy_pixels import ChunkCache
from napari_hrpn.slides.predictions import PYRAMID_TYPE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dask.array as da
    from numpy.typing import DTypeLike

    from napari_hrpn.slides.slide import Slide

OME_ZARR_VERSION, OLDER_VERSION = "0.5", "0.4"
_ROLE_COLORS = {"nuclei": "0000FF", "vessels": "00FF00", "probe": "FF0000"}
_OTHER_COLORS = ("FFFFFF", "FFFF00", "FF00FF", "00FFFF")
_BRIGHTFIELD_COLORS = ("FF0000", "00FF00", "0000FF")
LOW_PERCENT, HIGH_PERCENT = 0.1, 99.8
_MOST_PIXELS = 4 * 2**20
_ENOUGH_VALUES = 2**20
# on smaller levels nuclei and vessels are blurred into their surroundings
_SMALLEST_PX = 512
_LARGEST_BLOCK_BYTES = 64 * 2**20


def channel_colors(channel_names: Sequence[str], *, is_brightfield: bool = False) -> tuple[str, ...]:
    """Colour of each channel: by the role guessed from its name, or from a short list in turn.

    Parameters
    ----------
    channel_names : sequence of str
        Names in the order of the channels.
    is_brightfield : bool
        Whether the channels are red, green and blue of a photograph.

    Returns
    -------
    tuple of str
        Six hexadecimal digits per channel, red first.
    """
    if is_brightfield and len(channel_names) == len(_BRIGHTFIELD_COLORS):
        return _BRIGHTFIELD_COLORS
    roles = guess_roles(channel_names)
    by_index = {getattr(roles, role): color for role, color in _ROLE_COLORS.items()}
    others = (index for index in range(len(channel_names)) if index not in by_index)
    by_index |= {index: _OTHER_COLORS[n % len(_OTHER_COLORS)] for n, index in enumerate(others)}
    return tuple(by_index[index] for index in range(len(channel_names)))


def multiscales_metadata(
    name: str,
    level_shapes: Sequence[Sequence[int]],
    channel_names: Sequence[str],
    pixel_size_um: tuple[float, float] | None,
    colors: Sequence[str] | None = None,
    contrast: Sequence[tuple[float, float]] | None = None,
    *,
    dtype: DTypeLike | None = None,
    version: str = OME_ZARR_VERSION,
) -> dict[str, Any]:
    """Attributes of an OME-Zarr group whose arrays "0", "1", ... are the levels, finest first.

    Parameters
    ----------
    name : str
        Name of the image.
    level_shapes : sequence of (c, y, x)
        Shape of each level; each is half of the one before, rounded up.
    channel_names : sequence of str
        One label per channel.
    pixel_size_um : tuple of float or None
        Height and width of a full-resolution pixel in µm; without it the axes have no unit.
    colors : sequence of str, optional
        Six hexadecimal digits per channel; by default chosen by role.
    contrast : sequence of (low, high), optional
        Display window per channel; by default the whole range of `dtype`.
    dtype : dtype, optional
        Pixel type, for the range of the display window.
    version : str
        "0.5" or "0.4".

    Returns
    -------
    dict
        Value of the key "ome": ``group.attrs["ome"] = multiscales_metadata(...)``; of 0.4, the attributes themselves.
    """
    unit = {} if pixel_size_um is None else {"unit": "micrometer"}
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space", **unit} for n in "yx")]
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": _transformations(level_shapes[0], shape, level, pixel_size_um),
        }
        for level, shape in enumerate(level_shapes)
    ]
    multiscale = {
        "name": name,
        "axes": axes,
        "datasets": datasets,
        "type": PYRAMID_TYPE,
    }
    channels = _omero_channels(channel_names, colors or channel_colors(channel_names), contrast, dtype)
    omero: dict[str, Any] = {"channels": channels, "rdefs": {"model": "color"}}
    if version == OLDER_VERSION:
        return {"multiscales": [{"version": version, **multiscale}], "omero": {"version": version, **omero}}
    return {"version": version, "multiscales": [multiscale], "omero": omero}


def _transformations(
    finest: Sequence[int], shape: Sequence[int], level: int, pixel_size_um: tuple[float, float] | None
) -> list[dict[str, Any]]:
    steps = [_downsample(full, size, level) for full, size in zip(finest[1:], shape[1:], strict=True)]
    size_y, size_x = pixel_size_um or (1.0, 1.0)
    scale = {"type": "scale", "scale": [1.0, steps[0] * size_y, steps[1] * size_x]}
    if level == 0:
        return [scale]
    # coordinates are those of pixel centres, and the centre of a coarse pixel is between those of fine ones
    offsets = [(steps[0] - 1) / 2 * size_y, (steps[1] - 1) / 2 * size_x]
    return [scale, {"type": "translation", "translation": [0.0, *offsets]}]


def _downsample(full: int, size: int, level: int) -> float:
    """Fine pixels per coarse pixel: a power of two, because an odd size makes the ratio a little too small."""
    halved = 2**level
    return float(halved) if -(-full // halved) == size else full / size


def _omero_channels(
    names: Sequence[str],
    colors: Sequence[str],
    contrast: Sequence[tuple[float, float]] | None,
    dtype: DTypeLike | None,
) -> list[dict[str, Any]]:
    lowest, highest = _value_range(np.dtype(float if dtype is None else dtype))
    windows = contrast or [(lowest, highest)] * len(names)
    return [
        {
            "label": name,
            "color": color,
            "active": True,
            "window": {
                "min": min(lowest, float(start)),
                "max": max(highest, float(end)),
                "start": float(start),
                "end": float(end),
            },
        }
        for name, color, (start, end) in zip(names, colors, windows, strict=True)
    ]


def contrast_limits(slide: Slide) -> tuple[tuple[float, float], ...]:
    """Contrast limits of each channel: the darkest and the brightest displayed value.

    Parameters
    ----------
    slide : Slide
        The slide; at most about 4 million pixels of a channel are read.

    Returns
    -------
    tuple of tuple of float
        Lower and upper limit per channel, the first below the second. They are the 0.1 and 99.8 percentiles of the
        coarsest stored level of at least 512 px, or of blocks spread evenly over it. For brightfield, or if a single
        block takes more than 64 MB, they are the range of the pixel type.

    Raises
    ------
    SlideError
        If the pixels cannot be read.
    """
    large = [level for level in slide.levels[: slide.stored_levels] if max(level.shape[1:]) >= _SMALLEST_PX]
    level = large[-1] if large else slide.levels[0]
    block_bytes = math.prod(level.chunksize) * level.dtype.itemsize
    if slide.is_brightfield or block_bytes > _LARGEST_BLOCK_BYTES:
        return (_value_range(level.dtype),) * len(slide.channel_names)
    sample = _sample(level)
    return tuple(_limits(channel, level.dtype) for channel in sample)


def _sample(level: da.Array) -> np.ndarray:
    """Pixels of shape (c, n): the whole level if it is small, or blocks spread evenly over it."""
    channels, height, width = level.shape
    if height * width <= _MOST_PIXELS:
        whole: np.ndarray = level.compute(scheduler="synchronous")
        return whole.reshape(channels, -1)
    rows, columns = level.chunks[1], level.chunks[2]
    blocks = len(rows) * len(columns)
    count = min(blocks, max(1, _MOST_PIXELS // (level.chunksize[1] * level.chunksize[2])))
    # blocks of a grid, so that tissue at one side of a slide is found like tissue at its centre
    down = max(1, min(len(rows), round(math.sqrt(count * len(rows) / len(columns)))))
    across = max(1, min(len(columns), count // down))
    # the cache makes the dask graph of a level once and not for every block
    cache = ChunkCache(_LARGEST_BLOCK_BYTES)
    parts = []
    for row in _evenly(len(rows), down):
        for column in _evenly(len(columns), across):
            top, left = sum(rows[:row]), sum(columns[:column])
            place = slice(top, top + rows[row]), slice(left, left + columns[column])
            parts.append(cache.read(level, slice(0, channels), *place).reshape(channels, -1))
    return np.concatenate(parts, axis=1)


def _evenly(count: int, wanted: int) -> list[int]:
    """Indices at the centres of `wanted` equal parts of `count` blocks."""
    return sorted({int((part + 0.5) * count / wanted) for part in range(wanted)})


def _limits(values: np.ndarray, dtype: np.dtype) -> tuple[float, float]:
    # a million values give the 99.8 percentile as accurately as four million
    values = values[:: max(1, values.size // _ENOUGH_VALUES)]
    values = values[np.isfinite(values)]
    if not values.size:
        return _value_range(dtype)
    low, high = (float(limit) for limit in np.percentile(values, [LOW_PERCENT, HIGH_PERCENT]))
    if high <= low:
        # nearly all pixels are background: show the range of all values
        low, high = float(values.min()), float(values.max())
    if high <= low:
        high = low + (1.0 if np.issubdtype(dtype, np.integer) else max(1e-6, abs(low) * 1e-3))
    return low, high


def _value_range(dtype: np.dtype) -> tuple[float, float]:
    """Lowest and highest value of a pixel type; 0 and 1 for floating point."""
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        return float(info.min), float(info.max)
    return 0.0, 1.0

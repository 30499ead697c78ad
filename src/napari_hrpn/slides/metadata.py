"""Metadata of a written slide: the attributes of OME-Zarr 0.5 and the colours of channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.slides.channel_roles import guess_roles
from napari_hrpn.slides.contrast import value_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike

_OME_ZARR_VERSION = "0.5"
# by it an image that this program wrote is known
PYRAMID_TYPE = "mean of 2x2 pixels"
# where a prediction says what it is, among its attributes, and the array of what is finished of it
RECORD, FINISHED = "napari_hrpn", "finished"
_ROLE_COLORS = {"nuclei": "0000FF", "vessels": "00FF00", "probe": "FF0000"}
_OTHER_COLORS = ("FFFFFF", "FFFF00", "FF00FF", "00FFFF")
_BRIGHTFIELD_COLORS = ("FF0000", "00FF00", "0000FF")


def channel_colors(channel_names: Sequence[str], *, is_brightfield: bool = False) -> tuple[str, ...]:
    """Colour of each channel: by its role where the name tells one, else from a short list in turn.

    Parameters
    ----------
    channel_names : sequence of str
        Names in the order of the channels.
    is_brightfield : bool
        Whether the channels are the red, green and blue of a photograph.

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
) -> dict[str, Any]:
    """Attributes of an OME-Zarr 0.5 group whose arrays "0", "1", ... are the levels, finest first.

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
        Six hexadecimal digits per channel; by role where left out.
    contrast : sequence of (low, high), optional
        Display window per channel; the whole range of `dtype` where left out.
    dtype : dtype, optional
        Type of a pixel, for the range of the display window.

    Returns
    -------
    dict
        What goes under the key "ome": ``group.attrs["ome"] = multiscales_metadata(...)``.
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
    return {
        "version": _OME_ZARR_VERSION,
        "multiscales": [multiscale],
        "omero": {"channels": channels, "rdefs": {"model": "color"}},
    }


def _transformations(
    finest: Sequence[int], shape: Sequence[int], level: int, pixel_size_um: tuple[float, float] | None
) -> list[dict[str, Any]]:
    steps = [_downsample(full, size, level) for full, size in zip(finest[1:], shape[1:], strict=True)]
    size_y, size_x = pixel_size_um or (1.0, 1.0)
    scale = {"type": "scale", "scale": [1.0, steps[0] * size_y, steps[1] * size_x]}
    if level == 0:
        return [scale]
    # coordinates are those of pixel centres, and the centre of a coarse pixel lies between fine ones
    offsets = [(steps[0] - 1) / 2 * size_y, (steps[1] - 1) / 2 * size_x]
    return [scale, {"type": "translation", "translation": [0.0, *offsets]}]


def _downsample(full: int, size: int, level: int) -> float:
    """Fine pixels per coarse pixel; an odd edge makes the ratio of the sizes a little too small."""
    halved = 2**level
    return float(halved) if -(-full // halved) == size else full / size


def _omero_channels(
    names: Sequence[str],
    colors: Sequence[str],
    contrast: Sequence[tuple[float, float]] | None,
    dtype: DTypeLike | None,
) -> list[dict[str, Any]]:
    lowest, highest = value_range(np.dtype(float if dtype is None else dtype))
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

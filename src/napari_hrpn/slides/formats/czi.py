"""Zeiss CZI, read by pylibCZIrw (optional extra `czi`), which computes coarser levels when they are read.

The rule: planes are counted from 0 in the order of their indices, whatever index the first one has in the file.
"""

from __future__ import annotations

import importlib.util
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_hrpn.slides.errors import SlideError, reading_errors, warn
from napari_hrpn.slides.formats.ome_xml import parse_xml
from napari_hrpn.slides.lazy_pixels import PixelSource
from napari_hrpn.slides.slide_builder import RawImage, SeriesInfo, assemble, choose_plane, choose_series
from napari_hrpn.slides.units import micrometres, usable_pixel_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pandas as pd
    from pylibCZIrw.czi import CziReader

    from napari_hrpn.slides.slide import Slide

    # table of the stored subblocks of a scene, with their index along every axis and their edges
    _Scene: TypeAlias = pd.DataFrame

_EDGES = ("top", "left", "bottom", "right")
_CHUNK = 1024
_SMALLEST_LEVEL = 1024
_GREY_TYPES = {"Gray8": np.uint8, "Gray16": np.uint16, "Gray32Float": np.float32}


def read_slide(path: Path, *, series: int | None, z: int | None, t: int | None) -> Slide:
    """Read a slide from a CZI."""
    with _opened(path) as file:
        scenes = _scenes(file)
        chosen = choose_series(path.name, len(scenes), series, lambda: _described(file, scenes, path))
        scene = scenes[chosen]
        channels, planes, times = (_along(scene, axis) for axis in "CZT")
        chosen_z = choose_plane(path.name, "z", len(planes), z)
        chosen_t = choose_plane(path.name, "t", len(times), t)
        axes = sorted({*scene} - {*"SCZTM", *_EDGES})
        others = {axis: indices for axis in axes if (indices := _along(scene, axis))}
        plane = {axis: indices[0] for axis, indices in others.items()}
        plane |= {"Z": planes[chosen_z or 0], "T": times[chosen_t or 0]}
        _warn_of_what_is_not_shown(scene, [axis for axis, indices in others.items() if len(indices) > 1], plane, path)
        dtype = _dtype({file.get_channel_pixel_type(channel) for channel in channels}, path)
        names, size = _metadata(file, channels, path)
    halvings = max(0, math.ceil(math.log2(max(_shape(scene)[1:]) / _SMALLEST_LEVEL)))
    sources = tuple(_level(path, scene, plane, dtype, 2**level) for level in range(1 + halvings))
    return assemble(RawImage(path, sources, names, size, chosen, chosen_z, chosen_t))


def read_series(path: Path) -> tuple[SeriesInfo, ...]:
    """List the scenes of a CZI."""
    with _opened(path) as file:
        return _described(file, _scenes(file), path)


def _described(file: CziReader, scenes: Sequence[_Scene], path: Path) -> tuple[SeriesInfo, ...]:
    return tuple(
        SeriesInfo(
            index,
            f"Scene {index}",
            _shape(scene),
            usable_pixel_size(_metadata(file, _along(scene, "C"), path)[1]),
            len(_along(scene, "Z")),
            len(_along(scene, "T")),
        )
        for index, scene in enumerate(scenes)
    )


@contextmanager
def _opened(path: Path) -> Iterator[CziReader]:
    if importlib.util.find_spec("pylibCZIrw") is None:
        raise SlideError(
            f'{path.name} is a Zeiss CZI, which needs one more package: run `pip install "napari-hrpn[czi]"`.'
        )
    from pylibCZIrw import czi

    with reading_errors(f"{path.name} cannot be read as a CZI"), czi.open_czi(str(path)) as file:
        yield file


def _scenes(file: CziReader) -> list[_Scene]:
    """Scenes in the order of their numbers; a single one without a number if the file has no scenes."""
    import pandas as pd

    subblocks: list[dict[str, int]] = []

    def add(_index: int, info: Any) -> bool:  # noqa: ANN401 (of the library, which has no types)
        box = info.logicalRect
        edges = dict(zip(_EDGES, (box.y, box.x, box.y + box.h, box.x + box.w), strict=True))
        subblocks.append({"S": -1, "C": 0, "Z": 0, "T": 0, **info.coordinate.to_dict(), **edges})
        return True

    file.enumerate_subblocks(add)
    return [scene for _, scene in pd.DataFrame(subblocks).groupby("S")] if subblocks else []


def _along(scene: _Scene, axis: str) -> list[int]:
    """Sorted indices along an axis."""
    return [int(index) for index in sorted(scene[axis].dropna().unique())]


def _shape(scene: _Scene) -> tuple[int, int, int]:
    """Number of channels, height and width."""
    top, left, bottom, right = _EDGES
    return (
        scene["C"].nunique(),
        int(scene[bottom].max() - scene[top].min()),
        int(scene[right].max() - scene[left].min()),
    )


def _level(path: Path, scene: _Scene, plane: dict[str, int], dtype: np.dtype, factor: int) -> PixelSource:
    """One level of a scene, which the library reduces by a factor."""
    (count, height, width), numbers, series = _shape(scene), _along(scene, "C"), int(scene["S"].iloc[0])
    first_row, first_column = (int(scene[edge].min()) for edge in _EDGES[:2])

    def read(channels: slice, rows: slice, columns: slice) -> np.ndarray:
        high, wide = rows.stop - rows.start, columns.stop - columns.start
        corner = first_column + columns.start * factor, first_row + rows.start * factor
        options = {"roi": (*corner, wide * factor, high * factor), "scene": None if series < 0 else series}
        with _opened(path) as file:
            blocks = (
                file.read(plane={**plane, "C": channel}, zoom=1 / factor, **options) for channel in numbers[channels]
            )
            return np.stack([_fitted(block[..., :1].max(axis=-1), high, wide) for block in blocks]).astype(dtype)

    return PixelSource((count, -(-height // factor), -(-width // factor)), dtype, (1, _CHUNK, _CHUNK), read)


def _fitted(block: np.ndarray, height: int, width: int) -> np.ndarray:
    """A block of the expected size: the library may round it by a pixel, which is cut off or repeated."""
    missing = max(0, height - block.shape[0]), max(0, width - block.shape[1])
    return np.pad(block, [(0, missing[0]), (0, missing[1])], mode="edge")[:height, :width]


def _warn_of_what_is_not_shown(scene: _Scene, others: Sequence[str], plane: dict[str, int], path: Path) -> None:
    if others:
        warn(
            f"{path.name} has several images along {', '.join(others)} and the first is opened: export another one as "
            "OME-TIFF if you need it."
        )
    stored = set(scene["C"][(scene["Z"] == plane["Z"]) & (scene["T"] == plane["T"])])
    missing = [str(number) for number, index in enumerate(_along(scene, "C")) if index not in stored]
    if missing:
        warn(f"{path.name} has no pixels of channel {', '.join(missing)} in this plane, which read as 0.")


def _dtype(types: set[str], path: Path) -> np.dtype:
    if len(types) != 1 or not types <= _GREY_TYPES.keys():
        raise SlideError(
            f"{path.name} holds pixels of type {', '.join(sorted(types))}, expected one grey type "
            "for all channels: export it as OME-TIFF."
        )
    return np.dtype(_GREY_TYPES[types.pop()])


def _metadata(
    file: CziReader, indices: Sequence[int], path: Path
) -> tuple[tuple[str, ...], tuple[float, float] | None]:
    """Channel names and pixel size, which a CZI stores in metres, with 0 for an unknown one."""
    root = parse_xml(file.raw_metadata, path.name)
    listed = {
        channel.get("Id", f"unknown {number}"): channel.get("Name") or channel.findtext("Fluor") or ""
        for number, channel in enumerate(root.findall(".//Information/Image/Dimensions/Channels/Channel"))
    }
    ids = [f"Channel:{index}" for index in indices]
    # a file that is a part of another may list all channels of that
    names = tuple(listed[channel_id] for channel_id in ids) if set(ids) <= listed.keys() else tuple(listed.values())
    y, x = (micrometres(root.findtext(f".//Scaling/Items/Distance[@Id='{axis}']/Value"), "m") for axis in "YX")
    return names, (y, x) if y and x else None

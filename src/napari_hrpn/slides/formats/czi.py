"""Zeiss CZI through pylibCZIrw, an optional extra; the library scales the coarser levels when read.

The rule: planes are counted as they are stored, whatever the indices at which a file begins to count them.
"""

from __future__ import annotations

import importlib.util
import math
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.slides.errors import SlideError, reading_errors, warn
from napari_hrpn.slides.formats.ome_xml import parse_xml
from napari_hrpn.slides.guarded_array import PixelSource
from napari_hrpn.slides.slide_builder import RawImage, SeriesInfo, assemble, choose_plane, choose_series
from napari_hrpn.slides.units import micrometres, usable_pixel_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pylibCZIrw.czi import CziReader

    from napari_hrpn.slides.slide import Slide

_CHUNK = 1024
_SMALLEST_LEVEL = 1024
_GREY_TYPES = {"Gray8": np.uint8, "Gray16": np.uint16, "Gray32Float": np.float32}


@dataclass
class _Scene:
    """What the pieces of a scene say, one after the other."""

    number: int | None
    indices: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))  # Along each axis
    planes: set[tuple[int, int, int]] = field(default_factory=set)  # Channel, z and t of those that are stored
    corners: list[tuple[int, int, int, int]] = field(default_factory=list)  # Top, left, bottom, right of each piece

    def along(self, axis: str) -> list[int]:
        """Indices along an axis, in their order."""
        return sorted(self.indices[axis])

    @property
    def corner(self) -> tuple[int, int]:
        """Top and left of the rectangle around all pieces."""
        return min(corner[0] for corner in self.corners), min(corner[1] for corner in self.corners)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        bottom, right = (max(corner[side] for corner in self.corners) for side in (2, 3))
        top, left = self.corner
        return len(self.indices["C"]), bottom - top, right - left


def read_slide(path: Path, *, series: int | None, z: int | None, t: int | None) -> Slide:
    """A slide from a CZI."""
    with _opened(path) as file:
        scenes = _scenes(file, path)
        chosen = choose_series(path.name, len(scenes), series, lambda: _described(file, scenes, path))
        scene = scenes[chosen]
        channels, planes, times = (scene.along(axis) for axis in "CZT")
        chosen_z = choose_plane(path.name, "z", len(planes), z)
        chosen_t = choose_plane(path.name, "t", len(times), t)
        plane = {axis: indices[0] for axis in scene.indices if (indices := scene.along(axis))}
        plane |= {"Z": planes[chosen_z or 0], "T": times[chosen_t or 0]}
        _warn_of_what_is_not_shown(scene, plane, path)
        dtype = _dtype({file.get_channel_pixel_type(channel) for channel in channels}, path)
        names, size = _metadata(file, channels, path)
    halvings = max(0, math.ceil(math.log2(max(scene.shape[1:]) / _SMALLEST_LEVEL)))
    sources = tuple(_level(path, scene, plane, dtype, 2**level) for level in range(1 + halvings))
    return assemble(RawImage(path, sources, names, size, chosen, chosen_z, chosen_t))


def read_series(path: Path) -> tuple[SeriesInfo, ...]:
    """The scenes of a CZI."""
    with _opened(path) as file:
        return _described(file, _scenes(file, path), path)


def _described(file: CziReader, scenes: Sequence[_Scene], path: Path) -> tuple[SeriesInfo, ...]:
    return tuple(
        SeriesInfo(
            index,
            f"Scene {index}",
            scene.shape,
            usable_pixel_size(_metadata(file, scene.along("C"), path)[1]),
            len(scene.indices["Z"]),
            len(scene.indices["T"]),
        )
        for index, scene in enumerate(scenes)
    )


@contextmanager
def _opened(path: Path) -> Iterator[CziReader]:
    if importlib.util.find_spec("pylibCZIrw") is None:
        raise SlideError(
            f'{path.name} is a Zeiss CZI, which takes one more package: run `pip install "napari-hrpn[czi]"`.'
        )
    from pylibCZIrw import czi

    with reading_errors(f"{path.name} cannot be read as a CZI"), czi.open_czi(str(path)) as file:
        yield file


def _scenes(file: CziReader, path: Path) -> list[_Scene]:
    """The scenes in the order of their numbers; one without number where there are none."""
    found: dict[int | None, _Scene] = {}

    def add(_index: int, info: Any) -> bool:  # noqa: ANN401 (of the library, which names no types)
        place = dict(info.coordinate.to_dict())
        number = place.pop("S", None)
        place = {"C": 0, "Z": 0, "T": 0} | place
        scene, box = found.setdefault(number, _Scene(number)), info.logicalRect
        for axis, index in place.items():
            scene.indices[axis].add(index)
        scene.planes.add((place["C"], place["Z"], place["T"]))
        scene.corners.append((box.y, box.x, box.y + box.h, box.x + box.w))
        return True

    file.enumerate_subblocks(add)
    if not found:
        raise SlideError(f"{path.name} holds no image, expected at least one: export it again.")
    return sorted(found.values(), key=lambda scene: -1 if scene.number is None else scene.number)


def _level(path: Path, scene: _Scene, plane: dict[str, int], dtype: np.dtype, factor: int) -> PixelSource:
    """One level of a scene, which the library makes smaller by a factor."""
    (count, height, width), corner, numbers = scene.shape, scene.corner, scene.along("C")

    def read(channels: slice, rows: slice, columns: slice) -> np.ndarray:
        top, left = corner[0] + rows.start * factor, corner[1] + columns.start * factor
        high, wide = rows.stop - rows.start, columns.stop - columns.start
        roi = left, top, wide * factor, high * factor
        with _opened(path) as file:
            blocks = (
                file.read(roi=roi, plane={**plane, "C": channel}, scene=scene.number, zoom=1 / factor)
                for channel in numbers[channels]
            )
            return np.stack([_fitted(block[..., :1].max(axis=-1), high, wide) for block in blocks]).astype(dtype)

    return PixelSource((count, -(-height // factor), -(-width // factor)), dtype, (1, _CHUNK, _CHUNK), read)


def _fitted(block: np.ndarray, height: int, width: int) -> np.ndarray:
    """A block whose size the library rounded differently, cut or repeated at its edge by a pixel."""
    missing = max(0, height - block.shape[0]), max(0, width - block.shape[1])
    return np.pad(block, [(0, missing[0]), (0, missing[1])], mode="edge")[:height, :width]


def _warn_of_what_is_not_shown(scene: _Scene, plane: dict[str, int], path: Path) -> None:
    others = [axis for axis in sorted(scene.indices.keys() - {"C", "Z", "T", "M"}) if len(scene.indices[axis]) > 1]
    if others:
        warn(
            f"{path.name} has several images along {', '.join(others)} and the first is taken: export the one you want "
            "as OME-TIFF for another."
        )
    stored = [(channel, plane["Z"], plane["T"]) in scene.planes for channel in scene.along("C")]
    if not all(stored):
        missing = ", ".join(str(number) for number, is_stored in enumerate(stored) if not is_stored)
        warn(f"{path.name} has no pixels of channel {missing} in this plane, which read as 0.")


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
    """Channel names and the size of a pixel, which a CZI keeps in metres; zero stands for one that is not known."""
    root = parse_xml(file.raw_metadata, path.name)
    listed = {
        channel.get("Id", f"unknown {number}"): channel.get("Name") or channel.findtext("Fluor") or ""
        for number, channel in enumerate(root.findall(".//Information/Image/Dimensions/Channels/Channel"))
    }
    ids = [f"Channel:{index}" for index in indices]
    # a part of a file may list the channels of the whole
    names = tuple(listed[one] for one in ids) if set(ids) <= listed.keys() else tuple(listed.values())
    y, x = (micrometres(root.findtext(f".//Scaling/Items/Distance[@Id='{axis}']/Value"), "m") for axis in "YX")
    return names, (y, x) if y and x else None

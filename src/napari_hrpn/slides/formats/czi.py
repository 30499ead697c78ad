"""Zeiss CZI through pylibCZIrw, an optional extra; the library scales the coarser levels when read.

The rule: planes are counted as they are stored, whatever the indices at which a file begins to count them.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from napari_hrpn.slides.errors import SlideError, SlideWarning
from napari_hrpn.slides.formats.ome_xml import parse_xml
from napari_hrpn.slides.guarded_array import reason
from napari_hrpn.slides.plane_selection import SeriesInfo, choose_plane, choose_series
from napari_hrpn.slides.slide_builder import RawImage, assemble
from napari_hrpn.slides.units import micrometres, usable_pixel_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pylibCZIrw.czi import CziReader

    from napari_hrpn.slides.slide import Slide

_CHUNK = 1024
_SMALLEST_LEVEL = 1024
_TYPES = {
    "Gray8": np.uint8,
    "Gray16": np.uint16,
    "Gray32Float": np.float32,
    "Bgr24": np.uint8,
    "Bgr48": np.uint16,
}


@dataclass
class _Scene:
    """What the pieces of a scene say: indices along each axis, planes that are stored, and the rectangle around all."""

    number: int | None
    indices: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    planes: set[tuple[int, int, int]] = field(default_factory=set)
    left: int = 2**62
    top: int = 2**62
    right: int = -(2**62)
    bottom: int = -(2**62)

    def add(self, place: dict[str, int], box: Any) -> None:  # noqa: ANN401 (of the library, which names no types)
        """Take in one piece."""
        for axis in {"C", "Z", "T"} | place.keys():
            self.indices[axis].add(place.get(axis, 0))
        self.planes.add((place.get("C", 0), place.get("Z", 0), place.get("T", 0)))
        self.left, self.top = min(self.left, box.x), min(self.top, box.y)
        self.right, self.bottom = max(self.right, box.x + box.w), max(self.bottom, box.y + box.h)

    def along(self, axis: str) -> list[int]:
        """Indices along an axis, in their order."""
        return sorted(self.indices[axis])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return len(self.indices["C"]), self.bottom - self.top, self.right - self.left


class _CZILevel:
    """One level of one scene."""

    def __init__(
        self,
        path: Path,
        place: dict[str, int],
        channels: Sequence[int],
        corner: tuple[int, int],
        shape: tuple[int, int, int],
        dtype: np.dtype,
        factor: int,
    ) -> None:
        self._path = path
        self._place = place
        self._channels = channels
        self._corner = corner
        self._factor = factor
        self.shape = shape
        self.dtype = dtype
        self.chunks = (1, _CHUNK, _CHUNK)

    def read(self, channels: slice, rows: slice, columns: slice) -> np.ndarray:
        """Pixels of a block, of shape (c, y, x)."""
        factor = self._factor
        top, left = self._corner[0] + rows.start * factor, self._corner[1] + columns.start * factor
        height, width = rows.stop - rows.start, columns.stop - columns.start
        plane = {axis: index for axis, index in self._place.items() if axis != "scene"}
        blocks = []
        with _opened(self._path) as file:
            for channel in self._channels[channels]:
                block = file.read(
                    roi=(left, top, width * factor, height * factor),
                    plane={**plane, "C": channel},
                    scene=self._place.get("scene"),
                    zoom=1 / factor,
                )
                blocks.append(_fitted(block[..., :1].max(axis=-1), height, width))
        return np.stack(blocks).astype(self.dtype, copy=False)


def _fitted(block: np.ndarray, height: int, width: int) -> np.ndarray:
    """A block whose size the library rounded differently, cut or repeated at its edge by a pixel."""
    missing = max(0, height - block.shape[0]), max(0, width - block.shape[1])
    if any(missing):
        block = np.pad(block, ((0, missing[0]), (0, missing[1])), mode="edge")
    return block[:height, :width]


def open_czi(path: Path, *, series: int | None, z: int | None, t: int | None) -> Slide:
    """A slide from a CZI."""
    with _opened(path) as file:
        scenes = _scenes(file, path)
        chosen = choose_series(path.name, len(scenes), series, lambda: _described(file, scenes, path))
        scene = scenes[chosen]
        channels, planes, times = (scene.along(axis) for axis in "CZT")
        chosen_z = choose_plane(path.name, "z", len(planes), z)
        chosen_t = choose_plane(path.name, "t", len(times), t)
        place = {axis: indices[0] for axis in scene.indices if (indices := scene.along(axis))}
        place |= {"Z": planes[chosen_z or 0], "T": times[chosen_t or 0]}
        _warn_of_what_is_not_shown(scene, place, path)
        dtype = _dtype({file.get_channel_pixel_type(channel) for channel in channels}, path)
        names, size = _metadata(file, channels, path)
    if scene.number is not None:
        place["scene"] = scene.number
    count, height, width = scene.shape
    sources = [
        _CZILevel(
            path,
            place,
            channels,
            (scene.top, scene.left),
            (count, -(-height // factor), -(-width // factor)),
            dtype,
            factor,
        )
        for factor in _factors(max(height, width))
    ]
    return assemble(RawImage(path, tuple(sources), names, size, chosen, chosen_z, chosen_t))


def series_of_czi(path: Path) -> tuple[SeriesInfo, ...]:
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

    try:
        with czi.open_czi(str(path)) as file:
            yield file
    except (SlideError, SlideWarning):
        raise
    except Exception as error:
        raise SlideError(f"{path.name} cannot be read as a CZI ({reason(error)}).") from error


def _scenes(file: CziReader, path: Path) -> list[_Scene]:
    """The scenes in the order of their numbers; one without number where there are none."""
    found: dict[int | None, _Scene] = {}

    def add(_index: int, info: Any) -> bool:  # noqa: ANN401
        place = dict(info.coordinate.to_dict())
        number = place.pop("S", None)
        found.setdefault(number, _Scene(number)).add(place, info.logicalRect)
        return True

    file.enumerate_subblocks(add)
    if not found:
        raise SlideError(f"{path.name} holds no image, expected at least one: export it again.")
    return sorted(found.values(), key=lambda scene: -1 if scene.number is None else scene.number)


def _warn_of_what_is_not_shown(scene: _Scene, place: dict[str, int], path: Path) -> None:
    others = [axis for axis in sorted(scene.indices.keys() - {"C", "Z", "T", "M"}) if len(scene.indices[axis]) > 1]
    if others:
        warnings.warn(
            f"{path.name} has several images along {', '.join(others)} and the first is taken: export the one you want "
            "as OME-TIFF for another.",
            SlideWarning,
            stacklevel=2,
        )
    missing = [
        number
        for number, channel in enumerate(scene.along("C"))
        if (channel, place["Z"], place["T"]) not in scene.planes
    ]
    if missing:
        warnings.warn(
            f"{path.name} has no pixels of channel {', '.join(map(str, missing))} in this plane, which read as 0.",
            SlideWarning,
            stacklevel=2,
        )


def _factors(longest: int) -> list[int]:
    return [2**level for level in range(1 + max(0, math.ceil(math.log2(longest / _SMALLEST_LEVEL))))]


def _dtype(types: set[str], path: Path) -> np.dtype:
    if len(types) != 1 or not types <= {"Gray8", "Gray16", "Gray32Float"}:
        raise SlideError(
            f"{path.name} holds pixels of type {', '.join(sorted(types))}, expected one grey type "
            "for all channels: export it as OME-TIFF."
        )
    return np.dtype(_TYPES[types.pop()])


def _metadata(
    file: CziReader, indices: Sequence[int], path: Path
) -> tuple[tuple[str, ...], tuple[float, float] | None]:
    root = parse_xml(file.raw_metadata, path.name)
    channels = root.findall(".//Information/Image/Dimensions/Channels/Channel")
    listed = {
        channel.get("Id", f"unknown {number}"): channel.get("Name") or channel.findtext("Fluor") or ""
        for number, channel in enumerate(channels)
    }
    ids = [f"Channel:{index}" for index in indices]
    # a part of a file may list the channels of the whole
    names = tuple(listed[one] for one in ids) if set(ids) <= listed.keys() else tuple(listed.values())
    sizes = [_distance(root, axis) for axis in "YX"]
    if sizes[0] is None or sizes[1] is None:
        return names, None
    return names, (sizes[0], sizes[1])


def _distance(root: ElementTree.Element, axis: str) -> float | None:
    """Pixel size along an axis, which a CZI keeps in metres; zero stands for one that is not known."""
    return micrometres(root.findtext(f".//Scaling/Items/Distance[@Id='{axis}']/Value"), "m") or None

"""Leica LIF, whose table of contents liffile reads (optional extra `lif`); pixels are mapped from the file in parts.

The rule: pixels are where the positions and distances in bytes of the XML put them, whatever the order of the axes. A
tile scan that was not merged is one image for each tile.
"""

from __future__ import annotations

import importlib.util
import re
import struct
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.errors import SlideError, reading_errors, warn
from napari_hrpn.slides.formats.ome_xml import LONGEST_TEXT, MOST_PLANES
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
from napari_hrpn.slides.units import micrometres, usable_pixel_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from xml.etree.ElementTree import Element

    from liffile import LifFile, LifImageABC

    from napari_hrpn.slides.slide import Slide

_X, _Y, _Z, _T, _TILE = 1, 2, 3, 4, 10
_OTHER_AXES = {5: "emission wavelength", 6: "rotation", 7: "XT slices", 9: "excitation wavelength", 11: "loop"}
_RED, _BLUE = 1, 3
_VERSION = re.compile(r'<LMSDataContainerHeader\s[^<>]*?Version="(\d{1,9})"')
_BEGINNING_BYTES = 512
_FREE_CHUNK = 512


@dataclass(frozen=True)
class _Axis:
    """Axis of an image."""

    length: int = 1
    step: int = 0  # bytes from one element to the next
    spacing_um: float | None = None


@dataclass(frozen=True)
class _Image:
    """Image of a file, or one tile of a tile scan."""

    stored: LifImageABC
    axes: dict[int, _Axis]
    channels: Sequence[Element]
    tile: int = 0

    def along(self, axis: int) -> _Axis:
        """An axis, which has one element if the file does not have it."""
        return self.axes.get(axis, _Axis())

    @property
    def name(self) -> str:
        """Its name, with folders."""
        tile = f", tile {self.tile}" if self.along(_TILE).length > 1 else ""
        return f"{self.stored.path}{tile}"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of channels, height and width."""
        return len(self.channels), self.along(_Y).length, self.along(_X).length

    @property
    def pixel_size_um(self) -> tuple[float, float] | None:
        """Height and width of a pixel."""
        y, x = self.along(_Y).spacing_um, self.along(_X).spacing_um
        return (y, x) if y and x else None


def read_slide(path: Path, *, series: int | None, z: int | None, t: int | None) -> Slide:
    """Read a slide from a LIF."""
    with _opened(path) as file:
        images = _images(file)
        chosen = choose_series(path.name, len(images), series, lambda: _described(images))
        image = images[chosen]
        chosen_z = choose_plane(path.name, "z", image.along(_Z).length, z)
        chosen_t = choose_plane(path.name, "t", image.along(_T).length, t)
        _warn_of_what_is_not_shown(image, path, is_own_choice=series is not None)
        position = {_Z: chosen_z or 0, _T: chosen_t or 0, _TILE: image.tile}
        source = _source(path, image, position)
        is_colour = _is_colour(image.channels)
        names = COLOURS if is_colour else _names(image)
    is_brightfield = is_colour and light_background(source, path)
    size = image.pixel_size_um
    return assemble(RawImage(path, (source,), names, size, chosen, chosen_z, chosen_t, is_brightfield=is_brightfield))


def read_series(path: Path) -> tuple[SeriesInfo, ...]:
    """List the images of a LIF."""
    with _opened(path) as file:
        return _described(_images(file))


def _described(images: Sequence[_Image]) -> tuple[SeriesInfo, ...]:
    return tuple(
        SeriesInfo(
            index,
            image.name,
            image.shape,
            usable_pixel_size(image.pixel_size_um),
            image.along(_Z).length,
            image.along(_T).length,
        )
        for index, image in enumerate(images)
    )


@contextmanager
def _opened(path: Path) -> Iterator[LifFile]:
    if importlib.util.find_spec("liffile") is None:
        raise SlideError(
            f'{path.name} is a Leica LIF, which needs one more package: run `pip install "napari-hrpn[lif]"`.'
        )
    from liffile import LifFile

    with reading_errors(f"{path.name} cannot be read as a LIF"):
        _check_beginning(path)
        with LifFile(path) as file:
            yield file


def _check_beginning(path: Path) -> None:
    with path.open("rb") as file:
        beginning = file.read(_BEGINNING_BYTES)
    _, _, _, characters = struct.unpack_from("<IIBI", beginning)
    version = _VERSION.search(beginning[13:].decode("utf-16-le", errors="replace"))
    if version is None or version[1] not in ("1", "2"):
        found = "of no known kind" if version is None else f"of version {version[1]}"
        raise SlideError(
            f"{path.name} is a Leica file {found}, expected a LIF of version 1 or 2: save it as LIF or export it as "
            "OME-TIFF from LAS X."
        )
    if characters > LONGEST_TEXT:
        raise SlideError(
            f"{path.name} says that its metadata have {characters:,} characters, expected {LONGEST_TEXT:,} at most: "
            "the file may be damaged, copy it again from its source."
        )


def _images(file: LifFile) -> list[_Image]:
    """Images with rows and columns; photon counts of a lifetime and line scans are none."""
    found = []
    for stored in file.images:
        description = stored.xml_element.find("./Data/Image/ImageDescription")
        if description is not None:
            axes = dict(map(_axis, description.findall("./Dimensions/DimensionDescription")))
            channels = _in_order(description.findall("./Channels/ChannelDescription"))
            if {_X, _Y} <= axes.keys() and channels:
                tiles = min(axes.get(_TILE, _Axis()).length, MOST_PLANES)
                found += [_Image(stored, axes, channels, tile) for tile in range(tiles)]
    return found


def _axis(description: Element) -> tuple[int, _Axis]:
    length = int(description.attrib["NumberOfElements"])
    # the stated length is that from the first element to the last
    spacing = abs(float(description.get("Length", 0))) / (length - 1) if length > 1 else None
    step = int(description.attrib["BytesInc"])
    return int(description.attrib["DimID"]), _Axis(length, step, micrometres(spacing, description.get("Unit")))


def _in_order(channels: Sequence[Element]) -> list[Element]:
    """Channels in the order of the file; those of a colour photograph as red, green and blue."""
    key = "ChannelTag" if _is_colour(channels) else "BytesInc"
    return sorted(channels, key=lambda channel: int(channel.get(key, 0)))


def _is_colour(channels: Sequence[Element]) -> bool:
    return sorted(int(channel.get("ChannelTag", 0)) for channel in channels) == [*range(_RED, _BLUE + 1)]


def _names(image: _Image) -> list[str]:
    """Names of the dyes, of the cubes of filters, or of the colours in which the channels were shown."""
    cubes = image.stored.xml_element.findall("./Data/Image/Attachment//WideFieldChannelInfo")
    if len(cubes) != len(image.channels):
        cubes = []
    names = [cube.get("UserDefName") or cube.get("FluoCubeName") or "" for cube in cubes] or [""] * len(image.channels)
    return [
        _dye(channel) or name or channel.get("LUTName", "") for channel, name in zip(image.channels, names, strict=True)
    ]


def _dye(channel: Element) -> str:
    properties = {item.findtext("Key"): item.findtext("Value") or "" for item in channel.findall("ChannelProperty")}
    return properties.get("DyeName", "").removeprefix("Leica/")


def _source(path: Path, image: _Image, position: dict[int, int]) -> PixelSource:
    """A plane, at a position along the axes other than rows and columns."""
    offset, size = _block(path, image)
    dtype, (_, height, width) = _dtype(image.channels, path), image.shape
    first = sum(image.along(axis).step * index for axis, index in position.items())
    starts = [first + int(channel.get("BytesInc", 0)) for channel in image.channels]
    steps = image.along(_Y).step, image.along(_X).step

    def read(channels: slice, rows: slice, columns: slice) -> np.ndarray:
        # numpy refuses a plane that is not wholly inside the block
        block = np.memmap(path, np.uint8, "r", offset, (size,))
        planes = (np.ndarray((height, width), dtype, block, start, steps) for start in starts[channels])
        return np.stack([plane[rows, columns] for plane in planes])

    return PixelSource(image.shape, dtype, (1, _FREE_CHUNK, _FREE_CHUNK), read)


def _block(path: Path, image: _Image) -> tuple[int, int]:
    """Where the pixels of an image are in the file: first byte and number of bytes."""
    try:
        block = image.stored.memory_block
        offset, size = block.offset, block.size
    except (IndexError, KeyError):
        offset, size = 0, 0
    length = path.stat().st_size
    if size < 1 or offset + size > length:
        missing = f"the last {offset + size - length:,} bytes" if size else "the pixels"
        raise SlideError(
            f"{path.name} lacks {missing} of its image {image.name!r}, expected all: the file was cut short, copy it "
            "again from its source."
        )
    return offset, size


def _dtype(channels: Sequence[Element], path: Path) -> np.dtype:
    """Type of all channels, whose bits are stored in 1, 2, 4 or 8 bytes."""
    stored = {(int(channel.get("DataType", 0)), int(channel.get("Resolution", 0))) for channel in channels}
    types = {f"<{'uf'[kind]}{max(8, 1 << (bits - 1).bit_length()) // 8}" for kind, bits in stored}
    if len(types) != 1:
        listed = ", ".join(sorted(np.dtype(each).name for each in types))
        raise SlideError(
            f"{path.name} holds channels of several types ({listed}), expected one: export it as OME-TIFF from LAS X."
        )
    return np.dtype(types.pop())


def _warn_of_what_is_not_shown(image: _Image, path: Path, *, is_own_choice: bool) -> None:
    others = [name for axis, name in _OTHER_AXES.items() if image.along(axis).length > 1]
    if others:
        warn(
            f"{path.name} has several images along {', '.join(others)} and the first is opened: export another one as "
            "OME-TIFF if you need it."
        )
    tiles = image.along(_TILE).length
    if tiles > 1 and not is_own_choice:
        warn(
            f"{path.name} has a tile scan of {tiles:,} tiles that were not merged, of which one is opened: merge them "
            "in LAS X, and save the file again."
        )

"""Images of an OME-Zarr: checked metadata, and stored levels.

The rule for metadata: null counts as missing. Invalid metadata are ignored with a warning if the pixels can be shown
without them, and otherwise the image is refused.

The rule for levels: arrays have priority over metadata, and the largest array is the finest level. A coarser array that
cannot be a level of it is ignored with a warning, because the level can be computed. A finest level that cannot be read
as it was written is refused.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_hrpn.slides.errors import SlideError, warn
from napari_hrpn.slides.lazy_pixels import SMALLEST_CHUNK
from napari_hrpn.slides.predictions import PYRAMID_TYPE
from napari_hrpn.slides.units import micrometres
from napari_hrpn.slides.zarr_arrays import (
    array_metadata,
    array_reader,
    as_stored,
    check_inside,
    inner_place,
    open_zarr_array,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import zarr
    from numpy.typing import NDArray

    from napari_hrpn.slides.location import Location

    ZarrArray = zarr.Array[Any]
    # folder of a level, empty if it is the group itself, and height and width of its pixels in µm
    ListedLevel = tuple[str, tuple[float, float] | None]

_MOST_LEVELS = 64
_LETTER_OF_TYPE = {"channel": "c", "time": "t"}
_IGNORED_STEPS = ("identity", "translation")
# limits within which an image opens in 5 s and 500 MB
_LONGEST_SIDE_PX = 2**19
_MOST_CHANNELS = 512
_MOST_BLOCKS = 2**21
_SMALLEST_CHUNK_PX = 16
_LARGEST_CHUNK_BYTES = 4 * 2**30
_FEW_CHUNKS = 0.5
# names of type and coding in newer and older metadata
_TYPE_AND_CODING = (("data_type", "dtype"), ("codecs", "compressor"))


@dataclass(frozen=True)
class Multiscale:
    """One image of an OME-Zarr, from its metadata."""

    folder: Location
    axes: str  # lower-case letters out of t, c, z, y, x; empty if the metadata name none
    levels: tuple[ListedLevel, ...]  # folder and pixel size, in the order of the list
    names: tuple[str, ...]  # names of the channels; empty if the file has none
    title: str  # name of the image in the file
    is_ours: bool = False
    doubt: str = ""  # sentence why the pixel size counts as unknown; empty if it does not


def listed_images(folder: Location, attributes: dict[str, Any]) -> list[dict[str, Any]]:
    """Entries of the images in the metadata of a group."""
    entries = attributes.get("multiscales")
    if isinstance(entries, dict):
        # some programs write a single image without a list
        entries = [entries]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _not_understood(folder, f"'multiscales' is {shown(entries)}, expected a list of images")
    if not entries:
        raise SlideError(f"{folder.name} lists no image ('multiscales' is empty), expected one: convert it again.")
    return entries


def parse_image(folder: Location, attributes: dict[str, Any], entry: dict[str, Any]) -> Multiscale:
    """Check the metadata of one image."""
    axes = _axes(folder, entry)
    datasets = entry.get("datasets")
    if not isinstance(datasets, list) or not all(isinstance(one, dict) and "path" in one for one in datasets):
        raise _not_understood(folder, "'datasets' is no list of levels with a 'path' each")
    levels, doubts = [], []
    for dataset in datasets[:_MOST_LEVELS]:
        inner_place(folder, dataset["path"])
        size, doubt = _pixel_size(axes, [*_steps(dataset), *_steps(entry)])
        levels.append((str(dataset["path"]), size))
        doubts += [doubt] if doubt else []
    title = entry.get("name")
    return Multiscale(
        folder,
        "".join(axes),
        tuple((path, None if doubts else size) for path, size in levels),
        _names(attributes),
        title if isinstance(title, str) and title else folder.name,
        entry.get("type") == PYRAMID_TYPE,
        f"{folder.name} {doubts[0]}: the pixel size counts as unknown." if doubts else "",
    )


def _axes(folder: Location, entry: dict[str, Any]) -> dict[str, object]:
    """Letters of the axes in their order, each with its unit; empty if the metadata name none."""
    axes = entry.get("axes")
    if axes is None and "coordinateSystems" in entry:
        raise SlideError(f"{folder.name} is of a version after 0.5, expected OME-Zarr 0.1 to 0.5: convert it again.")
    if not axes:
        return {}
    listed = [axis if isinstance(axis, dict) else {"name": axis} for axis in axes] if isinstance(axes, list) else [{}]
    names = [axis.get("name") for axis in listed]
    if not all(isinstance(name, str) for name in names):
        raise _not_understood(folder, f"the axes are {shown(axes)}, expected names such as c, y, x")
    found = {_letter(axis): axis.get("unit") for axis in listed}
    if not set("yx") <= found.keys() <= set("tczyx") or len(found) < len(listed):
        raise SlideError(
            f"{folder.name} has the axes {', '.join(map(str, names))}, expected y and x, and each of t, c, z at most "
            "once: convert it again."
        )
    return found


def _letter(axis: dict[str, Any]) -> str:
    name = str(axis["name"]).strip().lower()
    # for a longer name, the type of the axis decides
    return name if len(name) == 1 else _LETTER_OF_TYPE.get(str(axis.get("type")), name)


def _steps(entry: dict[str, Any]) -> Iterator[object]:
    steps = entry.get("coordinateTransformations")
    yield from steps if isinstance(steps, list) else () if steps is None else (steps,)


def _pixel_size(axes: dict[str, object], steps: list[object]) -> tuple[tuple[float, float] | None, str]:
    """Height and width of a pixel, or None and the reason why they are not valid."""
    if not axes or not steps:
        return None, ""
    scale, has_scale = dict.fromkeys(axes, 1.0), False
    for step in steps:
        kind = step.get("type") if isinstance(step, dict) else None
        if kind == "scale" and isinstance(step, dict) and _is_scale(step.get("scale"), len(axes)):
            scale, has_scale = {axis: scale[axis] * new for axis, new in zip(axes, step["scale"], strict=True)}, True
        elif kind not in _IGNORED_STEPS:
            return None, f"has a scale that is not understood ({shown(step)} for {len(axes)} axes)"
    y, x = (micrometres(scale[axis], unit if isinstance(unit := axes[axis], str) else None) for axis in "yx")
    if (y is None) != (x is None):
        return None, f"has the unit {shown(axes['y'])} along y and {shown(axes['x'])} along x"
    return (y, x) if has_scale and y is not None and x is not None else None, ""


def _is_scale(numbers: object, count: int) -> bool:
    return (
        isinstance(numbers, list)
        and len(numbers) == count
        and all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers)
        and all(0 < one < 1e30 and math.isfinite(one) for one in numbers)
    )


def _names(attributes: dict[str, Any]) -> tuple[str, ...]:
    omero = attributes.get("omero")
    channels = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(channels, list):
        return ()
    labels = (channel.get("label") if isinstance(channel, dict) else None for channel in channels)
    return tuple(str(label) if isinstance(label, str | int | float) else "" for label in labels)


def _not_understood(folder: Location, fault: str) -> SlideError:
    return SlideError(f"{folder.name} has OME-Zarr metadata that are not understood ({fault}): convert it again.")


class Level(NamedTuple):
    """An opened level."""

    array: ZarrArray
    sizes: dict[str, int]  # length along each axis, in the order of the axes
    name: str
    pixel_size_um: tuple[float, float] | None
    share: float  # share of its chunks that are stored
    read: Callable[[tuple[Any, ...]], NDArray[Any]]  # reads a part of it


def opened_levels(image: Multiscale, root: Location) -> tuple[Level, ...]:
    """Open the levels of an image, finest first."""
    if not image.levels:
        raise SlideError(f"{image.folder.name} lists no levels, expected at least one: convert it again.")
    folders = [inner_place(image.folder, name) for name, _ in image.levels]
    arrays = [opened_array(folder, root) for folder in folders]
    axes = image.axes or _assumed_axes(image.folder, arrays[0])
    for array in arrays:
        _check_size(image.folder, axes, array)
    if image.doubt:
        warn(image.doubt)
    levels = []
    for (name, size), folder, declared in zip(image.levels, folders, arrays, strict=True):
        array, share = as_stored(declared, folder)
        sizes = dict(zip(axes, array.shape, strict=True))
        levels.append(Level(array, sizes, name, size, share, array_reader(array, folder, root)))
    levels.sort(key=lambda level: -level.sizes["y"] * level.sizes["x"])
    _check_chunks(image, levels)
    kept = [levels[0], *(level for level in levels[1:] if _belongs(image.folder, level, levels[0]))]
    return _with_sound_sizes(image.folder, kept)


def opened_array(folder: Location, root: Location) -> ZarrArray:
    """Open an array of a store."""
    name = f"{folder.parent.name}/{folder.name}"
    if isinstance(folder, Path) and not os.path.isdir(folder):  # noqa: PTH112 (which raises for a name too long)
        raise SlideError(
            f"{folder.parent.name} lists the level {folder.name} that is missing, expected all of "
            "the levels: copy it again."
        )
    check_inside(folder, root)
    try:
        array = open_zarr_array(folder)
    except SlideError:
        raise
    except Exception as error:
        found = array_metadata(folder)
        type_, coding = (shown(found.get(new, found.get(old))) for new, old in _TYPE_AND_CODING)
        raise SlideError(
            f"{name} is stored in a way that cannot be read here (pixels {type_}, coding {coding}), expected numbers "
            "in chunks of equal size: convert it with the program that wrote it, for example to uint16 with zstd."
        ) from error
    if math.prod(array.shape) == 0:
        raise SlideError(f"{name} is empty, expected at least one pixel: convert it again.")
    return array


def _assumed_axes(folder: Location, array: ZarrArray) -> str:
    axes = {2: "yx", 3: "cyx", 5: "tczyx"}.get(array.ndim, "")
    if not axes:
        raise SlideError(
            f"{folder.name} does not name its {array.ndim} axes, expected names such as c, y, x: convert it again."
        )
    if axes == "cyx":
        warn(f"{folder.name} names no axes, so the first of three counts as channels: check that it is no stack.")
    return axes


def _check_size(folder: Location, axes: str, array: ZarrArray) -> None:
    """Refuse images that would take minutes or all memory before the first pixel is shown."""
    if array.ndim != len(axes):
        raise SlideError(
            f"{folder.name} has levels with {array.ndim} axes but names {len(axes)}, "
            "expected as many: convert it again."
        )
    sizes, chunks = dict(zip(axes, array.shape, strict=True)), dict(zip(axes, array.chunks, strict=True))
    channels = sizes.get("c", 1)
    blocks = channels * math.prod(-(-sizes[axis] // max(chunks[axis], SMALLEST_CHUNK)) for axis in "yx")
    if max(array.shape) > _LONGEST_SIDE_PX or channels > _MOST_CHANNELS or blocks > _MOST_BLOCKS:
        raise SlideError(
            f"{folder.name} is too large, with {shown(array.shape)} pixels ({', '.join(axes)}), "
            f"expected at most {_LONGEST_SIDE_PX:,} px a side, "
            f"{_MOST_CHANNELS:,} channels and {_MOST_BLOCKS:,} blocks of "
            f"{SMALLEST_CHUNK} x {SMALLEST_CHUNK} px: cut it into parts, or store it in larger chunks."
        )
    if any(chunks[axis] < min(_SMALLEST_CHUNK_PX, sizes[axis] // _SMALLEST_CHUNK_PX) for axis in "yx"):
        raise SlideError(
            f"{folder.name} is stored in chunks of {chunks['y']} x {chunks['x']} px, which are far too many, "
            f"expected {_SMALLEST_CHUNK_PX} or more a side: convert it again, with chunks of 512 x 512 px."
        )
    size = math.prod(array.chunks) * np.dtype(array.dtype).itemsize
    if size > _LARGEST_CHUNK_BYTES:
        raise SlideError(
            f"{folder.name} is stored in chunks of more than {_LARGEST_CHUNK_BYTES / 2**30:.0f} GiB, expected fewer "
            "pixels in each: convert it again, with chunks of 512 x 512 px."
        )


def _check_chunks(image: Multiscale, levels: list[Level]) -> None:
    """Refuse a finest level without chunks, warn of few chunks, and remove coarser levels that have none."""
    finest, name = levels[0], image.folder.name
    if not finest.share and any(level.share for level in levels):
        raise SlideError(
            f"{name} has lost the pixels of its finest level: there are chunks of others but none of {finest.name}, "
            "expected some: copy it again from its source."
        )
    if image.is_ours:
        # this program does not store empty chunks or those that are not predicted yet
        return
    if finest.share < _FEW_CHUNKS:
        stored = f"about {finest.share:.0%} of the chunks" if finest.share else "no chunk"
        warn(
            f"{name} stores {stored} of its finest level, and the rest reads as {finest.array.fill_value}: this "
            "is correct if the program that wrote it omits empty chunks; otherwise copy it again."
        )
    for level in levels[1:]:
        if finest.share and not level.share:
            levels.remove(level)
            warn(f"{name} stores no chunk of its level {level.name}: the level is computed from the finest one.")


def _belongs(folder: Location, level: Level, finest: Level) -> bool:
    is_smaller = all(level.sizes[axis] <= finest.sizes[axis] for axis in "yx")
    is_alike = all(level.sizes.get(axis) == finest.sizes.get(axis) for axis in "ct")
    if is_smaller and is_alike and level.array.dtype == finest.array.dtype:
        return True
    warn(
        f"{folder.name} lists a level {level.name} of shape {level.array.shape} and type {level.array.dtype} that "
        f"is no smaller copy of the finest, {finest.array.shape} and {finest.array.dtype}: it is ignored."
    )
    return False


def _with_sound_sizes(folder: Location, levels: list[Level]) -> tuple[Level, ...]:
    """The levels, without pixel sizes if a coarser level has smaller pixels than a finer one."""
    known = [level for level in levels if level.pixel_size_um is not None]
    for finer, coarser in pairwise(known):
        pairs = zip("yx", finer.pixel_size_um or (), coarser.pixel_size_um or (), strict=True)
        if any(finer.sizes[axis] > coarser.sizes[axis] and fine > coarse * 1.01 for axis, fine, coarse in pairs):
            warn(
                f"{folder.name} gives its level {finer.name} larger pixels than the smaller level {coarser.name}: "
                "the pixel size counts as unknown."
            )
            return tuple(level._replace(pixel_size_um=None) for level in levels)
    return tuple(levels)

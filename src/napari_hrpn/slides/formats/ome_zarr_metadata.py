"""Metadata of the images of an OME-Zarr, checked; no array is opened here.

The rule: what is missing or null is not there; what cannot be meant is left out with a warning where pixels can be
shown without it, and refused in a sentence where they cannot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.predictions import PYRAMID_TYPE
from napari_hrpn.slides.units import micrometres
from napari_hrpn.slides.zarr_arrays import inner_place, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_hrpn.slides.location import Location

    # The folder of a level, empty where it is the group itself, and height and width of its pixels in µm
    ListedLevel = tuple[str, tuple[float, float] | None]

_MOST_LEVELS = 64
_LETTER_OF_TYPE = {"channel": "c", "time": "t"}
_IGNORED_STEPS = ("identity", "translation")


@dataclass(frozen=True)
class Multiscale:
    """One image of an OME-Zarr, as its metadata describe it."""

    folder: Location
    axes: str  # Lower-case letters out of t, c, z, y, x; empty where the metadata name none
    levels: tuple[ListedLevel, ...]  # Folder and size of a pixel, in the order in which they are listed
    names: tuple[str, ...]  # Of the channels; empty where the file says nothing
    title: str  # What the file calls the image
    is_ours: bool = False
    doubt: str = ""  # Why the size of a pixel counts as unknown, as a sentence; empty where it does not


def listed_images(folder: Location, attributes: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of a group's images."""
    entries = attributes.get("multiscales")
    if isinstance(entries, dict):
        # as some wrote who meant a single one
        entries = [entries]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _not_understood(folder, f"'multiscales' is {shown(entries)}, expected a list of images")
    if not entries:
        raise SlideError(f"{folder.name} lists no image ('multiscales' is empty), expected one: convert it again.")
    return entries


def parse_image(folder: Location, attributes: dict[str, Any], entry: dict[str, Any]) -> Multiscale:
    """Understand one image."""
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
        f"{folder.name} {doubts[0]}: the size of a pixel counts as unknown." if doubts else "",
    )


def _axes(folder: Location, entry: dict[str, Any]) -> dict[str, object]:
    """The letters of the axes in their order, each with its unit; empty where the metadata name none."""
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
            f"{folder.name} has the axes {', '.join(map(str, names))}, expected y and x and of t, c, z each at most "
            "once: convert it again."
        )
    return found


def _letter(axis: dict[str, Any]) -> str:
    name = str(axis["name"]).strip().lower()
    # a longer name says no more than what kind of axis it is
    return name if len(name) == 1 else _LETTER_OF_TYPE.get(str(axis.get("type")), name)


def _steps(entry: dict[str, Any]) -> Iterator[object]:
    steps = entry.get("coordinateTransformations")
    yield from steps if isinstance(steps, list) else () if steps is None else (steps,)


def _pixel_size(axes: dict[str, object], steps: list[object]) -> tuple[tuple[float, float] | None, str]:
    """Height and width of a pixel, and what is wrong with them."""
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

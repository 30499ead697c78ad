"""OME-Zarr folders that this program wrote, which alone it may delete; every name in them is looked at."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_hrpn.core.files import saved_json
from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.metadata import FINISHED, PYRAMID_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = "zarr.json"
# what file managers leave in any folder that is looked at
_LEFT_BY_SYSTEMS = {".DS_Store", "Thumbs.db", "desktop.ini"}
LEFT_BY_ZARR = re.compile(r"(\d+|c|zarr)\.[0-9a-f]{32}\.partial")
"""Name of a file that zarr is writing, after the one it will be."""
_OF_ARRAYS = re.compile(rf"(c|\d+|\.lock|zarr\.json|{LEFT_BY_ZARR.pattern})")


def check_replaceable(folder: Path) -> None:
    """Refuse to replace a folder unless all in it was written by this program."""
    attributes = _attributes(folder)
    arrays = _arrays(attributes)
    if not arrays:
        msg = f"{folder} is a folder but not an OME-Zarr of this program, so it stays: choose another name."
        raise SlideError(msg)
    for name in _others(folder, arrays):
        msg = f"{folder} holds {name}, which this program did not write, so it stays: move that, or choose a new name."
        raise SlideError(msg)


def _attributes(folder: Path) -> dict[str, Any]:
    attributes = (saved_json(folder / _ROOT, SlideError) or {}).get("attributes")
    return attributes if isinstance(attributes, dict) else {}


def _arrays(attributes: dict[str, Any]) -> set[str]:
    """Names of the arrays of an image that this program wrote; empty for all others."""
    try:
        (image,) = attributes["ome"]["multiscales"]
        levels = {str(dataset["path"]) for dataset in image["datasets"]}
        return levels | {FINISHED} if image["type"] == PYRAMID_TYPE else set()
    except (KeyError, TypeError, ValueError):
        return set()


def _others(folder: Path, arrays: set[str]) -> Iterator[str]:
    """Paths in a folder that are not of its arrays."""
    for place, folders, files in os.walk(folder):
        inside = Path(place).relative_to(folder)
        for name in (*folders, *files):
            is_known = bool(_OF_ARRAYS.fullmatch(name)) if inside.parts else name in {_ROOT, *arrays}
            if name not in _LEFT_BY_SYSTEMS and (not is_known or Path(place, name).is_symlink()):
                yield (inside / name).as_posix()

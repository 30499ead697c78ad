"""Places inside a Zarr store: neither its metadata nor its links lead out of it."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath, PureWindowsPath

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.location import ZARR_METADATA, Location


def check_inside(place: Location, root: Location) -> None:
    """Refuse a folder of a store that a link, or its metadata, lets lead out of it."""
    if not isinstance(place, Path) or not isinstance(root, Path):
        return
    top = os.path.realpath(root)
    for one in (place, *(place / name for name in ZARR_METADATA)):
        if not is_inside(os.path.realpath(one), top):
            raise SlideError(leads_out(root, one))


def is_inside(real: str, top: str) -> bool:
    """Whether a path is a folder or in it."""
    return real == top or real.startswith(top.rstrip(os.sep) + os.sep)


def leads_out(root: Location, place: object) -> str:
    """Say that a link leads out of a store."""
    return (
        f"{root.name} has a link that leads out of it ({place}), expected all pixels inside: copy it with the files "
        "that its links lead to, as `cp -rL` does."
    )


def inner_place(folder: Location, name: object) -> Location:
    """Find a folder by the path that metadata give."""
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise SlideError(f"{folder.name} lists a path that is {shown(name)}, expected the name of a folder in it.")
    words = str(name)
    is_elsewhere = (
        "://" in words
        or "\0" in words
        or any(".." in kind(words).parts or kind(words).anchor for kind in (PurePosixPath, PureWindowsPath))
    )
    if is_elsewhere:
        raise SlideError(
            f"{folder.name} lists the path {shown(words)}, which leads out of it, expected a folder in it."
        )
    return folder / words if words else folder


def shown(value: object) -> str:
    """Write a value as it stands in JSON, cut where it is long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:60]} …"

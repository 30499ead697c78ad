"""Paths as users type them: a leading ~ is a home, and a path of Windows makes no folder on other systems."""

from __future__ import annotations

import os
import re
from pathlib import Path

from napari_hrpn.slides.errors import SlideError

# half characters, but for those in which Python keeps the bytes of names in other encodings
_NO_NAME = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")
_OF_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def user_path(words: str | os.PathLike[str], folder: Path | None = None) -> Path:
    """Understand what a user typed for a path of this machine."""
    if _NO_NAME.search(str(words)):
        msg = f"{ascii(str(words))[:80]} is no path, expected letters that the name of a file may have: check it."
        raise SlideError(msg)
    path = Path(words)
    first = path.parts[0] if path.parts else ""
    if first != "~" and os.path.lexists(Path(folder or "", first)):
        return path
    if os.name != "nt" and _OF_WINDOWS.match(str(words)):
        msg = f"{path} is a path of Windows, which this machine is not: give the path that it has here."
        raise SlideError(msg)
    if not first.startswith("~"):
        return path
    home = Path(os.path.expanduser(first))  # noqa: PTH111 (which raises where there is none)
    if home.is_dir():
        return home.joinpath(*path.parts[1:])
    if len(path.parts) == 1 and first != "~":
        return path
    msg = f"{path} is in the home of a user who has none on this machine: write the whole path."
    raise SlideError(msg)

"""Opening napari on results, where there is a screen and napari is installed; this package never imports it here."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_hrpn.slides import Location


def viewer_command(paths: Sequence[Location], python: str = "napari") -> list[str]:
    """Give the command that opens napari on slides with this package's reader."""
    return [*python.split("\0"), *map(str, paths), "--plugin", "napari-hrpn"]


def why_no_viewer(platform: str, environment: Mapping[str, str]) -> str:
    """Say why napari cannot be opened here."""
    if find_spec("napari") is None:
        return 'napari is not installed (pip install "napari-hrpn[all]")'
    has_screen = platform in {"darwin", "win32"} or environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
    return "" if has_screen else "there is no display"


def open_viewer(paths: Sequence[Location], log: Path) -> str:
    """Open napari on slides, in a process of its own that outlives this one."""
    reason = why_no_viewer(sys.platform, os.environ)
    if reason:
        return f"To look at it ({reason} here): {' '.join(viewer_command(paths))}"
    command = viewer_command([path.resolve() for path in paths], "\0".join((sys.executable, "-m", "napari")))
    with log.open("wb") as printed:
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT, start_new_session=True
        )
    return f"napari opens in a window of its own; what it prints goes to {log}"

"""Preferences of this package in napari: what forms begin with in place of the defaults of the settings."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.settings import get_plugin_settings
from napari.utils.notifications import show_info

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.inference import Device

_AUTOMATIC = "auto"
_said: set[str] = set()


def preferred(name: str) -> Any:  # noqa: ANN401 (of the type in napari.yaml)
    """Value of a preference; None if it is empty or zero, or if napari cannot read it."""
    try:
        return getattr(_stored(), name, None) or None
    # where the plugin was not discovered, or the file of its preferences is damaged
    except (KeyError, AttributeError, ValueError, OSError):
        return None


def _stored() -> object:
    return get_plugin_settings("napari-hrpn").forms


def preferred_device(devices: Sequence[Device]) -> tuple[str, str]:
    """Name of the preferred device, and a sentence if this computer does not have it."""
    wanted = preferred("device") or _AUTOMATIC
    if wanted == _AUTOMATIC:
        return wanted, ""
    found = [device.name for device in devices if device.name.partition(":")[0] == wanted]
    problem = f"The preferences name the device {wanted}, which is not there: the fastest one is chosen."
    return (found[0], "") if found else (_AUTOMATIC, problem)


def preferred_folder() -> Path | None:
    """Folder for outputs, if it can be written; otherwise the user is told once."""
    named = preferred("output_folder")
    if named is None:
        return None
    folder = Path(named).expanduser()
    if folder.is_absolute() and folder.is_dir() and os.access(folder, os.W_OK):
        return folder
    if named not in _said:
        _said.add(named)
        show_info(f"{folder}, the output folder of the preferences, cannot be written: that of the slide is proposed.")
    return None


def set_log_level() -> None:
    """Log what the preferences say; napari shows it in Help > Show logs."""
    logging.getLogger("napari_hrpn").setLevel((preferred("log_level") or "warning").upper())

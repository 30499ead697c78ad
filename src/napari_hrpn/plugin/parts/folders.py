"""Folders for what widgets write, where the user has chosen none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

if TYPE_CHECKING:
    from napari_hrpn.slides import Location


def folder_beside(source: Location | None) -> Path:
    """Folder of a slide's file, if it is of this machine and can be written; else that of the user's documents."""
    if isinstance(source, Path) and source.is_absolute():
        beside = source.parent
        if beside.is_dir() and os.access(beside, os.W_OK):
            return beside
    return platformdirs.user_documents_path()

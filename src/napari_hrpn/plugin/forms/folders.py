"""Folders for what widgets write, where the user has chosen none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import platformdirs

if TYPE_CHECKING:
    from pathlib import Path


def folder_beside(source: Path | None) -> Path:
    """Folder of a slide's file, if it can be written; else that of the user's documents.

    Parameters
    ----------
    source : pathlib.Path or None
        The file, or folder, of the slide.

    Returns
    -------
    pathlib.Path
        One that can be written.
    """
    if source is not None and source.is_absolute():
        beside = source.parent
        if beside.is_dir() and os.access(beside, os.W_OK):
            return beside
    return platformdirs.user_documents_path()

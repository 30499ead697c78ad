"""Warnings that a form shows: napari would show them a second time, as notifications."""

from __future__ import annotations

import re
import warnings


def leave_to_the_form(category: type[Warning], module: str) -> None:
    """Ignore warnings of a kind where a module of a widget is told of them; scripts are warned as ever."""
    # recording them instead would catch those of other threads, and lose them
    warnings.filterwarnings("ignore", category=category, module=rf"{re.escape(module)}\Z")

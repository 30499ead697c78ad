"""What predictions are called, as layers and as folders: after the slide and after the checkpoint."""

from __future__ import annotations

import re

_LONGEST_TITLE, _LONGEST_BYTES = 40, 60
NOT_IN_FILE_NAMES = r'[<>:"/\\|?*\x00-\x1f\x7f]'


def short_title(checkpoint: str) -> str:
    """Title of a checkpoint, no longer than fits into the name of a layer."""
    words = " ".join(checkpoint.split())
    return words if len(words) <= _LONGEST_TITLE else f"{words[: _LONGEST_TITLE - 1].rstrip()}…"


def file_title(checkpoint: str) -> str:
    """Title of a checkpoint as part of a file name."""
    words = re.sub(NOT_IN_FILE_NAMES, "_", " ".join(checkpoint.split()))[:_LONGEST_TITLE]
    # file systems count bytes
    return words.encode()[:_LONGEST_BYTES].decode(errors="ignore").strip(" .") or "untitled"


def prediction_name(folder: str, channel: str, checkpoint: str) -> str:
    """Name of the layer of a prediction."""
    if not checkpoint:
        return f"{folder} {channel}"
    slide, _, rest = folder.rpartition(".predicted")
    words = channel if channel.startswith("predicted ") else f"predicted {channel}"
    number = re.fullmatch(rf"-{re.escape(file_title(checkpoint))}-(\d+)", rest)
    again = "" if number is None else f" {number[1]}"
    return f"{slide or folder} {words} ({short_title(checkpoint)}){again}"

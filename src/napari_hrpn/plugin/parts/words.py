"""Sentences and lengths of time as a label shows them."""

from __future__ import annotations

import re


def breakable(sentence: str) -> str:
    """A sentence whose paths may be broken into lines: one long word would make the dock wider."""
    return re.sub(r"([/\\_.-])", "\\1\u200b", sentence)


def time_in_words(seconds: float) -> str:
    """A length of time as one would say it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

"""Sentences and lengths of time as a label shows them."""

from __future__ import annotations

import re


def breakable(sentence: str) -> str:
    """A sentence whose paths may be broken into lines: one long word would make the dock wider.

    Parameters
    ----------
    sentence : str
        For a label.

    Returns
    -------
    str
        The same to the eye.
    """
    return re.sub(r"([/\\_.-])", "\\1\u200b", sentence)


def time_in_words(seconds: float) -> str:
    """A length of time as one would say it.

    Parameters
    ----------
    seconds : float
        0 or more.

    Returns
    -------
    str
        In seconds up to two minutes, in minutes up to two hours, in hours beyond.

    Examples
    --------
    >>> time_in_words(42.3), time_in_words(300), time_in_words(9000)
    ('42 s', '5 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

"""Names are text: without characters that no file holds, and never a formula in a spreadsheet."""

from __future__ import annotations

import re
from typing import Any

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes the first character of a formula for."""
_UNPRINTABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """A text on one line, in which control characters and lone surrogates are replaced.

    Parameters
    ----------
    text : str
        Any.

    Returns
    -------
    str
        It can be encoded as UTF-8.
    """
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))


def csv_cell(value: Any) -> Any:  # noqa: ANN401 (whatever a table holds)
    """A cell of a CSV file: a text that a spreadsheet would compute gets an apostrophe before it.

    Parameters
    ----------
    value : object
        Of any type; numbers stay as they are.

    Returns
    -------
    object
        The value.
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value

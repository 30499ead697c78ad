"""Plain text of names: printable characters, and no formulas in spreadsheets."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

# with this a spreadsheet begins a formula; what looks as if it had been marked before is marked again
_FORMULA = re.compile("'*[=+@\t\r-]")


def printable(text: str) -> str:
    """A text as every format can hold it: one line, without control characters."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return " ".join("".join(" " if _is_control(character) else character for character in whole).split())


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Zl", "Zp") or ord(character) & 0xFFFE == 0xFFFE


def csv_cell(value: Any) -> Any:  # noqa: ANN401 (whatever a table holds)
    """A cell of a CSV file: a text that a spreadsheet would compute gets an apostrophe before it."""
    if not isinstance(value, str):
        return value
    # pandas leaves a carriage return outside of quotation marks, where it begins a new row
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if _FORMULA.match(value) else text


def text_of_cell(value: Any) -> Any:  # noqa: ANN401 (whatever a table holds)
    """What `csv_cell` made a cell of."""
    is_marked = isinstance(value, str) and value[:1] == "'" and _FORMULA.match(value)
    return value[1:] if is_marked else value

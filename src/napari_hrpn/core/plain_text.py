"""Plain text of names: printable characters, and no formulas in spreadsheets."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

# spreadsheets take these first characters for a formula; text that already begins with apostrophes gets one more, so
# that `text_of_cell` restores every text
_FORMULA = re.compile("'*[=+@\t\r-]")
NOT_IN_FILE_NAMES = r'[<>:"/\\|?*\x00-\x1f\x7f]'
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|$)", re.IGNORECASE)


def printable(text: str) -> str:
    """Text in a form that every file format can hold: one line, without control characters."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return " ".join("".join(" " if _is_control(character) else character for character in whole).split())


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Zl", "Zp") or ord(character) & 0xFFFE == 0xFFFE


def no_device(name: str) -> str:
    """File name that Windows does not take for a device, as it does CON and nul.csv."""
    return f"_{name}" if _DEVICE.match(name) else name


def csv_cell(value: Any) -> Any:  # noqa: ANN401 (any value of a table)
    """Cell of a CSV file; text that a spreadsheet would compute as a formula gets an apostrophe before it."""
    if not isinstance(value, str):
        return value
    # pandas does not quote a lone carriage return, which would then begin a new row
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if _FORMULA.match(value) else text


def text_of_cell(value: Any) -> Any:  # noqa: ANN401 (any value of a table)
    """Value that `csv_cell` made a cell from."""
    is_marked = isinstance(value, str) and value[:1] == "'" and _FORMULA.match(value)
    return value[1:] if is_marked else value

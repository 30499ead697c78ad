"""Golden files on disk and their comparison: numbers to a tolerance, everything else to the letter."""

import csv
import io
import json
import lzma
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from golden.inputs import FILES

RELATIVE, ABSOLUTE = 1e-9, 1e-12
LARGEST_PLAIN = 16_000
"""Characters beyond which a golden file is compressed."""


def write_golden(name: str, text: str) -> None:
    """Write a golden file, compressed if it is long."""
    path = FILES / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in (path, _packed(path)):
        old.unlink(missing_ok=True)
    if len(text) > LARGEST_PLAIN:
        _packed(path).write_bytes(lzma.compress(text.encode(), preset=9))
    else:
        path.write_bytes(text.encode())


def read_golden(name: str) -> str:
    """Read a golden file."""
    path = FILES / name
    return (
        lzma.decompress(_packed(path).read_bytes()).decode() if _packed(path).exists() else path.read_bytes().decode()
    )


def golden_names(folder: str) -> set[str]:
    """Names of the golden files of a folder."""
    paths = [path for path in (FILES / folder).rglob("*") if path.is_file()]
    return {path.relative_to(FILES).as_posix().removesuffix(".xz") for path in paths}


def _packed(path: Path) -> Path:
    return path.with_name(f"{path.name}.xz")


def differences(name: str, found: str, relative: float = RELATIVE) -> list[str]:
    """Where a text differs from its golden file; one sentence for each place."""
    expected = read_golden(name)
    if name.endswith("json"):
        pairs = _tree_differences(json.loads(expected), json.loads(found), "", relative)
    elif name.endswith(".csv"):
        pairs = _table_differences(_table(expected), _table(found), relative)
    else:
        pairs = _table_differences(_lines(expected), _lines(found), relative)
    return [f"{name}{place}: {now!r}, expected {before!r}" for place, before, now in pairs]


def check(texts: dict[str, str], folder: str, relative: float = RELATIVE) -> None:
    """Fail with the first differences, if there are any."""
    assert set(texts) == golden_names(folder)
    found = [sentence for name, text in texts.items() for sentence in differences(name, text, relative)]
    shown = "\n".join(found[:20])
    assert not found, f"{len(found)} differences:\n{shown}"


Difference = tuple[str, Any, Any]


def _tree_differences(before: Any, now: Any, place: str, relative: float) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            if key not in before or key not in now:
                yield f"{place}/{key}", before.get(key, "nothing"), now.get(key, "nothing")
            else:
                yield from _tree_differences(before[key], now[key], f"{place}/{key}", relative)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _tree_differences(one, other, f"{place}/{number}", relative)
    elif not _is_same(before, now, relative):
        yield place, before, now


def _is_same(before: Any, now: Any, relative: float) -> bool:
    if isinstance(before, bool) or isinstance(now, bool) or not isinstance(before, int | float):
        return before == now and type(before) is type(now)
    if not isinstance(now, int | float):
        return False
    both_nan = math.isnan(before) and math.isnan(now)
    return both_nan or math.isclose(before, now, rel_tol=relative, abs_tol=ABSOLUTE)


def _table(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def _lines(text: str) -> list[list[str]]:
    return [[line] for line in text.splitlines()]


def _table_differences(before: list[list[str]], now: list[list[str]], relative: float) -> Iterator[Difference]:
    if len(before) != len(now):
        yield " rows", len(before), len(now)
    for number, (old, new) in enumerate(zip(before, now, strict=False)):
        if len(old) != len(new):
            yield f" row {number} columns", len(old), len(new)
        for column, (one, other) in enumerate(zip(old, new, strict=False)):
            if not _is_same(_value(one), _value(other), relative):
                yield f" row {number}, {before[0][min(column, len(before[0]) - 1)]}", one, other


def _value(cell: str) -> Any:
    try:
        return float(cell)
    except ValueError:
        return cell

"""Writes the golden files with the package as it is; to be run by hand, when a change of numbers or words is meant.

    python tests/golden/write.py [--overwrite] [PART...]

A part is the beginning of the names of golden files, such as evaluation-uint8, help or old; without one, all are
written. The stored phantom is never written again: it is the input of everything. Neither are the old files, which
`old` makes tables of, unless somebody deleted their archive.
"""

import argparse
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from golden import interfaces, old_files, scenes, tables
from golden.compare import differences, golden_names, write_golden
from golden.inputs import FILES, KINDS

MOST_SHOWN = 20


def parts() -> Iterator[tuple[str, Callable[[Path], dict[str, str]]]]:
    """Parts of the golden files, in the order in which they are made, with what makes them."""
    for kind in KINDS:
        yield f"evaluation-{kind}", lambda folder, kind=kind: tables.evaluation(folder, kind)
    yield "widgets", _widgets
    yield "interfaces", scenes.interfaces_texts
    yield "exported", lambda _: {"exported/names.json": json.dumps(interfaces.exported_names(), indent=1)}
    yield "help", lambda _: interfaces.help_texts()
    yield "old", _old
    # of the old files, too
    yield "facts", scenes.facts


def _widgets(folder: Path) -> dict[str, str]:
    from qtpy.QtWidgets import QApplication

    application = QApplication.instance() or QApplication([])
    with pytest.MonkeyPatch.context() as monkeypatch:
        found = tables.widget_tables(folder, monkeypatch)
    application.processEvents()
    return found


def _old(folder: Path) -> dict[str, str]:
    if not old_files.ARCHIVE.exists():
        made = folder / "made"
        made.mkdir()
        old_files.make(made)
        old_files.pack(made)
    return scenes.old_tables(old_files.unpack(folder / "unpacked"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--overwrite", action="store_true", help="replace golden files that are there")
    words = parser.parse_args()
    os.environ |= interfaces.TERMINAL
    warnings.simplefilter("ignore")
    chosen = [(name, make) for name, make in parts() if not words.parts or name.startswith(tuple(words.parts))]
    there = [name for name, _ in chosen if golden_names(name)]
    if there and not words.overwrite:
        sys.exit(f"golden files of {', '.join(there)} are there already; give --overwrite if new ones are meant")
    for name, make in chosen:
        with tempfile.TemporaryDirectory() as folder:
            texts = make(Path(folder).resolve())
        for old in golden_names(name) - set(texts):
            for path in FILES.glob(f"{old}*"):
                path.unlink()
        for golden, text in texts.items():
            changes = differences(golden, text) if golden in golden_names(name) else [f"{golden} is new"]
            print(
                *changes[:MOST_SHOWN],
                *(["..."] if len(changes) > MOST_SHOWN else []),
                sep="\n",
                end="\n" * bool(changes),
            )
            write_golden(golden, text)
        print(f"{name}: {len(texts)} files")


if __name__ == "__main__":
    main()

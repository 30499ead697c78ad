"""Saving of tables and figures to files that the user chooses: whole or not at all, never over another unasked."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

from napari_hrpn.core.plain_text import csv_cell
from napari_hrpn.plugin.parts.folders import folder_beside
from napari_hrpn.reports import plain_text
from napari_hrpn.slides import Location, SlideError, slide_name
from napari_hrpn.slides.writers.output_path import partial_output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.figure import Figure

    Row = Mapping[str, Any]

_DPI = 200
FIGURES = "PNG (*.png);;SVG (*.svg)"
TABLES = "CSV (*.csv)"


def save_button(actions: Sequence[tuple[str, str, Callable[[], None]]]) -> QPushButton:
    """A button with a menu of what can be saved."""
    button = QPushButton("Save …")
    button.setToolTip("Save tables as CSV and plots as PNG or SVG")
    menu = QMenu(button)
    menu.setToolTipsVisible(True)
    for title, tooltip, action in actions:
        entry = menu.addAction(title)
        if entry is not None:
            entry.setToolTip(tooltip)
            # Qt tells whether it is checked
            entry.triggered.connect(lambda _checked=False, action=action: action())
    button.setMenu(menu)
    return button


def ask_where(parent: QWidget, title: str, proposal: Path, kinds: str) -> tuple[Path, bool] | None:
    """Ask where to save something."""
    chosen, kind = QFileDialog.getSaveFileName(parent, title, str(proposal), kinds)
    if not chosen:
        return None
    path = Path(chosen)
    if path.suffix.lower() in [part.split(")")[0] for part in kinds.split("*")[1:]]:
        # the dialog has asked where this very file exists
        return path, True
    return path.with_name(path.name + (_ending(kind) or ".csv")), False


def ask_and_save(
    parent: QWidget,
    what: str,
    source: Location | None,
    kinds: str,
    write: Callable[..., None],
    say: Callable[[str], None],
    refuse: Callable[[str], None],
) -> None:
    """Ask where to save something of a slide, save it, and tell."""
    title = "slide" if source is None else slide_name(source)
    proposal = folder_beside(source) / f"{title} {what}{_ending(kinds)}"
    answer = ask_where(parent, f"Save {what}", proposal, kinds)
    if answer is None:
        return
    path, may_replace = answer
    try:
        write(path, overwrite=may_replace)
    except SlideError as error:
        refuse(str(error))
    else:
        say(f"Saved: {path}")


def write_table(rows: Sequence[Row], path: Path, *, overwrite: bool = False) -> None:
    """Write rows as CSV; what does not exist is an empty field."""
    with (
        partial_output(path, None, overwrite=overwrite) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(map(csv_cell, rows[0]))
        writer.writerows([csv_cell(_field(value)) for value in row.values()] for row in rows)


def write_figure(figure: Figure, path: Path, *, overwrite: bool = False) -> None:
    """Write a figure as PNG or SVG, by the ending of the path."""
    plain_text(figure)
    with partial_output(path, None, overwrite=overwrite) as partial:
        figure.savefig(partial, format=path.suffix.lower().lstrip("."), dpi=_DPI, facecolor=figure.get_facecolor())


def _ending(kind: str) -> str:
    return kind[kind.find("*") + 1 : kind.find(")")]


def _field(value: object) -> object:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value

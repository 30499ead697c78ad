"""Table of the slides of a training, with buttons to add slides, draw regions and remove slides.

Slides are opened, and patches counted, in other threads.
"""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Layer, Shapes
from qtpy.QtCore import QMimeData, Signal
from qtpy.QtGui import QDragEnterEvent, QDragMoveEvent, QDropEvent
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QVBoxLayout, QWidget

from napari_hrpn.plugin.background import BackgroundRun
from napari_hrpn.plugin.parts.messages import sentence_of
from napari_hrpn.plugin.parts.runs import push_button
from napari_hrpn.plugin.train.slide_cells import SlideCells, SlidesModel
from napari_hrpn.plugin.train.slide_rows import (
    EVERYWHERE,
    TrainingRow,
    open_rows,
    row_of_entry,
    row_of_slide,
    rows_of_path,
)
from napari_hrpn.plugin.viewer import bring_up, imaged_slides_in, is_same_slide, placement, slide_title
from napari_hrpn.plugin.viewer.drawn_regions import drawn_regions
from napari_hrpn.plugin.viewer.layer_watcher import RegionLayers
from napari_hrpn.plugin.viewer.pyramids import slide_shown_in
from napari_hrpn.slides import SlideError
from napari_hrpn.slides.formats import FILE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari

    from napari_hrpn.analysis import Finding
    from napari_hrpn.plugin.train.slide_rows import Opening
    from napari_hrpn.plugin.viewer.drawn_regions import Drawn
    from napari_hrpn.slides import Slide
    from napari_hrpn.training import SlideEntry

_SLIDE_FILES = f"Slides ({' '.join(f'*{ending}' for ending in FILE_SUFFIXES)} zarr.json .zattrs .zgroup);;All files (*)"
_EDGE, _FACE = "#ffd400", [1.0, 0.83, 0.0, 0.06]
_EDGE_PER_SIDE = 1 / 400
_COUNTING, _UNKNOWN = "…", "–"


class SlidesTable(QWidget):
    """Table and buttons for the slides to train on.

    `changed` is emitted when `entries` change, `said` carries a message to the user.
    """

    changed = Signal()
    said = Signal(str)

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._layers = RegionLayers(viewer)
        self._runs: list[BackgroundRun] = []
        self.model = SlidesModel()
        self.cells = SlideCells(self.model)
        self.add_open_button = push_button(
            "Add open slides", "Add all slides that are open in the viewer", self.add_open_slides
        )
        self.add_files_button = push_button(
            "Add files…",
            "Choose files of slides; you can also drop files and folders on the table",
            self._ask_for_files,
        )
        self.draw_button = push_button(
            "Draw regions",
            "Draw regions on the selected slide, from which patches are taken; it is opened if necessary",
            self.draw_regions,
        )
        self.remove_button = push_button(
            "Remove", "Remove the selected slides from the table (Delete); no file is deleted", self.remove_selected
        )
        self._lay_out()
        self._connect()
        self._offer_layers()

    @property
    def rows(self) -> list[TrainingRow]:
        """The rows of the table."""
        return self.model.rows

    @property
    def is_reading(self) -> bool:
        """Whether slides are still being opened."""
        return bool(self._runs)

    def entries(self) -> tuple[SlideEntry, ...]:
        """Entries of the slides for a training, without drawn regions."""
        if self.is_reading:
            raise SlideError("Slides are still being opened: wait until they are in the table.")
        return tuple(row.entry(self.model.roles) for row in self.rows)

    def drawn(self) -> tuple[Drawn | None, ...]:
        """Copies of the regions drawn in the viewer; to write them may take seconds."""
        return tuple(self._drawn_on(row) for row in self.rows)

    def channels(self, row: TrainingRow) -> dict[str, int]:
        """Chosen channels of a slide by role."""
        return row.channels(self.model.roles)

    def set_entries(self, entries: Sequence[SlideEntry]) -> None:
        """Replace the slides by those of a run; they appear once they are opened."""
        self.clear()
        self._read([partial(row_of_entry, entry) for entry in entries])
        self.changed.emit()

    def set_roles(self, roles: Sequence[str], target: str) -> None:
        """Show columns for other roles; the channels of roles that stay are kept."""
        if (*roles, target) != self.model.roles:
            self.model.set_roles((*roles, target))
            self._report_change(*self.rows)

    def set_patch_counts(self, counts: Sequence[int | None]) -> None:
        """Show the number of patches of each slide, until something changes."""
        known = itertools.chain(counts, itertools.repeat(None))
        for row, count in zip(self.rows, known, strict=False):
            row.patches = _UNKNOWN if count is None else f"{count:,}"
        self.model.refresh()

    def show_findings(self, findings: Sequence[tuple[Finding, ...]]) -> None:
        """Mark slides whose imaging may spoil a prediction; their tooltips show why."""
        for row, of_row in zip(self.rows, findings, strict=True):
            row.findings = of_row
        self.model.refresh()

    def add_open_slides(self) -> None:
        """Add all slides that are open in the viewer and in a file, with whatever plugin they were opened."""
        slides, foreign = imaged_slides_in(self._viewer), self._layers.foreign_images()
        without_file = [slide_title(slide) for slide in slides if not _is_in_a_file(slide)]
        without_file += [layer.name for layer in foreign if layer.source.path is None]
        new = [slide for slide in slides if _is_in_a_file(slide) and not self._has(slide)]
        known = {slide.source for slide in (*slides, *(row.slide for row in self.rows))}
        files = dict.fromkeys(Path(layer.source.path) for layer in foreign if layer.source.path is not None)
        self._read(
            [
                *(partial(row_of_slide, slide) for slide in new),
                *(partial(rows_of_path, path) for path in files if path not in known),
            ]
        )
        if without_file:
            self.said.emit(
                f"{' and '.join(without_file)}: not in a file of this machine, expected slides in files; save them "
                "with File > Save Selected Layers and add the saved files."
            )
        elif not slides and not foreign:
            self.said.emit("No slide is open: drop files on the table, or press Add files….")

    def add_files(self, paths: Sequence[Path]) -> None:
        """Add slides from files or folders; they appear once they are opened."""
        self._read([partial(rows_of_path, Path(path)) for path in paths])

    def draw_regions(self) -> None:
        """Let the user draw regions on the selected slide, which is opened if necessary."""
        chosen = self.cells.selected_rows() if len(self.rows) > 1 else range(len(self.rows))
        if len(chosen) != 1:
            self.said.emit("Select one slide in the table to draw its regions.")
            return
        row = self.rows[chosen[0]]
        image = self._layers.showing(row.slide) or slide_shown_in(self._viewer, row.slide)[0]
        bring_up(self._viewer, row.slide)
        if not (isinstance(row.regions, Shapes) and self._layers.has(row.regions)):
            position = placement(image) if image.ndim == 2 else {"scale": image.scale[-2:]}
            width = max(1.0, max(row.slide.shape) * _EDGE_PER_SIDE)
            look = {"edge_color": _EDGE, "face_color": _FACE, "edge_width": width}
            name = self._viewer.add_shapes(ndim=2, name=f"regions of {row.title}", **look, **position).name
            row.regions = dict(self._layers.choices())[name]
            self._offer_layers()
        self._viewer.layers.selection.active = row.regions
        row.regions.mode = "add_polygon"
        self.said.emit(f"Draw polygons on {row.title}: patches are taken from inside them.")

    def remove_selected(self) -> None:
        """Remove the selected rows."""
        chosen = self.cells.selected_rows()
        if chosen:
            self.model.set_rows([row for number, row in enumerate(self.rows) if number not in chosen])
            self.changed.emit()

    def clear(self) -> None:
        """Remove all slides, including those that are still being opened."""
        self._abandon()
        if self.rows:
            self.model.set_rows([])
            self.changed.emit()

    def shut_down(self) -> None:
        """Stop all threads and disconnect from the viewer before the widget is deleted."""
        self._abandon()
        self._layers.stop()

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:  # noqa: N802
        """Accept files."""
        if event is not None and _dropped_paths(event.mimeData()):
            event.acceptProposedAction()

    def dragMoveEvent(self, event: QDragMoveEvent | None) -> None:  # noqa: N802
        """Accept files anywhere on the table."""
        if event is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:  # noqa: N802
        """Add dropped files; napari does not open them."""
        if event is not None:
            self.add_files(_dropped_paths(event.mimeData()))
            event.acceptProposedAction()

    def _lay_out(self) -> None:
        self.setAcceptDrops(True)
        self.remove_button.setEnabled(False)
        buttons = QHBoxLayout()
        for button in (self.add_open_button, self.add_files_button, self.draw_button, self.remove_button):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.cells, 1)
        layout.addLayout(buttons)

    def _connect(self) -> None:
        self._layers.listed.connect(self._offer_layers)
        self._layers.edited.connect(self._drawn_changed)
        self.model.edited.connect(self._report_change)
        # a reset of the model clears the selection without a signal
        for changed in (self.cells.selectionModel().selectionChanged, self.model.modelReset):
            changed.connect(self._selection_changed)
        self.cells.deleted.connect(self.remove_selected)

    def _ask_for_files(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, "Slides to train on", "", _SLIDE_FILES)
        self.add_files([Path(name) for name in names])

    def _read(self, openings: Sequence[Opening]) -> None:
        """Open slides, after those that are still being opened."""
        if not openings:
            return
        run = BackgroundRun(partial(open_rows, openings), is_polite=False)
        run.yielded.connect(self._take)
        run.failed.connect(lambda error: self.said.emit(sentence_of(error)))
        run.finished.connect(self._go_on)
        self._runs.append(run)
        if len(self._runs) == 1:
            run.start()

    def _go_on(self) -> None:
        self._runs.pop(0)
        if self._runs:
            self._runs[0].start()
        else:
            self.changed.emit()

    def _abandon(self) -> None:
        for run in self._runs:
            run.abandon()
        self._runs.clear()

    def _take(self, found: TrainingRow | str) -> None:
        if isinstance(found, str):
            self.said.emit(found)
        elif self._has(found.slide):
            self.said.emit(f"{found.title} is in the table already.")
        else:
            self.model.set_rows([*self.rows, found])
            self._report_change(found)

    def _has(self, slide: Slide) -> bool:
        return any(is_same_slide(row.slide, slide) for row in self.rows)

    def _drawn_on(self, row: TrainingRow) -> Drawn | None:
        if not isinstance(row.regions, Layer):
            return None
        shown = self._layers.showing(row.slide)
        if shown is None:
            raise SlideError(
                f"{row.title} is not open in the viewer, so the place of the regions of {row.regions.name!r} on it is "
                "not known: open it, or choose a file of regions."
            )
        return drawn_regions(row.regions, row.slide, shown, self._viewer)

    def _offer_layers(self) -> None:
        for row in self.rows:
            if isinstance(row.regions, Layer) and not self._layers.has(row.regions):
                self.said.emit(
                    f"The layer {row.regions.name!r} was removed: patches of {row.title} are taken from everywhere."
                )
                row.regions = EVERYWHERE
                self._report_change(row)
        self.model.offer_layers(self._layers.choices())
        # opening or closing a slide, or renaming a layer to exclude, changes regions too
        self._drawn_changed()

    def _drawn_changed(self, layer: Layer | None = None) -> None:
        """Report that the regions of a layer, or of all layers, may have changed."""
        concerned = [row for row in self.rows if isinstance(row.regions, Layer) and layer in (None, row.regions)]
        if concerned:
            self._report_change(*concerned)

    def _report_change(self, *rows: TrainingRow) -> None:
        for row in rows:
            row.patches = _COUNTING
        self.model.refresh()
        self.changed.emit()

    def _selection_changed(self) -> None:
        self.remove_button.setEnabled(bool(self.cells.selected_rows()))


def _is_in_a_file(slide: Slide) -> bool:
    return isinstance(slide.source, Path) and slide.source.exists()


def _dropped_paths(mime: QMimeData | None) -> list[Path]:
    urls = mime.urls() if mime is not None else []
    return [Path(url.toLocalFile()) for url in urls if url.isLocalFile()]

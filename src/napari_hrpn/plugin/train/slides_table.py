"""Table of the slides of a training, with the buttons that add, draw on and remove them.

The table asks and shows; slides are opened and patches are counted in other threads.
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
    """Asks for the slides to train on; follows what is open in the viewer.

    `changed` says that `entries` are others now, `said` carries a sentence for the user.
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
            "Choose files of slides; files and folders can be dropped on the table too",
            self._ask_for_files,
        )
        self.draw_button = push_button(
            "Draw regions",
            "Draw on the selected slide where patches come from; it opens if it is not open",
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
        """The slides that are in the table."""
        return self.model.rows

    @property
    def is_reading(self) -> bool:
        """Whether slides are still being opened."""
        return bool(self._runs)

    def entries(self) -> tuple[SlideEntry, ...]:
        """The slides as the training takes them, but for regions that are drawn."""
        if self.is_reading:
            raise SlideError("Slides are still being opened: wait until they are in the table.")
        return tuple(row.entry(self.model.roles) for row in self.rows)

    def drawn(self) -> tuple[Drawn | None, ...]:
        """Regions that are drawn in the viewer, taken over from their layers; to write them may take seconds."""
        return tuple(self._drawn_on(row) for row in self.rows)

    def channels(self, row: TrainingRow) -> dict[str, int]:
        """Channels of a slide by role, as far as they are chosen."""
        return row.channels(self.model.roles)

    def set_entries(self, entries: Sequence[SlideEntry]) -> None:
        """Show the slides of a run in place of those that are shown; they appear once they are opened."""
        self.clear()
        self._read([partial(row_of_entry, entry) for entry in entries])
        self.changed.emit()

    def set_roles(self, roles: Sequence[str], target: str) -> None:
        """Ask for other channels; those that were chosen for the same roles stay."""
        if (*roles, target) != self.model.roles:
            self.model.set_roles((*roles, target))
            self._tell_change(*self.rows)

    def set_patch_counts(self, counts: Sequence[int | None]) -> None:
        """Show how many patches each slide gives, until something changes."""
        known = itertools.chain(counts, itertools.repeat(None))
        for row, count in zip(self.rows, known, strict=False):
            row.patches = _UNKNOWN if count is None else f"{count:,}"
        self.model.refresh()

    def show_findings(self, findings: Sequence[tuple[Finding, ...]]) -> None:
        """Mark slides whose imaging may spoil a prediction, and say in their tooltips why."""
        for row, found in zip(self.rows, findings, strict=True):
            row.findings = found
        self.model.refresh()

    def add_open_slides(self) -> None:
        """Add all slides that are open in the viewer, whoever opened them, if they are in files."""
        slides, foreign = imaged_slides_in(self._viewer), self._layers.foreign_images()
        homeless = [slide_title(slide) for slide in slides if not _is_in_a_file(slide)]
        homeless += [layer.name for layer in foreign if layer.source.path is None]
        new = [slide for slide in slides if _is_in_a_file(slide) and not self._has(slide)]
        known = {slide.source for slide in (*slides, *(row.slide for row in self.rows))}
        files = dict.fromkeys(Path(layer.source.path) for layer in foreign if layer.source.path is not None)
        self._read(
            [
                *(partial(row_of_slide, slide) for slide in new),
                *(partial(rows_of_path, path) for path in files if path not in known),
            ]
        )
        if homeless:
            self.said.emit(
                f"{' and '.join(homeless)}: not in a file of this machine, expected slides in files; save them with "
                "File > Save Selected Layers and add what was saved."
            )
        elif not slides and not foreign:
            self.said.emit("No slide is open: drop files on the table, or press Add files….")

    def add_files(self, paths: Sequence[Path]) -> None:
        """Add slides from files or folders; they appear once they are opened."""
        self._read([partial(rows_of_path, Path(path)) for path in paths])

    def draw_regions(self) -> None:
        """Let the user draw on the selected slide where patches come from; it is opened where it is not open."""
        chosen = self.cells.selected_rows() if len(self.rows) > 1 else range(len(self.rows))
        if len(chosen) != 1:
            self.said.emit("Select one slide in the table to draw its regions.")
            return
        row = self.rows[chosen[0]]
        image = self._layers.showing(row.slide) or slide_shown_in(self._viewer, row.slide)[0]
        bring_up(self._viewer, row.slide)
        if not (isinstance(row.regions, Shapes) and self._layers.has(row.regions)):
            where = placement(image) if image.ndim == 2 else {"scale": image.scale[-2:]}
            width = max(1.0, max(row.slide.shape) * _EDGE_PER_SIDE)
            look = {"edge_color": _EDGE, "face_color": _FACE, "edge_width": width}
            name = self._viewer.add_shapes(ndim=2, name=f"regions of {row.title}", **look, **where).name
            row.regions = dict(self._layers.choices())[name]
            self._offer_layers()
        self._viewer.layers.selection.active = row.regions
        row.regions.mode = "add_polygon"
        self.said.emit(f"Draw polygons on {row.title}: patches come from inside them.")

    def remove_selected(self) -> None:
        """Remove the rows that are selected."""
        chosen = self.cells.selected_rows()
        if chosen:
            self.model.set_rows([row for number, row in enumerate(self.rows) if number not in chosen])
            self.changed.emit()

    def clear(self) -> None:
        """Remove all slides, also those that are still being opened."""
        self._abandon()
        if self.rows:
            self.model.set_rows([])
            self.changed.emit()

    def shut_down(self) -> None:
        """End all that runs and listen to the viewer no more, before the widget goes away."""
        self._abandon()
        self._layers.stop()

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:  # noqa: N802
        """Take files."""
        if event is not None and _dropped_paths(event.mimeData()):
            event.acceptProposedAction()

    def dragMoveEvent(self, event: QDragMoveEvent | None) -> None:  # noqa: N802
        """Take files anywhere."""
        if event is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:  # noqa: N802
        """Add files, and keep napari from opening them."""
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
        self.model.edited.connect(self._tell_change)
        # a reset of the model selects nothing, without a signal
        for changed in (self.cells.selectionModel().selectionChanged, self.model.modelReset):
            changed.connect(self._selection_changed)
        self.cells.deleted.connect(self.remove_selected)

    def _ask_for_files(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, "Slides to train on", "", _SLIDE_FILES)
        self.add_files([Path(name) for name in names])

    def _read(self, openings: Sequence[Opening]) -> None:
        """Open slides after those that were asked for before."""
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
            self._tell_change(found)

    def _has(self, slide: Slide) -> bool:
        return any(is_same_slide(row.slide, slide) for row in self.rows)

    def _drawn_on(self, row: TrainingRow) -> Drawn | None:
        if not isinstance(row.regions, Layer):
            return None
        shown = self._layers.showing(row.slide)
        if shown is None:
            raise SlideError(
                f"{row.title} is not open in the viewer, so where the regions of {row.regions.name!r} lie on it is not "
                "known: open it, or choose a file of regions."
            )
        return drawn_regions(row.regions, row.slide, shown, self._viewer)

    def _offer_layers(self) -> None:
        for row in self.rows:
            if isinstance(row.regions, Layer) and not self._layers.has(row.regions):
                self.said.emit(f"The layer {row.regions.name!r} is gone: patches of {row.title} come from everywhere.")
                row.regions = EVERYWHERE
                self._tell_change(row)
        self.model.offer_layers(self._layers.choices())
        # a slide may have been opened or closed, a layer renamed to exclude
        self._drawn_changed()

    def _drawn_changed(self, layer: Layer | None = None) -> None:
        """Regions of a layer, or of all, may be others now."""
        concerned = [row for row in self.rows if isinstance(row.regions, Layer) and layer in (None, row.regions)]
        if concerned:
            self._tell_change(*concerned)

    def _tell_change(self, *rows: TrainingRow) -> None:
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

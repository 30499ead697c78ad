"""Table of the slides of a training, with the buttons that add, draw on and remove them.

The table asks and shows; slides are opened and patches are counted in other threads.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Layer, Shapes
from qtpy.QtCore import QMimeData, Signal
from qtpy.QtGui import QDragEnterEvent, QDragMoveEvent, QDropEvent
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_hrpn.plugin.parts.messages import sentence_of
from napari_hrpn.plugin.train.slide_cells import SlideCells
from napari_hrpn.plugin.train.slide_reading import Opened, SlideReading, Wanted
from napari_hrpn.plugin.train.slide_row import TrainingRow
from napari_hrpn.plugin.viewer import bring_up, imaged_slides_in, is_same_slide, placement, slide_title
from napari_hrpn.plugin.viewer.drawn_regions import drawn_regions
from napari_hrpn.plugin.viewer.layer_watcher import RegionLayers
from napari_hrpn.plugin.viewer.pyramids import slide_shown_in
from napari_hrpn.slides import SlideError, local_path
from napari_hrpn.slides.formats import FILE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari

    from napari_hrpn.plugin.viewer.drawn_regions import Drawn
    from napari_hrpn.slides import Slide
    from napari_hrpn.training import SlideEntry

_SLIDE_FILES = f"Slides ({' '.join(f'*{ending}' for ending in FILE_SUFFIXES)} zarr.json .zattrs .zgroup);;All files (*)"

_EDGE, _FACE = "#ffd400", [1.0, 0.83, 0.0, 0.06]
_EDGE_PER_SIDE = 1 / 400


class SlidesTable(QWidget):
    """Asks for the slides to train on; follows what is open in the viewer.

    `changed` says that `entries` are others now, `said` carries a sentence for the user.
    """

    changed = Signal()
    said = Signal(str)

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._rows: list[TrainingRow] = []
        self._layers = RegionLayers(viewer)
        self._reading = SlideReading()
        self.cells = SlideCells()
        self.add_open_button = QPushButton("Add open slides")
        self.add_files_button = QPushButton("Add files…")
        self.draw_button = QPushButton("Draw regions")
        self.remove_button = QPushButton("Remove")
        self._lay_out()
        self._connect()

    @property
    def has_rows(self) -> bool:
        """Whether there is a slide."""
        return bool(self._rows)

    @property
    def rows(self) -> tuple[TrainingRow, ...]:
        """The slides that are in the table."""
        return tuple(self._rows)

    @property
    def is_reading(self) -> bool:
        """Whether slides are still being opened."""
        return self._reading.is_running

    def entries(self) -> tuple[SlideEntry, ...]:
        """The slides as the training takes them, but for regions that are drawn."""
        if self.is_reading:
            raise SlideError("Slides are still being opened: wait until they are in the table.")
        return tuple(row.entry() for row in self._rows)

    def drawn(self) -> tuple[Drawn | None, ...]:
        """Regions that are drawn in the viewer, taken over from their layers; to write them may take seconds."""
        return tuple(self._drawn_on(row) for row in self._rows)

    def set_entries(self, entries: Sequence[SlideEntry]) -> None:
        """Show the slides of a run in place of those that are shown; they appear once they are opened."""
        self.clear()
        self._reading.read([Wanted(entry.path, entry) for entry in entries])
        self.changed.emit()

    def set_roles(self, roles: Sequence[str], target: str) -> None:
        """Ask for other channels; those that were chosen for the same roles stay."""
        if self.cells.set_roles(roles, target, self._rows):
            self._tell_change(*self._rows)

    def set_patch_counts(self, counts: Sequence[int | None]) -> None:
        """Show how many patches each slide gives, until something changes."""
        known = itertools.chain(counts, itertools.repeat(None))
        for row, count in zip(self._rows, known, strict=False):
            row.show_patches(count)

    def add_open_slides(self) -> None:
        """Add all slides that are open in the viewer, whoever opened them, if they are in files."""
        slides, foreign = imaged_slides_in(self._viewer), self._layers.foreign_images()
        homeless = [slide_title(slide) for slide in slides if not _is_in_a_file(slide)]
        homeless += [layer.name for layer in foreign if layer.source.path is None]
        new = [slide for slide in slides if _is_in_a_file(slide) and not self._has(slide)]
        known = {slide.source for slide in (*slides, *(row.slide for row in self._rows))}
        files = [Path(layer.source.path) for layer in foreign if layer.source.path is not None]
        self._reading.read([Wanted(local_path(slide.source), slide=slide) for slide in new])
        self._reading.read([Wanted(path) for path in dict.fromkeys(files) if path not in known])
        if homeless:
            self.said.emit(
                f"{' and '.join(homeless)}: not in a file of this machine, expected slides in files; save them with "
                "File > Save Selected Layers and add what was saved."
            )
        elif not slides and not foreign:
            self.said.emit("No slide is open: drop files on the table, or press Add files….")

    def add_files(self, paths: Sequence[Path]) -> None:
        """Add slides from files or folders; they appear once they are opened."""
        self._reading.read([Wanted(Path(path)) for path in paths])

    def draw_regions(self) -> None:
        """Let the user draw on the selected slide where patches come from; it is opened where it is not open."""
        chosen = self.cells.selected_rows() if len(self._rows) > 1 else range(len(self._rows))
        if len(chosen) != 1:
            self.said.emit("Select one slide in the table to draw its regions.")
            return
        row = self._rows[chosen[0]]
        image = self._layers.showing(row.slide) or slide_shown_in(self._viewer, row.slide)[0]
        bring_up(self._viewer, row.slide)
        drawn = row.regions
        if not (isinstance(drawn, Shapes) and self._layers.has(drawn)):
            where = placement(image) if image.ndim == 2 else {"scale": image.scale[-2:]}
            width = max(1.0, max(row.slide.shape) * _EDGE_PER_SIDE)
            look = {"edge_color": _EDGE, "face_color": _FACE, "edge_width": width}
            name = self._viewer.add_shapes(ndim=2, name=f"regions of {row.title}", **look, **where).name
            row.offer_layers(self._layers.choices())
            drawn = dict(self._layers.choices())[name]
            row.choose_regions(drawn)
        self._viewer.layers.selection.active = drawn
        drawn.mode = "add_polygon"
        self.said.emit(f"Draw polygons on {row.title}: patches come from inside them.")

    def remove_selected(self) -> None:
        """Remove the rows that are selected."""
        chosen = self.cells.selected_rows()
        for index in reversed(chosen):
            self._rows.pop(index)
            self.cells.remove(index)
        if chosen:
            self.changed.emit()

    def clear(self) -> None:
        """Remove all slides, also those that are still being opened."""
        self._reading.abandon()
        had_rows = self.has_rows
        self._rows.clear()
        self.cells.remove_all()
        if had_rows:
            self.changed.emit()

    def shut_down(self) -> None:
        """End all that runs and listen to the viewer no more, before the widget goes away."""
        self._reading.abandon()
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
        self.add_open_button.setToolTip("Add all slides that are open in the viewer")
        self.add_files_button.setToolTip("Choose files of slides; files and folders can be dropped on the table too")
        self.draw_button.setToolTip("Draw on the selected slide where patches come from; it opens if it is not open")
        self.remove_button.setToolTip("Remove the selected slides from the table (Delete); no file is deleted")
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
        self.cells.itemSelectionChanged.connect(self._selection_changed)
        self.cells.tumour_changed.connect(self.changed)
        self.cells.deleted.connect(self.remove_selected)
        self.add_open_button.clicked.connect(self.add_open_slides)
        self.add_files_button.clicked.connect(self._ask_for_files)
        self.draw_button.clicked.connect(self.draw_regions)
        self.remove_button.clicked.connect(self.remove_selected)
        self._reading.opened.connect(self._take_opened)
        self._reading.said.connect(self.said)
        self._reading.failed.connect(lambda error: self.said.emit(sentence_of(error)))
        self._reading.finished.connect(self.changed)

    def _ask_for_files(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, "Slides to train on", "", _SLIDE_FILES)
        self.add_files([Path(name) for name in names])

    def _take_opened(self, opened: Opened) -> None:
        if self._has(opened.slide):
            self.said.emit(f"{slide_title(opened.slide)} is in the table already.")
            return
        row = TrainingRow(opened)
        row.offer_layers(self._layers.choices())
        self._rows.append(row)
        self.cells.add(row)
        row.changed.connect(lambda: self._tell_change(row))
        self._tell_change(row)

    def _has(self, slide: Slide) -> bool:
        return any(is_same_slide(row.slide, slide) for row in self._rows)

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
        offered = self._layers.choices()
        for row in self._rows:
            if isinstance(row.regions, Layer) and not self._layers.has(row.regions):
                self.said.emit(f"The layer {row.regions.name!r} is gone: patches of {row.title} come from everywhere.")
            row.offer_layers(offered)
        # a slide may have been opened or closed, a layer renamed to exclude
        self._drawn_changed()

    def _drawn_changed(self, layer: Layer | None = None) -> None:
        """Regions of a layer, or of all, may be others now."""
        concerned = [
            row for row in self._rows if isinstance(row.regions, Layer) and (layer is None or row.regions is layer)
        ]
        if concerned:
            self._tell_change(*concerned)

    def _tell_change(self, *rows: TrainingRow) -> None:
        for row in rows:
            row.expect_patches()
        self.changed.emit()

    def _selection_changed(self) -> None:
        self.remove_button.setEnabled(bool(self.cells.selected_rows()))


def _is_in_a_file(slide: Slide) -> bool:
    return isinstance(slide.source, Path) and slide.source.exists()


def _dropped_paths(mime: QMimeData | None) -> list[Path]:
    urls = mime.urls() if mime is not None else []
    return [Path(url.toLocalFile()) for url in urls if url.isLocalFile()]

"""Asks which layer holds the regions, and offers new ones: drawn, from a file, or random."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Labels, Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_hrpn.plugin.parts.choice_box import ChoiceBox
from napari_hrpn.plugin.parts.form_rows import add_row, form_layout
from napari_hrpn.plugin.parts.messages import breakable
from napari_hrpn.plugin.roi_correlation.random_form import RandomForm
from napari_hrpn.plugin.viewer import KEY
from napari_hrpn.plugin.viewer.layer_watcher import RegionLayers

if TYPE_CHECKING:
    import napari

_BOX_LETTERS = 8
_NOTHING_CHOSEN = "– draw, import or choose –"
ALL = "all"


class RoiForm(QWidget):
    """The choice of regions.

    `changed` says that another layer is chosen; `drawing_asked`, `import_asked`, `random_asked` and
    `restore_asked` what the user wants.
    """

    changed = Signal()
    drawing_asked = Signal()
    import_asked = Signal()
    random_asked = Signal()
    restore_asked = Signal()

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._layers = RegionLayers(viewer)
        self.layer_box = ChoiceBox(
            "Layer whose shapes or labels are the regions: rectangles, ellipses, polygons; one region for each label"
        )
        self.draw_button = QPushButton("Draw")
        self.import_button = QPushButton("Import…")
        self.restore_button = QPushButton("Restore")
        self.random_form = RandomForm()
        self.note_label = QLabel()
        self._lay_out()
        self._layers.listed.connect(self.refresh)
        self.layer_box.changed.connect(self.changed)
        self.draw_button.clicked.connect(self.drawing_asked)
        self.import_button.clicked.connect(self.import_asked)
        self.restore_button.clicked.connect(self.restore_asked)
        self.random_form.asked.connect(self.random_asked)
        self.refresh()

    @property
    def layer(self) -> Shapes | Labels | None:
        """The layer that new regions go to: what is chosen, or the newest shapes where all are."""
        chosen: Shapes | Labels | str | None = self.layer_box.value
        if not isinstance(chosen, str):
            return chosen
        return next((layer for layer in reversed(self.layers) if isinstance(layer, Shapes)), None)

    @property
    def layers(self) -> list[Shapes | Labels]:
        """All layers whose regions count."""
        chosen: Shapes | Labels | str | None = self.layer_box.value
        if isinstance(chosen, str):
            return self._drawn()
        return [] if chosen is None else [chosen]

    def refresh(self) -> None:
        """Offer what is there now; the newest shapes are chosen where nothing is."""
        choices = self._layers.choices()
        shapes = [layer for _, layer in choices if isinstance(layer, Shapes)]
        choices.sort(key=lambda choice: isinstance(choice[1], Labels))
        drawn = len(self._drawn())
        every = [(f"All {drawn} layers of regions", ALL)] if drawn > 1 else []
        self.layer_box.offer([(_NOTHING_CHOSEN, None), *choices, *every], shapes[-1] if shapes else None)

    def choose(self, layer: Shapes | Labels) -> None:
        """Choose a layer of the viewer."""
        self.refresh()
        self.layer_box.choose(layer)

    def offer_restore(self, count: int) -> None:
        """Offer to bring back regions that were deleted; none to offer nothing."""
        self.restore_button.setVisible(count > 0)
        self.restore_button.setToolTip(f"Bring back the {'region' if count == 1 else f'{count} regions'} deleted last")

    def note(self, sentence: str) -> None:
        """Say what is left out of the regions; nothing if it is empty."""
        self.note_label.setText(breakable(sentence))
        self.note_label.setVisible(bool(sentence))

    def shut_down(self) -> None:
        """Listen to the viewer no more."""
        self._layers.stop()

    def _drawn(self) -> list[Shapes | Labels]:
        """Layers of regions; what has our mark, such as vessels or tissue, is a result."""
        return [layer for _, layer in self._layers.choices() if KEY not in layer.metadata]

    def _lay_out(self) -> None:
        self.draw_button.setToolTip("Draw a rectangle in the chosen layer, or in a new one")
        self.import_button.setToolTip("Import regions from GeoJSON, as QuPath exports it, into a new layer")
        self.layer_box.setMinimumContentsLength(_BOX_LETTERS)
        self.note_label.setWordWrap(True)
        self.note_label.hide()
        row = QWidget()
        row.setToolTip(self.layer_box.toolTip())
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.layer_box, 1)
        line.addWidget(self.draw_button)
        line.addWidget(self.import_button)
        line.addWidget(self.restore_button)
        self.offer_restore(0)
        rows = QWidget()
        form = form_layout(rows)
        add_row(form, "ROIs", row)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(rows)
        layout.addWidget(self.random_form)
        layout.addWidget(self.note_label)

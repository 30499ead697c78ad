"""Where overlap is measured: tissue, frame, or a layer of shapes or labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Labels, Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_hrpn.plugin.comparison.tissue import TISSUE
from napari_hrpn.plugin.forms.choice_box import ChoiceBox
from napari_hrpn.plugin.layers import KEY
from napari_hrpn.plugin.layers.drawn_regions import drawn_regions
from napari_hrpn.plugin.layers.region_layers import RegionLayers
from napari_hrpn.plugin.threshold_miou.overlay import OVERLAP

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

    from napari_hrpn.plugin.comparison import Pair, Tissue
    from napari_hrpn.plugin.comparison.region import Wanted

IN_TISSUE, IN_FRAME = "Tissue", "Frame"


class RegionForm(QWidget):
    """Asks for a region; follows what is drawn.

    `changed` says that another region was chosen, or that the chosen one is another now.

    Parameters
    ----------
    viewer : napari.Viewer
        Where regions are drawn.
    tissue : Tissue
        Of the real slide.
    """

    changed = Signal()

    def __init__(self, viewer: napari.Viewer, tissue: Tissue) -> None:
        super().__init__()
        self._viewer = viewer
        self._layers = RegionLayers(viewer)
        self.tissue = tissue
        self.revision = 0
        self.region_box = ChoiceBox(
            "Pixels that count: the tissue, found by the nuclei; the whole frame; or what is drawn in a layer of\n"
            "shapes or labels, without what is called 'exclude'"
        )
        self.edit_button = QPushButton("Edit tissue")
        self.edit_button.setToolTip("Show the tissue as a Labels layer; what you paint or erase there counts at once")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.region_box, 1)
        layout.addWidget(self.edit_button)
        self.edit_button.clicked.connect(self.tissue.show_layer)
        self.tissue.changed.connect(self._take_tissue)
        self._layers.listed.connect(self._offer)
        self._layers.edited.connect(self._take_edit)
        self.region_box.changed.connect(self._tell)
        self._offer()

    @property
    def title(self) -> str:
        """What the region is called."""
        return str(self.region_box.currentText())

    @property
    def is_waiting(self) -> bool:
        """Whether the tissue is wanted and still being looked for."""
        return self.region_box.value == IN_TISSUE and self.tissue.mask is None

    def wanted(self, pair: Pair) -> Wanted:
        """What is chosen, in pixels of the real slide.

        Parameters
        ----------
        pair : Pair
            What is compared.

        Returns
        -------
        RegionMask, DrawnShapes, DrawnLabels or None
            None for the whole frame.

        Raises
        ------
        SlideError
            If nothing that was drawn lies on the slide.
        """
        chosen = self.region_box.value
        if isinstance(chosen, Shapes | Labels):
            return drawn_regions(chosen, pair.real.slide, pair.real.layer, self._viewer)
        return self.tissue.mask if chosen == IN_TISSUE else None

    def shut_down(self) -> None:
        """Listen no more; called again, it does nothing."""
        self._layers.stop()

    def _offer(self) -> None:
        has_tissue = self.tissue.mask is not None or self.tissue.is_busy
        choices: list[tuple[str, Any]] = [(IN_TISSUE, IN_TISSUE)] if has_tissue else []
        choices.append((IN_FRAME, IN_FRAME))
        choices += [(f"ROI: {name}", layer) for name, layer in self._layers.choices() if not _is_ours(layer)]
        self.region_box.offer(choices, IN_TISSUE)
        self.edit_button.setEnabled(self.tissue.mask is not None and self.tissue.layer is None)

    def _take_tissue(self) -> None:
        had_tissue = self.region_box.findText(IN_TISSUE) >= 0
        self._offer()
        if not had_tissue and self.region_box.value == IN_FRAME:
            # nobody has chosen yet
            self.region_box.choose(IN_TISSUE)
        if self.region_box.value == IN_TISSUE:
            self._tell()

    def _take_edit(self, layer: Layer | None) -> None:
        chosen = self.region_box.value
        if isinstance(chosen, Shapes | Labels) and (layer is None or layer is chosen):
            self._tell()

    def _tell(self) -> None:
        self.revision += 1
        self.changed.emit()


def _is_ours(layer: Layer) -> bool:
    own = layer.metadata.get(KEY)
    return isinstance(own, dict) and bool({OVERLAP, TISSUE} & set(own))

"""Which stain shows vessels and nuclei, how vessels are told from the rest, and which mask counts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDoubleSpinBox, QPushButton, QVBoxLayout, QWidget

from napari_hrpn.plugin.parts.arrangement import side_by_side
from napari_hrpn.plugin.parts.choice_box import ChoiceBox
from napari_hrpn.plugin.parts.form_rows import add_row, form_layout
from napari_hrpn.plugin.parts.selection import ComparedChannel, compared_channel, is_single_channel, looks_predicted
from napari_hrpn.plugin.penetration.mask_layers import MaskLayers
from napari_hrpn.plugin.viewer import channel_of, is_same_slide, pixel_shape, slide_of
from napari_hrpn.slides import guess_roles

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels, Layer

    from napari_hrpn.analysis import VesselSettings
    from napari_hrpn.slides import Slide

_AUTOMATIC, STATED = "automatic", "stated"
GLASS, NONE, LEVEL = "glass", "none", "level"
_LARGEST_UM2 = 100_000.0
_BRIGHTEST = 1e6


class VesselForm(QWidget):
    """Asks what is needed to find vessels; `changed` says that something is different."""

    changed = Signal()

    def __init__(self, viewer: napari.Viewer, masks: MaskLayers) -> None:
        super().__init__()
        self._viewer, self._masks = viewer, masks
        self._wrapped: WeakKeyDictionary[Image, ComparedChannel] = WeakKeyDictionary()
        self.stain_box = ChoiceBox("Layer of the vessels' stain, such as CD31")
        self.nuclei_box = ChoiceBox("Layer of the nuclei, for their density")
        self.threshold_box = ChoiceBox("Grey level above which the smoothed stain is a vessel")
        self.level_box, self.area_box, self.background_level = QDoubleSpinBox(), QDoubleSpinBox(), QDoubleSpinBox()
        self.background_box = ChoiceBox(
            "What is taken off the probe: the median of the blank glass outside the tissue, nothing, or a grey level.\n"
            "Glass shows the camera's offset alone; autofluorescence that is left in looks like a probe that reaches\n"
            "everywhere: state the grey level of a section without probe"
        )
        self.mask_box = ChoiceBox("Vessels as they are found by their stain, or a mask that you drew or edited")
        self.find_button = QPushButton("Find vessels")
        self._set_up_boxes()
        self._lay_out()
        self._connect()

    @property
    def settings(self) -> VesselSettings:
        """How vessels are told from the rest."""
        from napari_hrpn.analysis import VesselSettings

        threshold = self.level_box.value() if self.threshold_box.value == STATED else None
        return replace(VesselSettings(), threshold=threshold, smallest_um2=self.area_box.value())

    @property
    def stain(self) -> ComparedChannel | None:
        """The vessels' channel."""
        return self._channel(self.stain_box.value)

    @property
    def nuclei(self) -> ComparedChannel | None:
        """The nuclei's channel."""
        return self._channel(self.nuclei_box.value)

    @property
    def mask(self) -> Labels | None:
        """Labels that are taken for the vessels; None where they are found by their stain."""
        layer: Labels | None = self.mask_box.value
        return layer

    @property
    def background(self) -> str | float:
        """`GLASS`, or a grey level for all images."""
        kind = self.background_box.value
        return GLASS if kind == GLASS else 0.0 if kind == NONE else self.background_level.value()

    def stain_on(self, slide: Slide) -> int | None:
        """Channel of the vessels' stain in a slide, which may be made of layers; None where it is not there."""
        stain = self.stain
        if stain is None:
            return None
        if is_same_slide(stain.slide, slide):
            return stain.channel
        return slide.channel_names.index(stain.name) if stain.name in slide.channel_names else None

    def follow(self, real: ComparedChannel | None) -> None:
        """Offer the stains that lie on a slide."""
        layers = [] if real is None else self._stains(real)
        for box, role in ((self.stain_box, "vessels"), (self.nuclei_box, "nuclei")):
            guess = None if real is None else _guess(layers, real, role)
            choices = [(layer.name, layer) for layer in layers]
            if role == "nuclei" or guess is None:
                choices = [("none", None), *choices]
            box.offer(choices, guess, keep=box.value in layers)

    def take_mask(self, layer: Labels) -> None:
        """Take labels for the vessels from now on."""
        self._offer_masks()
        self.mask_box.choose(layer)

    def _set_up_boxes(self) -> None:
        from napari_hrpn.analysis import VesselSettings

        self.threshold_box.offer([("Automatic (Otsu)", _AUTOMATIC), ("Grey level", STATED)], _AUTOMATIC)
        self.level_box.setRange(0, _BRIGHTEST)
        self.level_box.setDecimals(1)
        self.level_box.setToolTip("Grey level of the stain, smoothed over 0.7 µm")
        self.area_box.setRange(0, _LARGEST_UM2)
        self.area_box.setDecimals(0)
        self.area_box.setValue(VesselSettings().smallest_um2)
        self.area_box.setSuffix(" µm²")
        self.area_box.setToolTip("Smaller objects, their lumens filled, are no vessels")
        self.background_box.offer([("Blank glass", GLASS), ("Not taken off", NONE), ("Grey level", LEVEL)], GLASS)
        self.background_level.setRange(-_BRIGHTEST, _BRIGHTEST)
        self.background_level.setDecimals(2)
        self.background_level.setToolTip("Grey level of tissue without probe, such as an uninjected section's")
        self.find_button.setToolTip("Make the vessel mask and show it as a layer that you can edit")
        self._offer_masks()
        self._show_needed()

    def _lay_out(self) -> None:
        rows = QWidget()
        form = form_layout(rows)
        add_row(form, "Vessels", self.stain_box)
        add_row(form, "Threshold", side_by_side(self.threshold_box, self.level_box))
        add_row(form, "Least area", side_by_side(self.area_box, self.find_button))
        add_row(form, "Mask", self.mask_box)
        add_row(form, "Nuclei", self.nuclei_box)
        add_row(form, "Background", side_by_side(self.background_box, self.background_level))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(rows)

    def _connect(self) -> None:
        for box in (self.stain_box, self.nuclei_box, self.threshold_box, self.background_box, self.mask_box):
            box.changed.connect(self._tell)
        for number in (self.level_box, self.area_box, self.background_level):
            number.valueChanged.connect(self._tell)
        self._masks.listed.connect(self._offer_masks)

    def _tell(self) -> None:
        self._show_needed()
        self.changed.emit()

    def _show_needed(self) -> None:
        self.level_box.setVisible(self.threshold_box.value == STATED)
        self.background_level.setVisible(self.background_box.value == LEVEL)

    def _offer_masks(self) -> None:
        own = [(f"In {name!r}", layer) for name, layer in self._masks.choices()]
        chosen = self.mask_box.value
        self.mask_box.offer([("Found by the stain", None), *own], chosen if chosen in [one for _, one in own] else None)

    def _stains(self, real: ComparedChannel) -> list[Image]:
        there = [
            layer
            for layer in self._viewer.layers
            if is_single_channel(layer) and pixel_shape(layer) == real.slide.shape and not looks_predicted(layer)
        ]
        own = [layer for layer in there if _is_of(layer, real)]
        return own if len(own) > 1 else there

    def _channel(self, layer: Image | None) -> ComparedChannel | None:
        if layer is None:
            return None
        known, own = self._wrapped.get(layer), slide_of(layer)
        if known is None or (own is not None and own is not known.slide):
            known = self._wrapped[layer] = compared_channel(layer)
        return known


def _is_of(layer: Layer, real: ComparedChannel) -> bool:
    slide = slide_of(layer)
    return slide is not None and is_same_slide(slide, real.slide)


def _guess(layers: list[Image], real: ComparedChannel, role: str) -> Image | None:
    if len(real.slide.channel_names) > 1:
        index = getattr(guess_roles(real.slide.channel_names), role)
        return next((layer for layer in layers if channel_of(layer) == index and index is not None), None)
    index = getattr(guess_roles([layer.name for layer in layers]), role)
    return None if index is None else layers[index]

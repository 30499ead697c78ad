"""Form for the stains of vessels and nuclei, the threshold and mask of the vessels, and the background."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magicgui.widgets import PushButton
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_hrpn.analysis import VesselSettings
from napari_hrpn.core.options import options
from napari_hrpn.plugin.parts.forms import combo_box, number_box, offer, side_by_side, titled_rows
from napari_hrpn.plugin.parts.options_form import option_field
from napari_hrpn.plugin.parts.selection import is_single_channel, looks_predicted
from napari_hrpn.plugin.viewer import channel_of, is_same_slide, pixel_shape, slide_of
from napari_hrpn.slides import guess_roles

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels, Layer

    from napari_hrpn.plugin.parts.pair_form import PairForm
    from napari_hrpn.plugin.parts.selection import ComparedChannel
    from napari_hrpn.plugin.penetration.mask_layers import MaskLayers
    from napari_hrpn.slides import Slide

_AUTOMATIC, STATED = "automatic", "stated"
_GLASS, NONE, LEVEL = "glass", "none", "level"
_THRESHOLDS = [("Automatic (Otsu)", _AUTOMATIC), ("Grey level", STATED)]
_BACKGROUNDS = [("Blank glass", _GLASS), ("Not subtracted", NONE), ("Grey level", LEVEL)]
_BRIGHTEST = 1e6
_BACKGROUND_TIP = (
    "Background subtracted from the probe: the median of the blank glass outside the tissue, nothing, or a grey\n"
    "level. Glass shows only the camera's offset; autofluorescence that is not subtracted looks like a probe that\n"
    "reaches everywhere: give the grey level of a section without probe"
)


class VesselForm(QWidget):
    """Form for the vessels and the background; `changed` is emitted when a choice changes."""

    changed = Signal()

    def __init__(self, viewer: napari.Viewer, masks: MaskLayers, pair_form: PairForm) -> None:
        super().__init__()
        self._viewer, self._masks, self._pair_form = viewer, masks, pair_form
        self.stain_box = combo_box("Layer of the vessels' stain, such as CD31")
        self.nuclei_box = combo_box("Layer of the nuclei, for their density")
        self.threshold_box = combo_box("Grey level above which the smoothed stain is a vessel", _THRESHOLDS)
        smoothed = f"Grey level of the stain, smoothed over {VesselSettings().smoothing_um:g} µm"
        self.level_box = number_box(0, 0, _BRIGHTEST, "", smoothed, 1)
        least_area = options(VesselSettings)["smallest_um2"]
        self.area_box = option_field(least_area)
        self.area_box.value = least_area.default
        self.mask_box = combo_box("Vessels found by their stain, or a mask that you drew or edited")
        self.background_box = combo_box(_BACKGROUND_TIP, _BACKGROUNDS)
        self.background_level = number_box(
            0, -_BRIGHTEST, _BRIGHTEST, "", "Grey level of tissue without probe, such as an uninjected section's", 2
        )
        self.find_button = PushButton(
            text="Find vessels", tooltip="Find the vessels and show their mask as a layer that you can edit"
        )
        rows = {
            "Vessels": self.stain_box,
            "Threshold": side_by_side(self.threshold_box, self.level_box),
            least_area.title: side_by_side(self.area_box, self.find_button),
            "Mask": self.mask_box,
            "Nuclei": self.nuclei_box,
            "Background": side_by_side(self.background_box, self.background_level),
        }
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(titled_rows(rows))
        self._offer_masks()
        self._show_needed()
        fields = self.threshold_box, self.level_box, self.area_box, self.background_box, self.background_level
        for field in (self.stain_box, self.nuclei_box, self.mask_box, *fields):
            field.changed.connect(self._emit_changed)
        self._masks.listed.connect(self._offer_masks)

    @property
    def settings(self) -> VesselSettings:
        """Settings for finding vessels."""
        threshold = self.level_box.value if self.threshold_box.value == STATED else None
        return VesselSettings(threshold=threshold, smallest_um2=self.area_box.value)

    @property
    def stain(self) -> ComparedChannel | None:
        """The vessels' channel."""
        layer = self.stain_box.value
        return None if layer is None else self._pair_form.channel(layer)

    @property
    def nuclei(self) -> ComparedChannel | None:
        """The nuclei's channel."""
        layer = self.nuclei_box.value
        return None if layer is None else self._pair_form.channel(layer)

    @property
    def mask(self) -> Labels | None:
        """Labels layer of the vessels; None if they are found by their stain."""
        layer: Labels | None = self.mask_box.value
        return layer

    @property
    def background(self) -> float | None:
        """Grey level that is subtracted from all images; None for that of the blank glass."""
        kind = self.background_box.value
        return None if kind == _GLASS else 0.0 if kind == NONE else float(self.background_level.value)

    def stain_on(self, slide: Slide) -> int | None:
        """Channel of the vessels' stain in a slide, which may be made of layers; None if the slide lacks it."""
        stain = self.stain
        if stain is None:
            return None
        if is_same_slide(stain.slide, slide):
            return stain.channel
        return slide.channel_names.index(stain.name) if stain.name in slide.channel_names else None

    def follow(self, real: ComparedChannel | None) -> None:
        """Offer the stains that lie on a slide; no signal is emitted."""
        layers = [] if real is None else self._stains(real)
        for box, role in ((self.stain_box, "vessels"), (self.nuclei_box, "nuclei")):
            guess = None if real is None else _guess(layers, real, role)
            choices: list[tuple[str, Image | None]] = [(layer.name, layer) for layer in layers]
            if role == "nuclei" or guess is None:
                choices = [("none", None), *choices]
            offer(box, choices, box.value if box.value in layers else guess)

    def take_mask(self, layer: Labels) -> None:
        """Use a Labels layer as the vessels from now on."""
        self._offer_masks()
        self.mask_box.value = layer

    def _emit_changed(self, _: object = None) -> None:
        self._show_needed()
        self.changed.emit()

    def _show_needed(self) -> None:
        self.level_box.visible = self.threshold_box.value == STATED
        self.background_level.visible = self.background_box.value == LEVEL

    def _offer_masks(self) -> None:
        before = self.mask
        masks = [(f"In {name!r}", layer) for name, layer in self._masks.choices()]
        offer(self.mask_box, [("Found by the stain", None), *masks], before)
        if self.mask is not before:
            self._emit_changed()

    def _stains(self, real: ComparedChannel) -> list[Image]:
        stains = [
            layer
            for layer in self._viewer.layers
            if is_single_channel(layer) and pixel_shape(layer) == real.slide.shape and not looks_predicted(layer)
        ]
        of_slide = [layer for layer in stains if _is_of(layer, real)]
        return of_slide if len(of_slide) > 1 else stains


def _is_of(layer: Layer, real: ComparedChannel) -> bool:
    slide = slide_of(layer)
    return slide is not None and is_same_slide(slide, real.slide)


def _guess(layers: list[Image], real: ComparedChannel, role: str) -> Image | None:
    if len(real.slide.channel_names) > 1:
        index = getattr(guess_roles(real.slide.channel_names), role)
        return next((layer for layer in layers if channel_of(layer) == index and index is not None), None)
    index = getattr(guess_roles([layer.name for layer in layers]), role)
    return None if index is None else layers[index]

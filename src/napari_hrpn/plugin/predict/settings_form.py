"""Form for the settings of a prediction: region, processor, and advanced options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magicgui.widgets import ComboBox

from napari_hrpn.plugin.parts.forms import align_titles, offer
from napari_hrpn.plugin.parts.messages import ToneLabel
from napari_hrpn.plugin.parts.options_form import OptionsForm, device_choices
from napari_hrpn.settings import PredictionSettings

if TYPE_CHECKING:
    from napari_hrpn.inference import Device

_WHOLE, IN_VIEW, IN_SHAPES = "whole", "view", "shapes"
_REGIONS = [("Whole slide", _WHOLE), ("What is in view", IN_VIEW), ("Selected shapes", IN_SHAPES)]


class SettingsForm(OptionsForm):
    """Asks for the region, and for everything that `PredictionSettings` has but its pixels."""

    def __init__(self) -> None:
        super().__init__(
            PredictionSettings,
            ["device", "resample"],
            ["precision", "core", "halo", "memory_gb", "output"],
            choices=["device"],
        )
        self._is_ready = False
        self._about: object = None
        self.region_box = ComboBox(
            label="Region",
            choices=_REGIONS,
            tooltip="Predict the whole slide, the tiles in view, or the tiles under the selected shapes\n"
            "(all shapes of the layer, if none is selected)",
        )
        self.insert(0, self.region_box)
        align_titles(self)
        self.fields["resample"].enabled = False
        self.fields["resample"].tooltip += "\nOn by itself where the two differ by more than 5 %"
        offer(self.fields["device"], [("Looking for processors …", "auto")])
        self.warning_label = ToneLabel()
        self.native.layout().insertWidget(len(self), self.warning_label)

    def set_ready(self, devices: tuple[Device, ...]) -> None:
        """Fill in the processors that were found in the background."""
        self._is_ready = True
        offer(self.fields["device"], device_choices(devices))

    def offer_resampling(self, warnings: tuple[str, ...], *, can_resample: bool, about: object) -> None:
        """Say that the slide's pixels are not of the size trained on, and resample unless the user says otherwise."""
        resample = self.fields["resample"]
        if (about, can_resample) != self._about:
            self._about = about, can_resample
            resample.value = can_resample
        resample.enabled = can_resample
        self.warning_label.warn(() if resample.value else warnings)

    def settings(self) -> PredictionSettings | None:
        """What is chosen; None until the processors are known."""
        settings: PredictionSettings | None = self.value if self._is_ready else None
        return settings

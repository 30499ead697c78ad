"""Form for the settings of a training: network, recipe, stains, length, processor, and advanced options."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_hrpn.plugin.parts.forms import offer
from napari_hrpn.plugin.parts.options_form import OptionsForm, device_choices
from napari_hrpn.settings import TrainingSettings, recipe_settings
from napari_hrpn.settings.networks import NETWORKS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from napari_hrpn.inference import Device
    from napari_hrpn.plugin.train.run import TrainingReadiness

_FIELDS = ("model", "recipe", "channels", "branches", "epochs", "batch", "max_minutes", "device")
_ADVANCED = (
    *("patch_px", "learning_rate", "upsampling", "scaling", "minimum_overlap", "minimum_tissue", "seed", "precision"),
    "devices",
)
# what a user sets for reasons that have nothing to do with the recipe
_KEPT = ("channels", "branches", "max_minutes", "device", "seed", "devices")


class TrainingForm(OptionsForm):
    """Asks for what `TrainingSettings` has; what is not asked for is as the recipe has it."""

    def __init__(self) -> None:
        self._is_ready = False
        self._devices: tuple[Device, ...] = ()
        self._most_devices: Mapping[str, int] = {}
        super().__init__(TrainingSettings, _FIELDS, _ADVANCED, choices=["device"])
        offer(self.fields["device"], [("Looking for processors …", "auto")])
        for name in ("model", "recipe"):
            # the form changes once, with all that the recipe fills in
            self.fields[name].changed.disconnect()
            self.fields[name].changed.connect(self._take_recipe)
        self.fields["device"].changed.connect(self._show_devices)

    def set_ready(self, readiness: TrainingReadiness) -> None:
        """Fill in the processors that were found in the background."""
        self._is_ready = True
        self._devices, self._most_devices = readiness.devices, readiness.most_devices
        offer(self.fields["device"], device_choices(readiness.devices))
        self._show_devices()

    def settings(self) -> TrainingSettings | None:
        """What is chosen; None until the processors are known."""
        settings: TrainingSettings | None = self.value if self._is_ready else None
        return settings

    def _take_recipe(self) -> None:
        network, name = NETWORKS[self.fields["model"].value], self.fields["recipe"].value
        # not every network has been published with a recipe
        recipe = recipe_settings(name if name in network.recipes else next(iter(network.recipes)), network.name)
        devices = min(self.fields["devices"].value, recipe.batch)
        self.show_options(replace(recipe, devices=devices), keep=_KEPT)

    def _fill(self, settings: TrainingSettings, keep: Collection[str]) -> None:
        super()._fill(settings, keep)
        self._show_devices()
        devices = self.fields["devices"]
        if settings.devices > devices.max:
            # a run of another machine is shown as it is, and can be given fewer
            self._offer_devices(settings.devices, settings.devices)
        devices.value = settings.devices
        for name in {option for network in NETWORKS.values() for option in network.options}:
            self.fields[name].enabled = name in NETWORKS[settings.model].options

    def _show_devices(self) -> None:
        automatic = self._devices[0].name if self._devices else ""
        chosen = self.fields["device"].value
        first = automatic if chosen in (None, "auto") else chosen
        self._offer_devices(self._most_devices.get(first, 1), max(self._most_devices.values(), default=1))

    def _offer_devices(self, most: int, most_anywhere: int) -> None:
        """Ask for their number where it can be more than one."""
        devices = self.fields["devices"]
        devices.max, devices.enabled, devices.visible = most, most > 1, most_anywhere > 1

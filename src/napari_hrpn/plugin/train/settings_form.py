"""How to train: network, recipe, stains, length, processor, and what few people change.

The defaults come from the recipes; this form has none of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDoubleSpinBox, QLineEdit, QSizePolicy, QSpinBox, QWidget

from napari_hrpn.plugin.parts.choice_box import ChoiceBox
from napari_hrpn.plugin.parts.devices import device_choices
from napari_hrpn.plugin.parts.fold import Fold
from napari_hrpn.plugin.parts.form_rows import add_row, form_layout
from napari_hrpn.plugin.parts.scientific_box import ScientificBox

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_hrpn.inference import Device
    from napari_hrpn.plugin.train.run import TrainingReadiness
    from napari_hrpn.training import TrainingSettings

_MODELS = (("HRPN", "hrpn"), ("GANDA", "ganda"))
_RECIPES = (("Fast", "fast"), ("Paper", "paper"))
_UPSAMPLINGS = (("Bilinear", "bilinear"), ("Transposed convolution", "transposed"))
_SCALINGS = (
    ("Percentiles of all slides", "fixed"),
    ("Percentiles of each slide", "percentile"),
    ("None: grey levels", "raw"),
    ("Full scale of the camera", "full_scale"),
)
_PRECISIONS = (("Automatic", "auto"), ("32 bit, exact", "fp32"), ("16 bit, bfloat16", "bf16"))
_PATCH_STEP_PX = 32


class TrainingForm(QWidget):
    """Asks for what `TrainingSettings` has; what is not asked for is as the recipe has it."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._recipes: dict[tuple[str, str], TrainingSettings] = {}
        self._base: TrainingSettings | None = None
        self._devices: tuple[Device, ...] = ()
        self._most_devices: Mapping[str, int] = {}
        self.model_box = ChoiceBox("Network: HRPN, or the generative network GANDA that it was compared with")
        self.model_box.offer(_MODELS)
        self.recipe_box = ChoiceBox(
            "Fast: random crops, AdamW with one learning rate cycle, averaged weights;\n"
            "minutes on a few slides, even without a GPU.\n"
            "Paper: exactly as published (Xu et al. 2023): a grid of 512 px patches, RMSprop,\n"
            "a learning rate of 0.00001 and no scaling; hours on a GPU.\n"
            "Choosing one fills in its numbers"
        )
        self.recipe_box.offer(_RECIPES)
        self.channels_edit = QLineEdit()
        self.channels_edit.setToolTip(
            "What the network sees, in order, such as: nuclei, vessels.\n"
            "Any other stain can be added; the table of slides then asks for its channel"
        )
        self.branches_box = _whole("Resolutions that HRPN works on at the same time, 1 to 4", 1, 4)
        self.epochs_box = _whole("Epochs at most; the best one's weights are kept", 1, 100_000)
        self.batch_box = _whole("Patches per step. Where memory runs out, a step is done in pieces", 1, 4096)
        self.minutes_box = QDoubleSpinBox()
        self.minutes_box.setRange(0, 1e6)
        self.minutes_box.setDecimals(1)
        self.minutes_box.setSuffix(" min")
        self.minutes_box.setSpecialValueText("No limit")
        self.minutes_box.setToolTip(
            "End by then, all runs of this training together.\nThe learning rate comes down in time"
        )
        self.device_box = ChoiceBox("Processor that trains the network, with its free memory")
        self.device_box.offer([("Looking for processors …", None)])
        self._advanced = _Advanced()
        self.advanced_group = Fold("Advanced", self._advanced)
        self._lay_out()
        self._connect()

    def set_ready(self, readiness: TrainingReadiness) -> None:
        """Fill in what was found out in the background."""
        self._devices, self._most_devices = readiness.devices, readiness.most_devices
        self.device_box.offer(device_choices(readiness.devices))
        self._show_devices()
        if self._base is None:
            self._recipes = dict(readiness.recipes)
            self.set_settings(self._recipes[self.model_box.value, self.recipe_box.value])

    def settings(self) -> TrainingSettings | None:
        """What is chosen."""
        if self._base is None:
            return None
        return replace(
            self._base,
            channels=tuple(name for name in (part.strip() for part in self.channels_edit.text().split(",")) if name),
            branches=self.branches_box.value(),
            epochs=self.epochs_box.value(),
            batch=self.batch_box.value(),
            max_minutes=self.minutes_box.value() or None,
            device=self.device_box.value or self._base.device,
            **self._advanced.choices(),
        )

    def set_settings(self, settings: TrainingSettings) -> None:
        """Show settings, and keep those that the form does not ask for."""
        was_blocked = self.blockSignals(True)
        self._base = settings
        for box, value in ((self.model_box, settings.model), (self.recipe_box, settings.recipe)):
            _quietly(box, value)
        self.channels_edit.setText(", ".join(settings.channels))
        self.branches_box.setValue(settings.branches)
        self.epochs_box.setValue(settings.epochs)
        self.batch_box.setValue(settings.batch)
        self.minutes_box.setValue(settings.max_minutes or 0)
        self.device_box.choose(settings.device)
        self._advanced.show_settings(settings)
        self._show_what_applies()
        self.blockSignals(was_blocked)
        self.changed.emit()

    def _take_recipe(self) -> None:
        if self._base is None:
            return
        recipe = self._recipes[self.model_box.value, self.recipe_box.value]
        # what a user sets for reasons that have nothing to do with the recipe stays
        now: dict[str, Any] = {
            "channels": self._base.channels,
            "branches": self.branches_box.value(),
            "max_minutes": self.minutes_box.value() or None,
            "device": self.device_box.value or self._base.device,
            "seed": self._advanced.seed_box.value(),
            "devices": min(self._advanced.devices_box.value(), recipe.batch),
        }
        text = self.channels_edit.text()
        was_blocked = self.blockSignals(True)
        self.set_settings(replace(recipe, **now))
        # what is being typed need not make sense yet
        self.channels_edit.setText(text)
        self.blockSignals(was_blocked)
        self.changed.emit()

    def _show_what_applies(self) -> None:
        is_hrpn = self.model_box.value == "hrpn"
        self.branches_box.setEnabled(is_hrpn)
        self._advanced.upsampling_box.setEnabled(is_hrpn)

    def _show_devices(self) -> None:
        automatic = self._devices[0].name if self._devices else ""
        first = automatic if self.device_box.value in (None, "auto") else self.device_box.value
        self._advanced.offer_devices(self._most_devices.get(first, 1), max(self._most_devices.values(), default=1))

    def _lay_out(self) -> None:
        form = form_layout(self)
        for title, field in (
            ("Model", self.model_box),
            ("Recipe", self.recipe_box),
            ("Inputs", self.channels_edit),
            ("Branches", self.branches_box),
            ("Epochs", self.epochs_box),
            ("Batch", self.batch_box),
            ("Stop after", self.minutes_box),
            ("Device", self.device_box),
        ):
            field.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            add_row(form, title, field)
        form.addRow(self.advanced_group)

    def _connect(self) -> None:
        self.model_box.changed.connect(self._take_recipe)
        self.recipe_box.changed.connect(self._take_recipe)
        self.device_box.changed.connect(self._show_devices)
        self.device_box.changed.connect(self.changed)
        self.channels_edit.editingFinished.connect(self.changed)
        for box in (self.branches_box, self.epochs_box, self.batch_box, self.minutes_box):
            box.valueChanged.connect(self.changed)
        self._advanced.changed.connect(self.changed)


class _Advanced(QWidget):
    """Fields that a recipe fills in."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.patch_box = _whole("Side of a patch, a multiple of the network's coarsest pixel", 32, 4096)
        self.patch_box.setSingleStep(_PATCH_STEP_PX)
        self.patch_box.setSuffix(" px")
        self.rate_box = ScientificBox(1e-12, 10)
        self.rate_box.setToolTip("Learning rate; its peak where the recipe has a cycle")
        self.upsampling_box = ChoiceBox("How HRPN makes coarse features fine again")
        self.upsampling_box.offer(_UPSAMPLINGS)
        self.scaling_box = ChoiceBox(
            "From grey levels to the network's numbers: the 1st percentile of the tissue becomes 0\n"
            "and the 99.5th becomes 1, over all training slides together or on each slide by itself;\n"
            "or as published for HRPN (none) and for GANDA (full scale)"
        )
        self.scaling_box.offer(_SCALINGS)
        self.overlap_box = _percent("Share of a patch that must lie in the annotated regions")
        self.tissue_box = _percent("Share of a patch that must be tissue")
        self.seed_box = _whole("Everything random follows from it", 0, 2**31 - 1)
        self.precision_box = ChoiceBox("Arithmetic inside the network. By itself: 16 bit where the processor has it")
        self.precision_box.offer(_PRECISIONS)
        self.devices_box = _whole(
            "Train on so many GPUs together, from the chosen one on: each has its share of every batch.\n"
            "On a CPU so many processes, which are no faster than one",
            1,
            1,
        )
        self._form = form_layout(self)
        self._lay_out()
        self.offer_devices(1, 1)

    def _lay_out(self) -> None:
        for title, field in (
            ("Patch", self.patch_box),
            ("Rate", self.rate_box),
            ("Upsampling", self.upsampling_box),
            ("Scaling", self.scaling_box),
            ("In regions", self.overlap_box),
            ("Tissue", self.tissue_box),
            ("Seed", self.seed_box),
            ("Precision", self.precision_box),
            ("Devices", self.devices_box),
        ):
            field.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            (field.changed if isinstance(field, ChoiceBox) else field.valueChanged).connect(self.changed)
            add_row(self._form, title, field)

    def show_settings(self, settings: TrainingSettings) -> None:
        self.patch_box.setValue(settings.patch_px)
        self.rate_box.setValue(settings.learning_rate)
        self.upsampling_box.choose(settings.upsampling)
        self.scaling_box.choose(settings.scaling)
        self.overlap_box.setValue(100 * settings.minimum_overlap)
        self.tissue_box.setValue(100 * settings.minimum_tissue)
        self.seed_box.setValue(settings.seed)
        self.precision_box.choose(settings.precision)
        if settings.devices > self.devices_box.maximum():
            # a run of another machine is shown as it is, and can be given fewer
            self.offer_devices(settings.devices, settings.devices)
        self.devices_box.setValue(settings.devices)

    def offer_devices(self, most: int, most_anywhere: int) -> None:
        """Ask for their number where it can be more than one."""
        self.devices_box.setMaximum(most)
        self.devices_box.setEnabled(most > 1)
        for widget in (self.devices_box, self._form.labelForField(self.devices_box)):
            widget.setVisible(most_anywhere > 1)

    def choices(self) -> dict[str, Any]:
        return {
            "patch_px": self.patch_box.value(),
            "learning_rate": self.rate_box.value(),
            "upsampling": self.upsampling_box.value,
            "scaling": self.scaling_box.value,
            "minimum_overlap": round(self.overlap_box.value() / 100, 6),
            "minimum_tissue": round(self.tissue_box.value() / 100, 6),
            "seed": self.seed_box.value(),
            "precision": self.precision_box.value,
            "devices": self.devices_box.value(),
        }


def _quietly(box: ChoiceBox, value: object) -> None:
    was_blocked = box.blockSignals(True)
    box.choose(value)
    box.blockSignals(was_blocked)


def _whole(tooltip: str, least: int, most: int) -> QSpinBox:
    box = QSpinBox()
    box.setRange(least, most)
    box.setToolTip(tooltip)
    return box


def _percent(tooltip: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(0, 100)
    box.setDecimals(1)
    box.setSingleStep(5)
    box.setSuffix(" %")
    box.setToolTip(tooltip)
    return box

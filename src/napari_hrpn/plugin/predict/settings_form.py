"""How to predict: region, processor, place of the result, and what few people change.

The defaults come from `PredictionSettings`; this form has none of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QSizePolicy, QSpinBox, QWidget

from napari_hrpn.plugin.parts.choice_box import ChoiceBox
from napari_hrpn.plugin.parts.devices import device_choices
from napari_hrpn.plugin.parts.fold import Fold
from napari_hrpn.plugin.parts.form_rows import add_row, form_layout
from napari_hrpn.plugin.parts.messages import ToneLabel

if TYPE_CHECKING:
    from napari_hrpn.inference import Device, PredictionSettings

_WHOLE, IN_VIEW, IN_SHAPES = "whole", "view", "shapes"
_REGIONS = (("Whole slide", _WHOLE), ("What is in view", IN_VIEW), ("Selected shapes", IN_SHAPES))
_PRECISIONS = (("32 bit, exact", "fp32"), ("16 bit, bfloat16", "bf16"), ("16 bit, float16", "fp16"))
_OUTPUTS = (("32 bit floating point", "float32"), ("Integers, as trained on", "probe"))
_CELL_PX = 512
_HALO_STEP_PX = 32


class SettingsForm(QWidget):
    """Asks for everything that `PredictionSettings` has, but the region's pixels."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._defaults: PredictionSettings | None = None
        self.region_box = ChoiceBox(
            "Predict the whole slide, the tiles in view, or the tiles under the selected shapes\n"
            "(all shapes of the layer, if none is selected)"
        )
        self.region_box.offer(_REGIONS)
        self.device_box = ChoiceBox("Processor that runs the network, with its free memory")
        self.device_box.offer([("Looking for processors …", None)])
        self.resample_box = QCheckBox("Resample to the pixel size trained on")
        self.resample_box.setToolTip(
            "Show the slide to the network at the pixel size that it was trained on.\n"
            "The prediction has the slide's own pixels. On by itself where the two differ by more than 5 %"
        )
        self.resample_box.setEnabled(False)
        self.resample_box.toggled.connect(self.changed)
        for box in (self.region_box, self.device_box):
            box.changed.connect(self.changed)
        self._about: object = None
        self.warning_label = ToneLabel()
        self._advanced = _Advanced()
        self._advanced.changed.connect(self.changed)
        self.advanced_group = Fold("Advanced", self._advanced)
        self._lay_out()

    def _lay_out(self) -> None:
        form = form_layout(self)
        add_row(form, "Region", self.region_box)
        add_row(form, "Device", self.device_box)
        form.addRow(self.resample_box)
        form.addRow(self.warning_label)
        form.addRow(self.advanced_group)

    @property
    def native(self) -> QWidget:
        """The widget itself."""
        return self

    def set_ready(self, devices: tuple[Device, ...]) -> None:
        """Fill in what was found out in the background."""
        from napari_hrpn.inference import PredictionSettings

        defaults = PredictionSettings()
        self.device_box.offer(device_choices(devices))
        if self._defaults is None:
            self._defaults = defaults
            self.device_box.choose(defaults.device)
            self._advanced.set_defaults(defaults)

    def offer_resampling(self, warnings: tuple[str, ...], *, can_resample: bool, about: object) -> None:
        """Tell that the slide's pixels are not of the size trained on, and resample unless the user says otherwise."""
        if (about, can_resample) != self._about:
            self._about = about, can_resample
            self.resample_box.setChecked(can_resample)
        self.resample_box.setEnabled(can_resample)
        self.warning_label.warn(() if self.resample_box.isChecked() else warnings)

    def settings(self) -> PredictionSettings | None:
        """What is chosen."""
        if self._defaults is None:
            return None
        return replace(
            self._defaults,
            device=self.device_box.value or self._defaults.device,
            resample=self.resample_box.isChecked(),
            **self._advanced.choices(),
        )


class _Advanced(QWidget):
    """Fields whose lowest value means: found out by itself."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.precision_box = ChoiceBox(
            "Arithmetic inside the network. 16 bit is faster on some processors,\n"
            "and errs by 0.2 % of the range on average, up to 10 % at single pixels"
        )
        self.precision_box.offer(_PRECISIONS)
        self.core_box = _pixels(
            "Side of a tile. Larger tiles take less time per pixel and more memory.\n"
            "By itself: as large as the memory allows",
            16 * _CELL_PX,
            _CELL_PX,
        )
        self.halo_box = _pixels(
            "Pixels around a tile that the network looks at as well.\n"
            "By itself: as far as it can see, with which tiles fit together exactly",
            1024,
            _HALO_STEP_PX,
            least=-_HALO_STEP_PX,
        )
        self.memory_box = QDoubleSpinBox()
        self.memory_box.setRange(0, 1024)
        self.memory_box.setDecimals(1)
        self.memory_box.setSuffix(" GB")
        self.memory_box.setSpecialValueText("Automatic")
        self.memory_box.setToolTip("Memory that one tile may take. By itself: a part of what is free")
        self.output_box = ChoiceBox(
            "Pixel type of the result: as the network gives it,\n"
            "or rounded and clipped to that of the slides trained on"
        )
        self.output_box.offer(_OUTPUTS)
        self._lay_out()

    def _lay_out(self) -> None:
        form = form_layout(self)
        for title, box in (
            ("Precision", self.precision_box),
            ("Tile", self.core_box),
            ("Halo", self.halo_box),
            ("Memory", self.memory_box),
            ("Result", self.output_box),
        ):
            box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            add_row(form, title, box)
        for signal in (
            *(box.changed for box in (self.precision_box, self.output_box)),
            *(box.valueChanged for box in (self.core_box, self.halo_box, self.memory_box)),
        ):
            signal.connect(self._tell)

    def _tell(self, *_: object) -> None:
        self.changed.emit()

    def set_defaults(self, defaults: PredictionSettings) -> None:
        self.precision_box.choose(defaults.precision)
        self.core_box.setValue(defaults.core or 0)
        self.halo_box.setValue(-_HALO_STEP_PX if defaults.halo is None else defaults.halo)
        self.memory_box.setValue(defaults.memory_gb or 0)
        self.output_box.choose(defaults.output)

    def choices(self) -> dict[str, Any]:
        halo = self.halo_box.value()
        return {
            "precision": self.precision_box.value,
            # only whole stored squares make a tile
            "core": round(self.core_box.value() / _CELL_PX) * _CELL_PX or None,
            "halo": None if halo < 0 else halo,
            "memory_gb": self.memory_box.value() or None,
            "output": self.output_box.value,
        }


def _pixels(tooltip: str, most: int, step: int, least: int = 0) -> QSpinBox:
    box = QSpinBox()
    box.setRange(least, most)
    box.setSingleStep(step)
    box.setSuffix(" px")
    box.setSpecialValueText("Automatic")
    box.setValue(least)
    box.setToolTip(tooltip)
    return box

"""Form for the threshold: a slider for a percentile of the real image, and a box for the grey level."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import TYPE_CHECKING

from magicgui.widgets import Container, FloatSpinBox, Slider
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from napari_hrpn.analysis import ValueCounts

_FIRST_PERCENTILE = 90.0
_STEPS_PER_PERCENT = 10
_DIGITS = 4
_PERCENTILE_TIP = "The threshold as a percentile of the real image in the region"


class ThresholdForm(QWidget):
    """Form for a threshold; `changed` is emitted when `threshold` changes.

    If the pixels of the region change, the percentile or the grey level stays, whichever the user set last.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._counts: ValueCounts | None = None
        self.percentile = _FIRST_PERCENTILE
        """Percentile of the real image in the region, 0 to 100."""
        self.threshold = math.nan
        """Grey level; NaN if there are no pixels."""
        self._is_intensity_set = False
        self.slider = Slider(max=100 * _STEPS_PER_PERCENT, readout=False, tooltip=_PERCENTILE_TIP)
        self.percentile_box = FloatSpinBox(max=100, step=1, label="Percentile", tooltip=_PERCENTILE_TIP)
        self.intensity_box = FloatSpinBox(
            label="Grey level", tooltip="The threshold as a grey level, which is the same for both images"
        )
        self.percentile_box.native.setDecimals(1)
        self.percentile_box.native.setSuffix(" %")
        for box in (self.percentile_box, self.intensity_box):
            box.native.setKeyboardTracking(False)
        row = Container(layout="horizontal", widgets=[self.percentile_box, self.intensity_box])
        row.margins = (0, 0, 0, 0)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.slider.native)
        layout.addWidget(row.native)
        self.slider.changed.connect(lambda value: self.set_percentile(value / _STEPS_PER_PERCENT))
        self.percentile_box.changed.connect(self.set_percentile)
        self.intensity_box.changed.connect(self.set_threshold)
        self.setEnabled(False)

    def use_counts(self, counts: ValueCounts | None, *, is_whole: bool = False) -> None:
        """Use percentiles of other pixels from now on."""
        self._counts = counts if counts is not None and counts.n else None
        self.setEnabled(self._counts is not None)
        if self._counts is None:
            self.threshold = math.nan
            return
        low, high = (float(value) for value in self._counts.percentile([0, 100]))
        is_whole = is_whole or not self._counts.binned
        # the range ends one step above the brightest pixel, where no pixel reaches the threshold
        end = high + (1 if is_whole else self._counts.step)
        with self.intensity_box.changed.blocked():
            box = self.intensity_box.native
            # a percentile may lie between two whole numbers
            box.setDecimals(1 if is_whole else max(2, _DIGITS - math.floor(math.log10(end - low))))
            box.setSingleStep(1 if is_whole else (end - low) / 100)
            box.setRange(low, end)
        if self._is_intensity_set:
            self.threshold = low if math.isnan(self.threshold) else min(max(self.threshold, low), end)
            self.percentile = self._percentile_of(self._counts, self.threshold)
        else:
            self.threshold = float(self._counts.percentile(self.percentile, interpolated=True))
        self._show()

    def set_percentile(self, percentile: float) -> None:
        """Set the threshold by its percentile."""
        self.percentile = min(max(percentile, 0.0), 100.0)
        self._is_intensity_set = False
        if self._counts is not None:
            self.threshold = float(self._counts.percentile(self.percentile, interpolated=True))
        self._show()
        self.changed.emit()

    def set_threshold(self, threshold: float) -> None:
        """Set the threshold itself."""
        self.threshold, self._is_intensity_set = threshold, True
        if self._counts is not None:
            self.percentile = self._percentile_of(self._counts, threshold)
        self._show()
        self.changed.emit()

    @staticmethod
    def _percentile_of(counts: ValueCounts, threshold: float) -> float:
        """Percentile of a threshold, as NumPy defines percentiles."""
        darker = counts.n - counts.at_least(threshold)
        return min(100.0, 100 * darker / max(counts.n - 1, 1))

    def _show(self) -> None:
        with ExitStack() as blocked:
            for field in (self.slider, self.percentile_box, self.intensity_box):
                blocked.enter_context(field.changed.blocked())
            self.slider.value = round(self.percentile * _STEPS_PER_PERCENT)
            self.percentile_box.value = self.percentile
            if self._counts is not None:
                # the native box clips a threshold that, rounded to its digits, lies beyond the range
                self.intensity_box.native.setValue(self.threshold)

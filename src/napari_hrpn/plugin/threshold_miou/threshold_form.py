"""The threshold: a percentile of the real image on a slider, and the same as a grey level in a box."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QDoubleSpinBox, QHBoxLayout, QLabel, QSizePolicy, QSlider, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from napari_hrpn.analysis import ValueCounts

_FIRST_PERCENTILE = 90.0
_STEPS_PER_PERCENT = 10
_DIGITS = 4


class ThresholdForm(QWidget):
    """Asks for a threshold.

    `changed` says that `threshold` is another one now. What the user set last, percentile or grey level, stays when
    the pixels that it is a percentile of change.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._counts: ValueCounts | None = None
        self._percentile = _FIRST_PERCENTILE
        self._threshold = math.nan
        self._is_intensity_set = False
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.percentile_box = QDoubleSpinBox()
        self.intensity_box = QDoubleSpinBox()
        self._lay_out()
        self.slider.valueChanged.connect(self._take_slider)
        self.percentile_box.valueChanged.connect(self.set_percentile)
        self.intensity_box.valueChanged.connect(self.set_threshold)
        self.setEnabled(False)

    @property
    def percentile(self) -> float:
        """Of the real image in the region, 0 to 100."""
        return self._percentile

    @property
    def threshold(self) -> float:
        """Grey level; NaN where there are no pixels."""
        return self._threshold

    def use_counts(self, counts: ValueCounts | None, *, is_whole: bool = False) -> None:
        """Take percentiles of other pixels from now on."""
        self._counts = counts if counts is not None and counts.n else None
        self.setEnabled(self._counts is not None)
        if self._counts is None:
            self._threshold = math.nan
            return
        low, high = (float(value) for value in self._counts.percentile([0, 100]))
        is_whole = is_whole or not self._counts.binned
        # at the upper end no pixel reaches the threshold
        end = high + (1 if is_whole else self._counts.step)
        self._fit_intensity_box(low, end, is_whole=is_whole)
        if self._is_intensity_set:
            self._threshold = low if math.isnan(self._threshold) else min(max(self._threshold, low), end)
            self._percentile = self._percentile_of(self._threshold)
        else:
            self._threshold = self._threshold_of(self._percentile)
        self._show()

    def set_percentile(self, percentile: float) -> None:
        """Set the threshold by its percentile."""
        self._percentile = min(max(percentile, 0.0), 100.0)
        self._is_intensity_set = False
        if self._counts is not None:
            self._threshold = self._threshold_of(self._percentile)
        self._show()
        self.changed.emit()

    def set_threshold(self, threshold: float) -> None:
        """Set the threshold itself."""
        self._threshold, self._is_intensity_set = threshold, True
        if self._counts is not None:
            self._percentile = self._percentile_of(threshold)
        self._show()
        self.changed.emit()

    def _fit_intensity_box(self, low: float, end: float, *, is_whole: bool) -> None:
        was_blocked = self.intensity_box.blockSignals(True)
        # a percentile may lie between two whole numbers
        self.intensity_box.setDecimals(1 if is_whole else max(2, _DIGITS - math.floor(math.log10(end - low))))
        self.intensity_box.setSingleStep(1 if is_whole else (end - low) / 100)
        self.intensity_box.setRange(low, end)
        self.intensity_box.blockSignals(was_blocked)

    def _threshold_of(self, percentile: float) -> float:
        assert self._counts is not None
        return float(self._counts.percentile(percentile, interpolated=True))

    def _percentile_of(self, threshold: float) -> float:
        """Share of the pixels that are darker, counted as percentiles are."""
        assert self._counts is not None
        n = self._counts.n
        darker = n - self._counts.at_least(threshold)
        return min(100.0, 100 * darker / max(n - 1, 1))

    def _take_slider(self, value: int) -> None:
        self.set_percentile(value / _STEPS_PER_PERCENT)

    def _show(self) -> None:
        boxes = (self.slider, self.percentile_box, self.intensity_box)
        was_blocked = [box.blockSignals(True) for box in boxes]
        self.slider.setValue(round(self._percentile * _STEPS_PER_PERCENT))
        self.percentile_box.setValue(self._percentile)
        if self._counts is not None:
            self.intensity_box.setValue(self._threshold)
        for box, blocked in zip(boxes, was_blocked, strict=True):
            box.blockSignals(blocked)

    def _lay_out(self) -> None:
        self.slider.setRange(0, 100 * _STEPS_PER_PERCENT)
        self.slider.setPageStep(_STEPS_PER_PERCENT)
        self.percentile_box.setRange(0, 100)
        self.percentile_box.setDecimals(1)
        self.percentile_box.setSuffix(" %")
        for widget in (self.slider, self.percentile_box):
            widget.setToolTip("Percentile of the real image in the region that the threshold is")
        self.intensity_box.setToolTip("The threshold as a grey level; both images are cut at the same one")
        self.intensity_box.setKeyboardTracking(False)
        self.percentile_box.setKeyboardTracking(False)
        row = QHBoxLayout()
        for title, box in (("Percentile", self.percentile_box), ("Grey level", self.intensity_box)):
            label = QLabel(title)
            label.setToolTip(box.toolTip())
            row.addWidget(label)
            row.addWidget(box, 1)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.slider)
        layout.addLayout(row)

"""Which plane of a stack, and which point in time, a slide is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSpinBox, QWidget

from napari_hrpn.plugin.background import NewestTask, once
from napari_hrpn.plugin.parts.user_error import sentence_of

if TYPE_CHECKING:
    from napari_hrpn.slides import SeriesInfo, Slide

_AXES = ("z", "t")
_TOOLTIPS = {"z": "Plane of the stack, from 0", "t": "Point in time, from 0"}


class PlaneForm(QWidget):
    """Asks for z and t of a slide that was taken from a stack or a time series; hidden for others.

    `chosen` carries z and t, each None where there is only one; `refused` a sentence.
    """

    chosen = Signal(object, object)
    refused = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._slide: Slide | None = None
        self._reading = NewestTask()
        self.boxes: dict[str, QSpinBox] = {}
        self._labels: dict[str, QLabel] = {}
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for axis in _AXES:
            box, label = QSpinBox(), QLabel(axis)
            box.setToolTip(_TOOLTIPS[axis])
            # a plane is opened once its number is complete
            box.setKeyboardTracking(False)
            box.valueChanged.connect(self._choose)
            self.boxes[axis], self._labels[axis] = box, label
            row.addWidget(label)
            row.addWidget(box, 1)

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to choose."""
        return self._slide is not None and any(getattr(self._slide, axis) is not None for axis in _AXES)

    def show_slide(self, slide: Slide | None) -> None:
        """Show the plane that a slide is."""
        before, self._slide = self._slide, slide
        for axis in _AXES:
            place = None if slide is None else getattr(slide, axis)
            self._labels[axis].setVisible(place is not None)
            self.boxes[axis].setVisible(place is not None)
            if place is not None:
                self._set(axis, max(place, self.boxes[axis].maximum()), place)
        is_other = before is None or slide is None or (before.source, before.series) != (slide.source, slide.series)
        if slide is not None and is_other and self.is_needed:
            from napari_hrpn.slides import list_series

            for axis in _AXES:
                self._set(axis, getattr(slide, axis) or 0, getattr(slide, axis) or 0)
            self._reading.do(once(list_series, slide.source), self._take, self._fail)

    def abandon(self) -> None:
        """Stop reading, before the widget goes away."""
        self._reading.abandon()

    def _set(self, axis: str, most: int, place: int) -> None:
        box = self.boxes[axis]
        was_blocked = box.blockSignals(True)
        box.setMaximum(most)
        box.setValue(place)
        box.blockSignals(was_blocked)

    def _take(self, images: tuple[SeriesInfo, ...]) -> None:
        info = next((one for one in images if self._slide is not None and one.index == self._slide.series), None)
        if info is not None:
            for axis, count in (("z", info.z_planes), ("t", info.timepoints)):
                self._set(axis, count - 1, self.boxes[axis].value())
                self._labels[axis].setText(f"{axis} (0 to {count - 1})")

    def _fail(self, error: BaseException) -> None:
        self.refused.emit(sentence_of(error))

    def _choose(self) -> None:
        if self._slide is not None:
            values = (self.boxes[axis].value() if getattr(self._slide, axis) is not None else None for axis in _AXES)
            self.chosen.emit(*values)

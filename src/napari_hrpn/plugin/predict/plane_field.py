"""Image, z and t of an open slide whose file has several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from magicgui.widgets import CheckBox, SpinBox
from psygnal import Signal

from napari_hrpn.plugin.background import NewestTask, once
from napari_hrpn.plugin.parts.forms import field_row
from napari_hrpn.plugin.parts.messages import sentence_of
from napari_hrpn.slides.slide_builder import MAXIMUM

if TYPE_CHECKING:
    from napari_hrpn.slides import SeriesInfo, Slide


class PlaneField:
    """Fields for image, z and t of a slide from a file of several images, a stack or a time series; else hidden.

    `chosen` carries image, z and t, of which z and t are None if there is only one; `refused` carries the sentence of
    an error.
    """

    chosen = Signal(int, object, object)
    refused = Signal(str)

    def __init__(self) -> None:
        self._slide: Slide | None = None
        self._images: tuple[SeriesInfo, ...] = ()
        self._reading = NewestTask()
        self.boxes = {
            "series": SpinBox(label="image", max=0, tooltip="Image of the file, from 0"),
            "z": SpinBox(label="z", max=0, tooltip="Plane of the stack, from 0"),
            "t": SpinBox(label="t", max=0, tooltip="Point in time, from 0"),
        }
        self.maximum_box = CheckBox(text="max", tooltip="Maximum over all planes of the stack, as layers of its own")
        self.row = field_row("Plane", [*self.boxes.values(), self.maximum_box], labels=True)
        for box in self.boxes.values():
            # a plane is opened only once its number is typed completely
            box.native.setKeyboardTracking(False)
        for box in (*self.boxes.values(), self.maximum_box):
            box.changed.connect(self._choose)

    def show_slide(self, slide: Slide | None) -> None:
        """Show the image and the plane of a slide."""
        before, self._slide = self._slide, slide
        is_other = before is None or slide is None or before.source != slide.source
        if is_other:
            self._images = ()
            self._reading.abandon()
        self._show()
        # a slide in memory has no file
        if slide is not None and is_other and not (isinstance(slide.source, Path) and not slide.source.exists()):
            from napari_hrpn.slides import list_series

            self._reading.do(once(list_series, slide.source), self._take, self._fail)

    def abandon(self) -> None:
        """Stop reading before the widget is deleted."""
        self._reading.abandon()

    def _take(self, images: tuple[SeriesInfo, ...]) -> None:
        self._images = images
        self._show()

    def _show(self) -> None:
        slide, known = self._slide, len(self._images)
        info = next((one for one in self._images if slide is not None and one.index == slide.series), None)
        counts = {
            "series": known,
            "z": 0 if info is None else info.z_planes,
            "t": 0 if info is None else info.timepoints,
        }
        shown = {axis: getattr(slide, axis) for axis in self.boxes if getattr(slide, axis, None) is not None}
        if known < 2:
            shown.pop("series", None)
        self.row.visible = bool(shown)
        for axis, box in self.boxes.items():
            box.visible = axis in shown
            # the number of a plane stays while their maximum is shown
            index = box.value if shown.get(axis) == MAXIMUM else shown.get(axis, 0)
            with box.changed.blocked():
                box.max = max(index, counts[axis] - 1)
                box.value = index
            if counts[axis]:
                box.label = f"{'image' if axis == 'series' else axis} (0 to {counts[axis] - 1})"
        self.boxes["z"].enabled = shown.get("z") != MAXIMUM
        self.maximum_box.visible = "z" in shown
        with self.maximum_box.changed.blocked():
            self.maximum_box.value = shown.get("z") == MAXIMUM

    def _fail(self, error: BaseException) -> None:
        # a slide that is all there is in its file needs no choice
        if self._slide is not None and (self._slide.z, self._slide.t) != (None, None):
            self.refused.emit(sentence_of(error))

    def _choose(self) -> None:
        if (slide := self._slide) is None:
            return
        number = {axis: box.value if getattr(slide, axis) is not None else None for axis, box in self.boxes.items()}
        series = number["series"] if len(self._images) > 1 else slide.series
        if series != slide.series:
            # another image may have other planes: it opens as a file does, without the warning that there are others
            planes, times = next((one.z_planes, one.timepoints) for one in self._images if one.index == series)
            self.chosen.emit(series, planes // 2 if planes > 1 else None, 0 if times > 1 else None)
        else:
            self.chosen.emit(series, MAXIMUM if self.maximum_box.value else number["z"], number["t"])

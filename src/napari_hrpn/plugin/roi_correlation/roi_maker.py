"""Makes regions: drawn by the user, read from a file, or at random places on the tissue."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from napari.layers import Shapes
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog

from napari_hrpn.analysis import random_rois
from napari_hrpn.plugin.background import NewestTask, once
from napari_hrpn.plugin.parts.tissue_mask import Tissue
from napari_hrpn.plugin.parts.user_error import sentence_of
from napari_hrpn.plugin.roi_correlation.export_rows import Origin
from napari_hrpn.plugin.roi_correlation.new_rois import (
    add_boxes,
    box_ring,
    imported_layer,
    new_layer,
    read_rois,
    taken_boxes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import napari
    from napari.layers import Layer

    from napari_hrpn.analysis import PlacedRois, RandomRois, Roi
    from napari_hrpn.core import Box
    from napari_hrpn.plugin.parts.selection import ComparedChannel
    from napari_hrpn.plugin.roi_correlation.listed_rois import ListedRoi
    from napari_hrpn.plugin.roi_correlation.roi_form import RoiForm
    from napari_hrpn.slides import Annotation

_GEOJSON = "Regions (*.geojson *.json);;All files (*)"
_NO_SLIDE = "There is no real layer to put regions on: open a slide and its prediction, or choose one under Real."


@dataclass(frozen=True, eq=False)
class _LayerOrigin:
    """What was put into a layer."""

    file: str | None = None  # From which it was imported
    random: dict[Box, RandomRois] = field(default_factory=dict)  # Random regions by where they were placed


class RoiMaker(QObject):
    """Does what the form asks for.

    `said` carries a sentence for the user, `refused` why something cannot be done.
    """

    said = Signal(str)
    refused = Signal(str)

    def __init__(self, viewer: napari.Viewer, form: RoiForm, there: Callable[[], Sequence[Roi]]) -> None:
        super().__init__()
        self._viewer, self._form, self._there = viewer, form, there
        self._real: ComparedChannel | None = None
        self._wants_random = False
        self._tissue = Tissue(viewer)
        self._task = NewestTask()
        self._origins: WeakKeyDictionary[Layer, _LayerOrigin] = WeakKeyDictionary()
        self._tissue.changed.connect(self._tissue_changed)
        form.drawing_asked.connect(self.draw)
        form.import_asked.connect(self._ask_for_file)
        form.random_asked.connect(self.add_random)

    @property
    def is_busy(self) -> bool:
        """Whether regions are being read or placed."""
        return self._task.is_busy or self._wants_random

    def set_real(self, real: ComparedChannel | None) -> None:
        """Put regions on another slide from now on."""
        self._task.abandon()
        self._wants_random = False
        self._real = real
        self._form.random_form.set_pixel_size(None if real is None else real.slide.pixel_size_um)
        self._form.random_form.set_shape(None if real is None else real.slide.shape)

    def origin(self, listed: ListedRoi, shape: tuple[int, int]) -> Origin:
        """Where a region comes from."""
        of_layer = None if listed.layer is None else self._origins.get(listed.layer)
        if of_layer is None:
            return Origin()
        (box,) = taken_boxes([listed.roi], shape)
        return Origin(of_layer.file, of_layer.random.get(box))

    def draw(self) -> None:
        """Let the user draw a rectangle, in the chosen layer or in a new one."""
        if self._real is None:
            self.refused.emit(_NO_SLIDE)
            return
        self._form.refresh()
        layer = self._form.layer
        if not isinstance(layer, Shapes):
            layer = new_layer(self._viewer, self._real.layer, self._real.slide.shape)
            self._form.choose(layer)
        self._viewer.layers.selection.active = layer
        layer.mode = "add_rectangle"

    def import_regions(self, path: Path) -> None:
        """Import regions from GeoJSON into a new layer."""
        real = self._real
        if real is None:
            self.refused.emit(_NO_SLIDE)
            return

        def show(found: tuple[tuple[Annotation, ...], str]) -> None:
            """Show what was read."""
            annotations, note = found
            layer = imported_layer(annotations, path.stem, real.layer, real.slide.shape, self._viewer)
            self._origins[layer] = _LayerOrigin(path.name)
            self._form.choose(layer)
            number = sum(one.kind == "include" for one in annotations)
            self.said.emit(f"{number} {'region' if number == 1 else 'regions'} imported. {note}".strip())

        self._task.do(once(read_rois, path, real.slide.shape), show, self._tell_failure)

    def add_random(self) -> None:
        """Add random regions; the tissue is looked for first, where it is needed."""
        real = self._real
        if real is None:
            self.refused.emit(_NO_SLIDE)
            return
        # a layer may have come this very moment
        self._form.refresh()
        settings = self._form.random_form.settings()
        tissue = None
        if settings.least_tissue > 0:
            self._tissue.look_at(real)
            tissue = self._tissue.mask
            self._wants_random = tissue is None and self._tissue.is_busy
            if tissue is None:
                self.said.emit(
                    "Looking for the tissue …" if self._wants_random else f"{self._tissue.problem} Or ask for 0 %."
                )
                return
        taken = taken_boxes(self._there(), real.slide.shape)
        self._task.do(
            once(random_rois, real.slide.shape, settings, tissue, taken),
            lambda placed: self._place(placed, settings),
            self._tell_failure,
        )

    def shut_down(self) -> None:
        """End what runs."""
        self._task.abandon()
        self._wants_random = False
        self._tissue.shut_down()

    def _place(self, placed: PlacedRois, settings: RandomRois) -> None:
        real = self._real
        assert real is not None
        there = {roi.name for roi in self._there()}
        free = (name for k in count(1) if (name := f"random {settings.seed}-{k}") not in there)
        names = list(islice(free, len(placed.boxes)))
        if isinstance(self._form.layer, Shapes):
            add_boxes(placed.boxes, names, self._form.layer, real.layer, self._viewer)
        else:
            rings = [box_ring(box) for box in placed.boxes]
            self._form.choose(new_layer(self._viewer, real.layer, real.slide.shape, rings=rings, names=names))
        layer = self._form.layer
        if layer is not None:
            origin = self._origins.setdefault(layer, _LayerOrigin())
            origin.random.update(dict.fromkeys(placed.boxes, settings))
        told = [f"{len(placed.boxes)} of {settings.number} regions added."]
        if placed.overlapping:
            told.append(f"{placed.overlapping} of them overlap: there was no room apart.")
        self.said.emit(" ".join(told))

    def _tissue_changed(self) -> None:
        if self._wants_random and not self._tissue.is_busy:
            self._wants_random = False
            self.add_random()

    def _tell_failure(self, error: BaseException) -> None:
        self.refused.emit(sentence_of(error))

    def _ask_for_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self._form, "Regions to import", "", _GEOJSON)
        if name:
            self.import_regions(Path(name))

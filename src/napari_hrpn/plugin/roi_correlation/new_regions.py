"""New regions of interest in the viewer: drawn by the user, imported from a file, or at random places on the tissue.

They are added to the chosen Shapes layer or to a new layer; existing regions are never replaced.
"""

from __future__ import annotations

import warnings
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from napari.layers import Shapes
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog

from napari_hrpn.analysis import random_rois
from napari_hrpn.core import Box
from napari_hrpn.plugin.background import NewestTask, once
from napari_hrpn.plugin.parts.messages import sentence_of
from napari_hrpn.plugin.roi_correlation.autosave import RoiAutosave
from napari_hrpn.plugin.roi_correlation.regions import name_last
from napari_hrpn.plugin.roi_correlation.results import Origin
from napari_hrpn.plugin.viewer import placement
from napari_hrpn.plugin.viewer.annotation_layers import annotation_layer, regions_style
from napari_hrpn.plugin.viewer.layer_coordinates import HALF_A_PIXEL, NAME, points_in_layer
from napari_hrpn.plugin.viewer.open_slides import slide_of
from napari_hrpn.slides import SlideError, included, read_geojson

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import napari
    from napari.layers import Image, Layer

    from napari_hrpn.analysis import PlacedRois, RandomRois
    from napari_hrpn.plugin.parts.measure_bar import MeasureBar
    from napari_hrpn.plugin.parts.selection import ComparedChannel
    from napari_hrpn.plugin.parts.tissue_mask import Tissue
    from napari_hrpn.plugin.roi_correlation.region_form import RoiForm
    from napari_hrpn.plugin.roi_correlation.regions import ListedRoi
    from napari_hrpn.slides import Annotation, Region

_GEOJSON = "Regions (*.geojson *.geojson.gz *.json);;All files (*)"
_NO_SLIDE = "There is no real layer to put regions on: open a slide and its prediction, or choose one under Real."
_NUMBERED = "ROI "
_SQUARE = 1e-6


class RoiMaker(QObject):
    """Makes the regions that the form describes, and reports the result in a bar."""

    def __init__(
        self,
        viewer: napari.Viewer,
        form: RoiForm,
        tissue: Tissue,
        bar: MeasureBar,
        existing: Callable[[], Sequence[Region]],
    ) -> None:
        super().__init__()
        self._viewer, self._form, self._tissue, self._bar, self._existing = viewer, form, tissue, bar, existing
        self._real: ComparedChannel | None = None
        self._wants_random = False
        self._task = NewestTask()
        self._files: WeakKeyDictionary[Layer, str] = WeakKeyDictionary()
        # settings of the random regions of each layer, by their boxes
        self._random: WeakKeyDictionary[Layer, dict[Box, RandomRois]] = WeakKeyDictionary()
        self.autosave = RoiAutosave(viewer, form.region_layers)
        self.autosave.found.connect(form.offer_autosaved)
        form.autosaved_button.changed.connect(self._import_autosaved)
        self._tissue.changed.connect(self._tissue_changed)
        form.draw_button.changed.connect(self.draw)
        form.import_button.changed.connect(self._ask_for_file)
        form.random_form.add_button.changed.connect(self.add_random)

    @property
    def is_busy(self) -> bool:
        """Whether regions are being read or placed."""
        return self._task.is_busy or self._wants_random

    def set_real(self, real: ComparedChannel | None) -> None:
        """Make regions on another slide from now on."""
        self.abandon()
        self._real = real
        self.autosave.set_real(real)
        self._form.random_form.use_slide(None if real is None else real.slide)

    def origin(self, listed: ListedRoi, shape: tuple[int, int]) -> Origin:
        """Where a region comes from."""
        if listed.layer is None:
            return Origin()
        placed = self._random.get(listed.layer, {})
        return Origin(self._files.get(listed.layer), placed.get(listed.roi.bounds(shape)))

    def draw(self) -> None:
        """Let the user draw a rectangle, in the chosen layer or in a new one."""
        if self._real is None:
            self._bar.refuse(_NO_SLIDE)
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
            self._bar.refuse(_NO_SLIDE)
            return

        def show(imported: tuple[Sequence[Annotation], str]) -> None:
            """Show the imported regions."""
            annotations, note = imported
            layer = imported_layer(annotations, path.stem, real.layer, real.slide.shape, self._viewer)
            self._files[layer] = path.name
            if path == self._form.autosaved:
                self.autosave.go_on_with(path)
            self._form.choose(layer)
            number = sum(one.kind == "include" for one in annotations)
            self._bar.say(f"{number} {'region' if number == 1 else 'regions'} imported. {note}".strip())

        self._task.do(once(read_rois, path, real.slide.shape), show, self._refuse)

    def add_random(self) -> None:
        """Add random regions, after the tissue is found, if it is needed."""
        real = self._real
        if real is None:
            self._bar.refuse(_NO_SLIDE)
            return
        # a layer may have been added just now
        self._form.refresh()
        settings, tissue = self._form.random_form.settings(), None
        if settings.least_tissue > 0:
            self._tissue.look_at(real)
            tissue = self._tissue.mask
            self._wants_random = tissue is None and self._tissue.is_busy
            if tissue is None:
                waiting = "Looking for the tissue …"
                self._bar.say(waiting if self._wants_random else f"{self._tissue.problem} Or choose 0 % tissue.")
                return
        shape = real.slide.shape
        self._task.do(
            once(random_rois, shape, settings, tissue, [region.bounds(shape) for region in self._existing()]),
            lambda placed: self._place(placed, settings, real),
            self._refuse,
        )

    def abandon(self) -> None:
        """Stop reading, placing and saving regions, and show nothing more of it."""
        self.autosave.stop()
        self._task.abandon()
        self._wants_random = False

    def _place(self, placed: PlacedRois, settings: RandomRois, real: ComparedChannel) -> None:
        taken = {roi.name for roi in self._existing()}
        free = (name for k in count(1) if (name := f"random {settings.seed}-{k}") not in taken)
        names = list(islice(free, len(placed.boxes)))
        layer = self._form.layer
        if isinstance(layer, Shapes):
            add_boxes(placed.boxes, names, layer, real.layer, self._viewer)
        else:
            rings = [_box_ring(box) for box in placed.boxes]
            layer = new_layer(self._viewer, real.layer, real.slide.shape, rings=rings, names=names)
            self._form.choose(layer)
        self._random.setdefault(layer, {}).update(dict.fromkeys(placed.boxes, settings))
        words = f"{len(placed.boxes)} of {settings.number} regions added."
        if placed.overlapping:
            words += f" {placed.overlapping} of them overlap: there was not enough space."
        self._bar.say(words)

    def _tissue_changed(self) -> None:
        if self._wants_random and not self._tissue.is_busy:
            self._wants_random = False
            self.add_random()

    def _refuse(self, error: BaseException) -> None:
        self._bar.refuse(sentence_of(error))

    def _import_autosaved(self) -> None:
        path = self._form.autosaved
        if path is not None:
            self.import_regions(path)

    def _ask_for_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self._form, "Regions to import", "", _GEOJSON)
        if name:
            self.import_regions(Path(name))


def new_layer(
    viewer: napari.Viewer,
    image: Image,
    shape: tuple[int, int],
    title: str = "ROIs",
    rings: Sequence[Any] = (),
    *,
    names: Sequence[str] = (),
) -> Shapes:
    """Add a Shapes layer that lies on the real layer."""
    return viewer.add_shapes(
        [ring - HALF_A_PIXEL for ring in rings] or None,
        ndim=2,
        shape_type="rectangle",
        features={NAME: np.array(list(names), object)},
        feature_defaults={NAME: f"{_NUMBERED}{len(rings) + 1}"},
        name=title,
        **regions_style(shape),
        **placement(image),
    )


def add_boxes(boxes: Sequence[Box], names: Sequence[str], layer: Shapes, image: Image, viewer: napari.Viewer) -> None:
    """Add rectangles to the user's shapes."""
    rings = [points_in_layer(_box_ring(box), layer, image, viewer) for box in boxes]
    layer.add(rings, shape_type=["rectangle" if _is_rectangle(ring) else "polygon" for ring in rings])
    name_last(layer, pd.DataFrame({NAME: names}))
    name_next(layer)


def name_next(layer: Shapes) -> None:
    """Give the shape that is drawn next the next number, in layers with numbered names."""
    before = str(layer.feature_defaults[NAME].iloc[0]) if NAME in layer.features else ""
    if not before.startswith(_NUMBERED):
        return
    taken = set(layer.features[NAME])
    name = next(name for k in count(len(layer.data) + 1) if (name := f"{_NUMBERED}{k}") not in taken)
    if name != before:
        layer.feature_defaults = {**layer.feature_defaults.iloc[0].to_dict(), NAME: name}


def read_rois(path: Path, shape: tuple[int, int]) -> tuple[Sequence[Annotation], str]:
    """Read regions from GeoJSON; for any thread."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        annotations = read_geojson(path)
    if not any(annotation.bounds(shape).area for annotation in included(annotations)):
        height, width = shape
        raise SlideError(
            f"{path.name} has no region on this slide of {width} x {height} px, expected at least one: choose the "
            "file of this slide, in pixels of its full resolution."
        )
    return annotations, " ".join(str(warning.message) for warning in caught)


def imported_layer(
    annotations: Sequence[Annotation], title: str, image: Image, shape: tuple[int, int], viewer: napari.Viewer
) -> Shapes:
    """Show imported regions in a new layer."""
    data, attributes, _ = annotation_layer(annotations, title, slide_of(image), image)
    return viewer.add_shapes(data, **{**attributes, **regions_style(shape)})


def _box_ring(box: Box) -> np.ndarray:
    return np.array([[box.y0, box.x0], [box.y0, box.x1], [box.y1, box.x1], [box.y1, box.x0]], float)


def _is_rectangle(ring: np.ndarray) -> bool:
    sides = ring[1] - ring[0], ring[3] - ring[0]
    return bool(abs(np.dot(*sides)) < _SQUARE * np.prod([np.linalg.norm(side) for side in sides]))

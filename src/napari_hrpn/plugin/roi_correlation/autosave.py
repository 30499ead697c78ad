"""ROIs that are saved by themselves as GeoJSON in the folder that exports propose, and offered with the slide again.

A file is replaced only by the viewer that has written it, and only while it has its regions: what an earlier session
has saved stays as it is.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from itertools import count, takewhile
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from napari.layers import Shapes
from napari.utils.notifications import show_info
from qtpy.QtCore import QObject, Signal

from napari_hrpn.core.plain_text import NOT_IN_FILE_NAMES, no_device
from napari_hrpn.plugin.background import NewestTask, once, soon
from napari_hrpn.plugin.parts.messages import sentence_of
from napari_hrpn.plugin.parts.saving import folder_beside
from napari_hrpn.plugin.roi_correlation.regions import shape_rois
from napari_hrpn.plugin.viewer import slide_label
from napari_hrpn.plugin.viewer.open_slides import unwrapped
from napari_hrpn.slides import SlideError, slide_identity, taken_away
from napari_hrpn.slides.writers.geojson_writer import feature_texts
from napari_hrpn.slides.writers.output_path import partial_output

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import napari

    from napari_hrpn.plugin.parts.selection import ComparedChannel
    from napari_hrpn.plugin.viewer.layer_watcher import RegionLayers
    from napari_hrpn.slides import Annotation, Slide

_SAVE_MS = 1500
_ENDING = "ROIs.autosaved"
# the files of each viewer, by the slides; another widget of the same viewer goes on with them
_files: WeakKeyDictionary[object, dict[str, Path]] = WeakKeyDictionary()
_said: set[str] = set()


class RoiAutosave(QObject):
    """Saves all drawn and imported regions of a slide a moment after they have changed.

    `found` carries the file of an earlier session with regions of the slide, or None.
    """

    found = Signal(object)

    def __init__(self, viewer: napari.Viewer, layers: RegionLayers) -> None:
        super().__init__()
        self._viewer, self._layers = viewer, layers
        self._own = _files.setdefault(unwrapped(viewer), {})
        self._real: ComparedChannel | None = None
        self._slide = ""
        self._task = NewestTask()
        self._soon = soon(self, self._save, _SAVE_MS)
        layers.edited.connect(self._soon_saved)
        layers.listed.connect(self._soon_saved)

    def set_real(self, real: ComparedChannel | None) -> None:
        """Save the regions of another slide from now on; those of slides that are no local files are not saved."""
        self._soon.stop()
        source = None if real is None else real.slide.source
        is_file = isinstance(source, Path) and source.is_absolute() and source.exists()
        self._real = real if is_file else None
        self._slide = slide_identity(real.slide) if is_file and real is not None else ""
        self.found.emit(self._earlier())
        self._soon_saved()

    def go_on_with(self, path: Path) -> None:
        """Save to the file of an earlier session, whose regions have been imported."""
        self._own[self._slide] = path
        self.found.emit(None)

    def stop(self) -> None:
        """Save nothing more; what is being written is finished."""
        self._soon.stop()
        self._real = None

    def _soon_saved(self, _: object = None) -> None:
        if self._real is not None:
            self._soon.start()

    def _regions(self) -> list[Annotation]:
        real = self._real
        layers = [layer for _, layer in self._layers.choices() if isinstance(layer, Shapes)]
        lists = [] if real is None else [shape_rois(layer, real.layer, self._viewer) for layer in layers]
        listed = [one for found in lists for one in found.rois]
        regions = [replace(one.roi.outlined(), name=one.roi.name) for one in listed]
        return [*regions, *taken_away(regions)]

    def _save(self) -> None:
        if self._task.is_busy:
            self._soon.start()
            return
        try:
            regions = self._regions()
        except SlideError:
            # a layer that does not lie on the slide says so in the list of regions
            return
        real = self._real
        if real is None or not regions:
            # the regions that were saved stay: new ones get another file
            self._own.pop(self._slide, None)
            return
        if self._slide not in self._own:
            self._own[self._slide] = _free(real.slide)
        path, may_replace = self._own[self._slide], _is_of(self._own[self._slide], self._slide)
        self._task.do(once(_write, path, regions, self._slide, may_replace), lambda _: None, partial(_tell, path))

    def _earlier(self) -> Path | None:
        """The newest file of an earlier session; None if there is none, or if this one goes on with it."""
        if self._real is None or self._slide in self._own:
            return None
        there = [path for path in _existing(self._real.slide) if _is_of(path, self._slide)]
        return max(there, key=lambda path: path.stat().st_mtime, default=None)


def _names(slide: Slide) -> Iterator[Path]:
    title = no_device(re.sub(NOT_IN_FILE_NAMES, "_", slide_label(slide)))
    folder = folder_beside(slide.source)
    for number in count(1):
        yield folder / f"{title} {_ENDING}{f'-{number}' if number > 1 else ''}.geojson"


def _existing(slide: Slide) -> Iterator[Path]:
    return takewhile(Path.exists, _names(slide))


def _free(slide: Slide) -> Path:
    return next(path for path in _names(slide) if not path.exists())


def _head(slide: str) -> str:
    # a member that GeoJSON does not define and QuPath leaves out when it writes the file again
    return f'{{"type": "FeatureCollection", "napari_hrpn": {json.dumps({"autosaved": slide})}, "features": ['


def _is_of(path: Path, slide: str) -> bool:
    """Whether a file was saved here, of this slide."""
    head = _head(slide).encode()
    try:
        with path.open("rb") as file:
            return file.read(len(head)) == head
    except OSError:
        return False


def _write(path: Path, regions: Sequence[Annotation], slide: str, may_replace: bool) -> None:
    with partial_output(path, None, overwrite=may_replace) as file:
        file.write_text(f"{_head(slide)}{', '.join(feature_texts(regions, slide))}]}}", encoding="utf-8")


def _tell(path: Path, error: BaseException) -> None:
    """Say once for each folder that nothing is saved there."""
    sentence, folder = sentence_of(error), str(path.parent)
    if folder not in _said:
        _said.add(folder)
        show_info(f"ROIs are not saved by themselves: {sentence}")

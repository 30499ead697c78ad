"""Tissue mask of the real slide: found in the background, and editable as a Labels layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from napari_hrpn.analysis import tissue_mask
from napari_hrpn.plugin.background import NewestTask, once
from napari_hrpn.plugin.parts.selection import stained_slide
from napari_hrpn.plugin.viewer import KEY, coarse_placement, is_same_slide, layer_name
from napari_hrpn.slides import RegionMask, guess_roles

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari

    from napari_hrpn.plugin.parts.selection import ComparedChannel
    from napari_hrpn.slides import Slide

_NO_NUCLEI = "No channel of {} has the name of a nuclei stain, so no tissue is found: use the frame, or draw a region."
# undo emits only the last event, which comes for much else too: so masks are compared after each event
_EDITS = ("data", "paint", "labels_update", "set_data")
_TISSUE = "tissue_of"


class Tissue(QObject):
    """Finds the tissue of a real slide, or uses the Labels layer of `show_layer`, if there is one.

    `changed` is emitted when `mask`, `problem` or `is_busy` change; the tissue can be edited in `layer`.
    """

    changed = Signal()

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.layer: Labels | None = None
        self._viewer = viewer
        self._real: ComparedChannel | None = None
        self._found: RegionMask | None = None
        self._edited: RegionMask | None = None
        self._problem: str | None = None
        self._search = NewestTask()
        self._waiting: list[Callable[[], object]] = []
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            event.connect(self._layers_changed)

    @property
    def mask(self) -> RegionMask | None:
        """Tissue of the slide, as edited by the user; None while it is searched for, or if it cannot be found."""
        return self._edited or self._found

    @property
    def glass(self) -> RegionMask | None:
        """Where there is certainly no tissue: neither found nor painted by the user."""
        if self._found is None:
            return None
        tissue = self._found.mask
        if self._edited is not None and self._edited.mask.shape == tissue.shape:
            tissue = tissue | self._edited.mask
        return RegionMask(~tissue, self._found.downsample)

    @property
    def problem(self) -> str | None:
        """Why there is no mask, in one sentence."""
        return None if self._edited is not None else self._problem

    @property
    def is_busy(self) -> bool:
        """Whether the tissue is being searched for."""
        return self._search.is_busy

    @property
    def is_edited(self) -> bool:
        """Whether the user has changed the mask."""
        return self._edited is not None and (self._found is None or self._edited.digest != self._found.digest)

    def look_at(self, real: ComparedChannel | None) -> None:
        """Find the tissue of a slide, unless it is known or being searched for."""
        slide, before = (None if place is None else place.slide for place in (real, self._real))
        self._real = real
        # without a slide too, nothing has changed: who listens looks again after each signal, and would never end
        if slide is before:
            return
        self._search.abandon()
        self._found = self._problem = None
        if real is not None:
            self._find(real)
        self._adopt_layer()
        self._emit_changed()

    def when_known(self, act: Callable[[], object]) -> None:
        """Call a function as soon as the tissue is known, or cannot be found."""
        self._waiting.append(act)
        if not self.is_busy:
            self._act()

    def show_layer(self) -> Labels | None:
        """Show the tissue in a layer; from then on the labels of this layer are the tissue."""
        if self.layer is None and self._real is not None and self._found is not None:
            self._viewer.add_labels(
                self._found.mask.astype(np.uint8),
                **coarse_placement(self._real.layer, self._found.downsample),
                name=layer_name("tissue", self._real.name),
                opacity=0.4,
                metadata={KEY: {_TISSUE: self._real.slide, "downsample": self._found.downsample}},
            )
            self._adopt_layer()
        return self.layer

    def shut_down(self) -> None:
        """Stop the search and disconnect from layers before the widget is deleted; a second call does nothing."""
        self._search.abandon()
        self._waiting.clear()
        self._leave_layer()
        for event in (self._viewer.layers.events.inserted, self._viewer.layers.events.removed):
            event.disconnect(self._layers_changed)

    def _find(self, real: ComparedChannel) -> None:
        slide, _ = stained_slide(real, self._viewer)
        nuclei = guess_roles(slide.channel_names).nuclei
        if nuclei is None:
            self._problem = _NO_NUCLEI.format(repr(real.name))
        else:
            self._search.do(once(tissue_mask, slide, nuclei), self._take, self._take_failure)

    def _take(self, mask: RegionMask) -> None:
        self._found = mask
        self._emit_changed()

    def _take_failure(self, error: BaseException) -> None:
        self._problem = f"The tissue could not be found ({error}): use the frame, or draw a region."
        self._emit_changed()

    def _emit_changed(self) -> None:
        self.changed.emit()
        if not self.is_busy:
            self._act()

    def _act(self) -> None:
        waiting, self._waiting = self._waiting, []
        for act in waiting:
            act()

    def _layers_changed(self, event: object = None) -> None:  # noqa: ARG002
        before = self.layer
        self._adopt_layer()
        if self.layer is not before:
            self.changed.emit()

    def _adopt_layer(self) -> None:
        """Use the layer of the tissue, which this or another widget has made."""
        real = self._real
        layer = None if real is None else next((item for item in self._viewer.layers if _is_of(item, real.slide)), None)
        if layer is self.layer:
            return
        self._leave_layer()
        if layer is not None:
            self.layer, self._edited = layer, _mask_of(layer)
            for name in _EDITS:
                getattr(layer.events, name).connect(self._take_edit)

    def _leave_layer(self) -> None:
        if self.layer is not None:
            for name in _EDITS:
                getattr(self.layer.events, name).disconnect(self._take_edit)
        self.layer = self._edited = None

    def _take_edit(self, event: object = None) -> None:  # noqa: ARG002
        if self.layer is not None:
            edited = _mask_of(self.layer)
            if self._edited is None or edited.digest != self._edited.digest:
                self._edited = edited
                self.changed.emit()


def _is_of(layer: object, slide: Slide) -> bool:
    """Whether a layer holds the tissue of a slide."""
    facts = layer.metadata.get(KEY) if isinstance(layer, Labels) else None
    source = facts.get(_TISSUE) if isinstance(facts, dict) else None
    return source is not None and is_same_slide(source, slide)


def _mask_of(layer: Labels) -> RegionMask:
    return RegionMask(np.asarray(layer.data) != 0, layer.metadata[KEY]["downsample"])

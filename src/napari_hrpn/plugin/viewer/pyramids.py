"""Levels that fill behind the scenes while they are shown; opening never waits for them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_hrpn.core import Box
from napari_hrpn.plugin.background import BackgroundRun
from napari_hrpn.plugin.viewer.from_slides import slide_layers
from napari_hrpn.plugin.viewer.live_layer import LiveLayer, LiveLevels
from napari_hrpn.plugin.viewer.slide_metadata import layers_of, replace_slide, slide_title
from napari_hrpn.slides import PyramidCache, SlideError, contrast_limits, open_cache

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator

    import napari
    import napari.layers

    from napari_hrpn.plugin.viewer.from_slides import LayerData
    from napari_hrpn.slides import Slide

# a level of this many pixels a side is read as a whole fast enough to be looked at
_LARGEST_SHOWN = 4096


@dataclass(frozen=True, eq=False)
class Growth:
    """Levels that are shown and something that fills them."""

    slide: Slide  # Whose levels they are
    levels: tuple[LiveLevels, ...]
    # Given an event that asks it to stop, a generator that loads the levels and yields after each part. It returns
    # the slide with these levels, or None if it was stopped
    fill: Callable[[threading.Event], Generator[None, None, Slide | None]]


def needs_cache(slide: Slide) -> bool:
    """Whether looking at the whole slide would read too much of it."""
    flat = slide.stored_levels < len(slide.levels)
    return flat and max(slide.levels[slide.stored_levels - 1].shape[1:]) > _LARGEST_SHOWN


def cached_layers(
    viewer: napari.Viewer, slide: Slide, *, title: str | None = None, visible: bool = True
) -> list[LayerData]:
    """Layers of a flat slide; its coarse levels come from the cache, or are built into it in the background."""
    from napari.utils.notifications import show_info, show_warning

    try:
        cache = open_cache(slide)
    except SlideError as error:
        show_warning(f"{slide_title(slide)} has no overview, so zooming out is slow. {error}")
        return slide_layers(slide, title=title, visible=visible)
    # of the pixels themselves also where means are there to be had, so that a slide looks the same every time
    limits = contrast_limits(slide)
    if cache.complete:
        return slide_layers(cache.as_slide(), title=title, visible=visible, limits=limits)
    show_info(
        f"{slide.source.name} has no coarse levels: an overview is built in the background, once, and kept in "
        f"{cache.folder.parent}. File > IO Utilities > Slide overviews... clears that folder."
    )
    levels = cache.as_slide().levels
    live = tuple(LiveLevels([level[channel] for level in levels]) for channel in range(len(slide.channel_names)))
    grow(viewer, Growth(slide, live, partial(_build, cache, live)))
    return slide_layers(slide, title=title, visible=visible, limits=limits, live=live)


def slide_shown_in(viewer: napari.Viewer, slide: Slide) -> list[napari.layers.Image]:
    """Add the layers of a slide to a viewer, with its overview where it needs one."""
    layers = cached_layers(viewer, slide) if needs_cache(slide) else slide_layers(slide)
    return [viewer.add_image(data, **attributes) for data, attributes, _ in layers]


def grow(viewer: napari.Viewer, growth: Growth) -> _Grower:
    """Fill levels in the background, and show what comes in the layers that have these levels as their data."""
    return _Grower(viewer, growth)


class _Grower(QObject):
    """Drives a `Growth` until it is full, its last layer is removed, or the window is closed."""

    def __init__(self, viewer: napari.Viewer, growth: Growth) -> None:
        super().__init__(viewer.window._qt_window)
        self._viewer = viewer
        self._growth = growth
        self._shown: dict[napari.layers.Image, LiveLayer] = {}
        self._run = BackgroundRun(growth.fill)
        self._run.yielded.connect(self._on_news)
        self._run.returned.connect(self._on_full)
        self._run.failed.connect(self._on_failure)
        self._run.finished.connect(self.deleteLater)
        self.destroyed.connect(self._run.abandon)
        self._run.start()

    def _on_news(self, _: object) -> None:
        layers = [layer for layer in self._viewer.layers if self._is_shown_in(layer)]
        if self._shown and not layers:
            self._run.cancel()
        for layer in layers:
            if layer not in self._shown:
                self._shown[layer] = LiveLayer(layer)
            self._shown[layer].updated()

    def _is_shown_in(self, layer: napari.layers.Layer) -> bool:
        if not hasattr(layer, "multiscale"):
            return False
        coarsest = layer.data[-1] if layer.multiscale else layer.data
        return any(coarsest is live.levels[-1] for live in self._growth.levels)

    def _on_full(self, slide: Slide | None) -> None:
        self._on_news(None)
        for layer in self._shown.values():
            layer.finish()
        if slide is not None:
            for layer in layers_of(self._viewer, slide):
                replace_slide(layer, slide)

    def _on_failure(self, error: Exception) -> None:
        from napari.utils.notifications import show_warning

        show_warning(f"The overview of {slide_title(self._growth.slide)} stays unfinished. {error}")


def _build(
    cache: PyramidCache, live: tuple[LiveLevels, ...], stop: threading.Event
) -> Generator[None, None, Slide | None]:
    for levels in live:
        levels.load()
    yield
    for report in cache.build():
        if report.box is not None:
            for levels in live:
                levels.load(Box(*report.box))
        yield
        if stop.is_set():
            return None
    return cache.as_slide()

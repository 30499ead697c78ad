"""Pyramids that fill while they are shown: of predictions, of samples, and of files without coarse levels.

Fine levels are read from disk where they are in view, coarse ones stay in memory: drawing again reads only the few
chunks that a screen covers. Any thread may fill them; only the GUI thread shows them.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from qtpy.QtCore import QObject, Signal
from superqt.utils import qthrottled

from napari_hrpn.core import Box
from napari_hrpn.plugin.background import BackgroundRun
from napari_hrpn.plugin.viewer.open_slides import (
    bring_up,
    channel_of,
    layers_of,
    make_room,
    replace_slide,
    slide_label,
    slide_title,
    unwrapped,
)
from napari_hrpn.plugin.viewer.slides_as_layers import level_data, slide_layers
from napari_hrpn.slides import PyramidCache, RegionMask, SlideError, contrast_limits, open_cache, open_slide
from napari_hrpn.slides.slide_builder import MAXIMUM

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Iterable, Sequence

    import napari
    from napari.layers import Image, Layer
    from numpy.typing import DTypeLike, NDArray
    from superqt.utils._throttler import ThrottledCallable

    from napari_hrpn.plugin.viewer.slides_as_layers import LayerData
    from napari_hrpn.slides import Slide

    Fill: TypeAlias = Callable[[threading.Event], Generator[None, None, Slide | None]]

REFRESH_MS = 100
_IN_MEMORY_PX = 2048
# a level with sides of at most this many pixels is read whole fast enough for viewing
_LARGEST_SHOWN = 4096

# an array of NumPy, dask or zarr
_Array: TypeAlias = Any


class Plane:
    """Two-dimensional view of one channel of a (c, y, x) array, for napari.

    Nothing is read before it is sliced. The array may be set later; until then all pixels are zero.
    """

    ndim = 2
    chunks = (512, 512)

    def __init__(self, shape: tuple[int, int], dtype: DTypeLike, channel: int = 0) -> None:
        self.shape = shape
        self.channel = channel
        self.dtype = np.dtype(dtype)
        self.size = math.prod(shape)
        self.array: _Array | None = None

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self[:, :], dtype=dtype, copy=copy)

    def __getitem__(self, key: Any) -> NDArray[Any]:  # noqa: ANN401
        key = key if isinstance(key, tuple) else (key,)
        if self.array is None:
            nothing = np.broadcast_to(np.zeros((), self.dtype), self.shape)[key]
            return np.zeros(nothing.shape, self.dtype)
        return np.asarray(self.array[(self.channel, *key)])


class LiveLevels:
    """The levels of a pyramid that is being written."""

    def __init__(self, planes: Sequence[Plane], in_memory_px: int = _IN_MEMORY_PX) -> None:
        self.planes = tuple(planes)
        self.levels: tuple[Any, ...] = tuple(
            np.zeros(plane.shape, plane.dtype)
            if max(plane.shape) <= in_memory_px or plane is self.planes[-1]
            else plane
            for plane in self.planes
        )
        self._is_loaded = np.zeros(self.planes[-1].shape, bool)

    def layer_data(self) -> dict[str, Any]:
        """Arguments for `napari.layers.Image` that show them."""
        return {**level_data(self.levels), "cache": False}

    def attach(self, arrays: Sequence[_Array]) -> None:
        """Set the arrays of planes that were made without."""
        for plane, array in zip(self.planes, arrays, strict=True):
            plane.array = array

    def load(self, box: Box | None = None) -> None:
        """Read a box, or everything, into the levels in memory. It takes time: not for the GUI thread."""
        self._read(box)
        self._is_loaded[self._window(self._is_loaded.shape, box)] = True

    def load_finished(self, boxes: Iterable[Box]) -> None:
        """Read everything into the levels in memory, and mark the finished boxes. Not for the GUI thread."""
        self._read(None)
        for box in boxes:
            self._is_loaded[self._window(self._is_loaded.shape, box)] = True

    @property
    def loaded(self) -> RegionMask:
        """Mask of the loaded area, in pixels of the coarsest level; it grows with every box."""
        return RegionMask(self._is_loaded, self._downsample(self._is_loaded.shape))

    def loaded_pixels(self) -> NDArray[Any]:
        """Pixels of the coarsest level in the loaded area."""
        pixels: NDArray[Any] = self.levels[-1][self._is_loaded]
        return pixels

    def _read(self, box: Box | None) -> None:
        for plane, level in zip(self.planes, self.levels, strict=True):
            if level is not plane:
                window = self._window(plane.shape, box)
                level[window] = plane[window]

    def _window(self, shape: tuple[int, ...], box: Box | None) -> tuple[slice, slice]:
        """Pixels of a level that a box touches."""
        if box is None:
            return slice(None), slice(None)
        down, across = self._downsample(shape)
        return (
            slice(math.floor(box.y0 / down), math.ceil(box.y1 / down)),
            slice(math.floor(box.x0 / across), math.ceil(box.x1 / across)),
        )

    def _downsample(self, shape: tuple[int, ...]) -> tuple[float, float]:
        """Fine pixels per pixel of a level."""
        down, across = (_step(full, size) for full, size in zip(self.planes[0].shape, shape, strict=True))
        return down, across


def _step(full: int, size: int) -> float:
    """Fine pixels per coarse pixel; for an odd side, the ratio of the sizes is a little too small."""
    whole = round(full / size)
    return whole if -(-full // whole) == size else full / size


def redrawing(layer: Image) -> ThrottledCallable[[], None]:
    """Make a function that redraws a layer, at most every 100 ms; for the GUI thread."""
    # napari shows the arrays in memory directly, so a refresh is enough
    return qthrottled(partial(layer.refresh, extent=False), timeout=REFRESH_MS)


def needs_cache(slide: Slide) -> bool:
    """Whether showing the whole slide would read too many pixels."""
    flat = slide.stored_levels < len(slide.levels)
    return flat and max(slide.levels[slide.stored_levels - 1].shape[1:]) > _LARGEST_SHOWN


def shown_layers(
    viewer: napari.Viewer, slide: Slide, *, title: str | None = None, visible: bool = True
) -> list[LayerData]:
    """Layers of a slide; coarse levels that a large file lacks come from a cache, or are built in the background."""
    from napari.utils.notifications import show_info, show_warning

    if not needs_cache(slide):
        return slide_layers(slide, title=title, visible=visible)
    try:
        cache = open_cache(slide)
    except SlideError as error:
        show_warning(f"{slide_title(slide)} has no overview, so zooming out is slow. {error}")
        return slide_layers(slide, title=title, visible=visible)
    # computed from the slide even if its overview is cached, so that the contrast is always the same
    limits = contrast_limits(slide)
    if cache.complete:
        return slide_layers(cache.as_slide(), title=title, visible=visible, limits=limits)
    show_info(
        f"{slide.source.name} has no coarse levels: an overview is built in the background, once, and kept in "
        f"{cache.folder.parent}. File > IO Utilities > Slide overviews... clears that folder."
    )
    levels = cache.as_slide().levels
    live = tuple(LiveLevels([level[channel] for level in levels]) for channel in range(len(slide.channel_names)))
    grow(viewer, slide, live, partial(_build, cache, live))
    return slide_layers(slide, title=title, visible=visible, limits=limits, live=live)


def show_plane(viewer: napari.Viewer, slide: Slide, series: int, z: int | str | None, t: int | None) -> Slide:
    """Show another plane of a slide in its layers, or another image of its file, or a maximum, in layers of their own.

    These differ from the slide in size and channels, or have to be computed before they can be shown whole.
    """
    plane = open_slide(slide.source, series=series, z=z, t=t)
    if series == slide.series and slide.pixel_size_is_given and slide.pixel_size_um is not None:
        plane = plane.with_pixel_size(slide.pixel_size_um)
    if series != slide.series or MAXIMUM in (plane.z, slide.z):
        if not layers_of(viewer, plane):
            # napari gives widgets a proxy, which hides the window
            make_room(unwrapped(viewer), plane)
            slide_shown_in(viewer, plane, title=slide_label(plane))
        bring_up(viewer, plane)
        return plane
    for layer in layers_of(viewer, slide):
        channel = channel_of(layer)
        if channel is not None:
            levels = [level[channel] for level in plane.levels]
            layer.data = levels if layer.multiscale else levels[0]
            replace_slide(layer, plane)
    return plane


def slide_shown_in(viewer: napari.Viewer, slide: Slide, title: str | None = None) -> list[Image]:
    """Add the layers of a slide to a viewer, with its overview where it needs one."""
    return [viewer.add_image(data, **attributes) for data, attributes, _ in shown_layers(viewer, slide, title=title)]


def grow(viewer: napari.Viewer, slide: Slide, levels: Sequence[LiveLevels], fill: Fill) -> _Grower:
    """Fill levels in the background, and refresh the layers that show them.

    `fill` is called with an event that asks it to stop; it is a generator that loads the levels and yields after each
    part. It returns the slide with these levels, or None if it was stopped.
    """
    return _Grower(viewer, slide, [live.levels[-1] for live in levels], fill)


class _Grower(QObject):
    """Fills levels until they are full, their last layer is removed, or the window is closed."""

    failed = Signal()

    def __init__(self, viewer: napari.Viewer, slide: Slide, coarsest: Sequence[_Array], fill: Fill) -> None:
        super().__init__(viewer.window._qt_window)
        self._viewer, self._slide, self._coarsest = viewer, slide, coarsest
        self._redraw: dict[Image, ThrottledCallable[[], None]] = {}
        self._run = BackgroundRun(fill)
        self._run.yielded.connect(self._on_news)
        self._run.returned.connect(self._on_full)
        self._run.failed.connect(self._on_failure)
        self._run.finished.connect(self.deleteLater)
        self.destroyed.connect(self._run.abandon)
        self._run.start()

    def _on_news(self, _: object) -> None:
        layers = [layer for layer in self._viewer.layers if self._is_shown_in(layer)]
        if self._redraw and not layers:
            self._run.cancel()
        for layer in layers:
            if layer not in self._redraw:
                self._redraw[layer] = redrawing(layer)
            self._redraw[layer]()

    def _is_shown_in(self, layer: Layer) -> bool:
        if not hasattr(layer, "multiscale"):
            return False
        coarsest = layer.data[-1] if layer.multiscale else layer.data
        return any(coarsest is level for level in self._coarsest)

    def _on_full(self, slide: Slide | None) -> None:
        self._on_news(None)
        for layer, redraw in self._redraw.items():
            # redrawn now: this object is deleted next, and its throttled redraw with it
            redraw.cancel()
            layer.refresh(extent=False)
        if slide is not None:
            for layer in layers_of(self._viewer, slide):
                replace_slide(layer, slide)

    def _on_failure(self, error: Exception) -> None:
        from napari.utils.notifications import show_warning

        show_warning(f"The overview of {slide_title(self._slide)} stays unfinished. {error}")
        self.failed.emit()


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

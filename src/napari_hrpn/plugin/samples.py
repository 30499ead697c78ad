"""Sample slides (File > Open Sample > napari-hrpn): phantoms that appear at once and fill from the middle outwards."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Sequence

    import numpy as np

    from napari_hrpn.core import Box
    from napari_hrpn.phantom import Phantom
    from napari_hrpn.plugin.viewer import LayerData, LiveLevels
    from napari_hrpn.slides import Slide

_NOISE_FREE = "noise-free QD"


def _sample(preset: str) -> list[LayerData]:
    """Make the layers of a phantom, and a hidden layer of its perfect prediction."""
    from napari import current_viewer

    from napari_hrpn.phantom import phantom_slide
    from napari_hrpn.plugin.viewer import grow, make_room, slide_layers, widen_slider
    from napari_hrpn.slides import contrast_limits

    phantom = phantom_slide(preset)
    finest = phantom.slide.levels[0]
    # the contrast is that of the block in the middle, which is needed first anyway
    middle = finest.blocks[:, finest.numblocks[1] // 2, finest.numblocks[2] // 2]
    limits = contrast_limits(replace(phantom.slide, levels=(middle,)))
    expected = _noise_free_slide(phantom)
    viewer = current_viewer()
    live, live_expected = None, None
    if viewer is not None:
        viewer.layers.events.inserted.connect(widen_slider)
        make_room(viewer, phantom.slide)
        live, live_expected = _live_levels(phantom.slide), _live_levels(expected)
        fill = partial(_fill, (phantom.slide, expected), (live, live_expected))
        grow(viewer, phantom.slide, (*live, *live_expected), fill)
    layers = slide_layers(phantom.slide, limits=limits, live=live)
    hidden = slide_layers(expected, limits=limits[2:], live=live_expected, visible=False)
    # without metadata, the widgets do not offer the perfect prediction as a slide
    return [*layers, *((data, attributes | {"metadata": {}}, kind) for data, attributes, kind in hidden)]


# phantoms of 256 px and 4,096 px; one with a realistically dim probe; one with saturation, cross-talk, shading and
# shifted channels; one whose probe cannot be predicted; capillaries with a probe that is still in them, and with one
# that has left; and one whose seed draws all of this
tiny, tumour, paper_like, stress, null, intravascular, extravasated, varied = (
    partial(_sample, preset)
    for preset in ("tiny", "tumour", "paper_like", "stress", "null", "intravascular", "extravasated", "varied")
)


def _noise_free_slide(phantom: Phantom) -> Slide:
    from napari_hrpn.slides import coarser_levels

    finest = phantom.noise_free_probe[None]
    levels = (finest, *coarser_levels(finest))[: len(phantom.slide.levels)]
    return replace(phantom.slide, levels=levels, channel_names=(_NOISE_FREE,))


def _live_levels(slide: Slide) -> tuple[LiveLevels, ...]:
    from napari_hrpn.plugin.viewer import LiveLevels, Plane

    height, width = slide.shape
    return tuple(
        LiveLevels([Plane(level.shape[1:], slide.dtype) for level in slide.levels], in_memory_px=max(height, width))
        for _ in slide.channel_names
    )


def _fill(
    slides: Sequence[Slide], live: Sequence[Sequence[LiveLevels]], stop: threading.Event
) -> Generator[None, None, Slide | None]:
    """Compute the slides block by block; one calculation gives all channels of a block."""
    for box in _from_the_middle(slides[0]):
        for slide, channels in zip(slides, live, strict=True):
            block = slide.levels[0][:, box.y0 : box.y1, box.x0 : box.x1].compute(scheduler="synchronous")
            for levels, pixels in zip(channels, block, strict=True):
                _put(pixels, box, levels)
        yield
        if stop.is_set():
            return None
    return _in_memory(slides[0], live[0])


def _put(pixels: np.ndarray, box: Box, levels: LiveLevels) -> None:
    from napari_hrpn.slides import halve

    top, left = box.y0, box.x0
    for level in levels.levels:
        level[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        pixels, top, left = halve(pixels), top // 2, left // 2


def _from_the_middle(slide: Slide) -> list[Box]:
    from napari_hrpn.core import TileGrid

    height, width = slide.shape
    edge = slide.levels[0].chunksize[1]
    boxes = [tile.core for tile in TileGrid(height, width, core=edge, halo=0, stride=1)]
    return sorted(boxes, key=lambda box: box.distance_to(height / 2, width / 2))


def _in_memory(slide: Slide, live: Sequence[LiveLevels]) -> Slide:
    import dask.array as da

    stacks = zip(*(levels.levels for levels in live), strict=True)
    levels = tuple(da.stack([da.from_array(array, name=False) for array in stack]) for stack in stacks)
    return replace(slide, levels=levels, stored_levels=len(levels))

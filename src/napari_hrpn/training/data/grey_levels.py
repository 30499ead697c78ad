"""Grey levels of the training slides: blocks that sample them, their bit depth, and their intensity scaling."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis import tissue_mask, tissue_percentiles
from napari_hrpn.core import Box
from napari_hrpn.models import IntensityScaling
from napari_hrpn.settings import DISTANCE
from napari_hrpn.settings.vessel_distance import VesselDistance
from napari_hrpn.slides import glance

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.slides import RegionMask
    from napari_hrpn.training.entries import TrainingSlide

    Corner = tuple[int, int]

BLOCK_PX = 512
MOST_BLOCKS = 64
_ENOUGH_PIXELS = 4096
_USUAL_BITS = (8, 10, 12, 14, 16)
_BLOCKS_OF_A_CHANNEL = 4
TARGET_SPAN = 50.0
"""Bright targets are scaled to this number. If they were scaled to 1, one usual step of the last layer would change the
prediction by more than the signal: after 150 steps on the dextran fields, Pearson's r on held-out fields was 0.56; it
is 0.80 with 50."""


@dataclass(frozen=True, eq=False)
class MeasuredScaling:
    """Intensity scaling measured on the training slides."""

    scaling: IntensityScaling
    # low and high percentile of each input, mean over the training slides, in grey levels
    input_ranges: tuple[tuple[float, float], ...]
    roles: tuple[str, ...]  # of the inputs

    def for_slide(self, slide: TrainingSlide) -> IntensityScaling:
        """Return the scaling of one slide, with its own percentiles if the recipe measures them on every slide."""
        if self.scaling.kind == "fixed":
            return self.scaling
        ranges = _ranges(slide, self.roles, self.scaling)[:-1]
        return self.scaling.fixed_to(tuple(ranges[:, 0].tolist()), tuple(ranges[:, 1].tolist()))


def measure_scaling(slides: Sequence[TrainingSlide], settings: TrainingSettings) -> MeasuredScaling:
    """Measure the intensity scaling of a training."""
    ranges = np.mean([_ranges(slide, settings.channels, IntensityScaling()) for slide in slides], axis=0)
    inputs, target = ranges[:-1], ranges[-1]
    channels = len(inputs)
    if settings.scaling == "raw":
        scaling = IntensityScaling(offsets=(0.0,) * channels, scales=(1.0,) * channels)
    elif settings.scaling == "full_scale":
        middle = full_scale(slides) / 2
        scaling = IntensityScaling("fixed", (middle,) * channels, (middle,) * channels, middle, middle)
    else:
        spans = np.maximum(ranges[:, 1] - ranges[:, 0], 1e-6)
        scaling = IntensityScaling(
            kind=settings.scaling,
            offsets=tuple(inputs[:, 0].tolist()),
            scales=tuple(spans[:-1].tolist()),
            target_offset=float(target[0]),
            target_scale=float(spans[-1]) / TARGET_SPAN,
        )
    ranges_of_inputs = tuple((float(low), float(high)) for low, high in inputs)
    return MeasuredScaling(scaling, ranges_of_inputs, settings.channels)


def _ranges(slide: TrainingSlide, roles: Sequence[str], scaling: IntensityScaling) -> NDArray[np.float64]:
    """Low and high percentile of each input, and of the target; a derived input has the same on every slide."""
    measured = [role != DISTANCE for role in roles]
    channels = (*itertools.compress(slide.inputs, measured), slide.target)
    stains = glance(slide.slide, channels, scaling.reference_um)
    tissue: RegionMask = tissue_mask(stains, 0)
    if slide.regions is not None:
        # pixels outside the regions may be held out for validation, so they must not decide the scaling
        tissue = tissue.intersected(slide.regions)
    percentiles = (scaling.low_percentile, scaling.high_percentile)
    found = tissue_percentiles(stains, range(len(stains.channel_names)), tissue, percentiles, scaling.reference_um)
    ranges = np.tile((0.0, VesselDistance().steps), (len(roles) + 1, 1))
    ranges[[*measured, True]] = found
    return ranges


def full_scale(slides: Sequence[TrainingSlide]) -> float:
    """Find the largest grey level that the camera could give; no file states it, so the brightest pixels decide."""
    if all(slide.slide.dtype == np.uint8 for slide in slides):
        return 255.0
    brightest = max(_brightest_pixel(slide) for slide in slides)
    bits = next((bits for bits in _USUAL_BITS if brightest < 2**bits), int(np.floor(np.log2(brightest))) + 1)
    return float(2**bits - 1)


def _brightest_pixel(slide: TrainingSlide) -> float:
    """Find the brightest pixel in the blocks that most likely hold it; a large slide is not read whole."""
    level = sampled_level(slide)
    corners = block_corners(slide, level)[:MOST_BLOCKS]
    if level:
        corners = _bright_corners(slide, level, corners)
    return max(
        (float(block[:, inside].max()) for block, inside in read_blocks(slide, 0, corners) if inside.any()), default=0.0
    )


def _bright_corners(slide: TrainingSlide, level: int, corners: Sequence[Corner]) -> list[Corner]:
    """Find the corners of the full-resolution blocks that hold the brightest coarse pixels of any channel."""
    candidates: list[list[tuple[float, Corner]]] = [[] for _ in (*slide.inputs, slide.target)]
    for corner, (block, inside) in zip(corners, read_blocks(slide, level, corners), strict=True):
        rows, columns = (
            ((first + np.arange(size)) * factor // BLOCK_PX).astype(int)
            for first, size, factor in zip(corner, block.shape[1:], slide.slide.downsample(level), strict=True)
        )
        (y, down), (x, across) = (np.unique(cells, return_index=True) for cells in (rows, columns))
        brightest = np.maximum.reduceat(np.where(inside, block, 0), down, axis=1)
        brightest = np.maximum.reduceat(brightest, across, axis=2)
        for channel, i, j in itertools.product(*map(range, brightest.shape)):
            block_corner = int(y[i]) * BLOCK_PX, int(x[j]) * BLOCK_PX
            candidates[channel].append((float(brightest[channel, i, j]), block_corner))
    chosen = [corner for blocks in candidates for _, corner in sorted(blocks, reverse=True)[:_BLOCKS_OF_A_CHANNEL]]
    return list(dict.fromkeys(chosen))


def sampled_level(slide: TrainingSlide) -> int:
    """Find the coarsest stored level with enough pixels in the regions; a computed level would read the finest one."""
    share = 1.0 if slide.regions is None else slide.regions.fraction
    levels = slide.slide.levels[: slide.slide.stored_levels]
    fits = [index for index, level in enumerate(levels) if math.prod(level.shape[1:]) * share >= _ENOUGH_PIXELS]
    return max(fits, default=0)


def block_corners(slide: TrainingSlide, level: int) -> list[Corner]:
    """List the upper left corners of the blocks that meet the regions, in a random order that is always the same."""
    height, width = slide.slide.levels[level].shape[1:]
    down, across = slide.slide.downsample(level)
    corners = [
        (y0, x0)
        for y0, x0 in itertools.product(range(0, height, BLOCK_PX), range(0, width, BLOCK_PX))
        if slide.regions is None
        or slide.regions.meets(
            Box(
                math.floor(y0 * down),
                math.ceil(min(y0 + BLOCK_PX, height) * down),
                math.floor(x0 * across),
                math.ceil(min(x0 + BLOCK_PX, width) * across),
            )
        )
    ]
    # shuffled, the first few blocks are spread over the slide
    return [corners[index] for index in np.random.default_rng(0).permutation(len(corners))]


def read_blocks(
    slide: TrainingSlide, level: int, corners: Iterable[Corner]
) -> Iterator[tuple[NDArray[np.generic], NDArray[np.bool_]]]:
    """Read the pixels of the inputs and the target, and which of them lie in the regions, block by block."""
    pixels, channels = slide.slide.levels[level], [*slide.inputs, slide.target]
    for y0, x0 in corners:
        block = pixels[channels, y0 : y0 + BLOCK_PX, x0 : x0 + BLOCK_PX].compute(scheduler="synchronous")
        yield np.asarray(block), _inside(slide, level, y0, x0, block.shape[1:])


def _inside(slide: TrainingSlide, level: int, y0: int, x0: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    if slide.regions is None:
        return np.ones(shape, bool)
    mask, (height, width) = slide.regions.mask, slide.slide.levels[level].shape[1:]
    rows = np.arange(y0, y0 + shape[0]) * mask.shape[0] // height
    columns = np.arange(x0, x0 + shape[1]) * mask.shape[1] // width
    return np.asarray(mask[np.ix_(rows, columns)])

"""Checks of slides' pixels before a training: empty or exchanged channels, and near-duplicates across a split.

They sample coarse levels; a large slide is never read whole.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations, islice, permutations, product
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, ndimage
from skimage.transform import resize_local_mean

from napari_hrpn.core import Box
from napari_hrpn.core.errors import TrainingError
from napari_hrpn.slides import known_pixels
from napari_hrpn.training.data.grey_levels import MOST_BLOCKS, block_corners, read_blocks, sampled_level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.slides import Slide
    from napari_hrpn.training.entries import Split, TrainingSlide

_FEWEST_SLIDES = 3
_BLOCKS = 6
_LAGS_PX = (1, 4, 16)
_SUSPICIOUS = 0.6
"""Texture distance with two channels exchanged over that with the given order: 0.05 to 0.7 were measured on real fields
and phantoms whose stains were exchanged, 0.8 and more on others."""
# real fields, planes of a stack and phantoms that share a quarter of their tissue or more correlated by 0.91 or more,
# all others by 0.29 or less, and synthetic round sections of one size by 0.36
_ALIKE = 0.6
_LOOKED_AT_PX = 192
_LARGEST_PX = 512
# detail between these widths is compared: finer detail differs when fields are shifted by a part of a pixel; coarser
# detail is the outline of a section and uneven light, which slides of different tumours have in common
_FINEST_PX, _COARSEST_PX = 1.0, 3.0
_LEAST_OVERLAP = 0.2
_FEWEST_PX = 1000


def check_pixels(slide: TrainingSlide, settings: TrainingSettings) -> None:
    """Refuse a slide with an empty channel, or with pixels that have no grey level."""
    level = sampled_level(slide)
    lowest, highest, is_complete = _extremes(slide, level, settings)
    is_empty = lowest == highest
    # a faint stain may be rounded away on a coarse level
    if level and is_empty.any():
        finest = _extremes(slide, 0, settings)
        is_empty &= finest[0] == finest[1]
    # a channel that was sampled in part may have signal elsewhere; the cutting of patches reads all of it
    if is_empty.any() and is_complete:
        which = int(np.argmax(is_empty))
        msg = (
            f"{_channel_name(slide, which, settings)} of {slide.slide.source.name} is {lowest[which]:g} "
            f"everywhere{' in its regions' if slide.regions else ''}, so there is nothing to learn; choose another "
            "channel, or take the slide off the list."
        )
        raise TrainingError(msg)


def _extremes(
    slide: TrainingSlide, level: int, settings: TrainingSettings
) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
    """Find lowest and highest grey level of each channel in blocks of a level, and whether these are all blocks."""
    corners, channels = block_corners(slide, level), len(slide.inputs) + 1
    lowest, highest = np.full(channels, np.inf), np.full(channels, -np.inf)
    for block, inside in read_blocks(slide, level, corners[:MOST_BLOCKS]):
        _check_finite(slide, block, settings)
        if inside.any():
            lowest = np.minimum(lowest, block[:, inside].min(axis=1))
            highest = np.maximum(highest, block[:, inside].max(axis=1))
        # integers cannot be NaN or infinite, so two grey levels are enough; of floats every block is checked
        if (highest > lowest).all() and np.issubdtype(block.dtype, np.integer):
            break
    return lowest, highest, len(corners) <= MOST_BLOCKS


def _check_finite(slide: TrainingSlide, block: NDArray[np.generic], settings: TrainingSettings) -> None:
    which = next((which for which, plane in enumerate(block) if known_pixels(plane) is not None), None)
    if which is not None:
        msg = (
            f"{_channel_name(slide, which, settings)} of {slide.slide.source.name} has pixels that are NaN, "
            "infinite or beyond 1e12, expected grey levels everywhere; replace them, by 0 for instance, and save the "
            "slide anew."
        )
        raise TrainingError(msg)


def _channel_name(slide: TrainingSlide, which: int, settings: TrainingSettings) -> str:
    channel = (*slide.inputs, slide.target)[which]
    role = (*settings.stains, settings.target)[which]
    return f"the {role} channel {channel} = {slide.slide.channel_names[channel]}"


def swapped_channels(slides: Sequence[TrainingSlide]) -> tuple[str, ...]:
    """Warn of slides whose channels resemble those of the other slides only in another order.

    Contrast, texture and skewness of each channel are compared with their medians over the other slides. Slides that
    are all wrong in the same way are not found.
    """
    distinct = list({id(training_slide.slide): training_slide for training_slide in slides}.values())
    if len(distinct) < _FEWEST_SLIDES:
        return ()
    levels = _common_levels(distinct)
    textures = np.array([_texture_of(slide, level) for slide, level in zip(distinct, levels, strict=True)])
    warnings = []
    for index, slide in enumerate(distinct):
        others = np.median(np.delete(textures, index, axis=0), axis=0)
        given = tuple(range(len(others)))
        distances = {
            order: float(np.linalg.norm(textures[index][list(order)] - others)) for order in permutations(given)
        }
        best = min(distances, key=distances.__getitem__)
        if best != given and distances[best] < _SUSPICIOUS * distances[given]:
            warnings.append(_sentence(slide, best))
    return tuple(warnings)


def _common_levels(slides: Sequence[TrainingSlide]) -> list[int]:
    """Find a stored level of each slide, all equally coarse: textures are comparable at one resolution only."""
    factors = []
    for slide in slides:
        levels = range(sampled_level(slide) + 1)
        factors.append({tuple(round(factor) for factor in slide.slide.downsample(level)): level for level in levels})
    coarsest = max(set.intersection(*map(set, factors)))
    return [levels[coarsest] for levels in factors]


def _texture_of(slide: TrainingSlide, level: int) -> NDArray[np.float64]:
    """Measure the texture of each channel, shape (inputs + 1, numbers): medians over some blocks."""
    blocks = islice(read_blocks(slide, level, block_corners(slide, level)), _BLOCKS)
    return np.median([[_texture(channel, inside) for channel in block] for block, inside in blocks], axis=0)


def _texture(channel: NDArray[np.generic], inside: NDArray[np.bool_]) -> list[float]:
    image = channel.astype(np.float64)
    pixels = image[inside]
    mean, spread = float(pixels.mean()), float(pixels.std()) + 1e-9
    scaled = np.where(inside, (image - mean) / spread, 0)
    correlations = [
        float((scaled[:, :-lag] * scaled[:, lag:]).mean()) if lag < scaled.shape[1] else 0 for lag in _LAGS_PX
    ]
    skewness = float((scaled[inside] ** 3).mean())
    return [float(np.log10(spread / (abs(mean) + 1e-9) + 1e-3)), *correlations, float(np.tanh(skewness / 4))]


def _sentence(slide: TrainingSlide, order: Sequence[int]) -> str:
    names, channels = slide.slide.channel_names, (*slide.inputs, slide.target)
    moved = [index for index, other in enumerate(order) if index != other]
    words = " and ".join(names[channels[index]] for index in moved)
    return (
        f"{slide.slide.source.name}: {words} seem to be exchanged, compared with the other slides; make sure that "
        "every channel has the right role."
    )


def near_copies(split: Split) -> tuple[str, ...]:
    """Warn of slides on different sides that are copies, neighbouring planes or overlapping fields.

    Each pair is compared by the highest Pearson correlation of the first input stain over all shifts that leave a
    fifth of the smaller one overlapping, at about 192 px a side. Turned or mirrored copies, and fields that share
    less, are not found. The two parts of a slide that was cut are not compared.
    """
    sides = {"training": split.train, "validation": split.validation, "test": split.test}
    views = {side: [_View(slide) for slide in slides] for side, slides in sides.items()}
    return tuple(
        f"{first.name} ({one}) and {second.name} ({other}) show the same tissue: their first inputs correlate by "
        f"{correlation:.2f} over {overlap:.0%} of the smaller one; put both into one part."
        for one, other in combinations(views, 2)
        for first, second in product(views[one], views[other])
        if first.slide is not second.slide
        for correlation, overlap in [_compared(first, second)]
        if correlation > _ALIKE
    )


class _View:
    """The first input of a slide around its regions, at any coarser resolution."""

    def __init__(self, training_slide: TrainingSlide) -> None:
        self.slide: Slide = training_slide.slide
        self.name = self.slide.source.name
        self._channel = training_slide.inputs[0]
        regions = training_slide.regions
        height, width = self.slide.shape
        self.bounds = regions.bounds(self.slide.shape) if regions else Box(0, height, 0, width)
        self._images: dict[tuple[int, int], NDArray[np.float64]] = {}

    def size(self, pixel_size_um: tuple[float, float]) -> tuple[float, float]:
        """Height and width in µm."""
        return self.bounds.height * pixel_size_um[0], self.bounds.width * pixel_size_um[1]

    def image(self, pixel_size_um: tuple[float, float], pixel_um: float) -> NDArray[np.float64]:
        """Detail between the finest and the coarsest width, with pixels of a size in µm."""
        height, width = (max(1, round(side / pixel_um)) for side in self.size(pixel_size_um))
        if (height, width) not in self._images:
            level = self.slide.level_for(pixel_um, assumed_um=max(pixel_size_um))
            (top, bottom), (left, right) = (
                (round(start / factor), max(round(start / factor) + 1, round(stop / factor)))
                for start, stop, factor in (
                    (self.bounds.y0, self.bounds.y1, self.slide.downsample(level)[0]),
                    (self.bounds.x0, self.bounds.x1, self.slide.downsample(level)[1]),
                )
            )
            pixels = np.asarray(self.slide.levels[level][self._channel, top:bottom, left:right].compute(), np.float64)
            self._images[height, width] = _detail(resize_local_mean(pixels, (height, width), preserve_range=True))
        return self._images[height, width]


def _detail(image: NDArray[np.float64]) -> NDArray[np.float64]:
    fine, coarse = (ndimage.gaussian_filter(image, width, mode="nearest") for width in (_FINEST_PX, _COARSEST_PX))
    detail = fine - coarse
    strength = np.sqrt(ndimage.gaussian_filter(detail**2, _COARSEST_PX, mode="nearest"))
    # detail is divided by its local strength: else the strong rims of two round sections would make them alike
    return np.asarray(detail / (strength + 0.2 * detail.std() + 1e-6))


def _compared(first: _View, second: _View) -> tuple[float, float]:
    """Correlate two slides at the best of all shifts; returns also the share of the smaller one that overlaps there."""
    sizes = [view.slide.pixel_size_um for view in (first, second)]
    assumed = next((size for size in sizes if size), (1.0, 1.0))
    first_size, second_size = (size or assumed for size in sizes)
    extents = max(first.size(first_size)), max(second.size(second_size))
    pixel_um = max(min(extents) / _LOOKED_AT_PX, max(extents) / _LARGEST_PX, *first_size, *second_size)
    return _best_match(first.image(first_size, pixel_um), second.image(second_size, pixel_um))


def _best_match(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """Find the highest Pearson correlation over all shifts with enough overlap, with its share of the smaller image."""
    # a Fourier transform gives the sums over the overlaps of all shifts at once
    shape = [fft.next_fast_len(sum(sides) - 1, real=True) for sides in zip(first.shape, second.shape, strict=True)]
    ones_first, values_first, squares_first = _spectra(first, shape)
    ones_second, values_second, squares_second = (np.conj(spectrum) for spectrum in _spectra(second, shape))
    sum_over_overlap = partial(fft.irfft2, s=shape)
    count = np.round(sum_over_overlap(ones_first * ones_second))
    smaller = min(first.size, second.size)
    allowed = count >= max(_LEAST_OVERLAP * smaller, _FEWEST_PX)
    count = np.where(allowed, count, 1)
    mean_first = sum_over_overlap(values_first * ones_second) / count
    mean_second = sum_over_overlap(ones_first * values_second) / count
    variance_first = sum_over_overlap(squares_first * ones_second) / count - mean_first**2
    variance_second = sum_over_overlap(ones_first * squares_second) / count - mean_second**2
    # an overlap of glass with glass has no detail to correlate
    for image, variance in ((first, variance_first), (second, variance_second)):
        allowed &= variance > 0.05 * float(image.var()) + 1e-12
    covariance = sum_over_overlap(values_first * values_second) / count - mean_first * mean_second
    correlation = np.where(allowed, covariance / np.sqrt(np.where(allowed, variance_first * variance_second, 1)), -1.0)
    best = np.unravel_index(correlation.argmax(), correlation.shape)
    return float(correlation[best]), float(count[best] / smaller)


def _spectra(image: NDArray[np.float64], shape: Sequence[int]) -> tuple[NDArray[np.complex128], ...]:
    """Return the Fourier transforms of a frame of ones, of its pixels, and of their squares."""
    return tuple(fft.rfft2(pixels, shape) for pixels in (np.ones_like(image), image, image**2))

"""Near-duplicate slides on different sides of a split: those that show the same tissue, at coarse levels."""

from __future__ import annotations

from functools import partial
from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, signal
from skimage.transform import resize_local_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_hrpn.slides import Slide
    from napari_hrpn.training.entries import Split, TrainingSlide

# real fields, planes of a stack and phantoms that share a quarter of their tissue or more correlated by 0.91 or more,
# all others by 0.29 or less, and made-up round sections of one size by 0.36
_THRESHOLD = 0.6
_LOOKED_AT_PX = 192
_LARGEST_PX = 512
# Detail between these widths is compared: finer is lost when fields meet between pixels, coarser is the outline
# of a section and the light of a camera, in which slides of different tumours are alike.
_FINEST_PX, _COARSEST_PX = 1.0, 3.0
_LEAST_OVERLAP = 0.2
_FEWEST_PX = 1000


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
        if correlation > _THRESHOLD
    )


class _View:
    """The first input of a slide around its regions, as coarse as it is asked for."""

    def __init__(self, training_slide: TrainingSlide) -> None:
        self.slide: Slide = training_slide.slide
        self.name = self.slide.source.name
        self._channel = training_slide.inputs[0]
        regions = training_slide.regions
        self.bounds = regions.bounds if regions else (0, self.slide.shape[0], 0, self.slide.shape[1])
        self._images: dict[tuple[int, int], NDArray[np.float64]] = {}

    def size(self, pixel_size_um: tuple[float, float]) -> tuple[float, float]:
        """Height and width in µm."""
        y0, y1, x0, x1 = self.bounds
        return (y1 - y0) * pixel_size_um[0], (x1 - x0) * pixel_size_um[1]

    def image(self, pixel_size_um: tuple[float, float], pixel_um: float) -> NDArray[np.float64]:
        """Detail between the two widths, with pixels of a size in µm."""
        height, width = (max(1, round(side / pixel_um)) for side in self.size(pixel_size_um))
        if (height, width) not in self._images:
            level = self.slide.level_for(pixel_um, assumed_um=max(pixel_size_um))
            (top, bottom), (left, right) = (
                (round(start / factor), max(round(start / factor) + 1, round(stop / factor)))
                for start, stop, factor in zip(
                    self.bounds[::2], self.bounds[1::2], self.slide.downsample(level), strict=True
                )
            )
            pixels = np.asarray(self.slide.levels[level][self._channel, top:bottom, left:right].compute(), np.float64)
            self._images[height, width] = _detail(resize_local_mean(pixels, (height, width), preserve_range=True))
        return self._images[height, width]


def _detail(image: NDArray[np.float64]) -> NDArray[np.float64]:
    fine, coarse = (ndimage.gaussian_filter(image, width, mode="nearest") for width in (_FINEST_PX, _COARSEST_PX))
    detail = fine - coarse
    strength = np.sqrt(ndimage.gaussian_filter(detail**2, _COARSEST_PX, mode="nearest"))
    # no place counts much more than others, or the rims of two round sections would make them alike
    return np.asarray(detail / (strength + 0.2 * detail.std() + 1e-6))


def _compared(first: _View, second: _View) -> tuple[float, float]:
    """Correlation of two slides at the best of all shifts, and share of the smaller one that overlaps there."""
    sizes = [view.slide.pixel_size_um for view in (first, second)]
    assumed = next((size for size in sizes if size), (1.0, 1.0))
    first_size, second_size = (size or assumed for size in sizes)
    extents = max(first.size(first_size)), max(second.size(second_size))
    pixel_um = max(min(extents) / _LOOKED_AT_PX, max(extents) / _LARGEST_PX, *first_size, *second_size)
    return _best_match(first.image(first_size, pixel_um), second.image(second_size, pixel_um))


def _best_match(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """Highest Pearson correlation over all shifts with enough overlap; sums over the overlap by Fourier transform."""
    sum_over_overlap = partial(signal.correlate, method="fft")
    there_first, there_second = np.ones_like(first), np.ones_like(second)
    count = np.round(sum_over_overlap(there_first, there_second))
    smaller = min(first.size, second.size)
    allowed = count >= max(_LEAST_OVERLAP * smaller, _FEWEST_PX)
    count = np.where(allowed, count, 1)
    mean_first = sum_over_overlap(first, there_second) / count
    mean_second = sum_over_overlap(there_first, second) / count
    variance_first = sum_over_overlap(first**2, there_second) / count - mean_first**2
    variance_second = sum_over_overlap(there_first, second**2) / count - mean_second**2
    # an overlap of glass with glass says nothing
    for image, variance in ((first, variance_first), (second, variance_second)):
        allowed &= variance > 0.05 * float(image.var()) + 1e-12
    covariance = sum_over_overlap(first, second) / count - mean_first * mean_second
    correlation = np.where(allowed, covariance / np.sqrt(np.where(allowed, variance_first * variance_second, 1)), -1.0)
    best = np.unravel_index(correlation.argmax(), correlation.shape)
    return float(correlation[best]), float(count[best] / smaller)

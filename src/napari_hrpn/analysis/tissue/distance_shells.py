"""Sums of a probe's signal over shells of distance from the nearest vessel, pooled over tiles in any order.

The rule: whole numbers for integer pixels, so any cutting of an image gives the same sums to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.core.errors import AnalysisError
from napari_hrpn.settings import PenetrationSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ShellSums:
    """Pixels and signal in each step of distance of each area; two of them are pooled with ``+``."""

    # names of the images that are measured on the same shells, such as the real one and a prediction
    images: tuple[str, ...]
    areas: tuple[str, ...]  # names of parts of the tissue that share no pixel
    # first inside vessels, then step by step, a step without its inner and with its outer end, at last what is
    # further
    pixels: NDArray[np.int64]
    signal: NDArray[Any]  # sums of the grey levels; float64 where an image is floating point
    # height and width of the pixels that distances belong to; 0 where they are points
    pixel_um: tuple[float, float] = (0.0, 0.0)

    def __add__(self, other: ShellSums) -> ShellSums:
        own, others = ((one.images, one.areas, one.pixels.shape, one.pixel_um) for one in (self, other))
        if own != others:
            msg = "two sums over shells differ in their images, areas, shells or pixels; expected the same for both"
            raise AnalysisError(msg)
        return replace(self, pixels=self.pixels + other.pixels, signal=self.signal + other.signal)


def no_shell_sums(
    images: Sequence[str],
    settings: PenetrationSettings,
    areas: Sequence[str] = ("tissue",),
    pixel_um: tuple[float, float] = (0.0, 0.0),
) -> ShellSums:
    """Return sums over nothing, to begin with."""
    pixels = np.zeros((len(areas), settings.shells * settings.steps + 2), np.int64)
    return ShellSums(tuple(images), tuple(areas), pixels, np.zeros((len(images), *pixels.shape), np.int64), pixel_um)


def update_shells(
    sums: ShellSums,
    distance_um: NDArray[np.floating[Any]],
    values: Sequence[NDArray[Any]],
    settings: PenetrationSettings,
    *,
    area: NDArray[np.integer[Any]] | None = None,
    pixels: NDArray[np.int64] | None = None,
) -> ShellSums:
    """Add the pixels of a tile to the sums."""
    if len(values) != len(sums.images) or any(image.shape != distance_um.shape for image in values):
        found = ", ".join(" x ".join(map(str, image.shape)) for image in values)
        expected = " x ".join(map(str, distance_um.shape))
        msg = f"the images are {found or 'none'} px; expected {len(sums.images)} of {expected} px, as the distances"
        raise AnalysisError(msg)
    length = sums.pixels.shape[1]
    # through shells, so that a distance at the end of one is at the end of a step
    step = np.ceil(np.minimum(distance_um, 2 * settings.furthest_um) / settings.shell_um * settings.steps)
    bins = np.minimum(step, length - 1).astype(np.intp)
    if area is not None:
        bins += np.asarray(area, np.intp) * length
    inside = slice(None) if area is None else np.asarray(area) >= 0
    chosen, size = bins[inside].ravel(), sums.pixels.size
    weights = None if pixels is None else pixels[inside].ravel()
    counted = np.bincount(chosen, weights, size).astype(np.int64)
    signal = np.stack([_sums(chosen, image[inside].ravel(), size) for image in values]) if values else sums.signal
    return replace(
        sums,
        pixels=sums.pixels + counted.reshape(sums.pixels.shape),
        signal=sums.signal + signal.reshape(sums.signal.shape),
    )


def _sums(bins: NDArray[np.intp], values: NDArray[Any], size: int) -> NDArray[Any]:
    """Sums of values per bin; of integers exact, as whole numbers below 2^53 are in float64."""
    total = np.bincount(bins, values, size)
    if values.dtype.kind in "biu":
        return total.astype(np.int64)
    if not np.isfinite(total).all():
        msg = "an image has pixels that are not finite (NaN or infinite); expected finite grey levels: leave them out"
        raise AnalysisError(msg)
    return total

"""Cross-talk (bleed-through) between channels: fine structure of one channel that appears in another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SMALLEST_SHARE = 0.02
_LARGEST_SHARE = 0.4
"""A larger share is no cross-talk: the leak then goes the other way, or both stains are in the same place."""
COARSEST_PIXEL_UM = 1.5
_WINDOW_PX = 64
_FINE_PX, _COARSE_PX = 1.0, 4.0
_USED_SHARE = 8
_FEWEST_WINDOWS = 8
_LARGEST_SPREAD = 0.4


@dataclass(frozen=True)
class CrossTalk:
    """Share of one channel that appears in another."""

    # the channels: light of the source is recorded in the target
    source: int
    target: int
    share: float  # grey levels of the target per grey level of the source; NaN if it cannot be measured
    # distance between the quartiles over the windows, relative to the median: cross-talk is the same everywhere, while
    # the overlap of two stains varies
    spread: float
    # whether it is large and even, and no reflection of more even cross-talk in the opposite direction
    is_found: bool
    windows: int  # windows that were compared
    reason: str = ""  # why there is no share; empty if there is one


def cross_talk(
    blocks: Sequence[NDArray[Any]],
    channels: Sequence[int],
    positions_px: Sequence[tuple[float, float]] | None = None,
) -> tuple[CrossTalk, ...]:
    """Estimate the cross-talk between channels.

    In small windows the fine structure of the target is fitted by that of all other channels together (multiple
    regression). The share is the lower quartile of the slope over the windows with most source signal: a lower bound
    that is there in whatever tissue. A probe that is in all vessel walls gives the same result as cross-talk; only
    controls with a single stain can distinguish the two.
    """
    parts = [gram for block in blocks for gram in _grams(block, channels, positions_px)]
    if len(parts) < _FEWEST_WINDOWS:
        reason = f"there are only {len(parts)} windows of {_WINDOW_PX} px, expected {_FEWEST_WINDOWS} or more"
        return tuple(
            CrossTalk(source, target, math.nan, math.nan, False, len(parts), reason)
            for source, target in permutations(channels, 2)
        )
    grams = np.stack(parts)
    found = {
        (source, target): _slopes(grams, source, target) for source, target in permutations(range(len(channels)), 2)
    }
    return tuple(
        CrossTalk(
            channels[source],
            channels[target],
            share,
            spread,
            _is_plausible(share, spread) and not _is_mirrored(found[target, source], spread),
            windows,
        )
        for (source, target), (share, spread, windows) in found.items()
    )


def _is_plausible(share: float, spread: float) -> bool:
    return _SMALLEST_SHARE <= share <= _LARGEST_SHARE and spread <= _LARGEST_SPREAD


def _is_mirrored(back: tuple[float, float, int], spread: float) -> bool:
    return _is_plausible(*back[:2]) and back[1] < spread


def _grams(
    block: NDArray[Any], channels: Sequence[int], positions_px: Sequence[tuple[float, float]] | None
) -> NDArray[np.float64]:
    """Sums of products of the channels' fine structure in each window, shape (windows, channels, channels)."""
    planes = []
    for index, channel in enumerate(channels):
        image = block[channel].astype(np.float32)
        if positions_px is not None and any(positions_px[index]):
            image = ndimage.shift(image, np.negative(positions_px[index]), order=3, mode="nearest")
        fine, coarse = (
            ndimage.gaussian_filter(image, width, mode="nearest", truncate=3) for width in (_FINE_PX, _COARSE_PX)
        )
        planes.append(_windows(fine - coarse))
    return np.asarray(np.einsum("inp,jnp->nij", planes, planes, dtype=np.float64))


def _windows(image: NDArray[Any]) -> NDArray[Any]:
    rows, columns = (size // _WINDOW_PX for size in image.shape)
    whole = image[: rows * _WINDOW_PX, : columns * _WINDOW_PX]
    split = whole.reshape(rows, _WINDOW_PX, columns, _WINDOW_PX).swapaxes(1, 2)
    return split.reshape(rows * columns, _WINDOW_PX**2)


def _slopes(grams: NDArray[np.float64], source: int, target: int) -> tuple[float, float, int]:
    """Lower quartile and relative spread of the target's slope on the source, over the windows with most source."""
    others = [index for index in range(grams.shape[1]) if index not in (source, target)]
    source_power, product = grams[:, source, source], grams[:, source, target]
    if others:
        between = grams[:, others][:, :, others]
        # a tiny ridge, so that windows in which a channel is empty can be solved
        small = 1e-9 * np.trace(between, axis1=1, axis2=2)[:, None, None] + 1e-12
        solved = np.linalg.solve(between + small * np.eye(len(others)), grams[:, others, source][:, :, None])[:, :, 0]
        source_power = source_power - np.einsum("no,no->n", solved, grams[:, others, source])
        product = product - np.einsum("no,no->n", solved, grams[:, others, target])
    count = max(_FEWEST_WINDOWS, len(source_power) // _USED_SHARE)
    rich = np.argsort(source_power)[-count:]
    rich = rich[source_power[rich] > 0]
    if not len(rich):
        return math.nan, math.nan, 0
    low, middle, high = np.quantile(product[rich] / source_power[rich], [0.25, 0.5, 0.75])
    return float(low), float((high - low) / abs(middle)) if middle else math.inf, len(rich)

"""Spatial autocorrelation of patches: Moran's I on a grid of which only some patches count."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_hrpn.core.errors import AnalysisError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PERMUTATIONS = 999
MORAN = "Moran's I (rook)"
"""What tables call the kind that they show: patches that share an edge are equally far apart, others are not."""
_STEPS = {"rook": ((0, 1), (1, 0)), "queen": ((0, 1), (1, 0), (1, 1), (1, -1))}
_BATCH = 32


@dataclass(frozen=True)
class MoransI:
    """Moran's I of the patches of a grid."""

    # about 1 where neighbours are alike, about `expected` for patches in random order, negative where neighbours
    # differ, as on a checkerboard. NaN with a reason where it does not exist
    i: float
    expected: float  # its mean over all orders of the patches, -1 / (n - 1)
    # share of random orders (the one observed counted in) with an I as far from `expected`, either way; NaN without
    # permutations. The unit is the patch of one slide: it says nothing about other tumours
    p_value: float
    neighbours: str  # "rook" (4 neighbours) or "queen" (8), all of the same weight
    n: int
    pairs: int  # pairs of neighbours, each counted once
    permutations: int  # random orders that were tried
    reason: str = ""  # why a number is NaN; empty where none is


def morans_i(
    values: NDArray[Any],
    mask: NDArray[np.bool_] | None = None,
    neighbours: Literal["rook", "queen"] = "rook",
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> MoransI:
    """Moran's I, n / W * sum_ij(w_ij z_i z_j) / sum_i(z_i^2) with z the deviations from the mean and w 0 or 1.

    Parameters
    ----------
    values : numpy.ndarray, shape (rows, columns)
        One number per patch.
    mask : numpy.ndarray of bool, shape (rows, columns), optional
        Patches that count; those left out are nobody's neighbour.
    neighbours : {"rook", "queen"}
        Whether patches that share an edge are neighbours, or also those that share a corner.
    permutations : int
        Random orders behind the p-value; 0 for none.
    seed : int
        Of the random orders.

    Returns
    -------
    MoransI
        With the p-value of the permutations (Moran 1950; Cliff and Ord 1981).

    Raises
    ------
    AnalysisError
        If there is no such kind of neighbour.
    """
    if neighbours not in _STEPS:
        msg = f"neighbours are {neighbours!r}; expected one of {', '.join(_STEPS)}"
        raise AnalysisError(msg)
    kept = np.ones(values.shape, bool) if mask is None else mask
    first, second = _pairs(kept, neighbours)
    deviations = values[kept].astype(np.float64)
    n = len(deviations)
    reason = _reason(deviations, len(first))
    if reason:
        return MoransI(math.nan, math.nan, math.nan, neighbours, n, len(first), 0, reason)
    deviations -= deviations.mean()
    # in a unit of their own, so that no square overflows or vanishes
    deviations /= np.abs(deviations).max()
    scale = n / len(first) / float(deviations @ deviations)
    observed, expected = float(deviations[first] @ deviations[second]) * scale, -1 / (n - 1)
    p_value = math.nan
    if permutations:
        random = _permuted(deviations, first, second, permutations, seed) * scale
        # sums in another order differ in the last bits
        as_far = np.abs(random - expected) >= abs(observed - expected) - 1e-12
        p_value = (1 + int(as_far.sum())) / (1 + permutations)
    return MoransI(observed, expected, p_value, neighbours, n, len(first), permutations)


def _reason(values: NDArray[np.float64], pairs: int) -> str:
    if len(values) < 3 or not pairs:
        return f"{len(values)} patches with {pairs} pairs of neighbours; expected at least 3 patches and 1 pair"
    return "all patches have the same value" if values.min() == values.max() else ""


def _pairs(mask: NDArray[np.bool_], neighbours: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Numbers of the patches of each pair, counted row by row among those that count."""
    number = np.cumsum(mask.ravel()).reshape(mask.shape) - 1
    found = []
    for down, right in _STEPS[neighbours]:
        one = (slice(None, -down or None), slice(max(0, -right), -max(0, right) or None))
        other = (slice(down, None), slice(max(0, right), -max(0, -right) or None))
        both = mask[one] & mask[other]
        found.append((number[one][both], number[other][both]))
    first, second = (np.concatenate(column).astype(np.intp) for column in zip(*found, strict=True))
    return first, second


def _permuted(
    deviations: NDArray[np.float64], first: NDArray[np.intp], second: NDArray[np.intp], permutations: int, seed: int
) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    sums = []
    for start in range(0, permutations, _BATCH):
        batch = np.tile(deviations, (min(_BATCH, permutations - start), 1))
        random.permuted(batch, axis=1, out=batch)
        sums.append(np.einsum("ij,ij->i", batch[:, first], batch[:, second]))
    return np.concatenate(sums)

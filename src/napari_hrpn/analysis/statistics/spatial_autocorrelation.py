"""Spatial autocorrelation of patches: Moran's I on a grid, over patches with enough tissue."""

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
"""Title of the kind in tables: patches that share a side, which are equally far apart, are neighbours."""
_STEPS = {"rook": ((0, 1), (1, 0)), "queen": ((0, 1), (1, 0), (1, 1), (1, -1))}
_BATCH = 32


@dataclass(frozen=True)
class MoransI:
    """Moran's I of the patches of a grid."""

    # about 1 if neighbours are alike, about `expected` for a random order, negative if neighbours differ, as on
    # a checkerboard; NaN, with a reason, if it does not exist
    i: float
    expected: float  # mean over all orders of the patches, -1 / (n - 1)
    # share of random orders (including the observed one) with an I at least as far from `expected`, two-sided; NaN
    # without permutations. The unit is a patch of one slide, so it does not apply to other tumours
    p_value: float
    neighbours: str  # "rook" (4 neighbours) or "queen" (8), all of the same weight
    n: int
    pairs: int  # number of pairs of neighbours, each counted once
    permutations: int  # number of random orders
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
        Patches that count; the others are not neighbours of any patch.
    neighbours : {"rook", "queen"}
        Whether only patches that share a side are neighbours, or also those that share a corner.
    permutations : int
        Number of random orders for the p-value; 0 for none.
    seed : int
        Seed of the random orders.

    Returns
    -------
    MoransI
        Moran's I with the p-value of the permutations (Moran 1950; Cliff and Ord 1981).

    Raises
    ------
    AnalysisError
        If the kind of neighbours is unknown.
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
    # scaled to 1 at most, so that no square overflows or underflows
    deviations /= np.abs(deviations).max()
    scale = n / len(first) / float(deviations @ deviations)
    observed, expected = float(deviations[first] @ deviations[second]) * scale, -1 / (n - 1)
    p_value = math.nan
    if permutations:
        random = _permuted(deviations, first, second, permutations, seed) * scale
        # with a tolerance, because the last bits of a sum depend on the order
        as_far = np.abs(random - expected) >= abs(observed - expected) - 1e-12
        p_value = (1 + int(as_far.sum())) / (1 + permutations)
    return MoransI(observed, expected, p_value, neighbours, n, len(first), permutations)


def _reason(values: NDArray[np.float64], pairs: int) -> str:
    if len(values) < 3 or not pairs:
        return f"{len(values)} patches with {pairs} pairs of neighbours; expected at least 3 patches and 1 pair"
    return "all patches have the same value" if values.min() == values.max() else ""


def _pairs(mask: NDArray[np.bool_], neighbours: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the patches of each pair, counted row by row among the patches that count."""
    number = np.cumsum(mask.ravel()).reshape(mask.shape) - 1
    pairs = []
    for down, right in _STEPS[neighbours]:
        first_patches = (slice(None, -down or None), slice(max(0, -right), -max(0, right) or None))
        second_patches = (slice(down, None), slice(max(0, right), -max(0, -right) or None))
        both = mask[first_patches] & mask[second_patches]
        pairs.append((number[first_patches][both], number[second_patches][both]))
    first, second = (np.concatenate(column).astype(np.intp) for column in zip(*pairs, strict=True))
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

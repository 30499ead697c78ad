"""Transport of the probe: D lap C - k(x) C + S(x) = 0, solved on a square lattice with periodic edges.

The rule: the edges are wrong by design (they wrap), so callers solve with a margin of many penetration lengths.
"""

from __future__ import annotations

import numpy as np
from scipy import fft


def steady_concentration(
    source: np.ndarray,
    uptake: np.ndarray,
    penetration_um: float,
    step_um: float,
    tolerance: float = 1e-6,
) -> np.ndarray:
    """Return the steady concentration that a source keeps up against diffusion and uptake.

    Lengths are in units of `penetration_um` = sqrt(D / k0) and concentrations in units of source / k0, so the
    equation reads lambda^2 lap C - (k / k0) C + S / k0 = 0. The part of k that varies is moved to the right side
    and iterated: (kc - lambda^2 lap) C' = S + (kc - k) C, with kc halfway between the extremes of k, which
    shrinks the error by (kmax - kmin) / (kmax + kmin) or better each time.
    """
    middle = (uptake.max() + uptake.min()) / 2
    inverse = 1 / (middle + penetration_um**2 * _squared_wave_numbers(source.shape, step_um))
    concentration = fft.irfft2(fft.rfft2(source) * inverse, source.shape)
    while True:
        pushed = source + (middle - uptake) * concentration
        following = fft.irfft2(fft.rfft2(pushed) * inverse, source.shape)
        change = np.abs(following - concentration).max()
        concentration = following
        if change <= tolerance * np.abs(concentration).max():
            return np.asarray(concentration)


def _squared_wave_numbers(shape: tuple[int, ...], step_um: float) -> np.ndarray:
    rows = 2 * np.pi * fft.fftfreq(shape[0], step_um)
    columns = 2 * np.pi * fft.rfftfreq(shape[1], step_um)
    return np.asarray(rows[:, None] ** 2 + columns[None, :] ** 2)

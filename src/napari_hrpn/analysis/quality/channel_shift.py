"""Shift between channels, by phase correlation over many blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import fft

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_FURTHEST_SHARE = 0.25
_TRUSTED_PEAK = 20.0
"""On phantoms, peaks of noise reached 12 standard deviations and those of true shifts 180."""
_FINEST, _COARSEST = 0.15, 0.01
_AGREE_PX = 1.0
_STEPS_PER_PX = 10


@dataclass(frozen=True)
class ChannelShift:
    """Displacement of one channel against another."""

    first: int
    second: int
    # displacement of the second against the first, down and to the right, to a tenth of a pixel; NaN if it cannot be
    # measured
    shift_px: tuple[float, float]
    shift_um: tuple[float, float] | None  # the same in µm; None without a pixel size
    peak: float  # height of the peak of the correlation, in standard deviations of the noise
    blocks: int  # blocks of the slide that were used
    reason: str = ""  # why there is no shift; empty if there is one


def channel_shifts(
    blocks: Sequence[NDArray[Any]], channels: Sequence[int], pixel_size_um: tuple[float, float] | None
) -> tuple[ChannelShift, ...]:
    """Measure the shift between each two of the given channels.

    The normalised cross-power spectra of all blocks are averaged within the band of frequencies of nuclei and vessel
    walls, so that structures common to both channels add up. They may also be complementary, like nuclei and a stain
    that they exclude. The peak is trusted if it is 20 standard deviations high, if both halves of the blocks have it
    in the same place, and if it fits the shifts of the other channels.
    """
    spectra = {pair: _Spectra() for pair in combinations(channels, 2)}
    for block in blocks:
        phases = {channel: _phases(block[channel]) for channel in channels}
        for (first, second), sums in spectra.items():
            first_phases, second_phases = phases[first], phases[second]
            if first_phases is not None and second_phases is not None:
                sums.add(first_phases.conj() * second_phases)
    return _consistent([_shift(*pair, sums, pixel_size_um) for pair, sums in spectra.items()])


class _Spectra:
    """Sums of cross-power spectra over the even and the odd blocks, so that the two halves can be compared."""

    def __init__(self) -> None:
        self.blocks = 0
        self.halves: list[Any] = [0, 0]

    def add(self, spectrum: NDArray[Any]) -> None:
        self.halves[self.blocks % 2] = self.halves[self.blocks % 2] + spectrum
        self.blocks += 1


def _shift(first: int, second: int, spectra: _Spectra, pixel_size_um: tuple[float, float] | None) -> ChannelShift:
    if spectra.blocks < 2:
        return _unknown(first, second, math.nan, spectra.blocks, "fewer than two blocks show both channels")
    band = _band(spectra.halves[0].shape)
    halves = [half * band for half in spectra.halves]
    whole = halves[0] + halves[1]
    place, peak = _peak(whole)
    agree = all(np.hypot(*np.subtract(_peak(half)[0], place)) <= _AGREE_PX for half in halves)
    if peak < _TRUSTED_PEAK or not agree:
        return _unknown(first, second, peak, spectra.blocks, "the channels share too little fine structure")
    shift_px = _refined(whole)
    shift_um = None
    if pixel_size_um is not None:
        shift_um = shift_px[0] * pixel_size_um[0], shift_px[1] * pixel_size_um[1]
    return ChannelShift(first, second, shift_px, shift_um, peak, spectra.blocks)


def _consistent(shifts: Sequence[ChannelShift]) -> tuple[ChannelShift, ...]:
    """Discard the weakest shift of each three channels a, b, c for which a to b plus b to c is not a to c."""
    kept = {(shift.first, shift.second): shift for shift in shifts}
    channels = sorted({channel for pair in kept for channel in pair})
    for a, b, c in combinations(channels, 3):
        three = [kept.get(pair) for pair in ((a, b), (b, c), (a, c))]
        known = [shift for shift in three if shift is not None]
        if len(known) < 3:
            continue
        gap = np.add(known[0].shift_px, known[1].shift_px) - known[2].shift_px
        if np.hypot(*gap) > _AGREE_PX:
            weak = min(known, key=lambda shift: shift.peak)
            reason = "it does not fit the shifts of the other channels"
            kept[weak.first, weak.second] = _unknown(weak.first, weak.second, weak.peak, weak.blocks, reason)
    return tuple(kept.values())


def _unknown(first: int, second: int, peak: float, blocks: int, reason: str) -> ChannelShift:
    return ChannelShift(first, second, (math.nan, math.nan), None, peak, blocks, reason)


def _phases(image: NDArray[Any]) -> NDArray[np.complex64] | None:
    """Spectrum of an image with all amplitudes 1; None for a constant image."""
    if image.min() == image.max():
        return None
    window = np.outer(*(np.hanning(size) for size in image.shape)).astype(np.float32)
    spectrum = fft.fft2((image.astype(np.float32) - np.float32(image.mean())) * window)
    return np.asarray(spectrum / np.maximum(np.abs(spectrum), np.finfo(np.float32).tiny))


def _band(shape: tuple[int, ...]) -> NDArray[np.float32]:
    frequency = np.hypot(fft.fftfreq(shape[0])[:, None], fft.fftfreq(shape[1])[None])
    smooth, flat = (np.exp(-((frequency / edge) ** 2) / 2) for edge in (_FINEST, _COARSEST))
    return np.asarray(smooth * (1 - flat), np.float32)


def _peak(spectrum: NDArray[Any]) -> tuple[tuple[int, int], float]:
    """Place of the largest correlation, positive or negative, and its height in standard deviations of the noise."""
    correlation = np.abs(fft.fftshift(fft.ifft2(spectrum).real))
    # the median absolute value of normally distributed noise is its standard deviation over 1.4826
    noise = 1.4826 * float(np.median(correlation))
    middle = [size // 2 for size in correlation.shape]
    reach = [max(1, int(size * _FURTHEST_SHARE)) for size in correlation.shape]
    near = correlation[middle[0] - reach[0] : middle[0] + reach[0] + 1, middle[1] - reach[1] : middle[1] + reach[1] + 1]
    row, column = np.unravel_index(near.argmax(), near.shape)
    return (int(row) - reach[0], int(column) - reach[1]), float(near[row, column]) / noise if noise else 0.0


def _refined(spectrum: NDArray[Any]) -> tuple[float, float]:
    from skimage.registration import phase_cross_correlation

    unshifted = np.ones_like(spectrum)
    shift, _, _ = phase_cross_correlation(
        spectrum, unshifted, space="fourier", upsample_factor=_STEPS_PER_PX, normalization=None
    )
    # adding 0 turns -0.0 into 0.0, so that results do not show "-0.0"
    return round(float(shift[0]), 1) + 0.0, round(float(shift[1]), 1) + 0.0

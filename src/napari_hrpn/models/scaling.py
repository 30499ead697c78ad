"""Intensity scaling from grey levels to the network's numbers and back, which is part of the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LARGEST = 1e30


@dataclass(frozen=True)
class IntensityScaling:
    """Input = (grey level - offset) / scale for each stain; grey level = output * target_scale + target_offset.

    Attributes
    ----------
    kind : {"fixed", "percentile"}
        "fixed" uses `offsets` and `scales`. "percentile" measures them on every slide: its `low_percentile` becomes 0
        and its `high_percentile` 1, so that exposure and bit depth cancel out.
    offsets, scales : tuple of float
        One per input stain, in grey levels. Zeros and ones leave raw intensities, as in the paper.
    target_offset, target_scale : float
        Offset and scale of the probe channel, in grey levels of the slides trained on.
    low_percentile, high_percentile : float
        Percentiles of the tissue, 0 to 100.
    reference_um : float
        Pixel size at which percentiles are measured; on coarser pixels small vessels would vanish.
    """

    kind: Literal["fixed", "percentile"] = "fixed"
    offsets: tuple[float, ...] = (0.0, 0.0)
    scales: tuple[float, ...] = (1.0, 1.0)
    target_offset: float = 0.0
    target_scale: float = 1.0
    low_percentile: float = 1.0
    high_percentile: float = 99.5
    reference_um: float = 2.0

    def __post_init__(self) -> None:
        scales, offsets = (*self.scales, self.target_scale), (*self.offsets, self.target_offset)
        # single precision would turn larger or smaller scales into infinity or 0; the comparison is false for NaN
        are_scales = all(1 / _LARGEST <= scale <= _LARGEST for scale in scales)
        if len(offsets) != len(scales) or not (are_scales and all(abs(offset) <= _LARGEST for offset in offsets)):
            msg = (
                f"scaling has offsets {offsets} and scales {scales}, the target's last; expected one positive scale "
                "per offset."
            )
            raise ValueError(msg)
        if self.kind not in ("fixed", "percentile") or not 0 <= self.low_percentile < self.high_percentile <= 100:
            msg = (
                f"scaling is {self.kind!r} from percentile {self.low_percentile} to {self.high_percentile}; expected "
                "fixed or percentile, and a low one below a high one, 0 to 100."
            )
            raise ValueError(msg)
        if not 0 < self.reference_um <= _LARGEST:
            msg = f"scaling measures percentiles at pixels of {self.reference_um} µm; expected more than 0."
            raise ValueError(msg)

    def fixed_to(self, low: tuple[float, ...], high: tuple[float, ...]) -> IntensityScaling:
        """Return the scaling as fixed to the percentiles of one slide."""
        # a channel with equal percentiles must not divide by zero
        scales = tuple(max(h - o, 1e-6) for o, h in zip(low, high, strict=True))
        return replace(self, kind="fixed", offsets=low, scales=scales)

    def scale_inputs(self, pixels: NDArray[np.generic], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Scale grey levels of shape (c, y, x) to the network's numbers, into `out` where it is given."""
        offsets, scales = (np.asarray(v, np.float32)[:, None, None] for v in (self.offsets, self.scales))
        return _scaled(pixels, offsets, scales, out)

    def scale_target(self, pixels: NDArray[np.generic], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Turn grey levels of the probe, of any shape, into what the network's output should be."""
        return _scaled(pixels, np.float32(self.target_offset), np.float32(self.target_scale), out)

    def unscale_output(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn the network's output, of any shape, into grey levels of the probe."""
        return output * np.float32(self.target_scale) + np.float32(self.target_offset)


def _scaled(
    pixels: NDArray[np.generic],
    offset: NDArray[np.float32] | np.float32,
    scale: NDArray[np.float32] | np.float32,
    out: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    # in place, since allocating intermediate arrays would take longer than the arithmetic
    scaled = np.empty(pixels.shape, np.float32) if out is None else out
    np.copyto(scaled, pixels, casting="unsafe")
    scaled -= offset
    scaled /= scale
    return scaled

"""Settings of the distance to the nearest vessel as an input of a network."""

from __future__ import annotations

import math
from dataclasses import dataclass

TRUNCATE = 3.0
"""SDs at which the Gaussian that smooths the vessels ends."""


@dataclass(frozen=True)
class VesselDistance:
    """How the distance to vessels is made; it is part of the checkpoint.

    Attributes
    ----------
    reach_um : float
        Distances are cut off here, in µm.
    step_um : float
        A grey level of this input, in µm.
    smoothing_um : float
        SD of the Gaussian that smooths the vessels before they are cut at a grey level.
    """

    reach_um: float = 50.0
    step_um: float = 0.4
    smoothing_um: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.step_um <= self.reach_um <= min(1000, 127 * self.step_um) and 0 <= self.smoothing_um <= 20):
            msg = (
                f"the distance to vessels has a reach of {self.reach_um} µm in steps of {self.step_um} µm, smoothed by "
                f"{self.smoothing_um} µm; expected up to 127 steps, 1,000 µm, and smoothing of up to 20 µm."
            )
            raise ValueError(msg)

    def __str__(self) -> str:
        return f"up to {self.reach_um:g} µm in steps of {self.step_um:g} µm, smoothed by {self.smoothing_um:g} µm"

    @property
    def steps(self) -> int:
        """Largest distance, in steps: what a slide without vessels has everywhere."""
        return round(self.reach_um / self.step_um)

    def margin(self, pixel_um: tuple[float, float]) -> int:
        """Pixels around a box that decide the distances in it."""
        return math.ceil(self.reach_um / min(pixel_um)) + math.ceil(TRUNCATE * self.smoothing_um / min(pixel_um)) + 1

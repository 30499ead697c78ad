"""What is wanted of a slide, and what a prediction of many slides tells of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_hrpn.inference.reports import PredictionReport, TileReport
    from napari_hrpn.slides import Location, Slide


@dataclass(frozen=True, eq=False)
class SlideRequest:
    """One slide to be predicted."""

    slide: Slide  # Opened from a file or folder that the workers see under the same path
    # Folder of the predicted slide, which they see under the same path too, or its address in object storage
    store: Location
    roles: Mapping[str, int] | None = None  # Channel of each input role; guessed from the names where None
    overwrite: bool = False  # Replace a prediction made from another slide, checkpoint or settings


@dataclass(frozen=True)
class TileOfMany:
    """One more tile is on disk."""

    store: Location  # The prediction that it is of
    tile: TileReport  # How far that prediction is
    # Tiles of all slides on disk, those of earlier runs included, and tiles wanted; slides that were not looked over
    # yet count as many as the others on average
    finished: int
    total: int
    pixels: int  # Pixels of all tiles that this run computed
    seconds: float  # Time since the start of this run
    seconds_left: float | None  # Expected time to the end of all slides


@dataclass(frozen=True, eq=False)
class EndedSlide:
    """Nothing more happens to a slide in this run."""

    number: int  # Which of the orders it was, from 0
    report: PredictionReport | None = None  # What was done; None where nothing could be
    new_tiles: int = 0  # Tiles that this run added
    error: Exception | None = None  # Why it ended before its end, unless it was stopped

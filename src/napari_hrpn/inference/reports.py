"""What a running prediction tells of itself."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_hrpn.core import Tile
    from napari_hrpn.slides import Location


@dataclass(frozen=True)
class TileReport:
    """One more tile is on disk.

    Attributes
    ----------
    tile : Tile
        Which one.
    finished, total : int
        Tiles on disk, those of earlier runs included, and tiles wanted.
    pixels : int
        How many of it were computed; the others hold no tissue and were filled.
    seconds : float
        Time since the start of this run.
    seconds_left : float or None
        Expected time to the end; None until a tile has been computed.
    """

    tile: Tile
    finished: int
    total: int
    pixels: int
    seconds: float
    seconds_left: float | None


@dataclass(frozen=True)
class Spent:
    """What tiles took; the times overlap."""

    # Predicted pixels, and pixels that the network saw for them
    pixels_kept: int = 0
    pixels_run: int = 0
    # Reading and decoding; the network waiting for pixels; in the network; writing
    seconds_reading: float = 0.0
    seconds_waiting: float = 0.0
    seconds_computing: float = 0.0
    seconds_writing: float = 0.0
    unknown_px: tuple[int, ...] = ()  # For each input, pixels of the tiles that are not grey levels

    def __add__(self, other: Spent) -> Spent:
        sums = [one + two for one, two in zip(astuple(self)[:-1], astuple(other)[:-1], strict=True)]
        unknown = zip_longest(self.unknown_px, other.unknown_px, fillvalue=0)
        return replace(Spent(*sums), unknown_px=tuple(map(sum, unknown)))


@dataclass(frozen=True)
class PredictionReport:
    """What a run did, and where its time went; the parts overlap, so they may add up to more than `seconds`.

    Attributes
    ----------
    path : pathlib.Path or UPath
        The prediction.
    finished, total : int
        Tiles on disk and tiles wanted.
    complete : bool
        Whether the whole slide is predicted.
    core, halo : int
        Side of a core and width of the halo in pixels.
    device : str
        Where the network ran.
    pixels_kept, pixels_run : int
        Predicted pixels of this run's computed tiles, and pixels that the network saw for them.
    seconds : float
        The whole run.
    seconds_reading, seconds_waiting, seconds_computing, seconds_writing : float
        Reading and decoding; the network waiting for pixels; in the network; writing.
    unknown_px : tuple of int
        For each input, the pixels of this run's computed tiles that are not grey levels (see `Sampling`).
    checkpoint : str
        Title of what it is made with.
    """

    path: Location
    finished: int
    total: int
    complete: bool
    core: int
    halo: int
    device: str
    pixels_kept: int
    pixels_run: int
    seconds: float
    seconds_reading: float
    seconds_waiting: float
    seconds_computing: float
    seconds_writing: float
    unknown_px: tuple[int, ...] = ()
    checkpoint: str = ""

"""Which tile comes next: the one nearest to where the user looks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_hrpn.core import Tile


class TileQueue:
    """Tiles still to be done, taken by several threads."""

    def __init__(self, tiles: Iterable[Tile], focus: Callable[[], tuple[float, float] | None] | None = None) -> None:
        self._tiles = list(tiles)
        self._focus = focus or (lambda: None)
        self._lock = threading.Lock()

    def take(self) -> Tile | None:
        """Remove and return the next tile; None when there is none left."""
        focus = self._focus()
        with self._lock:
            if not self._tiles:
                return None
            if focus is None:
                return self._tiles.pop(0)
            nearest = min(range(len(self._tiles)), key=lambda i: self._tiles[i].core.distance_to(*focus))
            return self._tiles.pop(nearest)

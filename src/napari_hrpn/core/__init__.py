"""Where tiles lie, integers only, and how long work is run."""

from napari_hrpn.core.padding import reflected
from napari_hrpn.core.progress import Progress, Stopped, drive, relayed
from napari_hrpn.core.rectangle_cover import covering
from napari_hrpn.core.tiles import Box, Tile, TileGrid, rounded_up

__all__ = [
    "Box",
    "Progress",
    "Stopped",
    "Tile",
    "TileGrid",
    "covering",
    "drive",
    "reflected",
    "relayed",
    "rounded_up",
]

"""Tools for all other rooms: boxes and tiles, atomic file writes, plain text, options, progress of long work."""

from napari_hrpn.core.progress import Progress, Stopped, drive, relayed
from napari_hrpn.core.tiles import Box, Tile, TileGrid, covering, reflected, rounded_up

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

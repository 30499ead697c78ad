"""Boxes and tiles, files that are whole or not there, plain text, options, and how long work is run."""

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

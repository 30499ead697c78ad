"""Where tiles lie, files that are whole or not there, options."""

from napari_hrpn.core.padding import reflected
from napari_hrpn.core.rectangle_cover import covering
from napari_hrpn.core.tiles import Box, Tile, TileGrid, rounded_up

__all__ = ["Box", "Tile", "TileGrid", "covering", "reflected", "rounded_up"]

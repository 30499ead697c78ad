"""Where tiles lie: integers only."""

from napari_hrpn.tiling.borders import reflected
from napari_hrpn.tiling.covering import covering
from napari_hrpn.tiling.geometry import Box, Tile, TileGrid, rounded_up

__all__ = ["Box", "Tile", "TileGrid", "covering", "reflected", "rounded_up"]

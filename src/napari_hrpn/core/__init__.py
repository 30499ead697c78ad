"""Boxes and tiles, files that are whole or not there, plain text, options."""

from napari_hrpn.core.tiles import Box, Tile, TileGrid, covering, reflected, rounded_up

__all__ = ["Box", "Tile", "TileGrid", "covering", "reflected", "rounded_up"]

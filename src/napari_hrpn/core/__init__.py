"""Boxes and tiles, files that are written whole, folders that one program uses, and plain text."""

from napari_hrpn.core.tiles import Box, Tile, TileGrid, covering, reflected, rounded_up

__all__ = ["Box", "Tile", "TileGrid", "covering", "reflected", "rounded_up"]

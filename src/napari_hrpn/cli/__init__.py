"""Command line: one module per command; importing it loads nothing heavy."""

from napari_hrpn.cli.entry import main, run

__all__ = ["main", "run"]

"""Scan of slides, block by block, and counters of their pixel pairs."""

"""Scan of slides, block by block, and what is counted of their pixel pairs on the way."""

"""Sums and histograms of pixels; those of tiles are pooled with ``+``."""

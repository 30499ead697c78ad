"""Sums and histograms of pixels, of which parts are pooled with ``+``."""

"""Dock widget "ROI correlation"."""

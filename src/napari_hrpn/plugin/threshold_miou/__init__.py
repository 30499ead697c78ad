"""Dock widget "Threshold MIoU"."""

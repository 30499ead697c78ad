"""Slides written as OME-Zarr and OME-TIFF, block by block, whole or not at all."""

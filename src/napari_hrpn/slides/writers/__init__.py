"""Writers of OME-Zarr and OME-TIFF, block by block; an output is complete or absent."""

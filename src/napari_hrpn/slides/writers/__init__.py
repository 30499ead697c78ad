"""Writers of OME-Zarr and OME-TIFF, block by block, and of GeoJSON; an output is complete or absent."""

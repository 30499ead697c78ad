"""Statistics of pixels, of patches and of tumours."""

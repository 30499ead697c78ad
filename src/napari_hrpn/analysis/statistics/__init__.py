"""Statistics of counted pixels, of patches and of tumours."""

"""Everything that knows napari or Qt; the rest of the package does not."""

"""Everything that knows napari or Qt; the rest of the package does not.

A folder for each widget, `layers` and `forms` for what they share; the other modules are what `napari.yaml` names.
"""

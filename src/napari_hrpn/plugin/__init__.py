"""Everything that knows napari or Qt; the rest of the package does not.

A folder for each dock widget, which uses `parts`, which use `viewer`, which uses `background`; the other modules are
what `napari.yaml` names.
"""

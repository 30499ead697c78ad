"""The napari plugin; nothing else in the package imports napari or Qt.

A folder for each dock widget, which uses `parts`, which use `viewer`, which uses `background`; the other modules are
what `napari.yaml` names.
"""

"""napari plugin: reader, writer, samples and dock widgets; only this folder imports napari and Qt.

A folder for each dock widget, which uses `parts`, which use `viewer`, which uses `background`; the other modules are
what `napari.yaml` names.
"""

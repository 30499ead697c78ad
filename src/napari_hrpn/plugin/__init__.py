"""napari plugin: reader, writer, samples and dock widgets; only this folder imports napari and Qt.

Each dock widget has a folder, which uses `parts`, which use `viewer`, which uses `background`; `napari.yaml` refers to
the other modules.
"""

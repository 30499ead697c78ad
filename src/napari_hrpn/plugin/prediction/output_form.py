"""Where predictions go: beside the slide if that folder can be written, else among the user's documents."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QWidget
from superqt import QElidingLabel

from napari_hrpn.plugin.forms.folders import folder_beside
from napari_hrpn.plugin.forms.form_rows import browse_button
from napari_hrpn.plugin.layers import slide_title

if TYPE_CHECKING:
    from napari_hrpn.slides import Slide

NOT_IN_FILE_NAMES = r'[<>:"/\\|?*\x00-\x1f]'


def store_name(slide: Slide) -> str:
    """Name of the folder that holds the prediction of a slide.

    Parameters
    ----------
    slide : Slide
        The slide.

    Returns
    -------
    str
        Another one for each image, plane and point in time of a file.
    """
    places = (("series", slide.series or None), ("z", slide.z), ("t", slide.t))
    which = "".join(f"-{name}{index}" for name, index in places if index is not None)
    title = re.sub(NOT_IN_FILE_NAMES, "_", slide_title(slide))
    return f"{title}{which}.predicted.ome.zarr"


def default_folder(slide: Slide | None) -> Path:
    """Folder for predictions where the user has chosen none.

    Parameters
    ----------
    slide : Slide or None
        What is predicted.

    Returns
    -------
    pathlib.Path
        One that can be written.
    """
    return folder_beside(None if slide is None else slide.source)


class OutputForm(QWidget):
    """Shows the output folder and lets the user choose another."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._chosen: Path | None = None
        self._slide: Slide | None = None
        self._label = QElidingLabel()
        self._label.setElideMode(Qt.TextElideMode.ElideMiddle)
        self._button = browse_button("Choose another folder for predictions")
        self._button.clicked.connect(self._ask)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._label, 1)
        row.addWidget(self._button)
        self._show()

    @property
    def folder(self) -> Path:
        """Where predictions go."""
        return self._chosen or default_folder(self._slide)

    def set_slide(self, slide: Slide | None) -> None:
        """Follow the slide, as long as the user has chosen no folder.

        Parameters
        ----------
        slide : Slide or None
            What is going to be predicted.
        """
        self._slide = slide
        self._show()

    def choose(self, folder: Path) -> None:
        """Use a folder for this and all other slides.

        Parameters
        ----------
        folder : pathlib.Path
            The folder.
        """
        self._chosen = folder
        self._show()
        self.changed.emit()

    def _ask(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for predictions", str(self.folder))
        if folder:
            self.choose(Path(folder))

    def _show(self) -> None:
        folder = str(self.folder)
        if folder != self._label.text():
            self._label.setText(folder)
            self.setToolTip(f"Predictions are written to\n{folder}")

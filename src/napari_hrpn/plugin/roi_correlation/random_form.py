"""Asks for random regions: how large, how many, from which seed, on how much tissue."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QHBoxLayout, QLabel, QPushButton, QSpinBox, QWidget

from napari_hrpn.analysis import RandomRois
from napari_hrpn.plugin.forms.form_rows import add_row, form_layout

PIXELS, MICROMETRES = "px", "µm"
LARGEST = 1_000_000
BOX_PX = 64
DEFAULTS = RandomRois()


class RandomForm(QWidget):
    """The settings of random regions.

    `asked` says that they are wanted.
    """

    asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._pixel_um: tuple[float, float] | None = None
        self._unit = PIXELS
        self.width_box = _size_box(DEFAULTS.width_px, "Width of each region; 960 px in the paper")
        self.height_box = _size_box(DEFAULTS.height_px, "Height of each region; 864 px in the paper")
        self.unit_box = QComboBox()
        self.number_box = QSpinBox()
        self.seed_box = QSpinBox()
        self.tissue_box = QSpinBox()
        self.add_button = QPushButton("Add random ROIs")
        self._lay_out()
        self.unit_box.currentTextChanged.connect(self._convert)
        self.add_button.clicked.connect(self.asked)

    def set_pixel_size(self, pixel_um: tuple[float, float] | None) -> None:
        """Offer µm where they are known.

        Parameters
        ----------
        pixel_um : tuple of float or None
            Height and width of a full-resolution pixel in µm.
        """
        if pixel_um is None:
            self.unit_box.setCurrentText(PIXELS)
        self._pixel_um = pixel_um
        self.unit_box.setEnabled(pixel_um is not None)

    def settings(self) -> RandomRois:
        """What is wanted.

        Returns
        -------
        RandomRois
            In pixels, a whole one at least.
        """
        down, across = self._per_unit(self._unit)
        return RandomRois(
            height_px=max(1, round(self.height_box.value() / down)),
            width_px=max(1, round(self.width_box.value() / across)),
            number=self.number_box.value(),
            seed=self.seed_box.value(),
            least_tissue=self.tissue_box.value() / 100,
        )

    def _lay_out(self) -> None:
        self.unit_box.addItems([PIXELS, MICROMETRES])
        self.unit_box.setToolTip("Unit of width and height; µm where the slide says how large its pixels are")
        self.unit_box.setEnabled(False)
        self.number_box.setRange(1, 1000)
        self.number_box.setValue(DEFAULTS.number)
        self.number_box.setToolTip("How many regions to add")
        self.seed_box.setRange(0, 999_999)
        self.seed_box.setToolTip("Start of the random numbers: the same seed gives the same places")
        self.tissue_box.setRange(0, 100)
        self.tissue_box.setSuffix(" %")
        self.tissue_box.setValue(round(100 * DEFAULTS.least_tissue))
        self.tissue_box.setToolTip(
            "Share of each region that is tissue at least; 0 % for anywhere on the slide, whatever is there"
        )
        self.add_button.setToolTip(
            "Add rectangles at random places on the tissue, that do not overlap where that is possible"
        )
        form = form_layout(self)
        self.unit_box.setMinimumContentsLength(2)
        for box in (self.width_box, self.height_box, self.number_box, self.seed_box, self.tissue_box):
            box.setMinimumWidth(BOX_PX)
        add_row(form, "Random", _row(self.width_box, "×", self.height_box, self.unit_box))
        add_row(form, "", _row(self.number_box, "ROIs, seed", self.seed_box))
        add_row(form, "", _row("tissue ≥", self.tissue_box, self.add_button))

    def _convert(self, unit: str) -> None:
        old, new = self._per_unit(self._unit), self._per_unit(unit)
        self._unit = unit
        for box, before, after in zip((self.height_box, self.width_box), old, new, strict=True):
            box.setDecimals(0 if unit == PIXELS else 1)
            box.setValue(box.value() / before * after)

    def _per_unit(self, unit: str) -> tuple[float, float]:
        """Units per pixel."""
        return (1.0, 1.0) if unit == PIXELS or self._pixel_um is None else self._pixel_um


def _size_box(value: float, tooltip: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setDecimals(0)
    box.setRange(1, LARGEST)
    box.setValue(value)
    box.setToolTip(tooltip)
    return box


def _row(*parts: QWidget | str) -> QWidget:
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        if isinstance(part, str):
            layout.addWidget(QLabel(part))
        else:
            layout.addWidget(part, 1)
    return row

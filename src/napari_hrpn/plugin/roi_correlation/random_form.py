"""Asks for random regions: how large, how many, from which seed, on how much tissue."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QHBoxLayout, QLabel, QPushButton, QSpinBox, QWidget

from napari_hrpn.analysis import RandomRois
from napari_hrpn.plugin.parts.form_rows import add_row, form_layout
from napari_hrpn.plugin.parts.messages import ToneLabel

_PIXELS, _MICROMETRES = "px", "µm"
_LARGEST = 1_000_000
_BOX_PX = 64
_DEFAULTS = RandomRois()


class RandomForm(QWidget):
    """The settings of random regions.

    `asked` says that they are wanted.
    """

    asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._pixel_um: tuple[float, float] | None = None
        self._unit = _PIXELS
        self.width_box = _size_box(_DEFAULTS.width_px, "Width of each region; 960 px in the paper")
        self.height_box = _size_box(_DEFAULTS.height_px, "Height of each region; 864 px in the paper")
        self.unit_box = QComboBox()
        self.number_box = QSpinBox()
        self.seed_box = QSpinBox()
        self.tissue_box = QSpinBox()
        self.add_button = QPushButton("Add random ROIs")
        self.note_label = ToneLabel()
        self._proposed = _DEFAULTS.height_px, _DEFAULTS.width_px
        self._lay_out()
        self.unit_box.currentTextChanged.connect(self._convert)
        self.add_button.clicked.connect(self.asked)

    def set_pixel_size(self, pixel_um: tuple[float, float] | None) -> None:
        """Offer µm where they are known."""
        if pixel_um is None:
            self.unit_box.setCurrentText(_PIXELS)
        self._pixel_um = pixel_um
        self.unit_box.setEnabled(pixel_um is not None)

    def set_shape(self, shape: tuple[int, int] | None) -> None:
        """Offer what fits on a slide, unless the user has asked for a size."""
        if shape is None or self._size() != self._proposed:
            return
        self._proposed = fitting_size(shape)
        for box, pixels, per_pixel in zip(
            (self.height_box, self.width_box), self._proposed, self._per_unit(self._unit), strict=True
        ):
            box.setValue(pixels * per_pixel)
        height, width = self._proposed
        is_smaller = (height, width) != (_DEFAULTS.height_px, _DEFAULTS.width_px)
        self.note_label.say(
            f"The paper's {_DEFAULTS.width_px} x {_DEFAULTS.height_px} px do not fit on this slide of {shape[1]} x "
            f"{shape[0]} px: {width} x {height} px do, several times."
            if is_smaller
            else ""
        )

    def settings(self) -> RandomRois:
        """What is wanted."""
        height_px, width_px = self._size()
        return RandomRois(
            height_px=height_px,
            width_px=width_px,
            number=self.number_box.value(),
            seed=self.seed_box.value(),
            least_tissue=self.tissue_box.value() / 100,
        )

    def _size(self) -> tuple[int, int]:
        down, across = self._per_unit(self._unit)
        return max(1, round(self.height_box.value() / down)), max(1, round(self.width_box.value() / across))

    def _lay_out(self) -> None:
        self.unit_box.addItems([_PIXELS, _MICROMETRES])
        self.unit_box.setToolTip("Unit of width and height; µm where the slide says how large its pixels are")
        self.unit_box.setEnabled(False)
        self.number_box.setRange(1, 1000)
        self.number_box.setValue(_DEFAULTS.number)
        self.number_box.setSuffix(" ROIs")
        self.number_box.setToolTip("How many regions to add")
        self.seed_box.setRange(0, 999_999)
        self.seed_box.setPrefix("seed ")
        self.seed_box.setToolTip("Start of the random numbers: the same seed gives the same places")
        self.tissue_box.setRange(0, 100)
        self.tissue_box.setPrefix("≥ ")
        self.tissue_box.setSuffix(" % tissue")
        self.tissue_box.setValue(round(100 * _DEFAULTS.least_tissue))
        self.tissue_box.setToolTip(
            "Share of each region that is tissue at least; 0 % for anywhere on the slide, whatever is there"
        )
        self.add_button.setToolTip(
            "Add rectangles at random places on the tissue, that do not overlap where that is possible"
        )
        form = form_layout(self)
        self.unit_box.setMinimumContentsLength(2)
        for box in (self.width_box, self.height_box, self.number_box, self.seed_box, self.tissue_box):
            box.setMinimumWidth(_BOX_PX)
        add_row(form, "Random", _row(self.width_box, "×", self.height_box, self.unit_box))
        form.addRow(_row(self.number_box, self.seed_box, self.tissue_box))
        form.addRow(self.add_button)
        form.addRow(self.note_label)

    def _convert(self, unit: str) -> None:
        old, new = self._per_unit(self._unit), self._per_unit(unit)
        self._unit = unit
        for box, before, after in zip((self.height_box, self.width_box), old, new, strict=True):
            box.setDecimals(0 if unit == _PIXELS else 1)
            box.setValue(box.value() / before * after)

    def _per_unit(self, unit: str) -> tuple[float, float]:
        """Units per pixel."""
        return (1.0, 1.0) if unit == _PIXELS or self._pixel_um is None else self._pixel_um


def fitting_size(shape: tuple[int, int]) -> tuple[int, int]:
    """Size of a random region for a slide."""
    paper = _DEFAULTS.height_px, _DEFAULTS.width_px
    if all(own <= whole for own, whole in zip(paper, shape, strict=True)):
        return paper
    factor = min(whole / 2 / own for own, whole in zip(paper, shape, strict=True))
    height, width = (max(1, int(own * factor)) for own in paper)
    return height, width


def _size_box(value: float, tooltip: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setDecimals(0)
    box.setRange(1, _LARGEST)
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

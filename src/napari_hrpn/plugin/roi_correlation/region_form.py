"""Form for regions of interest: their layer, and buttons to draw, import, restore or randomly place regions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, FloatSpinBox, Label, PushButton
from napari.layers import Labels, Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_hrpn.analysis import RandomRois
from napari_hrpn.plugin.parts.forms import combo_box, field_row, offer, titled_rows
from napari_hrpn.plugin.parts.messages import TEXT, ToneLabel
from napari_hrpn.plugin.viewer import KEY
from napari_hrpn.plugin.viewer.layer_watcher import RegionLayers

if TYPE_CHECKING:
    from pathlib import Path

    import napari

    from napari_hrpn.slides import Slide

ALL = "all"
_NOTHING_CHOSEN = "– draw, import or choose –"
_LAYER_TIP = "Layer whose shapes or labels are the regions: rectangles, ellipses, polygons; one region for each label"
_PIXELS, _MICROMETRES = "px", "µm"
_LARGEST = 1_000_000
_BOX_PX = 64
_DEFAULTS = RandomRois()


class RoiForm(QWidget):
    """Form for the layer of the regions; `changed` is emitted when another one is chosen."""

    changed = Signal()

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.region_layers = RegionLayers(viewer)
        self.layer_box = combo_box(_LAYER_TIP)
        self.draw_button = PushButton(text="Draw", tooltip="Draw a rectangle in the chosen layer, or in a new one")
        self.import_button = PushButton(
            text="Import…", tooltip="Import regions from GeoJSON, as QuPath exports it, into a new layer"
        )
        self.restore_button = PushButton(text="Restore", visible=False)
        self.autosaved: Path | None = None
        self.autosaved_button = PushButton(text="Autosaved", visible=False)
        self.random_form = _RandomForm()
        self.note_label = ToneLabel(TEXT)
        buttons = self.draw_button, self.import_button, self.restore_button, self.autosaved_button
        row = field_row("", [self.layer_box, *buttons])
        row.native.setToolTip(_LAYER_TIP)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (titled_rows({"ROIs": row}), self.random_form, self.note_label):
            layout.addWidget(widget)
        self.region_layers.listed.connect(self.refresh)
        self.layer_box.changed.connect(lambda _: self.changed.emit())
        self.refresh()

    @property
    def value(self) -> Shapes | Labels | str | None:
        """The chosen layer, or `ALL`."""
        chosen: Shapes | Labels | str | None = self.layer_box.value
        return chosen

    @property
    def is_settled(self) -> bool:
        """Whether all layers with regions are offered."""
        return self.region_layers.is_settled

    @property
    def layer(self) -> Shapes | Labels | None:
        """The layer for new regions: the chosen one, or the newest Shapes layer if all are chosen."""
        if not isinstance(self.value, str):
            return self.value
        return next((layer for layer in reversed(self.layers) if isinstance(layer, Shapes)), None)

    @property
    def layers(self) -> list[Shapes | Labels]:
        """All layers whose regions count."""
        if isinstance(self.value, str):
            return self._drawn()
        return [] if self.value is None else [self.value]

    def refresh(self) -> None:
        """Offer the current layers; if none is chosen, choose the newest Shapes layer."""
        before = self.value
        layers = sorted(self.region_layers.choices(), key=lambda choice: isinstance(choice[1], Labels))
        drawn = len(self._drawn())
        all_layers = [(f"All {drawn} layers of regions", ALL)] if drawn > 1 else []
        choices: list[tuple[str, Any]] = [(_NOTHING_CHOSEN, None), *layers, *all_layers]
        shapes = [layer for _, layer in layers if isinstance(layer, Shapes)]
        is_there = before is not None and any(value is before for _, value in choices)
        offer(self.layer_box, choices, before if is_there else shapes[-1] if shapes else None)
        if self.value is not before:
            self.changed.emit()

    def choose(self, layer: Shapes | Labels) -> None:
        """Choose a layer of the viewer."""
        self.refresh()
        self.layer_box.value = layer

    def offer_restore(self, count: int) -> None:
        """Show the button that restores deleted regions, if there are any."""
        self.restore_button.visible = count > 0
        self.restore_button.tooltip = f"Restore the {'region' if count == 1 else f'{count} regions'} deleted last"

    def offer_autosaved(self, path: Path | None) -> None:
        """Show the button that imports the regions of an earlier session, if there are any."""
        self.autosaved, self.autosaved_button.visible = path, path is not None
        if path is not None:
            self.autosaved_button.tooltip = f"Import the regions of an earlier session of this slide:\n{path}"

    def shut_down(self) -> None:
        """Disconnect from the viewer."""
        self.region_layers.stop()

    def _drawn(self) -> list[Shapes | Labels]:
        """Layers of regions; layers with our metadata, such as vessels or tissue, are results."""
        return [layer for _, layer in self.region_layers.choices() if KEY not in layer.metadata]


class _RandomForm(QWidget):
    """Form for random regions: size, number, seed and minimum share of tissue."""

    def __init__(self) -> None:
        super().__init__()
        self._pixel_um: tuple[float, float] | None = None
        self._unit = _PIXELS
        self._proposed = _DEFAULTS.height_px, _DEFAULTS.width_px
        self.width_box = _number_box(_DEFAULTS.width_px, 1, _LARGEST, "Width of each region; 960 px in the paper")
        self.height_box = _number_box(_DEFAULTS.height_px, 1, _LARGEST, "Height of each region; 864 px in the paper")
        self.unit_box = ComboBox(
            value=_PIXELS,
            choices=[_PIXELS, _MICROMETRES],
            tooltip="Unit of width and height; µm if the slide has a pixel size",
            enabled=False,
        )
        self.number_box = _number_box(_DEFAULTS.number, 1, 1000, "How many regions to add", suffix=" ROIs")
        seed_tip = "Start of the random numbers: the same seed gives the same regions"
        self.seed_box = _number_box(_DEFAULTS.seed, 0, 999_999, seed_tip, prefix="seed ")
        tissue_tip = "Minimum share of tissue in each region; 0 % for anywhere on the slide"
        least_percent = round(100 * _DEFAULTS.least_tissue)
        self.tissue_box = _number_box(least_percent, 0, 100, tissue_tip, prefix="≥ ", suffix=" % tissue")
        self.add_button = PushButton(
            text="Add random ROIs",
            tooltip="Add rectangles at random places on the tissue, without overlap if possible",
        )
        self.note_label = ToneLabel()
        self._lay_out()
        self.unit_box.changed.connect(self._convert)

    def use_slide(self, slide: Slide | None) -> None:
        """Offer µm if the slide has a pixel size, and propose a size that fits, unless the user has chosen one."""
        pixel_um = None if slide is None else slide.pixel_size_um
        if pixel_um is None:
            # this converts the numbers with the former pixel size, before it is replaced below
            self.unit_box.value = _PIXELS
        self._pixel_um = pixel_um
        self.unit_box.enabled = pixel_um is not None
        if slide is None or self._size() != self._proposed:
            return
        self._proposed = height, width = fitting_size(slide.shape)
        down, across = self._per_unit(self._unit)
        self.height_box.value, self.width_box.value = height * down, width * across
        paper = _DEFAULTS.height_px, _DEFAULTS.width_px
        self.note_label.say(
            f"Regions of {paper[1]} x {paper[0]} px, as in the paper, do not fit on this slide of {slide.shape[1]} x "
            f"{slide.shape[0]} px: several of {width} x {height} px do."
            if (height, width) != paper
            else ""
        )

    def settings(self) -> RandomRois:
        """Settings of the random regions."""
        number, seed, percent = (int(box.value) for box in (self.number_box, self.seed_box, self.tissue_box))
        return RandomRois(*self._size(), number, seed, percent / 100)

    def _size(self) -> tuple[int, int]:
        down, across = self._per_unit(self._unit)
        return max(1, round(self.height_box.value / down)), max(1, round(self.width_box.value / across))

    def _lay_out(self) -> None:
        size = field_row("", [self.width_box, Label(value="×"), self.height_box, self.unit_box])
        numbers = field_row("", [self.number_box, self.seed_box, self.tissue_box])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (titled_rows({"Random": size}), numbers.native, self.add_button.native, self.note_label):
            layout.addWidget(widget)

    def _convert(self, unit: str) -> None:
        before, after = self._per_unit(self._unit), self._per_unit(unit)
        self._unit = unit
        for box, old, new in zip((self.height_box, self.width_box), before, after, strict=True):
            box.native.setDecimals(0 if unit == _PIXELS else 1)
            box.value = box.value / old * new

    def _per_unit(self, unit: str) -> tuple[float, float]:
        """Units per pixel, along y and x."""
        return (1.0, 1.0) if unit == _PIXELS or self._pixel_um is None else self._pixel_um


def fitting_size(shape: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a random region for a slide: the paper's, or smaller if they do not fit."""
    paper = _DEFAULTS.height_px, _DEFAULTS.width_px
    if all(side <= whole for side, whole in zip(paper, shape, strict=True)):
        return paper
    factor = min(whole / 2 / side for side, whole in zip(paper, shape, strict=True))
    height, width = (max(1, int(side * factor)) for side in paper)
    return height, width


def _number_box(value: int, least: int, most: int, tooltip: str, *, prefix: str = "", suffix: str = "") -> FloatSpinBox:
    box = FloatSpinBox(value=value, min=least, max=most, step=1, tooltip=tooltip)
    box.native.setDecimals(0)
    box.native.setPrefix(prefix)
    box.native.setSuffix(suffix)
    # a box as wide as its largest number would make the dock wider
    box.min_width = _BOX_PX
    return box

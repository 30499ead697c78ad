"""Row of the table of slides: tumour, part, channels and regions of one slide."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QFocusEvent, QPaintEvent, QWheelEvent
from qtpy.QtWidgets import QComboBox, QFileDialog, QSizePolicy, QTableWidgetItem

from napari_hrpn.plugin.parts.forms import paint_elided
from napari_hrpn.plugin.parts.messages import WARNING_MARK
from napari_hrpn.plugin.parts.quality_check import findings_tooltip, warnings_of
from napari_hrpn.plugin.viewer import slide_label, slide_title
from napari_hrpn.slides import SlideError, find_channel, guess_roles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer

    from napari_hrpn.analysis import Finding
    from napari_hrpn.plugin.train.slide_reading import Opened
    from napari_hrpn.slides import Slide
    from napari_hrpn.training import SlideEntry
    from napari_hrpn.training.entries import Part

EVERYWHERE, FROM_FILE = "everywhere", "from file"
_PARTS: tuple[tuple[str, Part], ...] = (
    ("automatic", "auto"),
    ("train", "train"),
    ("validation", "validation"),
    ("test", "test"),
)
_NO_CHANNEL = "–"
_COUNTING, _UNKNOWN = "…", "–"
_REGION_FILES = "Regions (*.geojson *.json *.tif *.tiff *.png *.npy);;All files (*)"
_SHORTEST_CONTENTS = 4
_ARROW_PX, _MARGIN_PX, _SCROLL_BAR_PX = 16, 4, 24
# as flat as the cells beside it, so that the selected row is seen through it; not the list that it opens
_CELL_STYLE = f"""
CellBox {{ background: transparent; border: none; padding: 0px {_MARGIN_PX}px; }}
CellBox::drop-down {{ width: {_ARROW_PX}px; background: transparent; }}
CellBox::down-arrow {{ width: 8px; height: 8px; }}
"""


class CellBox(QComboBox):
    """A drop-down list of named values in a cell; the wheel scrolls the table past it.

    `changed` says that another value was chosen, by the user or because the former one is gone, `focused` that the
    list has the keyboard.
    """

    changed = Signal()
    focused = Signal()

    def __init__(self, tooltip: str) -> None:
        super().__init__()
        self._values: list[Any] = []
        self.setToolTip(tooltip)
        # long names must not make the dock wider: they are elided, and shown in full in the open list
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(_SHORTEST_CONTENTS)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setStyleSheet(_CELL_STYLE)
        self.currentIndexChanged.connect(lambda _: self.changed.emit())

    @property
    def value(self) -> Any:  # noqa: ANN401 (of any kind)
        """What is chosen; None where there is nothing to choose from."""
        index = self.currentIndex()
        return self._values[index] if 0 <= index < len(self._values) else None

    def choose(self, value: object) -> None:
        """Choose a value, if it is in the list."""
        if value in self._values:
            self.setCurrentIndex(self._values.index(value))

    def offer(self, choices: Sequence[tuple[str, Any]], value: object) -> None:
        """Change the list, and choose a value in it, or the first one."""
        before = self.value
        was_blocked = self.blockSignals(True)
        self.clear()
        self._values = [value for _, value in choices]
        self.addItems([title for title, _ in choices])
        self.choose(value)
        self.blockSignals(was_blocked)
        opened = self.view()
        if opened is not None:
            opened.setMinimumWidth(opened.sizeHintForColumn(0) + _SCROLL_BAR_PX)
        if self.value is not before:
            self.changed.emit()

    @property
    def wanted_width(self) -> int:
        """Width in pixels in which what is chosen is not cut."""
        return int(self.fontMetrics().horizontalAdvance(self.currentText()) + _ARROW_PX + 4 * _MARGIN_PX)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: ARG002, N802
        """Shorten a text that is too long in the middle, where Qt cuts it off."""
        paint_elided(self, _ARROW_PX + 3 * _MARGIN_PX)

    def wheelEvent(self, event: QWheelEvent | None) -> None:  # noqa: N802
        """Leave the wheel to the table: nobody wants to change what he scrolls past."""
        if event is not None:
            event.ignore()

    def focusInEvent(self, event: QFocusEvent | None) -> None:  # noqa: N802
        """Emit that the list has the keyboard."""
        super().focusInEvent(event)
        self.focused.emit()


class TrainingRow(QObject):
    """The cells of a slide and what they say.

    `changed` says that the slide's entry is another one now.
    """

    changed = Signal()

    def __init__(self, opened: Opened) -> None:
        super().__init__()
        self.slide = slide = opened.slide
        self.title = slide_title(slide)
        self._start, self._is_loaded = opened.entry, opened.is_loaded
        self._files = [] if self._start.regions is None else [self._start.regions]
        self._channels: dict[str, int | None] = {}
        self.regions: Any = self._files[0] if self._files else EVERYWHERE
        self._label, self._facts = slide_label(slide), f"{slide.source}\n{_facts(slide)}"
        self.slide_item = _item(self._label, self._facts)
        self.tumour_item = _item("", "The tumour or animal it is from. Slides of one tumour stay together", edit=True)
        self.patches_item = _item("", "Patches that this slide gives with these settings")
        self.patches_item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.tumour_item.setText(self._start.tumour_id)
        self.part_box = CellBox("What the slide is for")
        self.part_box.offer(_PARTS, self._start.part)
        self.part_box.changed.connect(self.changed)
        self.regions_box = CellBox("Where the patches are taken from")
        self.regions_box.changed.connect(self._take_regions)
        self.offer_layers([])
        self.role_boxes: dict[str, CellBox] = {}

    def offer_layers(self, layers: Sequence[tuple[str, Any]]) -> None:
        """Offer layers with regions."""
        self._layers = list(layers)
        files = [(path.name, path) for path in self._files]
        choices = [("everywhere", EVERYWHERE), *layers, *files, ("from file …", FROM_FILE)]
        self.regions_box.offer(choices, self.regions)

    def make_role_boxes(self, roles: Sequence[str], target: str) -> dict[str, CellBox]:
        """New boxes for the channels, with the channel that was chosen before or that the name tells."""
        self.role_boxes = {}
        names = self.slide.channel_names
        for role in (*roles, target):
            box = CellBox(role_tooltip(role, target))
            self._channels.setdefault(role, self._first_channel(role))
            box.offer([(_NO_CHANNEL, None), *((name, index) for index, name in enumerate(names))], self._channels[role])
            box.changed.connect(self._take_channels)
            self.role_boxes[role] = box
        return self.role_boxes

    def entry(self) -> SlideEntry:
        """The slide as a user names it for training; of the regions only those in a file."""
        start = self._start
        text = self.tumour_item.text().strip()
        return replace(
            start,
            tumour=start.tumour if text in ("", start.tumour_id) else text,
            part=self.part_box.value,
            roles=self._named_channels(),
            regions=self.regions if isinstance(self.regions, Path) else None,
        )

    def expect_patches(self) -> None:
        """Show that patches are to be counted again."""
        self.patches_item.setText(_COUNTING)

    def show_patches(self, count: int | None) -> None:
        """Show how many patches there are."""
        self.patches_item.setText(_UNKNOWN if count is None else f"{count:,}")

    def channels(self) -> dict[str, int]:
        """Channels by role, as far as they are chosen."""
        return {role: index for role in self.role_boxes if (index := self._channels[role]) is not None}

    def show_findings(self, findings: Sequence[Finding]) -> None:
        """Mark a slide whose imaging may spoil a prediction, and say in its tooltip why."""
        self.slide_item.setText(f"{WARNING_MARK} {self._label}" if warnings_of(findings) else self._label)
        self.slide_item.setToolTip("\n".join([self._facts, *findings_tooltip(findings)]))

    def choose_regions(self, value: Layer | Path | str) -> None:
        """Choose where patches are taken from."""
        if isinstance(value, Path) and value not in self._files:
            self._files.append(value)
            self.offer_layers(self._layers)
        self.regions_box.choose(value)

    def _first_channel(self, role: str) -> int | None:
        given = self._start.roles.get(role)
        return self._guess(role) if given is None else self._index(given)

    def _guess(self, role: str) -> int | None:
        names = self.slide.channel_names
        index: int | None = getattr(guess_roles(names), role, None)
        like = (index for index, name in enumerate(names) if role.casefold() in name.casefold())
        return next(like, None) if index is None else index

    def _index(self, given: int | str) -> int | None:
        if isinstance(given, int):
            return given if given in range(len(self.slide.channel_names)) else None
        try:
            return find_channel(self.slide, given)
        except SlideError:
            return None

    def _named_channels(self) -> dict[str, int | str]:
        from napari_hrpn.training import TrainingError

        chosen = {role: self._channels[role] for role in self.role_boxes}
        for role, index in chosen.items():
            if index is None:
                msg = f"{self.title} has no channel chosen for the {role}: choose it, or remove the slide."
                raise TrainingError(msg)
        if len(set(chosen.values())) < len(chosen):
            msg = f"{self.title} has one channel for two of {', '.join(chosen)}: choose a different one for each."
            raise TrainingError(msg)
        named = {role: self._name(role, index) for role, index in chosen.items() if index is not None}
        return {role: name for role, name in named.items() if name is not None}

    def _name(self, role: str, index: int) -> int | str | None:
        """What to call a channel: as it was loaded, which may be not at all, else by its name if no other has it."""
        if self._is_loaded:
            given = self._start.roles.get(role)
            if (self._guess(role) if given is None else self._index(given)) == index:
                return given
        name = self.slide.channel_names[index]
        return name if self._index(name) == index else index

    def _take_channels(self) -> None:
        self._channels |= {role: box.value for role, box in self.role_boxes.items()}
        self.changed.emit()

    def _take_regions(self) -> None:
        if self.regions_box.value == FROM_FILE:
            folder = str(self.slide.source.parent)
            name, _ = QFileDialog.getOpenFileName(self.regions_box, f"Regions of {self.title}", folder, _REGION_FILES)
            self.choose_regions(Path(name) if name else self.regions)
        elif self.regions_box.value is not self.regions:
            self.regions = self.regions_box.value
            self.changed.emit()


def role_tooltip(role: str, target: str) -> str:
    """What a column of channels is about."""
    examples = {"nuclei": ", such as DAPI or Hoechst", "vessels": ", such as CD31 or endomucin"}
    what = "real nanoprobe" if role == "probe" else role
    use = "the network learns to predict it" if role == target else "an input of the network"
    return f"Channel that shows the {what}{examples.get(role, '')}: {use}"


def _item(text: str, tooltip: str, *, edit: bool = False) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    item.setToolTip(tooltip)
    if not edit:
        item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
    return item


def _facts(slide: Slide) -> str:
    height, width = slide.shape
    size = "" if slide.pixel_size_um is None else f" of {slide.pixel_size_um[0]:.3g} µm"
    return f"{width} x {height} px{size}, {slide.dtype}: {', '.join(slide.channel_names)}"

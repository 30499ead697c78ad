"""Form made from a settings class: a row for each option, with its title, tooltip, range and unit.

form = OptionsForm(VesselSettings, ["threshold", "smallest_um2"])
layout.addWidget(form.native)
form.changed.connect(measure_again)
form.fields["threshold"].value = 20
settings = form.value
"""

from __future__ import annotations

import math
import textwrap
from contextlib import ExitStack
from dataclasses import replace
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from magicgui import use_app
from magicgui.backends._qtpy.widgets import QBaseRangedWidget
from magicgui.widgets import CheckBox, ComboBox, Container, LineEdit
from magicgui.widgets.bases import RangedWidget
from qtpy.QtCore import QSignalBlocker
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import QDoubleSpinBox, QSizePolicy

from napari_hrpn.core.options import Option, options
from napari_hrpn.plugin.parts.forms import Fold, align_titles, combo_box, field_row

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from magicgui.widgets import Widget
    from magicgui.widgets.bases import ValueWidget

    from napari_hrpn.inference import Device

_Settings: TypeAlias = Any
_Value: TypeAlias = Any
_TOOLTIP_LETTERS = 90
_LARGEST = 2**53
_DECIMALS = 15
_GIGABYTE = 1e9


class OptionsForm(Container):
    """Form for some fields of a settings class; the other fields keep their values.

    `fields` has the widgets by name; `changed` is emitted once, whether a field changes or `value` is set.
    """

    def __init__(
        self,
        settings: type,
        names: Iterable[str],
        advanced: Iterable[str] = (),
        *,
        choices: Iterable[str] = (),
        buttons: Mapping[str, Widget] | None = None,
    ) -> None:
        known, with_choices, beside = options(settings), set(choices), buttons or {}
        rows, folded = (
            {name: option_field(known[name], has_choices=name in with_choices) for name in part}
            for part in (names, advanced)
        )
        super().__init__(
            widgets=[
                field_row(known[name].title, [field, beside[name]]) if name in beside else field
                for name, field in rows.items()
            ]
        )
        self.fields: dict[str, ValueWidget] = {**rows, **folded}
        self._base = settings()
        self._advanced = Container(widgets=list(folded.values()))
        self._advanced.changed.connect(lambda: self.changed.emit(self))
        for container in (self, self._advanced):
            align_titles(container)
        self.fold = Fold("Advanced", self._advanced.native)
        self.fold.setVisible(bool(folded))
        self.native.layout().addWidget(self.fold)
        self.value = self._base

    @property
    def value(self) -> _Settings:
        """The settings as the form shows them."""
        return replace(self._base, **{name: widget.value for name, widget in self.fields.items()})

    @value.setter
    def value(self, settings: _Settings) -> None:
        """Show settings."""
        self.show_options(settings)

    def show_options(self, settings: _Settings, keep: Collection[str] = ()) -> None:
        """Show settings, except in the fields of `keep`."""
        with self.changed.blocked():
            self._fill(settings, keep)
        self.changed.emit(self)

    def _fill(self, settings: _Settings, keep: Collection[str]) -> None:
        self._base = settings
        with ExitStack() as stack:
            for widget in self.fields.values():
                stack.enter_context(widget.changed.blocked())
            for name, widget in self.fields.items():
                value = getattr(settings, name)
                if name not in keep and (not isinstance(widget, ComboBox) or value in widget.choices):
                    widget.value = value


def option_field(option: Option, *, has_choices: bool = False) -> ValueWidget:
    """Make the field of an option; `has_choices` makes a list whose choices are offered later."""
    about = {"name": option.name, "label": option.title, "tooltip": textwrap.fill(option.help, _TOOLTIP_LETTERS)}
    widget: ValueWidget
    if option.choices or has_choices:
        widget = combo_box(about["tooltip"], [(title, word) for word, title in option.titles.items()], option.title)
        widget.name = option.name
    elif bool in option.types:
        widget = CheckBox(**about)
    elif option.is_number:
        widget = _NumberField(option, **about)
    else:
        widget = _TextField(option, **about)
    widget.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return widget


class _TextField(LineEdit):
    """Text, or words with commas between them; `changed` is emitted once the text is complete.

    An empty text is None, if that is allowed.
    """

    def __init__(self, option: Option, **about: str) -> None:
        self._is_list, self._is_optional = str not in option.types, NoneType in option.types
        super().__init__(**about)
        self.native.setPlaceholderText(option.automatic if self._is_optional else "")
        self.native.textChanged.disconnect()
        self.native.editingFinished.connect(lambda: self.changed.emit(self.value))

    def get_value(self) -> _Value:
        text = self.native.text()
        if self._is_list:
            return tuple(word for word in map(str.strip, text.split(",")) if word)
        return text or (None if self._is_optional else "")

    def set_value(self, value: _Value) -> None:
        self.native.setText(", ".join(value) if self._is_list else value or "")


class _NumberField(RangedWidget):
    """Number with its unit; one step below the smallest number, the box shows the word for None, if allowed."""

    def __init__(self, option: Option, **about: str) -> None:
        self._option, self._scale = option, 100 if option.is_share else 1
        self._exact: tuple[float, _Value] = (math.nan, None)
        self._is_optional = NoneType in option.types
        step = option.step or option.multiple
        least = max(option.minimum, option.above, -_LARGEST)
        if self._is_optional and least == option.minimum:
            least = 0 if least > 0 else least - step
        backend = _LogarithmicBackend if option.is_logarithmic else use_app().get_obj("FloatSpinBox")
        super().__init__(
            widget_type=backend,
            min=self._scale * least,
            max=self._scale * min(option.maximum, _LARGEST),
            step=self._scale * step,
            **about,
        )
        if not option.is_logarithmic:
            self.native.setDecimals(0 if int in option.types else max(1, math.ceil(-math.log10(self._scale * step))))
        unit = "%" if option.is_share else option.unit
        self.native.setSuffix(f" {unit}" if unit else "")
        self.native.setSpecialValueText(option.automatic if self._is_optional else "")

    def get_value(self) -> _Value:
        shown = self.native.value()
        if shown == self._exact[0]:
            return self._exact[1]
        if int in self._option.types:
            shown = round(shown / self._option.multiple) * self._option.multiple
        if self._is_optional and shown <= self.native.minimum():
            return None
        return round(shown / self._scale, 6) if self._option.is_share else shown

    def set_value(self, value: _Value) -> None:
        shown, before = self.native.minimum() if value is None else self._scale * value, self.native.value()
        with QSignalBlocker(self.native):
            self.native.setValue(shown)
        if self.native.minimum() <= shown <= self.native.maximum():
            # digits that the box does not show are kept until the user changes the number
            self._exact = self.native.value(), value
        if self.native.value() != before:
            self.native.valueChanged.emit(self.native.value())

    def _on_value_change(self, _: object = None) -> None:
        self.changed.emit(self.value)


class _ScientificBox(QDoubleSpinBox):
    """Box for numbers of any magnitude, such as a learning rate of 0.00001; its arrows double and halve the number."""

    def textFromValue(self, value: float) -> str:  # noqa: N802 (Qt's name)
        """Write a number in its shorter form."""
        return f"{value:.6g}"

    def valueFromText(self, text: str | None) -> float:  # noqa: N802 (Qt's name)
        """Read a typed number."""
        return _number(text)

    def validate(self, text: str | None, position: int) -> tuple[QValidator.State, str, int]:
        """Whether a text is a number in range, or may become one."""
        try:
            is_in_range = self.minimum() <= _number(text) <= self.maximum()
        except ValueError:
            return QValidator.State.Intermediate, text or "", position
        state = QValidator.State.Acceptable if is_in_range else QValidator.State.Intermediate
        return state, text or "", position

    def stepBy(self, steps: int) -> None:  # noqa: N802 (Qt's name)
        """Double, or halve."""
        self.setValue(self.value() * 2.0**steps)


def _number(text: str | None) -> float:
    return float((text or "").replace(",", "."))


class _LogarithmicBackend(QBaseRangedWidget):
    def __init__(self, **kwargs: object) -> None:
        super().__init__(_ScientificBox, **kwargs)
        self._qwidget.setDecimals(_DECIMALS)


def find_devices() -> tuple[Device, ...]:
    """Import slow packages and find the devices; not for the GUI thread."""
    import zarr

    from napari_hrpn.inference import list_devices

    # zarr's threads also serve the GUI thread and inherit a priority: a thread of low priority must not start them
    zarr.array(np.zeros(1))[:]
    return list_devices()


def device_choices(devices: tuple[Device, ...]) -> list[tuple[str, str]]:
    """Titles and names of the devices; the first choice is automatic. Devices with the same title show their names."""
    titles = [device.title for device in devices]
    names = [
        device.title if titles.count(device.title) == 1 else f"{device.title} ({device.name})" for device in devices
    ]
    best = f"Automatic: {titles[0]}" if devices else "Automatic"
    free = [f"{name}: {device.free_bytes / _GIGABYTE:.1f} GB free" for name, device in zip(names, devices, strict=True)]
    return [(best, "auto"), *((title, device.name) for title, device in zip(free, devices, strict=True))]

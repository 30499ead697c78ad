"""Form for the processor, progress panel and buttons of the widgets that predict and train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QLabel, QProgressBar, QPushButton, QVBoxLayout

from napari_hrpn.plugin.parts.activity import Activity
from napari_hrpn.plugin.parts.forms import offer
from napari_hrpn.plugin.parts.messages import MessagePanel, ToneLabel
from napari_hrpn.plugin.parts.options_form import OptionsForm, device_choices
from napari_hrpn.plugin.parts.preferences import preferred, preferred_device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from magicgui.widgets import Widget

    from napari_hrpn.inference import Device


class ProcessorForm(OptionsForm):
    """Options form with the field `device`, whose processors are searched for in the background."""

    def __init__(
        self,
        settings: type,
        names: Iterable[str],
        advanced: Iterable[str],
        *,
        choices: Iterable[str] = (),
        buttons: Mapping[str, Widget] | None = None,
    ) -> None:
        self._is_ready = False
        super().__init__(settings, names, advanced, choices=["device", *choices], buttons=buttons)
        offer(self.fields["device"], [("Looking for processors …", "auto")])
        if "memory_gb" in self.fields:
            self.fields["memory_gb"].value = preferred("memory_gb")
        self._device_label = ToneLabel()
        self.native.layout().addWidget(self._device_label)
        self.fields["device"].changed.connect(lambda _: self._device_label.say(""))

    def set_ready(self, devices: tuple[Device, ...]) -> None:
        """Fill in the processors; the first time, the preferred one is chosen if it is there."""
        is_first, self._is_ready = not self._is_ready, True
        offer(self.fields["device"], device_choices(devices))
        if is_first:
            self.fields["device"].value, problem = preferred_device(devices)
            self._device_label.warn([problem] if problem else ())

    def settings(self) -> Any:  # noqa: ANN401 (of the class that the form was made of)
        """The chosen settings; None until the processors are known."""
        return self.value if self._is_ready else None


class ProgressPanel(MessagePanel):
    """A bar, a line of numbers, and a message; bar and numbers take no space before a run.

    What the bar shows is shown in napari's activity dock too, until `clear` or `activity.end`.
    """

    def __init__(self, title: str, tooltip: str) -> None:
        super().__init__()
        self.title, self.activity = title, Activity(self)
        self.bar, self.numbers_label = QProgressBar(), QLabel()
        self.bar.setToolTip(tooltip)
        self.numbers_label.setWordWrap(True)
        self.rows = QVBoxLayout(self)
        self.rows.setContentsMargins(0, 0, 0, 0)
        for widget in (self.bar, self.numbers_label, self.message_label):
            self.rows.addWidget(widget)
        self.clear()

    def clear(self) -> None:
        """Show no progress."""
        self.activity.end()
        self.bar.setVisible(False)
        self.numbers_label.setVisible(False)

    def start(self) -> None:
        """Show that a run has begun whose progress is not known yet."""
        self.clear()
        self.bar.setRange(0, 0)
        self.bar.setVisible(True)
        self.activity.show(0, 0, self.title)

    def show_progress(self, done: int, total: int, words: str, numbers: str) -> None:
        """Show the progress of a run."""
        show_bar(self.bar, done, total, words)
        self.numbers_label.setText(numbers)
        self.numbers_label.setVisible(True)
        self.activity.show(done, max(1, total), f"{self.title}: {self.bar.text()}", numbers)


def show_bar(bar: QProgressBar, done: int, total: int, words: str) -> None:
    """Show a bar with words on it."""
    bar.setRange(0, max(1, total))
    bar.setValue(done)
    bar.setFormat(words)
    bar.setVisible(True)


def push_button(text: str, tooltip: str, act: Callable[[], object]) -> QPushButton:
    """Make a button that calls a method when it is pressed."""
    button = QPushButton(text)
    button.setToolTip(tooltip)
    # the bound method itself is connected: a lambda around it would keep its owner alive
    button.clicked.connect(act)
    return button

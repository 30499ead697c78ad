"""Fields of *Predict QD*: pixel size, checkpoint, and settings."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from magicgui.widgets import ComboBox, LineEdit, PushButton
from psygnal import Signal
from qtpy.QtWidgets import QFileDialog

from napari_hrpn.plugin.background import NewestTask, once
from napari_hrpn.plugin.parts.checkpoint_choices import CheckpointChoices, folder_of_recent
from napari_hrpn.plugin.parts.forms import align_titles, combo_box, field_row
from napari_hrpn.plugin.parts.messages import QUIET, ToneLabel, UserError, sentence_of
from napari_hrpn.plugin.parts.remembered import RememberedForm
from napari_hrpn.plugin.parts.runs import ProcessorForm
from napari_hrpn.plugin.predict.job import IN_SHAPES, IN_VIEW, read_checkpoint, read_study
from napari_hrpn.settings import PredictionSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_hrpn.models import Checkpoint
    from napari_hrpn.plugin.predict.job import ReadCheckpoint

_NUMBER = r"\d+(?:[.,]\d+)?|[.,]\d+"
_SIZES = re.compile(rf"\s*({_NUMBER})\s*(?:µm|um)?\s*(?:[x×]\s*({_NUMBER})\s*(?:µm|um)?\s*)?", re.IGNORECASE)
_REGIONS = [("Whole slide", "whole"), ("What is in view", IN_VIEW), ("Selected shapes", IN_SHAPES)]
_CHECKPOINT_TOOLTIP = "Trained network that predicts"
_HOW_TO_CHOOSE = (
    "Choose the network that predicts: your own, made by Train HRPN, or a bundled one, whose card says what it has "
    "seen."
)


class PixelSizeField(LineEdit):
    """Field for a pixel size: one number in µm, or two if height and width differ.

    `given` is emitted when the user enters another size.
    """

    given = Signal()

    def __init__(self) -> None:
        super().__init__(
            label="Pixel size",
            tooltip="Height and width of a pixel in µm, such as 0.325, or 0.5 x 0.25 where they differ.\n"
            "A size that you type here is used instead of that of the file",
        )
        self._shown: tuple[float, float] | None = None
        self.native.setPlaceholderText("not known: type it in µm")
        self.native.editingFinished.connect(self._note)

    def show_size(self, size_um: tuple[float, float] | None) -> None:
        """Show a size."""
        self._shown = size_um
        self.value = _words(size_um)

    def size_um(self) -> tuple[float, float] | None:
        """The size in the field."""
        # the shown text is rounded: as long as it is unchanged, the exact size counts
        if self.value == _words(self._shown):
            return self._shown
        if not self.value.strip():
            return None
        match = _SIZES.fullmatch(self.value)
        if match is None:
            raise UserError(
                f"The pixel size is {self.value!r}, expected one or two numbers in µm, such as 0.325 or 0.5 x 0.25."
            )
        height, width = (float(number.replace(",", ".")) for number in (match[1], match[2] or match[1]))
        return height, width

    def _note(self) -> None:
        if self.value != _words(self._shown):
            self.given.emit()


def _words(size_um: tuple[float, float] | None) -> str:
    if size_um is None:
        return ""
    height, width = size_um
    return f"{height:.6g} µm" if height == width else f"{height:.6g} x {width:.6g} µm"


class CheckpointField:
    """Field for a checkpoint, or several that are an ensemble; their cards are read in the background.

    `changed` is emitted when `chosen` changes, `refused` carries the sentence of an error.
    """

    changed = Signal()
    refused = Signal(str)

    def __init__(self) -> None:
        self._choices = CheckpointChoices()
        self._reading = NewestTask()
        self.chosen: ReadCheckpoint | None = None
        self.box = combo_box(_CHECKPOINT_TOOLTIP, title="Checkpoint")
        self._choices.offer(self.box, None)
        self.row = field_row("Checkpoint", [self.box, self._choices.button])
        self.others: tuple[str, ...] = ()
        self._study: tuple[Path, tuple[str, ...]] | None = None
        self.others_label = ToneLabel()
        self.ensemble_row = field_row("Ensemble", [self._button(*button) for button in self._buttons()])
        self.box.changed.connect(self.read)

    def use(self, path: str | Path) -> None:
        """Choose a checkpoint file, or read it again."""
        self._choices.offer(self.box, str(path))
        self.read()

    def suggest(self, name: str) -> None:
        """Choose a checkpoint if none is chosen."""
        if self.box.value is None:
            self.use(name)

    def read(self) -> None:
        """Read the card of the chosen checkpoint, if there is one."""
        self.chosen = None
        self._reading.abandon()
        self.changed.emit()
        if self.box.value is None:
            self.others_label.say(_HOW_TO_CHOOSE)
            return
        others = [other for other in self.others if other != self.box.value]
        names = self.box.value, *others
        # other checkpoints may have been added to those of the study
        study = self._study[0] if self._study is not None and self._study[1] == names else None
        self._reading.do(
            once(partial(read_checkpoint, study=study), *names),
            partial(self._take, is_study=study is not None),
            self._refuse,
        )

    def add(self, paths: Sequence[str]) -> None:
        """Add members of an ensemble; the first becomes the checkpoint if none is chosen."""
        if self.box.value is None:
            self._choices.offer(self.box, paths[0])
            paths = paths[1:]
        self._use_others((*self.others, *paths))

    def use_study(self, folder: Path) -> None:
        """Predict with the networks of the folds of a study."""
        self._reading.do(once(read_study, folder), partial(self._take_study, folder), self._refuse)

    def clear(self) -> None:
        """Predict with the one chosen checkpoint."""
        self._use_others(())

    def _buttons(self) -> Iterator[tuple[str, str, Callable[[], None]]]:
        """Titles, tooltips and functions of the buttons of the ensemble."""
        yield "Add …", "Predict with more checkpoints: their mean, and the standard deviation between them", self._ask
        yield "Study …", "Predict with the networks of all folds of a finished study", self._ask_for_study
        yield "Clear", "Predict with the one checkpoint above", self.clear

    @staticmethod
    def _button(text: str, tooltip: str, press: Callable[[], None]) -> PushButton:
        button = PushButton(text=text, tooltip=tooltip)
        button.changed.connect(press)
        return button

    def _use_others(self, others: Sequence[str]) -> None:
        self.others = tuple(dict.fromkeys(others))
        self.read()

    def _ask(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(
            self.box.native, "Checkpoints", folder_of_recent(), "Checkpoints (*.safetensors);;All files (*)"
        )
        if names:
            self.add(names)

    def _ask_for_study(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self.box.native, "Folder of a finished study"):
            self.use_study(Path(folder))

    def _take_study(self, folder: Path, paths: tuple[str, ...]) -> None:
        self._study = folder, paths
        self._choices.offer(self.box, paths[0])
        self._use_others(paths[1:])

    def abandon(self) -> None:
        """Stop reading before the widget is deleted."""
        self._reading.abandon()

    def _take(self, read: ReadCheckpoint, *, is_study: bool) -> None:
        self.chosen = read
        paths = "\n".join(map(str, (read.path, *read.others)))
        self.box.tooltip = f"{_CHECKPOINT_TOOLTIP}:\n{read.checkpoint.card.title}\n{paths}"
        if is_study and read.errors is None:
            from napari_hrpn.experiments import NO_ERROR_MODEL

            self.others_label.warn([NO_ERROR_MODEL])
        else:
            self.others_label.say(_words_of_sd(read), QUIET)
        self.changed.emit()

    def _refuse(self, error: BaseException) -> None:
        self.others_label.say("Clear takes the added checkpoints away." * bool(self.others))
        self.refused.emit(sentence_of(error))


def _words_of_sd(read: ReadCheckpoint) -> str:
    """Words on where the standard deviation comes from; empty if there is none."""
    count, between = len(read.members), "the standard deviation between them"
    mean = f"Mean of {count} checkpoints" if count > 1 else "One checkpoint"
    if read.errors is None:
        return f"{mean}, and {between}" * (count > 1)
    errors = f"the standard deviation of the errors on held-out tumours ({read.errors.tumours})"
    return f"{mean}, and {errors}{f', or {between} where it is larger' * (count > 1)}"


class SettingsForm(ProcessorForm):
    """Form for the region and the other fields of `PredictionSettings`."""

    def __init__(self) -> None:
        super().__init__(
            PredictionSettings,
            ["device", "resample", "unlike"],
            ["precision", "core", "halo", "memory_gb", "output"],
        )
        self._about: object = None
        self.region_box = ComboBox(
            label="Region",
            choices=_REGIONS,
            tooltip="Predict the whole slide, the tiles in view, or the tiles under the selected shapes\n"
            "(all shapes of the layer, if none is selected)",
        )
        self.insert(0, self.region_box)
        align_titles(self)
        self.fields["resample"].enabled = False
        self.offer_comparison(())
        self.fields["resample"].tooltip += "\nTicked automatically if the two differ by more than 5 %"
        self.warning_label = ToneLabel()
        self.native.layout().insertWidget(len(self), self.warning_label)
        self.remembered = RememberedForm(self, "Predict QD", ("precision", "core", "halo", "output"))

    def offer_comparison(self, members: Sequence[Checkpoint]) -> None:
        """Offer to show where the slide is unlike the training, if all networks have the features of theirs."""
        field = self.fields["unlike"]
        field.enabled = bool(members) and all(member.features is not None for member in members)
        field.value = field.value and field.enabled

    def offer_resampling(self, warnings: tuple[str, ...], *, can_resample: bool, about: object) -> None:
        """Warn if the pixel size differs from that of the training, and tick resampling once for each slide."""
        resample = self.fields["resample"]
        if (about, can_resample) != self._about:
            self._about = about, can_resample
            resample.value = can_resample
        resample.enabled = can_resample
        self.warning_label.warn(() if resample.value else warnings)

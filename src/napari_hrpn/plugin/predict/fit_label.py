"""Label that says how far the slide of the form is from those that the checkpoint was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_hrpn.core.errors import PredictionError
from napari_hrpn.plugin.background import NewestTask, once
from napari_hrpn.plugin.parts.messages import ToneLabel, sentence_of
from napari_hrpn.slides import SlideError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_hrpn.inference import Fit
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.plugin.predict.job import ReadCheckpoint
    from napari_hrpn.slides import Slide


class FitLabel(ToneLabel):
    """Compares slide and checkpoint in the background; nothing waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self._task = NewestTask()
        self._about: object = None

    def look_at(self, slide: Slide | None, read: ReadCheckpoint | None, roles: Mapping[str, int]) -> None:
        """Compare a slide with a checkpoint, unless this was done last."""
        is_known = slide is not None and read is not None and bool(read.checkpoint.card.input_quantiles)
        about = (slide, read.digest, tuple(roles.items())) if is_known and read is not None else None
        if about == self._about:
            return
        self._about = about
        self._task.abandon()
        self.say("")
        if slide is not None and read is not None and about is not None:
            self._task.do(once(_fit, slide, read.members, dict(roles)), self._show, self._fail)

    def abandon(self) -> None:
        """Stop comparing before the widget is deleted."""
        self._task.abandon()

    def _fail(self, error: BaseException) -> None:
        sentence_of(error)

    def _show(self, fit: Fit | None) -> None:
        if fit is None:
            return
        # it begins with the name of a file, which has no capital of its own
        if fit.level == "fits":
            self.say(fit.sentence, "quiet")
        else:
            self.warn([fit.sentence])


def _fit(slide: Slide, members: Sequence[Checkpoint], roles: Mapping[str, int]) -> Fit | None:
    """Fit of a slide; None if its channels are not known yet, or cannot be read, of which the form tells."""
    from napari_hrpn.inference import slide_fit

    try:
        return slide_fit(slide, members, {role: index for role, index in roles.items() if index is not None})
    except (PredictionError, SlideError):
        return None

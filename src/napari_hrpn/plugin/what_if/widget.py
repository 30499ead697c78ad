"""Dock widget "What if": what network and physics associate with one vessel of an open slide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import napari.viewer
import numpy as np
from napari.utils import Colormap
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_hrpn.core import Box, Progress, Stopped
from napari_hrpn.plugin.background import NewestTask, soon
from napari_hrpn.plugin.parts.checkpoint_choices import CheckpointChoices
from napari_hrpn.plugin.parts.docked_widget import DockedWidget, scrolling
from napari_hrpn.plugin.parts.forms import NO_CHOICE, combo_box, field_row, form_rows, offer, stacked
from napari_hrpn.plugin.parts.messages import PROBLEM, ToneLabel, UserError, sentence_of
from napari_hrpn.plugin.parts.options_form import OptionsForm
from napari_hrpn.plugin.parts.remembered import RememberedForm
from napari_hrpn.plugin.parts.runs import ProgressPanel, push_button
from napari_hrpn.plugin.parts.saving import TABLES, ask_where, folder_beside, save_button, write_table
from napari_hrpn.plugin.parts.viewer_tools import Frame, ViewerMouse, pixel_at
from napari_hrpn.plugin.viewer import (
    coarse_placement,
    imaged_layers_of,
    imaged_slides_in,
    is_same_slide,
    slide_label,
    slide_title,
)
from napari_hrpn.plugin.what_if.job import difference_job, rows_of, sentences_of
from napari_hrpn.settings.what_if import EDITS, WhatIfSettings
from napari_hrpn.slides import SlideError, guess_roles

if TYPE_CHECKING:
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_hrpn.inference import WhatIf
    from napari_hrpn.settings.what_if import Action
    from napari_hrpn.slides import Slide

_ROLES = {"nuclei": "Nuclei", "vessels": "Vessels", "probe": "Real probe"}
# blue where there is less probe, red where there is more; grey in the middle, as is what lies below the noise
_COLORMAP = Colormap([[0.13, 0.4, 0.67], [0.6, 0.6, 0.6], [0.7, 0.09, 0.17]], name="what if")
_CLOSED = "The slide was closed, so that its maps are not shown; the numbers are below."
_MARK_PX = 8
_GAP = 1.05


class WhatIfWidget(DockedWidget):
    """Removes or adds a vessel where the user clicks, and shows what network and physics associate with it."""

    least_width_px = 340

    # napari passes the viewer because of this annotation
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._slide: Slide | None = None
        self.place: tuple[float, float] | None = None
        """The place that was clicked, (y, x) in µm."""
        self.result: WhatIf | None = None
        """The last result."""
        # that of the running comparison or of the result: meanwhile, the user may choose another one or close it
        self._compared: Slide | None = None
        self.slide_box = combo_box("Open slide of which a vessel is removed, or to which one is added", title="Slide")
        self.role_boxes = {role: combo_box(f"Channel of the {role}", title=title) for role, title in _ROLES.items()}
        self.role_boxes["probe"].tooltip = "Imaged probe, to which physics is fitted; without it, to the prediction"
        self._checkpoints = CheckpointChoices()
        self.checkpoint_box = combo_box("Trained network", title="Checkpoint")
        self._checkpoints.offer(self.checkpoint_box, None)
        self.options = OptionsForm(WhatIfSettings, ["threshold"], ["window_um", "shams", "seed"])
        self.remembered = RememberedForm(self.options, "What if", ("window_um", "shams", "seed"))
        self.place_label, self.result_label = ToneLabel(), ToneLabel()
        self.buttons = {
            "remove": push_button("Remove", "Remove the vessel that was clicked", self.remove),
            "add": push_button("Add here", "Copy a vessel of the slide to the place that was clicked", self.add),
            "sham": push_button("Sham", "Put texture without a vessel there: what a change alone does", self.sham),
        }
        self.cancel_button = push_button("Cancel", "Stop now", self.cancel)
        self.panel = ProgressPanel("What if", "Steps of the comparison")
        self._task = NewestTask()
        self._mouse = ViewerMouse(viewer)
        self._frame = Frame(viewer, "what if: place")
        self._soon = soon(self, self._offer_slides)
        self._lay_out()
        self._mouse.clicked.connect(self._take_click)
        self.slide_box.changed.connect(self._offer_channels)
        for event in self._events():
            event.connect(self._layers_changed)
        self._offer_slides()

    @property
    def is_settled(self) -> bool:
        """Whether nothing is computed."""
        return not self._task.is_busy and not self._soon.isActive()

    @property
    def message(self) -> str:
        """The last message to the user."""
        return self.panel.message

    def use_checkpoint(self, checkpoint: str) -> None:
        """Choose a checkpoint: a file, or the name of a bundled one."""
        self._checkpoints.offer(self.checkpoint_box, checkpoint)

    def remove(self) -> None:
        """Remove the vessel at the place."""
        self._start("remove")

    def add(self) -> None:
        """Copy a vessel to the place."""
        self._start("add")

    def sham(self) -> None:
        """Put texture without a vessel at the place."""
        self._start("sham")

    def cancel(self) -> None:
        """Stop the comparison after its current step."""
        if self._task.is_busy:
            self._task.cancel()
            self.panel.say("Stopping after this step …")

    def choose_place(self, y_um: float, x_um: float) -> None:
        """Take a place of the slide, in µm, and frame it."""
        layer = None if self._slide is None else self._layer(self._slide)
        if layer is None or self._slide is None:
            return
        size = self._slide.pixel_size_um or (1.0, 1.0)
        y, x = int(y_um / size[0]), int(x_um / size[1])
        self.place = y_um, x_um
        half = max(_MARK_PX, round(10 / min(size)))
        self._frame.show(Box(y - half, y + half + 1, x - half, x + half + 1), layer)
        self._update()

    def end(self) -> None:
        """Stop the thread and disconnect from the viewer."""
        self._task.abandon()
        self.panel.activity.end()
        self._soon.stop()
        self._mouse.stop()
        self._frame.remove()
        for event in self._events():
            event.disconnect(self._layers_changed)

    def _lay_out(self) -> None:
        form = form_rows(
            [
                self.slide_box,
                *self.role_boxes.values(),
                field_row("Checkpoint", [self.checkpoint_box, self._checkpoints.button]),
            ]
        )
        row = QWidget()
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        for button in (*self.buttons.values(), self.cancel_button):
            line.addWidget(button)
        self.save_button = save_button([("Numbers", "CSV, one row per distance from the vessel", self._save)])
        layout = QVBoxLayout(self)
        layout.addWidget(scrolling(stacked([form, self.options, self.place_label])), 1)
        for part in (row, self.panel, self.result_label, self.save_button):
            layout.addWidget(part)

    def _events(self) -> tuple[Any, ...]:
        return self._viewer.layers.events.inserted, self._viewer.layers.events.removed

    def _layers_changed(self, event: object = None) -> None:  # noqa: ARG002
        self._soon.start()

    def _offer_slides(self) -> None:
        slides = imaged_slides_in(self._viewer)
        before = self._slide
        alike = [slide for slide in slides if before is not None and slide.source == before.source]
        # the same plane if it is shown, otherwise another one of the same file
        alike.sort(key=lambda slide: before is not None and is_same_slide(slide, before), reverse=True)
        kept = next(iter(alike), None)
        offer(self.slide_box, [(slide_label(slide), slide) for slide in slides], kept or next(iter(slides), None))
        self._offer_channels()

    def _offer_channels(self) -> None:
        before, self._slide = self._slide, self.slide_box.value
        slide = self._slide
        is_same = is_sized_alike = False
        if slide is not None and before is not None:
            is_same, is_sized_alike = is_same_slide(slide, before), slide.pixel_size_um == before.pixel_size_um
        if not (is_same and is_sized_alike):
            self.place = None
            self._frame.hide()
        if not is_same:
            names = () if slide is None else slide.channel_names
            choices: list[tuple[str, int | None]] = [(name, index) for index, name in enumerate(names)]
            guessed = vars(guess_roles(names))
            for role, box in self.role_boxes.items():
                offer(box, [(NO_CHOICE, None), *choices], guessed[role])
        self._update()

    def _layer(self, slide: Slide) -> Image | None:
        """The layer of a slide on which results are placed; None if it is closed."""
        return next(iter(imaged_layers_of(self._viewer, slide)), None)

    def _take_click(self, position: NDArray[np.float64]) -> None:
        self._offer_slides()
        slide = self._slide
        layer = None if slide is None else self._layer(slide)
        pixel = None if layer is None else pixel_at(layer, position)
        if pixel is not None and slide is not None and not self._task.is_busy:
            size = slide.pixel_size_um or (1.0, 1.0)
            self.choose_place((pixel[0] + 0.5) * size[0], (pixel[1] + 0.5) * size[1])

    def _update(self) -> None:
        is_busy = self._task.is_busy
        for button in self.buttons.values():
            button.setEnabled(self.place is not None and not is_busy)
        self.cancel_button.setEnabled(is_busy)
        self.save_button.setEnabled(self.result is not None)
        if self.place is None:
            words = "Click a vessel in the viewer, or a place for one."
            self.place_label.say(words if self._slide is not None else "There is no slide: open one.")
        else:
            unit = "px" if self._slide is None or self._slide.pixel_size_um is None else "µm"
            self.place_label.say(f"Place: {self.place[0]:.1f}, {self.place[1]:.1f} {unit} (y, x)")

    def _start(self, action: Action) -> None:
        if self._task.is_busy:
            return
        # another widget may have given the slide a pixel size, or shown another plane, of which layers tell nothing
        self._offer_slides()
        slide = self._slide
        try:
            if slide is None or self.place is None:
                raise UserError("Click the place in the viewer first.")
            if slide.pixel_size_um is None:
                raise UserError(f"{slide_title(slide)} has no pixel size: enter it in the widget Predict QD.")
            roles = {role: box.value for role, box in self.role_boxes.items()}
            for role in ("nuclei", "vessels"):
                if roles[role] is None:
                    raise UserError(f"Choose the channel that shows the {role}.")
            if self.checkpoint_box.value is None:
                raise UserError("Choose a checkpoint: the network whose prediction is compared.")
            work = difference_job(slide, roles, self.checkpoint_box.value, action, self.place, self.options.value)
        except (UserError, SlideError, ValueError) as error:
            self.panel.say(str(error), PROBLEM)
            return
        self._compared = slide
        self.panel.start()
        self.panel.say("Reading the slide and the network …")
        self._task.do(work, self._take, self._fail, self._follow)
        self._update()

    def _follow(self, progress: Progress) -> None:
        self.panel.show_progress(round(100 * progress.share), 100, "%p %", progress.words)

    def _take(self, result: WhatIf) -> None:
        self.result = result
        slide, (y, x) = self._compared, result.place_um
        layer = None if slide is None else self._layer(slide)
        title = "" if slide is None else slide_title(slide)
        about = f"{title}, at {y:.1f}, {x:.1f} µm (y, x), {result.area_um2:.0f} µm² edited"
        self.panel.clear()
        self.panel.say("\n".join([*result.warnings, *([_CLOSED] if layer is None else [])]))
        self.result_label.say("\n".join([*sentences_of(result), about]), "text")
        if layer is not None:
            self._show_layers(result, layer)
        self._update()

    def _fail(self, error: BaseException) -> None:
        self.panel.clear()
        if isinstance(error, Stopped):
            self.panel.say("Stopped.")
        else:
            self.panel.say(sentence_of(error), PROBLEM)
        self._update()

    def _show_layers(self, result: WhatIf, layer: Image) -> None:
        """Show both differences, physics to the right of the network; what is below the noise is grey."""
        certain = np.where(result.significant, result.network, 0)
        most = max(float(np.abs(certain).max()), float(np.abs(result.physics).max()), 1e-6)
        beside = result.box.x0 + _GAP * result.box.width
        for engine, image, left in (("physics", result.physics, beside), ("network", certain, result.box.x0)):
            self._viewer.add_image(
                image,
                name=f"{engine}: {EDITS[result.action]}",
                colormap=_COLORMAP,
                contrast_limits=(-most, most),
                blending="translucent",
                **coarse_placement(layer, (1.0, 1.0), (result.box.y0, left)),
            )

    def _save(self) -> None:
        if self.result is None or self._compared is None:
            return
        proposal = folder_beside(self._compared.source) / f"{slide_title(self._compared)}_what_if.csv"
        chosen = ask_where(self, "Save numbers", proposal, TABLES)
        if chosen is not None:
            try:
                write_table(rows_of(self.result), chosen[0], overwrite=chosen[1])
            except SlideError as error:
                self.panel.say(str(error), PROBLEM)

"""Which slide, and which of its channels shows what."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import napari.layers
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_hrpn.plugin.parts.choice_box import ChoiceBox
from napari_hrpn.plugin.parts.debounce import soon
from napari_hrpn.plugin.parts.form_rows import add_row, form_layout
from napari_hrpn.plugin.parts.pixel_size_edit import PixelSizeEdit
from napari_hrpn.plugin.parts.user_error import UserError
from napari_hrpn.plugin.predict.plane_form import PlaneForm
from napari_hrpn.plugin.viewer import (
    channel_of,
    give_pixel_size,
    imaged_slides_in,
    is_prediction,
    is_same_slide,
    layers_of,
    show_plane,
    slide_from_layers,
    slide_label,
    slide_of,
    slide_title,
)
from napari_hrpn.plugin.viewer.slide_from_layers import pixel_size_um
from napari_hrpn.slides import SlideError, guess_roles

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari
    from napari.layers import Image, Layer
    from napari.utils.events import EventEmitter

    from napari_hrpn.slides import Slide

_LOOSE_LAYERS = "layers"
_FIXED_ROWS = 3
_NO_CHANNEL = "–"
_ROLE_TITLES = {"nuclei": "Nuclei", "vessels": "Vessels", "probe": "Real QD"}
SLIDE_TOOLTIP = "Open slide to predict, or any image layers of which you say what they show"
_TOOLTIPS = {
    "nuclei": "Channel that shows the cell nuclei, such as DAPI or Hoechst",
    "vessels": "Channel that shows the blood vessels, such as CD31 or endomucin",
    "probe": "Channel of the real nanoprobe, if there is one: the prediction is shown with the same contrast.\n"
    "The network does not see it",
}


@dataclass(frozen=True, eq=False)
class ChosenSlide:
    """What the user chose to predict."""

    slide: Slide
    title: str  # What to call it
    roles: dict[str, int]  # Channel of each input role
    reference: Image  # The layer that the prediction is to lie on
    real: Image | None  # The layer that shows the real probe


class SlideForm(QWidget):
    """Asks for a slide, its pixel size and its channels; follows what is open in the viewer.

    `changed` says that something may be another one now, `refused` carries a sentence.
    """

    changed = Signal()
    refused = Signal(str)

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._input_roles: tuple[str, ...] = ()
        self._offered: Slide | None = None
        self._kept: dict[tuple[object, int], dict[str, int | None]] = {}
        self._sized: Image | None = None
        self._size: tuple[float, float] | None = None
        self.slide_box = ChoiceBox(SLIDE_TOOLTIP)
        self.role_boxes: dict[str, ChoiceBox] = {}
        self._form = form_layout(self)
        self.size_edit, self.plane_form = PixelSizeEdit(), PlaneForm()
        add_row(self._form, "Slide", self.slide_box)
        add_row(self._form, "Pixel size", self.size_edit)
        add_row(self._form, "Plane", self.plane_form)
        self.size_edit.given.connect(self._give_size)
        self.plane_form.chosen.connect(self._show_plane)
        self.plane_form.refused.connect(self.refused)
        self.slide_box.changed.connect(self._offer_channels)
        # several layers come and go in one step
        self._soon = soon(self, self._follow)
        self._selected: Layer | None = None
        for event in self._viewer_events():
            event.connect(self._layers_changed)
        self.set_input_roles(("nuclei", "vessels"))
        self._follow()

    def disconnect_viewer(self) -> None:
        """Listen to the viewer no more, before the widget goes away."""
        self._soon.stop()
        self.plane_form.abandon()
        for event in self._viewer_events():
            event.disconnect(self._layers_changed)

    def set_input_roles(self, roles: Sequence[str]) -> None:
        """Ask for the channels that a checkpoint needs."""
        if tuple(roles) == self._input_roles:
            return
        self._input_roles = tuple(roles)
        for _ in range(len(self.role_boxes)):
            self._form.removeRow(_FIXED_ROWS)
        self.role_boxes = {}
        for role in (*(role for role in roles if role != "probe"), "probe"):
            box = ChoiceBox(_TOOLTIPS.get(role, f"Channel that shows {role}"))
            box.changed.connect(self._keep_roles)
            self.role_boxes[role] = box
            add_row(self._form, _ROLE_TITLES.get(role, role), box)
        self._offered = None
        self._offer_channels()

    def refresh(self, chosen: Slide | None = None) -> None:
        """Offer what is open now."""
        slides = imaged_slides_in(self._viewer)
        choices: list[tuple[str, Any]] = [(slide_label(slide), slide) for slide in slides]
        if self._loose_layers():
            choices.append(("Image layers, by role", _LOOSE_LAYERS))
        before = chosen or self.current_slide()
        # a slide may have been opened again, or have got coarser levels: it is still the one that was chosen
        again = None if before is None else next((slide for slide in slides if is_same_slide(slide, before)), None)
        self.slide_box.offer(choices, again, keep=chosen is None)
        self._offer_channels()

    def current_slide(self) -> Slide | None:
        """The chosen slide; None for loose layers, or where nothing is open."""
        value = self.slide_box.value
        return None if value == _LOOSE_LAYERS else value

    def channels(self) -> dict[str, int]:
        """Channels of the chosen slide by role, as far as they are chosen; none for loose layers."""
        return {role: box.value for role, box in self.role_boxes.items() if isinstance(box.value, int)}

    def reference_layer(self) -> Image | None:
        """A layer of what is chosen; None where there is none."""
        slide = self.current_slide()
        if slide is not None:
            layers = [layer for layer in layers_of(self._viewer, slide) if not is_prediction(layer)]
            return layers[0] if layers else None
        return next((box.value for box in self.role_boxes.values() if box.value is not None), None)

    def chosen(self) -> ChosenSlide:
        """What is chosen."""
        reference = self.reference_layer()
        if reference is None:
            raise UserError("There is no slide: open one, for example by dropping its file on the viewer.")
        roles = {role: self.role_boxes[role].value for role in self._input_roles}
        for role, channel in roles.items():
            if channel is None:
                raise UserError(f"Choose the channel that shows the {role}.")
        if len(set(roles.values())) < len(roles):
            raise UserError(f"Choose a different channel for each of {', '.join(roles)}.")
        slide, size = self.current_slide(), self.size_edit.value()
        title = "" if slide is None else slide_title(slide)
        if slide is None:
            layers = list(roles.values())
            slide, title = slide_from_layers(layers, [layer.name for layer in layers]), layers[0].name
            roles, reference = {role: index for index, role in enumerate(roles)}, layers[0]
        slide = slide if size is None else slide.with_pixel_size(size)
        return ChosenSlide(slide, title, roles, reference, self.real_layer())

    def real_layer(self) -> Image | None:
        """The layer that shows the real probe; None where there is none."""
        slide, probe = self.current_slide(), self.role_boxes["probe"].value
        if slide is None or probe is None:
            return probe
        return next((layer for layer in layers_of(self._viewer, slide) if channel_of(layer) == probe), None)

    def _give_size(self) -> None:
        try:
            slide, size = self.current_slide(), self.size_edit.value()
            if slide is not None and size is not None:
                give_pixel_size(self._viewer, slide, size)
            # shown anew, as it was understood
            self._sized = None
        except (UserError, SlideError) as error:
            self.refused.emit(str(error))
        self.refresh()

    def _show_plane(self, z: int | None, t: int | None) -> None:
        slide = self.current_slide()
        if slide is None:
            return
        try:
            plane = show_plane(self._viewer, slide, z, t)
        except SlideError as error:
            self.refused.emit(str(error))
            return
        self._offered = plane
        self.refresh(plane)

    def _show_size_and_plane(self) -> None:
        slide, reference = self.current_slide(), self.reference_layer()
        is_other = reference != self._sized or (slide is not None and slide.pixel_size_um != self._size)
        if is_other:
            self._sized, self._size = reference, None if slide is None else slide.pixel_size_um
            own = None if reference is None else pixel_size_um(reference)
            self.size_edit.show_size(self._size or own)
        self.plane_form.show_slide(slide)
        self._form.setRowVisible(self.plane_form, self.plane_form.is_needed)

    def _offer_channels(self) -> None:
        slide = self.current_slide()
        names: list[str]
        values: list[Any]
        if slide is not None:
            names, values = list(slide.channel_names), list(range(len(slide.channel_names)))
        else:
            values = self._loose_layers() if self.slide_box.value == _LOOSE_LAYERS else []
            names = [layer.name for layer in values]
        is_news = slide is None or self._offered is None or not is_same_slide(slide, self._offered)
        self._offered = slide
        if is_news:
            guessed = {**asdict(guess_roles(names)), **self._kept.get(_image_of(slide), {})}
            choices = [(_NO_CHANNEL, None), *zip(names, values, strict=True)]
            for role, box in self.role_boxes.items():
                index = guessed.get(role)
                # nobody hears of a form in which some roles are of this slide and others of the former one
                was_blocked = box.blockSignals(True)
                box.offer(choices, None if index is None else values[index], keep=slide is None)
                box.blockSignals(was_blocked)
        self._show_size_and_plane()
        self.changed.emit()

    def _keep_roles(self) -> None:
        """Keep what the user says of a slide, for when it is chosen again."""
        slide = self.current_slide()
        if slide is not None:
            self._kept[_image_of(slide)] = {role: box.value for role, box in self.role_boxes.items()}
        self.changed.emit()

    def _loose_layers(self) -> list[Image]:
        """Two-dimensional images of one channel, whoever opened them."""
        return [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, napari.layers.Image) and layer.ndim == 2 and not layer.rgb and not is_prediction(layer)
        ]

    def _viewer_events(self) -> tuple[EventEmitter, ...]:
        layers = self._viewer.layers
        return layers.events.inserted, layers.events.removed, layers.selection.events.active

    def _layers_changed(self, event: object = None) -> None:  # noqa: ARG002
        self._soon.start()

    def _follow(self) -> None:
        """Offer what is open now, and choose the slide of a layer that has just been selected."""
        before, self._selected = self._selected, self._viewer.layers.selection.active
        is_news = self._selected is not None and self._selected != before and not is_prediction(self._selected)
        self.refresh(slide_of(self._selected) if is_news else None)


def _image_of(slide: Slide | None) -> tuple[object, int]:
    return (None, 0) if slide is None else (slide.source, slide.series)

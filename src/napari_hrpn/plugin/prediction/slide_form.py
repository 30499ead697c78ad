"""Which slide, and which of its channels shows what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import napari.layers
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_hrpn.plugin.forms.choice_box import ChoiceBox
from napari_hrpn.plugin.forms.form_rows import add_row, form_layout
from napari_hrpn.plugin.layers import (
    channel_of,
    imaged_slides_in,
    is_prediction,
    is_same_slide,
    layers_of,
    slide_from_layers,
    slide_label,
    slide_title,
)
from napari_hrpn.plugin.refusal import Refusal
from napari_hrpn.plugin.soon import soon
from napari_hrpn.slides import guess_roles

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari
    from napari.layers import Image

    from napari_hrpn.slides import Slide

LOOSE_LAYERS = "layers"
NO_CHANNEL = "–"
ROLE_TITLES = {"nuclei": "Nuclei", "vessels": "Vessels", "probe": "Real QD"}
SLIDE_TOOLTIP = "Open slide to predict, or any image layers of which you say what they show"
TOOLTIPS = {
    "nuclei": "Channel that shows the cell nuclei, such as DAPI or Hoechst",
    "vessels": "Channel that shows the blood vessels, such as CD31 or endomucin",
    "probe": "Channel of the real nanoprobe, if there is one: the prediction is shown with the same contrast.\n"
    "The network does not see it",
}


@dataclass(frozen=True, eq=False)
class ChosenSlide:
    """What the user chose to predict.

    Attributes
    ----------
    slide : Slide
        The slide.
    title : str
        What to call it.
    roles : dict of str to int
        Channel of each input role.
    reference : napari.layers.Image
        The layer that the prediction is to lie on.
    real : napari.layers.Image or None
        The layer that shows the real probe.
    """

    slide: Slide
    title: str
    roles: dict[str, int]
    reference: Image
    real: Image | None


class SlideForm(QWidget):
    """Asks for a slide and for its channels; follows what is open in the viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        Where slides are open.
    """

    changed = Signal()

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._input_roles: tuple[str, ...] = ()
        self._offered: Slide | None = None
        self.slide_box = ChoiceBox(SLIDE_TOOLTIP)
        self.role_boxes: dict[str, ChoiceBox] = {}
        self._form = form_layout(self)
        add_row(self._form, "Slide", self.slide_box)
        self.slide_box.changed.connect(self._offer_channels)
        # several layers come and go in one step
        self._soon = soon(self, self.refresh)
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            event.connect(self._layers_changed)
        self.set_input_roles(("nuclei", "vessels"))
        self.refresh()

    def disconnect_viewer(self) -> None:
        """Listen to the viewer no more, before the widget goes away."""
        self._soon.stop()
        for event in (self._viewer.layers.events.inserted, self._viewer.layers.events.removed):
            event.disconnect(self._layers_changed)

    def set_input_roles(self, roles: Sequence[str]) -> None:
        """Ask for the channels that a checkpoint needs.

        Parameters
        ----------
        roles : sequence of str
            Of its card.
        """
        if tuple(roles) == self._input_roles:
            return
        self._input_roles = tuple(roles)
        for _ in range(len(self.role_boxes)):
            self._form.removeRow(1)
        self.role_boxes = {}
        for role in (*(role for role in roles if role != "probe"), "probe"):
            box = ChoiceBox(TOOLTIPS.get(role, f"Channel that shows {role}"))
            box.changed.connect(self.changed)
            self.role_boxes[role] = box
            add_row(self._form, ROLE_TITLES.get(role, role), box)
        self._offered = None
        self._offer_channels()

    def refresh(self) -> None:
        """Offer what is open now."""
        slides = imaged_slides_in(self._viewer)
        choices: list[tuple[str, Any]] = [(slide_label(slide), slide) for slide in slides]
        if self._loose_layers():
            choices.append(("Image layers, by role", LOOSE_LAYERS))
        before = self.current_slide()
        # a slide may have been opened again, or have got coarser levels: it is still the one that was chosen
        again = None if before is None else next((slide for slide in slides if is_same_slide(slide, before)), None)
        self.slide_box.offer(choices, again)
        self._offer_channels()

    def current_slide(self) -> Slide | None:
        """The chosen slide; None for loose layers, or where nothing is open."""
        value = self.slide_box.value
        return None if value == LOOSE_LAYERS else value

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
        """What is chosen.

        Returns
        -------
        ChosenSlide
            Slide, roles and layers.

        Raises
        ------
        Refusal
            In one sentence, where something is missing.
        """
        reference = self.reference_layer()
        if reference is None:
            raise Refusal("There is no slide: open one, for example by dropping its file on the viewer.")
        roles = {role: self.role_boxes[role].value for role in self._input_roles}
        for role, channel in roles.items():
            if channel is None:
                raise Refusal(f"Choose the channel that shows the {role}.")
        if len(set(roles.values())) < len(roles):
            raise Refusal(f"Choose a different channel for each of {', '.join(roles)}.")
        slide = self.current_slide()
        return self._of_layers(roles) if slide is None else self._of_slide(slide, roles, reference)

    def _of_slide(self, slide: Slide, roles: dict[str, int], reference: Image) -> ChosenSlide:
        probe = self.role_boxes["probe"].value
        layers = layers_of(self._viewer, slide)
        real = next((layer for layer in layers if probe is not None and channel_of(layer) == probe), None)
        return ChosenSlide(slide, slide_title(slide), roles, reference, real)

    def _of_layers(self, roles: dict[str, Image]) -> ChosenSlide:
        layers = list(roles.values())
        slide = slide_from_layers(layers, [layer.name for layer in layers])
        numbered = {role: index for index, role in enumerate(roles)}
        return ChosenSlide(slide, layers[0].name, numbered, layers[0], self.role_boxes["probe"].value)

    def _offer_channels(self) -> None:
        slide = self.current_slide()
        names: list[str]
        values: list[Any]
        if slide is not None:
            names, values = list(slide.channel_names), list(range(len(slide.channel_names)))
        else:
            values = self._loose_layers() if self.slide_box.value == LOOSE_LAYERS else []
            names = [layer.name for layer in values]
        is_news = slide is None or self._offered is None or not is_same_slide(slide, self._offered)
        self._offered = slide
        if is_news:
            guessed = guess_roles(names)
            choices = [(NO_CHANNEL, None), *zip(names, values, strict=True)]
            for role, box in self.role_boxes.items():
                index = getattr(guessed, role, None)
                box.offer(choices, None if index is None else values[index], keep=slide is None)
        self.changed.emit()

    def _loose_layers(self) -> list[Image]:
        """Two-dimensional images of one channel, whoever opened them."""
        return [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, napari.layers.Image) and layer.ndim == 2 and not layer.rgb and not is_prediction(layer)
        ]

    def _layers_changed(self, event: object = None) -> None:  # noqa: ARG002
        self._soon.start()

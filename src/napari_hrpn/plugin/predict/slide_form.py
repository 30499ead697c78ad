"""Form for choosing a slide, its pixel size and plane, and the channels that show nuclei, vessels and probe."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import napari.layers
from psygnal import Signal

from napari_hrpn.plugin.background import soon
from napari_hrpn.plugin.parts.forms import NO_CHOICE, align_titles, combo_box, form_rows, offer
from napari_hrpn.plugin.parts.messages import UserError
from napari_hrpn.plugin.predict.fields import PixelSizeField
from napari_hrpn.plugin.predict.plane_field import PlaneField
from napari_hrpn.plugin.viewer import (
    channel_of,
    give_pixel_size,
    imaged_layers_of,
    imaged_slides_in,
    is_prediction,
    is_same_slide,
    layers_of,
    pixel_size_um,
    show_plane,
    slide_from_layers,
    slide_label,
    slide_of,
)
from napari_hrpn.slides import SlideError, guess_roles

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari
    from magicgui.widgets import ComboBox
    from napari.layers import Image, Layer
    from napari.utils.events import EventEmitter

    from napari_hrpn.slides import Slide

_LOOSE_LAYERS = "layers"
_STAIN_TITLES = {"nuclei": "Nuclei", "vessels": "Vessels"}
SLIDE_TOOLTIP = "Open slide to predict, or any image layers, for which you choose what they show"
_TOOLTIPS = {
    "nuclei": "Channel that shows the cell nuclei, such as DAPI or Hoechst",
    "vessels": "Channel that shows the blood vessels, such as CD31 or endomucin",
    "probe": "Channel of the real nanoprobe, if there is one: the prediction is shown with the same contrast.\n"
    "The network does not see it",
}


@dataclass(frozen=True, eq=False)
class ChosenSlide:
    """The slide to predict, with its channels, as the user chose them."""

    slide: Slide
    roles: dict[str, int]  # channel of each input role
    reference: Image  # the layer on which the prediction is placed


class SlideForm:
    """Form for a slide, its pixel size and its channels; it offers the slides that are open in the viewer.

    `changed` is emitted when a choice may have changed, `refused` carries the sentence of an error.
    """

    changed = Signal()
    refused = Signal(str)

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._roles: tuple[tuple[str, ...], str] = (), ""
        self._offered: Slide | None = None
        self._kept: dict[tuple[object, int], dict[str, int | None]] = {}
        self._sized: object = None
        self._selected: Layer | None = None
        self.slide_box = combo_box(SLIDE_TOOLTIP, title="Slide")
        self.size_field, self.plane = PixelSizeField(), PlaneField()
        self.role_boxes: dict[str, ComboBox] = {}
        self.rows = form_rows([self.slide_box, self.size_field, self.plane.row])
        self.slide_box.changed.connect(self._offer_channels)
        self.size_field.given.connect(self._give_size)
        self.plane.chosen.connect(self._show_plane)
        self.plane.refused.connect(self.refused.emit)
        # a step of the user often adds or removes several layers
        self._soon = soon(self.rows.native, self._follow)
        for event in self._viewer_events():
            event.connect(self._layers_changed)
        self.set_roles(("nuclei", "vessels"), "probe")
        self._follow()

    def disconnect_viewer(self) -> None:
        """Disconnect from the viewer before the widget is deleted."""
        self._soon.stop()
        self.plane.abandon()
        for event in self._viewer_events():
            event.disconnect(self._layers_changed)

    def set_roles(self, roles: Sequence[str], target: str) -> None:
        """Show a field for each channel that a checkpoint needs, and one for the real channel that it predicts."""
        if (tuple(roles), target) == self._roles:
            return
        self._roles = tuple(roles), target
        for box in self.role_boxes.values():
            self.rows.remove(box)
        self.role_boxes = {}
        for role in (*(role for role in roles if role != "probe"), "probe"):
            tooltip = _TOOLTIPS.get(role, f"Channel that shows {role}")
            title = f"Real {target}" if role == "probe" else _STAIN_TITLES.get(role, role)
            self.role_boxes[role] = box = combo_box(tooltip, title=title)
            box.changed.connect(self._keep_roles)
            self.rows.append(box)
        align_titles(self.rows)
        self._offered = None
        self._offer_channels()

    def refresh(self, chosen: Slide | None = None) -> None:
        """Offer the slides that are open now."""
        slides = imaged_slides_in(self._viewer)
        choices: list[tuple[str, Any]] = [(slide_label(slide), slide) for slide in slides]
        if self._loose_layers():
            choices.append(("Image layers, by role", _LOOSE_LAYERS))
        before = chosen or self.slide_box.value
        if before != _LOOSE_LAYERS and before is not None:
            # a slide that was opened again, or has got coarser levels, is another object but the same choice
            before = next((slide for slide in slides if is_same_slide(slide, before)), None)
        offer(self.slide_box, choices, choices[0][1] if before is None and choices else before)
        self._offer_channels()

    def current_slide(self) -> Slide | None:
        """The chosen slide; None for loose layers, or if nothing is open."""
        value = self.slide_box.value
        return None if value == _LOOSE_LAYERS else value

    def channels(self) -> dict[str, int]:
        """Chosen channels of the slide by role; none for loose layers."""
        return {role: box.value for role, box in self.role_boxes.items() if isinstance(box.value, int)}

    def reference_layer(self) -> Image | None:
        """A layer of the chosen slide, or the first of the chosen layers; None if there is none."""
        slide = self.current_slide()
        if slide is not None:
            return next(iter(imaged_layers_of(self._viewer, slide)), None)
        return next((box.value for box in self.role_boxes.values() if box.value is not None), None)

    def real_layer(self) -> Image | None:
        """The layer that shows the real probe; None if there is none."""
        slide, probe = self.current_slide(), self.role_boxes["probe"].value
        if slide is None or probe is None:
            return probe
        return next((layer for layer in layers_of(self._viewer, slide) if channel_of(layer) == probe), None)

    def chosen(self) -> ChosenSlide:
        """Return the choice; an error says what is missing."""
        reference = self.reference_layer()
        if reference is None:
            raise UserError("There is no slide: open one, for example by dropping its file on the viewer.")
        roles = {role: self.role_boxes[role].value for role in self._roles[0]}
        for role, channel in roles.items():
            if channel is None:
                raise UserError(f"Choose the channel that shows the {role}.")
        if len(set(roles.values())) < len(roles):
            raise UserError(f"Choose a different channel for each of {', '.join(roles)}.")
        slide, size = self.current_slide(), self.size_field.size_um()
        if slide is None:
            layers = list(roles.values())
            slide, reference = slide_from_layers(layers), layers[0]
            roles = {role: index for index, role in enumerate(roles)}
        slide = slide if size is None else slide.with_pixel_size(size)
        return ChosenSlide(slide, roles, reference)

    def _give_size(self) -> None:
        try:
            slide, size = self.current_slide(), self.size_field.size_um()
            if slide is not None and size is not None:
                give_pixel_size(self._viewer, slide, size)
            # the field shows the size again, in its own format
            self._sized = None
        except (UserError, SlideError) as error:
            self.refused.emit(str(error))
        self.refresh()

    def _show_plane(self, series: int, z: int | str | None, t: int | None) -> None:
        slide = self.current_slide()
        if slide is None:
            return
        try:
            self._offered = show_plane(self._viewer, slide, series, z, t)
        except SlideError as error:
            self.refused.emit(str(error))
            return
        self.refresh(self._offered)

    def _show_size_and_plane(self) -> None:
        slide, reference = self.current_slide(), self.reference_layer()
        size = None if slide is None else slide.pixel_size_um
        if (reference, size) != self._sized:
            self._sized = reference, size
            self.size_field.show_size(size or (None if reference is None else pixel_size_um(reference)))
        self.plane.show_slide(slide)

    def _offer_channels(self) -> None:
        slide = self.current_slide()
        choices: list[tuple[str, Any]] = []
        if slide is not None:
            choices = [(name, index) for index, name in enumerate(slide.channel_names)]
        elif self.slide_box.value == _LOOSE_LAYERS:
            choices = [(layer.name, layer) for layer in self._loose_layers()]
        is_news = slide is None or self._offered is None or not is_same_slide(slide, self._offered)
        self._offered = slide
        if is_news:
            guessed = {**asdict(guess_roles([name for name, _ in choices])), **self._kept.get(_image_of(slide), {})}
            for role, box in self.role_boxes.items():
                index = guessed.get(role)
                value = None if index is None else choices[index][1]
                is_kept = slide is None and box.value is not None and any(box.value == layer for _, layer in choices)
                offer(box, [(NO_CHOICE, None), *choices], box.value if is_kept else value)
        self._show_size_and_plane()
        self.changed.emit()

    def _keep_roles(self) -> None:
        """Remember the channels of a slide for when it is chosen again."""
        slide = self.current_slide()
        if slide is not None:
            self._kept[_image_of(slide)] = {role: box.value for role, box in self.role_boxes.items()}
        self.changed.emit()

    def _loose_layers(self) -> list[Image]:
        """Two-dimensional images of one channel, also those that this package did not open."""
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
        """Offer the slides that are open now, and choose the slide of a layer that was just selected."""
        before, self._selected = self._selected, self._viewer.layers.selection.active
        is_news = self._selected is not None and self._selected != before and not is_prediction(self._selected)
        self.refresh(slide_of(self._selected) if is_news else None)


def _image_of(slide: Slide | None) -> tuple[object, int]:
    return (None, 0) if slide is None else (slide.source, slide.series)

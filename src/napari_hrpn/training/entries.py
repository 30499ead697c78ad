"""Slides of a training: entries of the user, opened slides, and their split by whole tumours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_hrpn.analysis import tissue_mask
from napari_hrpn.core.errors import TrainingError
from napari_hrpn.settings.training import NO_VALIDATION
from napari_hrpn.slides import RegionMask, find_channel, guess_roles, open_slide, read_regions, slide_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.slides import Slide

Part = Literal["auto", "train", "validation", "test"]
_OPTIONS = {"nuclei": "--nuclei CHANNEL", "vessels": "--vessels CHANNEL", "probe": "--probe CHANNEL"}
"""How the command line names the channel of a role; other roles go by ``--role ROLE=CHANNEL``."""
_GAP_PX = 64
_VALIDATION_SHARE = 0.25


@dataclass(frozen=True)
class SlideEntry:
    """A slide for training, as entered in a form, on a command line or in a study file.

    Attributes
    ----------
    path : pathlib.Path
        The slide.
    tumour : str
        The tumour or animal it is from, by default the name of the file. All slides of a tumour stay in one part.
    part : {"auto", "train", "validation", "test"}
        Part of the split; "auto" is trained on, or held out for validation when nothing else is.
    roles : mapping of str to (int or str)
        Channel of a role, by name or index; by default guessed from the names.
    regions : pathlib.Path or None
        Annotated regions: GeoJSON, or a label image of the slide at any size.
    series : int or None
        As for `open_slide`.
    z, t : int or None
        As for `open_slide`.
    classes : tuple of str
        Classes of the annotations to use; all if empty.
    """

    path: Path
    tumour: str = ""
    part: Part = "auto"
    roles: Mapping[str, int | str] = field(default_factory=dict)
    regions: Path | None = None
    series: int | None = None
    z: int | str | None = None
    t: int | None = None
    classes: tuple[str, ...] = ()

    @property
    def tumour_id(self) -> str:
        """The tumour's name, or else the file's without its endings."""
        return self.tumour or slide_name(self.path)


@dataclass(frozen=True, eq=False)
class TrainingSlide:
    """An opened slide, ready to be cut.

    Attributes
    ----------
    entry : SlideEntry
        The entry of the user.
    slide : Slide
        The opened slide.
    inputs : tuple of int
        Channels of the input stains, in the network's order; `on_network_grid` adds those that are derived.
    target : int
        Channel that is predicted.
    regions : RegionMask or None
        Where patches may lie; None means anywhere. The slide of a single tumour occurs twice, with two masks.
    """

    entry: SlideEntry
    slide: Slide
    inputs: tuple[int, ...]
    target: int
    regions: RegionMask | None = None


def open_entry(entry: SlideEntry, settings: TrainingSettings) -> TrainingSlide:
    """Open a slide for training.

    Parameters
    ----------
    entry : SlideEntry
        The slide as the user entered it. Roles that the settings do not have are ignored.
    settings : TrainingSettings
        The settings, with the roles of the inputs and the target.

    Returns
    -------
    TrainingSlide
        Opened lazily: no pixels are read.

    Raises
    ------
    SlideError
        When the slide, or its regions, cannot be read.
    TrainingError
        When it is a brightfield photograph, or a role has no channel of its own.
    """
    slide = open_slide(entry.path, series=entry.series, z=entry.z, t=entry.t)
    if slide.is_brightfield:
        msg = (
            f"{slide.source.name} is a brightfield photograph, expected fluorescence with one stain per channel; "
            "take it off the list."
        )
        raise TrainingError(msg)
    roles = (*settings.stains, settings.target)
    found = _role_channels(slide, roles, entry.roles)
    _check_complete(slide, roles, found)
    regions = None if entry.regions is None else read_regions(entry.regions, slide.shape, classes=entry.classes)
    return TrainingSlide(entry, slide, tuple(found[role] for role in settings.stains), found[settings.target], regions)


def _role_channels(slide: Slide, roles: Sequence[str], given: Mapping[str, int | str]) -> dict[str, int]:
    """Find the channel of each role, as far as it is known."""
    chosen = {role: find_channel(slide, str(given[role])) for role in roles if role in given}
    guessed = guess_roles(slide.channel_names)
    free = set(range(len(slide.channel_names))) - set(chosen.values())
    names = [name.casefold() for name in slide.channel_names]
    for role in roles:
        by_name = names.index(role.casefold()) if role.casefold() in names else None
        channel = next((found for found in (getattr(guessed, role, None), by_name) if found in free), None)
        if role not in chosen and channel is not None:
            chosen[role] = channel
            free.discard(channel)
    return {role: chosen[role] for role in roles if role in chosen}


def _check_complete(slide: Slide, roles: Sequence[str], found: Mapping[str, int]) -> None:
    channels = ", ".join(f"{index} = {name}" for index, name in enumerate(slide.channel_names))
    missing = [role for role in roles if role not in found]
    if missing:
        options = ", ".join(_OPTIONS.get(role, f"--role {role}=CHANNEL") for role in missing)
        msg = (
            f"{slide.source.name} has the channels {channels}, and none is known to show "
            f"{' or '.join(missing)}; say which one does (on the command line with {options})."
        )
        raise TrainingError(msg)
    for (role, channel), (other, same) in combinations(found.items(), 2):
        if channel == same:
            msg = (
                f"{slide.source.name} would give the channel {channel} = {slide.channel_names[channel]} to both {role} "
                f"and {other}, expected one for each; its channels are {channels}."
            )
            raise TrainingError(msg)


@dataclass(frozen=True, eq=False)
class Split:
    """Slides of training, validation and test.

    Attributes
    ----------
    train, validation, test : tuple of TrainingSlide
        No tumour is in two of them, unless a single tumour had to be cut; then its slides occur in the first two,
        with regions that do not touch.
    note : str
        How the validation slides were chosen, in one sentence.
    """

    train: tuple[TrainingSlide, ...]
    validation: tuple[TrainingSlide, ...]
    test: tuple[TrainingSlide, ...]
    note: str

    @property
    def judged_on(self) -> tuple[TrainingSlide, ...]:
        """Slides on which the network is measured after each epoch: of validation, or those trained on."""
        return self.validation or self.train


def split_slides(slides: Sequence[TrainingSlide], validate: str | None = None) -> Split:
    """Divide slides into training, validation and test, tumour by tumour.

    Parameters
    ----------
    slides : sequence of TrainingSlide
        The slides; one whose part is "auto" gets the part of the other slides of its tumour.
    validate : str, optional
        The tumour to validate on, whatever part its entries have. If neither this nor an entry names one, the
        last tumour in natural order (T2 before T10) is held out, of those with the part "auto" if there are any;
        of a single tumour, a quarter of each slide along its longer side, beyond a gap of 64 px. "none" holds out
        nothing: the last epoch is kept then.

    Returns
    -------
    Split
        A split with at least one slide to train on and, unless nothing is held out, one to validate on.

    Raises
    ------
    TrainingError
        If a tumour would be on two sides, nothing is left to train on, there is no tumour of that name, or a
        single tumour is too small to be cut.
    """
    tumours = sorted({slide.entry.tumour_id for slide in slides}, key=_natural)
    holds_out = validate != NO_VALIDATION
    if not holds_out and NO_VALIDATION in tumours:
        msg = f"a tumour is called {NO_VALIDATION!r}, which also means to hold out none; give it another name."
        raise TrainingError(msg)
    validate = validate if holds_out else None
    if validate is not None and validate not in tumours:
        named = ", ".join(tumours)
        msg = f"there is no tumour {validate!r} to validate on; expected one of those of the slides: {named}; or none."
        raise TrainingError(msg)
    parts = {tumour: _part(tumour, slides) for tumour in tumours if tumour != validate}
    if validate is not None:
        parts[validate] = "validation"
    trainable = [tumour for tumour in tumours if parts[tumour] in ("auto", "train")]
    if not trainable:
        msg = f"none of {len(slides)} slides is left to train on; expected at least one whose part is train or auto."
        raise TrainingError(msg)
    if not holds_out:
        return _without_validation(slides, parts)
    if "validation" in parts.values():
        return _by_part(slides, parts, f"Validated on {_named(parts, 'validation')}, as asked for.")
    if len(trainable) == 1:
        return _cut_single(slides, parts, trainable[0])
    held_out = ([tumour for tumour in trainable if parts[tumour] == "auto"] or trainable)[-1]
    note = f"Validated on {held_out}, the last of {len(trainable)} tumours, as none was named for it."
    return _by_part(slides, {**parts, held_out: "validation"}, note)


def _without_validation(slides: Sequence[TrainingSlide], parts: Mapping[str, str]) -> Split:
    if named := _named(parts, "validation"):
        msg = f"{named} is named for validation, and none is to be held out; leave out one of these."
        raise TrainingError(msg)
    note = "No slide was held out: the last epoch is kept, and its numbers are of the slides it was trained on."
    return _by_part(slides, parts, note)


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Return a key that sorts as people count: T2 before T10."""
    pieces = re.split(r"(\d+)", name.casefold())
    return [(piece.isdecimal(), int(piece) if piece.isdecimal() else 0, piece) for piece in pieces] + [(True, 0, name)]


def _part(tumour: str, slides: Iterable[TrainingSlide]) -> str:
    named = {slide.entry.part for slide in slides if slide.entry.tumour_id == tumour} - {"auto"}
    if len(named) > 1:
        sides = " and ".join(sorted(named, reverse=True))
        msg = f"tumour {tumour} has slides for {sides}; expected all of a tumour in one part: choose one of these."
        raise TrainingError(msg)
    return named.pop() if named else "auto"


def _named(parts: Mapping[str, str], part: str) -> str:
    return ", ".join(tumour for tumour, its_part in parts.items() if its_part == part)


def _by_part(slides: Sequence[TrainingSlide], parts: Mapping[str, str], note: str) -> Split:
    def of(*names: str) -> tuple[TrainingSlide, ...]:
        return tuple(slide for slide in slides if parts[slide.entry.tumour_id] in names)

    return Split(of("auto", "train"), of("validation"), of("test"), note)


def _cut_single(slides: Sequence[TrainingSlide], parts: Mapping[str, str], tumour: str) -> Split:
    whole = _by_part(slides, parts, "")
    cut = [halves for slide in whole.train if (halves := _cut(slide)) is not None]
    if not cut:
        msg = (
            f"{tumour} is the only tumour to train on and its regions are too small to hold out a part of them for "
            "validation; expected more than one tumour, or larger regions."
        )
        raise TrainingError(msg)
    cut_slides = [first.slide for first, _ in cut]
    uncut = [slide for slide in whole.train if slide.slide not in cut_slides]
    note = (
        f"Validated on a part of {tumour}, the only tumour to train on: the last quarter of each slide along its "
        f"longer side, {_GAP_PX} px or more from what is trained on; other tumours may be predicted less well."
    )
    return Split((*(first for first, _ in cut), *uncut), tuple(second for _, second in cut), whole.test, note)


def _cut(slide: TrainingSlide) -> tuple[TrainingSlide, TrainingSlide] | None:
    """Cut a slide into a part to train on and one to validate on; None if there is no room for both."""
    tissue = tissue_mask(slide.slide, slide.inputs[0])
    regions = slide.regions or RegionMask(np.ones_like(tissue.mask), tissue.downsample)
    common = regions.intersected(tissue)
    # regions on faint tissue may share no pixel with its mask: their own area is cut then
    usable = common if common.mask.any() else regions
    bounds = usable.bounds(slide.slide.shape)
    axis = 0 if bounds.height >= bounds.width else 1
    if (edges := _cut_edges(usable.mask.sum(axis=1 - axis), usable.downsample[axis])) is None:
        return None
    halves = (_between(regions, axis, 0.0, edges[0]), _between(regions, axis, edges[1], np.inf))
    if not all(half.mask.any() for half in halves):
        return None
    return replace(slide, regions=halves[0]), replace(slide, regions=halves[1])


def _cut_edges(profile: NDArray[np.integer], pixel: float) -> tuple[float, float] | None:
    """Find the full-resolution rows, or columns, where training ends and where validation begins.

    `profile` has the area in each row or column of a mask whose pixels are `pixel` full-resolution pixels wide.
    """
    gap = int(np.ceil(_GAP_PX / pixel))
    area = np.concatenate([[0], np.cumsum(profile)]).astype(np.float64)
    before, after = area[:-gap], area[-1] - area[gap:]
    possible = (before > 0) & (after > 0)
    if not possible.any():
        return None
    share = after[possible] / (before[possible] + after[possible])
    cut = int(np.flatnonzero(possible)[np.abs(share - _VALIDATION_SHARE).argmin()])
    return cut * pixel, (cut + gap) * pixel


def _between(regions: RegionMask, axis: int, low: float, high: float) -> RegionMask:
    """Return the part of regions, in whole pixels of their mask, between two rows or columns of the slide."""
    starts = np.arange(regions.mask.shape[axis]) * regions.downsample[axis]
    inside = (starts >= low - 1e-6) & (starts + regions.downsample[axis] <= high + 1e-6)
    return RegionMask(regions.mask & (inside[:, None] if axis == 0 else inside), regions.downsample)

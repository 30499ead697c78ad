"""A slide as a user names it for training, and opened with a channel for every role and its annotated regions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_hrpn.core.errors import TrainingError
from napari_hrpn.slides import find_channel, guess_roles, open_slide, read_regions, slide_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.slides import RegionMask, Slide

Part = Literal["auto", "train", "validation", "test"]
_OPTIONS = {"nuclei": "--nuclei CHANNEL", "vessels": "--vessels CHANNEL", "probe": "--probe CHANNEL"}
"""How the command line names the channel of a role; other roles go by ``--role ROLE=CHANNEL``."""


@dataclass(frozen=True)
class SlideEntry:
    """A slide for training, as a form, a command line or a study file names it.

    Attributes
    ----------
    path : pathlib.Path
        The slide.
    tumour : str
        The tumour or animal it is from; the name of the file where left out. All slides of a tumour stay in one part.
    part : {"auto", "train", "validation", "test"}
        What it is for; "auto" is trained on, or held out for validation when nothing else is.
    roles : mapping of str to (int or str)
        Channel of a role, by name or index; guessed from the names where left out.
    regions : pathlib.Path or None
        Annotated regions: GeoJSON, or a label image of the slide at any size.
    series : int or None
        As for `open_slide`.
    z, t : int or None
        As for `open_slide`.
    """

    path: Path
    tumour: str = ""
    part: Part = "auto"
    roles: Mapping[str, int | str] = field(default_factory=dict)
    regions: Path | None = None
    series: int | None = None
    z: int | None = None
    t: int | None = None

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
        What it was made from.
    slide : Slide
        Opened.
    inputs : tuple of int
        Channels of the input stains, in the network's order.
    target : int
        Channel that is predicted.
    regions : RegionMask or None
        Where patches may lie; None: anywhere. With a single tumour its slide occurs twice, with two masks.
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
        The slide as the user named it. Roles that the settings do not ask for are left alone.
    settings : TrainingSettings
        With the roles of the inputs and the target.

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
    roles = (*settings.channels, settings.target)
    found = _role_channels(slide, roles, entry.roles)
    _check_complete(slide, roles, found)
    regions = None if entry.regions is None else read_regions(entry.regions, slide.shape)
    return TrainingSlide(
        entry, slide, tuple(found[role] for role in settings.channels), found[settings.target], regions
    )


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

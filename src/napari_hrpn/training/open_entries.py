"""From an entry to a slide that can be cut: opened, a channel for every role, its annotated regions read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_hrpn.slides import find_channel, guess_roles, open_slide, read_regions
from napari_hrpn.training.entries import TrainingSlide
from napari_hrpn.training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_hrpn.slides import Slide
    from napari_hrpn.training.entries import SlideEntry
    from napari_hrpn.training.settings import TrainingSettings

_OPTIONS = {"nuclei": "--nuclei CHANNEL", "vessels": "--vessels CHANNEL", "probe": "--probe CHANNEL"}
"""How the command line names the channel of a role; other roles go by ``--role ROLE=CHANNEL``."""


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
    found = role_channels(slide, roles, entry.roles)
    _check_complete(slide, roles, found)
    regions = None if entry.regions is None else read_regions(entry.regions, slide.shape)
    return TrainingSlide(
        entry, slide, tuple(found[role] for role in settings.channels), found[settings.target], regions
    )


def role_channels(slide: Slide, roles: Sequence[str], given: Mapping[str, int | str]) -> dict[str, int]:
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


def _channel_list(slide: Slide) -> str:
    """Say which channels a slide has."""
    return ", ".join(f"{index} = {name}" for index, name in enumerate(slide.channel_names))


def _check_complete(slide: Slide, roles: Sequence[str], found: Mapping[str, int]) -> None:
    missing = [role for role in roles if role not in found]
    if missing:
        options = ", ".join(_OPTIONS.get(role, f"--role {role}=CHANNEL") for role in missing)
        msg = (
            f"{slide.source.name} has the channels {_channel_list(slide)}, and none is known to show "
            f"{' or '.join(missing)}; say which one does (on the command line with {options})."
        )
        raise TrainingError(msg)
    for role, channel in found.items():
        other = next((one for one, its in found.items() if its == channel and one != role), None)
        if other is not None:
            msg = (
                f"{slide.source.name} would give the channel {channel} = {slide.channel_names[channel]} to both {role} "
                f"and {other}, expected one for each; its channels are {_channel_list(slide)}."
            )
            raise TrainingError(msg)

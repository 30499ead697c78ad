"""Whether a slide fits a checkpoint: which channels it gets, and what is worth a warning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_hrpn.inference.errors import PredictionError
from napari_hrpn.slides import guess_roles

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from napari_hrpn.inference.settings import PredictionSettings
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.slides import Slide

_PIXEL_SIZE_TOLERANCE = 0.05
_INTENSITY_TOLERANCE = 2.0


def input_channels(slide: Slide, checkpoint: Checkpoint, roles: Mapping[str, int] | None = None) -> tuple[int, ...]:
    """Which channels of a slide the network gets.

    Parameters
    ----------
    slide : Slide
        Whose channels.
    checkpoint : Checkpoint
        Its card names the input roles.
    roles : mapping of str to int, optional
        Channels that the user chose, by role.

    Returns
    -------
    tuple of int
        One channel per input of the network.

    Raises
    ------
    PredictionError
        When a role has no channel, or two have the same.
    """
    guessed = guess_roles(slide.channel_names)
    found = {role: (roles or {}).get(role, getattr(guessed, role, None)) for role in checkpoint.card.input_roles}
    missing = [role for role, channel in found.items() if channel is None]
    there = ", ".join(slide.channel_names)
    if missing:
        msg = (
            f"{slide.source.name} has the channels {there}, and none is known to show {missing[0]}; say which one does."
        )
        raise PredictionError(msg)
    channels = tuple(channel for channel in found.values() if channel is not None)
    if len(set(channels)) < len(channels) or not all(0 <= channel < len(slide.channel_names) for channel in channels):
        msg = f"the inputs {', '.join(found)} got the channels {channels} of {there}; expected one for each."
        raise PredictionError(msg)
    return channels


def pixel_size_warnings(
    slide: Slide, checkpoint: Checkpoint, settings: PredictionSettings | None = None
) -> tuple[str, ...]:
    """Say in at most one sentence that a slide's pixels are not of the size trained on.

    Parameters
    ----------
    slide : Slide
        With its pixel size.
    checkpoint : Checkpoint
        With the pixel size it was trained on.
    settings : PredictionSettings, optional
        With resampling there is nothing to warn of.

    Returns
    -------
    tuple of str
        None or one.
    """
    trained = checkpoint.card.pixel_size_um
    if trained is None:
        return ()
    if slide.pixel_size_um is None:
        return (
            f"{slide.source.name} does not say its pixel size; the checkpoint was trained at {trained:g} µm per pixel, "
            "and at another the prediction means little.",
        )
    largest = max(abs(size / trained - 1) for size in slide.pixel_size_um)
    if largest <= _PIXEL_SIZE_TOLERANCE or (settings is not None and settings.resample):
        return ()
    size = slide.pixel_size_um[0]
    return (
        f"{slide.source.name} has pixels of {size:g} µm but the checkpoint was trained at {trained:g} µm: "
        "resample it, or the prediction means little.",
    )


def unknown_warnings(
    slide: Slide, channels: tuple[int, ...], unknown_px: tuple[int, ...], halo: int
) -> tuple[str, ...]:
    """Say in at most one sentence how many pixels of the predicted tiles are no grey levels."""
    found = [(slide.channel_names[c], count) for c, count in zip(channels, unknown_px, strict=False) if count]
    if not found:
        return ()
    told = " and ".join(f"{count:,} {'pixel' if count == 1 else 'pixels'} of {name}" for name, count in found)
    return (
        f"{slide.source.name}: {told} in the predicted tiles hold no number (NaN, infinite or beyond 1e12); the "
        "network was shown the channel's background there, so the prediction there is not known, and that up to "
        f"{halo} px around may be off.",
    )


def intensity_warnings(checkpoint: Checkpoint, percentiles: NDArray[np.float64]) -> tuple[str, ...]:
    """Say of each input that is far brighter or darker than what the checkpoint was trained on."""
    card = checkpoint.card
    if card.scaling.kind == "percentile" or not card.input_ranges:
        return ()
    sentences = []
    for role, (_, high), (_, trained) in zip(card.input_roles, percentiles, card.input_ranges, strict=True):
        if not trained / _INTENSITY_TOLERANCE <= high <= trained * _INTENSITY_TOLERANCE:
            sentences.append(
                f"bright {role} have grey level {high:.4g} but the checkpoint was trained with {trained:.4g}: "
                "expect a poor prediction, or train on slides like this one."
            )
    return tuple(sentences)

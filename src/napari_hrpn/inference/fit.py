"""Fit of a slide to a checkpoint: how far its stains are from those of the slides trained on.

Compared are seven quantiles of every input over the tissue, as the network is shown them. The unit is the largest
distance of a training slide to the nearest other one, so that 1 is what the training itself has seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from napari_hrpn.analysis import tissue_percentiles
from napari_hrpn.analysis.tissue.vessel_distance import with_distance
from napari_hrpn.core.errors import PredictionError
from napari_hrpn.settings import DISTANCE, VESSELS
from napari_hrpn.settings.trained_network import stains_of
from napari_hrpn.slides import guess_roles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.models import IntensityScaling, ModelCard
    from napari_hrpn.settings.vessel_distance import VesselDistance
    from napari_hrpn.slides import RegionMask, Slide

_Levels = TypeVar("_Levels", np.float32, np.float64)
QUANTILES = (1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0)
"""In per cent, from darkest to brightest."""
NOTED, WARNED = 1.0, 2.0
_LEVELS = ("unknown", "fits", "note", "warning")
_ROUNDED = 4
_MOST_SHOWN = 1000
_LEAST_UNIT = 0.01
"""Slides trained on that are nearly equal say little about how far slides may differ."""


@dataclass(frozen=True)
class Fit:
    """How far a slide is from the slides of a training.

    Attributes
    ----------
    distance : float or None
        Root mean square difference of the quantiles to those of the nearest training slide, in units of the largest
        such distance among the training slides; None if the checkpoint has no quantiles, or those of one slide.
    level : {"fits", "note", "warning", "unknown"}
        Up to 1, 1 to 2, above 2, or not known.
    sentence : str
        The same in words, with the reason.
    """

    distance: float | None
    level: Literal["fits", "note", "warning", "unknown"]
    sentence: str


def furthest(fits: Iterable[Fit]) -> Fit:
    """The fit of several that says most against a slide."""
    return max(fits, key=lambda fit: (_LEVELS.index(fit.level), fit.distance or 0))


def input_channels(slide: Slide, card: ModelCard, roles: Mapping[str, int] | None) -> tuple[int, ...]:
    """Channels of a slide that are the stains a network takes, in its order."""
    guessed = guess_roles(slide.channel_names)
    chosen = {role: (roles or {}).get(role, getattr(guessed, role, None)) for role in card.stains}
    missing = [role for role, channel in chosen.items() if channel is None]
    listed = ", ".join(slide.channel_names)
    if missing:
        msg = (
            f"{slide.source.name} has the channels {listed}, and none is known to show {missing[0]}; say which one "
            "does."
        )
        raise PredictionError(msg)
    channels = tuple(channel for channel in chosen.values() if channel is not None)
    if len(set(channels)) < len(channels) or not all(0 <= channel < len(slide.channel_names) for channel in channels):
        msg = f"the inputs {', '.join(chosen)} got the channels {channels} of {listed}; expected one for each."
        raise PredictionError(msg)
    return channels


def with_derived(card: ModelCard, by_stain: NDArray[_Levels]) -> NDArray[_Levels]:
    """Add the row of the distance to vessels, which is the same on every slide, to rows of the stains.

    Rows of two numbers are a low and a high percentile; a single number is the level of glass, far from all vessels.
    """
    if card.distance is None:
        return by_stain
    row = np.array([0, card.distance.steps], by_stain.dtype)[-1 if by_stain.ndim == 1 else slice(None)]
    return np.insert(by_stain, card.input_roles.index(DISTANCE), row, axis=0)


def input_quantiles(
    stains: Slide,
    roles: Sequence[str],
    tissue: RegionMask,
    scaling: IntensityScaling,
    distance: VesselDistance | None,
    assumed_um: float | None = None,
) -> NDArray[np.float64]:
    """Quantiles of every input over the tissue, in the network's numbers; shape (inputs, 7)."""
    return scaled_levels(input_levels(stains, roles, tissue, scaling.reference_um, distance, assumed_um), scaling)


def input_levels(
    stains: Slide,
    roles: Sequence[str],
    tissue: RegionMask,
    reference_um: float,
    distance: VesselDistance | None,
    assumed_um: float | None = None,
) -> NDArray[np.float64]:
    """Quantiles of every input over the tissue, in grey levels; shape (inputs, 7).

    The channels of the slide are the stains among the roles, in their order. A slide without a pixel size is taken to
    have the assumed one where a distance is counted.
    """
    order = list(range(len(stains.channel_names)))
    if distance is not None:
        stains = with_distance(stains, stains_of(roles).index(VESSELS), 0, distance, assumed_um=assumed_um)
        order.insert(list(roles).index(DISTANCE), len(order))
    return tissue_percentiles(stains, order, tissue, QUANTILES, reference_um)


def scaled_levels(levels: NDArray[np.float64], scaling: IntensityScaling) -> NDArray[np.float64]:
    """Levels of shape (inputs, n) in the network's numbers."""
    return np.asarray((levels - np.array(scaling.offsets)[:, None]) / np.array(scaling.scales)[:, None])


def kept_quantiles(quantiles: Sequence[NDArray[np.float64]]) -> tuple[tuple[tuple[float, ...], ...], ...]:
    """Quantiles of several slides for a model card; what is not known is left out."""
    known = [slide for slide in quantiles if np.isfinite(slide).all()]
    return tuple(tuple(tuple(map(float, row.round(_ROUNDED))) for row in slide) for slide in known)


def fit_of(card: ModelCard, quantiles: NDArray[np.float64], name: str) -> Fit:
    """Compare the quantiles of a slide with those of a card."""
    trained = np.array(card.input_quantiles)
    if not len(trained) or not np.isfinite(quantiles).all():
        sentence = f"how well {name} fits is not known: the checkpoint has no quantiles of its slides."
        return Fit(None, "unknown", sentence)
    distances = _distances(trained, quantiles)
    nearest = float(distances.min())
    if len(trained) == 1:
        return Fit(
            None,
            "note",
            f"the checkpoint was trained on one slide, so how far slides may differ from it is not known; {name} "
            f"differs from it by {_level_words(nearest)} of its range from dark to bright.",
        )
    others = [_distances(np.delete(trained, index, 0), slide).min() for index, slide in enumerate(trained)]
    ratio = nearest / max(*others, _LEAST_UNIT)
    if ratio <= NOTED:
        return Fit(ratio, "fits", f"{name} is like the slides trained on ({ratio:.1f} of their own differences).")
    reason = _reason(card, trained, quantiles)
    if ratio <= WARNED:
        how_much = comparison(ratio, "much", "more")
        sentence = f"{name} differs {how_much} the slides trained on do among themselves: {reason}."
        return Fit(ratio, "note", sentence)
    return Fit(
        ratio,
        "warning",
        f"{name} is unlike the slides trained on, by {_ratio_words(ratio)} times their own differences: {reason}; "
        "expect a poor prediction, or train on slides like this one.",
    )


def comparison(ratio: float, positive: str, comparative: str) -> str:
    """Ratio above 1 in words: 1.5 times as much as, or a little more than."""
    shown = _ratio_words(ratio)
    return f"a little {comparative} than" if shown == "1.0" else f"{shown} times as {positive} as"


def _ratio_words(ratio: float) -> str:
    # images of floating point may have levels of any size, of which thirty digits would say nothing
    return f"{ratio:.1f}" if ratio < _MOST_SHOWN else f"more than {_MOST_SHOWN:,}"


def _level_words(level: float) -> str:
    return f"{level:.2f}" if abs(level) < _MOST_SHOWN else f"{level:.3g}"


def _distances(trained: NDArray[np.float64], quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.mean((trained - quantiles) ** 2, axis=(1, 2))))


def _reason(card: ModelCard, trained: NDArray[np.float64], quantiles: NDArray[np.float64]) -> str:
    """Name the quantile that lies furthest outside of those of the slides trained on."""
    low, high = trained.min(axis=0), trained.max(axis=0)
    outside = np.maximum(low - quantiles, quantiles - high)
    # no quantile may be outside although all together are far from any one slide
    middle = np.abs(quantiles - np.median(trained, axis=0))
    index, which = np.unravel_index(np.argmax(outside if outside.max() > 0 else middle), outside.shape)
    what = "distance to vessels" if card.input_roles[index] == DISTANCE else card.input_roles[index]
    return (
        f"percentile {QUANTILES[which]:g} of {what} is {_level_words(quantiles[index, which])} in the network's "
        f"numbers, {low[index, which]:.2f} to {high[index, which]:.2f} in the training"
    )

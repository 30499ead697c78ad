"""Scaling of a slide's inputs by the percentiles of its tissue, its fit, and the answer to glass, for each network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis.tissue.intensity import tissue_percentiles
from napari_hrpn.analysis.tissue.tissue_mask import tissue_mask
from napari_hrpn.core.errors import PredictionError
from napari_hrpn.inference.ensemble import checked_members, mean_and_sd, with_error_model
from napari_hrpn.inference.fit import fit_of, furthest, input_channels, input_levels, scaled_levels, with_derived
from napari_hrpn.slides import glance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_hrpn.analysis import ErrorModel
    from napari_hrpn.inference.fit import Fit
    from napari_hrpn.inference.predictor import Predictor
    from napari_hrpn.models import Checkpoint, IntensityScaling, ModelCard
    from napari_hrpn.slides import RegionMask, Slide


def scalings_for(
    stains: Slide, members: Sequence[Checkpoint], tissue: RegionMask
) -> tuple[tuple[IntensityScaling, ...], NDArray[np.float64]]:
    """Scaling of each member for this slide, and the percentiles that the first one measures."""
    percentiles = _percentiles_for(stains, members, tissue)
    found = [_scaling_for(stains, member, levels) for member, levels in zip(members, percentiles, strict=True)]
    return tuple(scaling for scaling, _ in found), found[0][1]


def _percentiles_for(stains: Slide, members: Sequence[Checkpoint], tissue: RegionMask) -> list[NDArray[np.float64]]:
    """Low and high percentile of each stain, for each member."""

    @cache
    def measured(low: float, high: float, reference_um: float) -> NDArray[np.float64]:
        """Percentiles of the stains, measured once for all members that scale alike."""
        channels = range(len(stains.channel_names))
        return tissue_percentiles(stains, channels, tissue, (low, high), reference_um)

    kinds = [member.card.scaling for member in members]
    return [measured(kind.low_percentile, kind.high_percentile, kind.reference_um) for kind in kinds]


def _scaling_for(
    stains: Slide, checkpoint: Checkpoint, percentiles: NDArray[np.float64]
) -> tuple[IntensityScaling, NDArray[np.float64]]:
    scaling, names = checkpoint.card.scaling, stains.channel_names
    unknown = [name for name, (low, _) in zip(names, percentiles, strict=True) if np.isnan(low)]
    if unknown:
        msg = (
            f"channel {unknown[0]} of {stains.source.name} holds no number in the tissue (all are NaN, infinite "
            "or beyond 1e12); expected an image of a stain."
        )
        raise PredictionError(msg)
    flat = [name for name, (low, high) in zip(names, percentiles, strict=True) if high <= low]
    if flat and scaling.kind == "percentile":
        msg = f"channel {flat[0]} of {stains.source.name} is the same everywhere; expected an image of a stain."
        raise PredictionError(msg)
    return _of_slide(checkpoint.card, percentiles), with_derived(checkpoint.card, percentiles)


def _of_slide(card: ModelCard, percentiles: NDArray[np.float64]) -> IntensityScaling:
    """Scaling of a checkpoint, fixed to the percentiles of a slide if it measures them on every slide."""
    if card.scaling.kind == "fixed":
        return card.scaling
    low, high = (tuple(side.tolist()) for side in with_derived(card, percentiles).T)
    return card.scaling.fixed_to(low, high)


def slide_ranges(
    slide: Slide, checkpoint: Checkpoint, roles: Mapping[str, int] | None = None
) -> tuple[tuple[float, float], ...]:
    """Grey levels of one slide between which a checkpoint scales each of its inputs."""
    stains = glance(slide, input_channels(slide, checkpoint.card, roles), checkpoint.card.scaling.reference_um)
    _, percentiles = scalings_for(stains, [checkpoint], tissue_mask(stains, 0))
    return tuple((float(low), float(high)) for low, high in percentiles)


def slide_fit(
    slide: Slide, checkpoint: Checkpoint | Sequence[Checkpoint], roles: Mapping[str, int] | None = None
) -> Fit:
    """Compare a slide with the slides that a checkpoint was trained on.

    Parameters
    ----------
    slide : Slide
        The slide; a coarse level is read.
    checkpoint : Checkpoint or sequence of Checkpoint
        Its card has the quantiles of the slides trained on. Of the members of an ensemble, the one counts whose
        training the slide is least like.
    roles : mapping of str to int, optional
        Channel of an input stain; by default guessed from the names.

    Returns
    -------
    Fit
        Distance and a sentence.

    Raises
    ------
    PredictionError
        If the channel of an input is not known, or the checkpoints are no ensemble.
    SlideError
        If the slide cannot be read.
    """
    members = checked_members(checkpoint if isinstance(checkpoint, Sequence) else (checkpoint,))
    card = members[0].card
    stains = glance(slide, input_channels(slide, card, roles), card.scaling.reference_um)
    tissue = tissue_mask(stains, 0)
    percentiles = _percentiles_for(stains, members, tissue)
    scalings = [_of_slide(member.card, levels) for member, levels in zip(members, percentiles, strict=True)]
    return furthest_fit(slide, stains, members, scalings, tissue)


def furthest_fit(
    slide: Slide,
    stains: Slide,
    members: Sequence[Checkpoint],
    scalings: Sequence[IntensityScaling],
    tissue: RegionMask,
) -> Fit:
    """Fit of the slide to the member whose training it is least like."""

    @cache
    def measured(reference_um: float) -> NDArray[np.float64]:
        """Quantiles of the inputs in grey levels, measured once for all members."""
        card = members[0].card
        return input_levels(stains, card.input_roles, tissue, reference_um, card.distance, card.pixel_size_um)

    return furthest(
        fit_of(member.card, scaled_levels(measured(scaling.reference_um), scaling), slide.source.name)
        for member, scaling in zip(members, scalings, strict=True)
    )


def background_answer(
    predictors: Sequence[Predictor],
    scalings: Sequence[IntensityScaling],
    levels: NDArray[np.float32] | None,
    errors: ErrorModel | None = None,
) -> tuple[float, ...]:
    """What the networks predict where every pixel is background: the grey level, or mean and standard deviation."""
    if levels is None:
        return (0.0,) * (1 if len(predictors) == 1 and errors is None else 2)
    answers = [
        np.full((1, 1), _answer_to(predictor, scaling, levels), np.float32)
        for predictor, scaling in zip(predictors, scalings, strict=True)
    ]
    answer = answers[0][None] if len(answers) == 1 else mean_and_sd(answers)
    return tuple(with_error_model(answer, errors).ravel().tolist())


def _answer_to(predictor: Predictor, scaling: IntensityScaling, levels: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled = scaling.scale_inputs(levels[:, None, None])[:, 0, 0]
    return scaling.unscale_output(np.array(predictor.answer_to(scaled), np.float32))

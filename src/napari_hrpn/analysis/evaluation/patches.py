"""Real and predicted channels patch by patch: violins, heterogeneity, and agreement with the patch as the unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis.anderson_darling import AndersonDarling, anderson_darling_permutation
from napari_hrpn.analysis.evaluation.pixels import shares
from napari_hrpn.analysis.heterogeneity import Heterogeneity, slide_heterogeneity
from napari_hrpn.analysis.icc import IntraclassCorrelation, icc
from napari_hrpn.analysis.level_strips import LevelChannel, grey_threshold

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_hrpn.analysis.evaluation.settings import EvaluationSettings, SlideComparison
    from napari_hrpn.slides import Slide

LEAST_PATCHES = 4
PIXEL_UM, SMOOTHING_UM = 1.1, 0.7


@dataclass(frozen=True, eq=False)
class PatchAgreement:
    """A prediction against the real channel with the patch as the unit.

    Attributes
    ----------
    name : str
        Of the prediction.
    heterogeneity : Heterogeneity
        Of its one channel, on the same patches and from the same grey level as the real one.
    icc : IntraclassCorrelation
        Over the mean grey levels of patches with enough tissue.
    test : AndersonDarling or None
        Of the same means, with a p-value from exchanging patches; None for too few.
    """

    name: str
    heterogeneity: Heterogeneity
    icc: IntraclassCorrelation
    test: AndersonDarling | None


@dataclass(frozen=True, eq=False)
class PatchFindings:
    """A slide and its predictions patch by patch.

    Attributes
    ----------
    channels : tuple of str
        Names of the channels of the real slide that were measured.
    roles : tuple of str
        What each of them shows: "nuclei", "vessels" or "probe".
    thresholds : tuple of float or None
        Grey level from which a pixel of each is covered; None where pixels have no size in µm.
    heterogeneity : Heterogeneity
        Of these channels.
    predictions : tuple of PatchAgreement
        Of each prediction.
    """

    channels: tuple[str, ...]
    roles: tuple[str, ...]
    thresholds: tuple[float, ...] | None
    heterogeneity: Heterogeneity
    predictions: tuple[PatchAgreement, ...]


def patch_findings(comparison: SlideComparison, settings: EvaluationSettings) -> Generator[float, None, PatchFindings]:
    """Measure the patches of a slide and of its predictions.

    Parameters
    ----------
    comparison : SlideComparison
        What is compared.
    settings : EvaluationSettings
        Patches and permutations.

    Yields
    ------
    float
        Share that is done, 0 to 1.

    Returns
    -------
    PatchFindings
        Numbers of each patch, and their spread.
    """
    named = _channels(comparison)
    thresholds = yield from _thresholds(comparison, tuple(named.values()))
    step = 0.9 / (1 + len(comparison.predictions))
    real = yield from _measured(
        comparison, settings, comparison.real.slide, tuple(named.values()), thresholds, (0.1, 0.1 + step)
    )
    predictions = []
    for index, prediction in enumerate(comparison.predictions, start=1):
        # the same grey level for the prediction as for the real channel, which is the last one
        own = None if thresholds is None else thresholds[-1:]
        span = 0.1 + index * step, 0.1 + (index + 1) * step
        measured = yield from _measured(comparison, settings, prediction.slide, (prediction.channel,), own, span)
        predictions.append(_agreement(prediction.name, real, measured, settings))
    names = tuple(comparison.real.slide.channel_names[channel] for channel in named.values())
    return PatchFindings(names, tuple(named), thresholds, real, tuple(predictions))


def _thresholds(
    comparison: SlideComparison, channels: tuple[int, ...]
) -> Generator[float, None, tuple[float, ...] | None]:
    slide = comparison.real.slide
    if slide.pixel_size_um is None:
        return None
    found = []
    for index, channel in enumerate(channels):
        image = LevelChannel(slide, channel, slide.level_for(PIXEL_UM), SMOOTHING_UM)
        span = 0.1 * index / len(channels), 0.1 * (index + 1) / len(channels)
        found.append((yield from shares(grey_threshold(image, comparison.tissue, None), *span)))
    return tuple(found)


def _measured(
    comparison: SlideComparison,
    settings: EvaluationSettings,
    slide: Slide,
    channels: tuple[int, ...],
    thresholds: tuple[float, ...] | None,
    span: tuple[float, float],
) -> Generator[float, None, Heterogeneity]:
    steps = slide_heterogeneity(
        slide,
        channels,
        comparison.tissue,
        patch_px=settings.patch_of(slide.shape),
        thresholds=thresholds,
        permutations=settings.permutations,
        seed=settings.seed,
    )
    found: Heterogeneity = yield from shares(steps, *span)
    return found


def _agreement(
    name: str, real: Heterogeneity, predicted: Heterogeneity, settings: EvaluationSettings
) -> PatchAgreement:
    means = np.stack([found.means[-1][real.enough] for found in (real, predicted)], axis=1)
    test = None
    if len(means) >= LEAST_PATCHES:
        units = [[[mean] for mean in column] for column in means.T]
        test = anderson_darling_permutation(units, paired=True, permutations=settings.permutations, seed=settings.seed)
    return PatchAgreement(name, predicted, icc(means, settings.confidence), test)


def _channels(comparison: SlideComparison) -> dict[str, int]:
    """Channels by what they show, the probe last."""
    roles = {"nuclei": comparison.roles.nuclei, "vessels": comparison.roles.vessels}
    found = {role: channel for role, channel in roles.items() if channel not in (None, comparison.real.channel)}
    return {
        **{role: channel for role, channel in found.items() if channel is not None},
        "probe": comparison.real.channel,
    }

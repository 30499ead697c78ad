"""Patch statistics of an evaluation: distributions over patches, heterogeneity, and agreement patch by patch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis.counts.blocks import patch_blocks
from napari_hrpn.analysis.evaluation.slide_comparison import shares
from napari_hrpn.analysis.statistics.anderson_darling import AndersonDarling, anderson_darling_permutation
from napari_hrpn.analysis.statistics.heterogeneity import Heterogeneity, PatchCounter, heterogeneity
from napari_hrpn.analysis.statistics.icc import icc_over_blocks
from napari_hrpn.analysis.tissue.strip_filter import LevelChannel, grey_threshold

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import dask.array as da

    from napari_hrpn.analysis.evaluation.slide_comparison import SlideComparison
    from napari_hrpn.analysis.statistics.icc import IntraclassCorrelation
    from napari_hrpn.settings import EvaluationSettings

_PATCHES = "patches"
_LEAST_PATCHES = 4
_PIXEL_UM, _SMOOTHING_UM = 1.1, 0.7


@dataclass(frozen=True, eq=False)
class PatchAgreement:
    """Agreement of a prediction with the real channel, with the patch as the unit.

    Attributes
    ----------
    name : str
        Name of the prediction.
    heterogeneity : Heterogeneity
        Heterogeneity of the predicted channel, on the same patches and with the same threshold as the real one.
    icc : IntraclassCorrelation
        ICC over the mean grey levels of patches with enough tissue. If patches are correlated, its intervals come
        from blocks of patches, or are missing if blocks are too few.
    test : AndersonDarling or None
        Test of the same means; its p-value comes from exchanging patches, or blocks of correlated patches. None for
        too few patches.
    """

    name: str
    heterogeneity: Heterogeneity
    icc: IntraclassCorrelation
    test: AndersonDarling | None


@dataclass(frozen=True, eq=False)
class PatchFindings:
    """Patch statistics of a slide and its predictions.

    Attributes
    ----------
    channels : tuple of str
        Names of the channels of the real slide that were measured.
    roles : tuple of str
        Role of each of them: "nuclei", "vessels" or "probe".
    thresholds : tuple of float or None
        Grey level of each from which a pixel counts as covered; None if the slide has no pixel size.
    heterogeneity : Heterogeneity
        Heterogeneity of these channels.
    predictions : tuple of PatchAgreement
        Agreement of each prediction.
    minimum_tissue : float
        Smallest share of tissue with which a patch counts.
    """

    channels: tuple[str, ...]
    roles: tuple[str, ...]
    thresholds: tuple[float, ...] | None
    heterogeneity: Heterogeneity
    predictions: tuple[PatchAgreement, ...]
    minimum_tissue: float = 0.5


class PatchesPart:
    """Part of an evaluation that measures patches."""

    name = _PATCHES

    def __init__(self, comparison: SlideComparison, settings: EvaluationSettings) -> None:
        self._comparison, self._settings = comparison, settings
        self._roles = _channels(comparison)
        real = comparison.real.slide
        self._images = [
            [real.levels[0][channel] for channel in self._roles.values()],
            *([image.slide.levels[0][image.channel]] for image in comparison.predictions),
        ]
        self._thresholds: tuple[float, ...] | None = None
        self._counters: list[PatchCounter] = []

    @property
    def channels(self) -> list[da.Array]:
        """Channels of nuclei, vessels and probe, and of the predictions."""
        return [channel for image in self._images for channel in image]

    def begin(self) -> Generator[float, None, None]:
        """Find the grey level of each channel from which a pixel counts as covered."""
        slide, thresholds = self._comparison.real.slide, []
        if slide.pixel_size_um is None:
            return
        number = len(self._roles)
        for index, channel in enumerate(self._roles.values()):
            image = LevelChannel(slide, channel, slide.level_for(_PIXEL_UM), _SMOOTHING_UM)
            steps = grey_threshold(image, self._comparison.tissue, None)
            thresholds.append((yield from shares(steps, index / number, (index + 1) / number)))
        self._thresholds = tuple(thresholds)

    def ranges(self) -> Sequence[PatchCounter]:
        """Return no counters: sums over patches need no range of grey levels."""
        return []

    def counters(self) -> Sequence[PatchCounter]:
        """Return a counter for the slide and one for each prediction."""
        patch_px = self._settings.patch_of(self._comparison.real.slide.shape)
        # a prediction has the threshold of the real probe channel, which is the last one
        probe_threshold = None if self._thresholds is None else self._thresholds[-1:]
        levels = [self._thresholds, *([probe_threshold] * len(self._comparison.predictions))]
        self._counters = [
            PatchCounter(image, self._comparison.tissue, patch_px, thresholds, self._comparison.finished)
            for image, thresholds in zip(self._images, levels, strict=True)
        ]
        return self._counters

    def finish(self) -> Generator[float, None, PatchFindings]:
        """Compute heterogeneity over the patches, and the agreement of each prediction."""
        slide, predictions = self._comparison.real.slide, self._comparison.predictions
        names = tuple(slide.channel_names[channel] for channel in self._roles.values())
        real = self._heterogeneity(self._counters[0], names)
        agreements: list[PatchAgreement] = []
        for counter, prediction in zip(self._counters[1:], predictions, strict=True):
            yield (1 + len(agreements)) / len(self._counters)
            predicted = self._heterogeneity(counter, [prediction.slide.channel_names[prediction.channel]])
            agreements.append(_agreement(prediction.name, real, predicted, self._settings))
        return PatchFindings(
            names, tuple(self._roles), self._thresholds, real, tuple(agreements), self._settings.minimum_tissue
        )

    def _heterogeneity(self, counter: PatchCounter, names: Sequence[str]) -> Heterogeneity:
        settings = self._settings
        return heterogeneity(
            counter.sums,
            names,
            minimum_tissue=settings.minimum_tissue,
            permutations=settings.permutations,
            seed=settings.seed,
        )


def _agreement(
    name: str, real: Heterogeneity, predicted: Heterogeneity, settings: EvaluationSettings
) -> PatchAgreement:
    maps = [found.means[-1] for found in (real, predicted)]
    means = np.stack([patch_means[real.enough] for patch_means in maps], axis=1)
    difference = maps[0] - maps[1]
    test = None
    if len(means) >= _LEAST_PATCHES:
        # the test exchanges real and predicted patches, so the correlation of their differences decides the blocks
        test = anderson_darling_permutation(
            [[[mean] for mean in column] for column in means.T],
            paired=True,
            permutations=settings.permutations,
            seed=settings.seed,
            blocks=patch_blocks([difference], real.enough),
        )
    agreement = icc_over_blocks(
        means,
        patch_blocks([maps[0] + maps[1], difference], real.enough),
        resamples=settings.resamples,
        confidence=settings.confidence,
        seed=settings.seed,
    )
    return PatchAgreement(name, predicted, agreement, test)


def _channels(comparison: SlideComparison) -> dict[str, int]:
    """Channels by their role, the probe last."""
    roles = {"nuclei": comparison.roles.nuclei, "vessels": comparison.roles.vessels}
    others = {role: channel for role, channel in roles.items() if channel not in (None, comparison.real.channel)}
    return {
        **{role: channel for role, channel in others.items() if channel is not None},
        "probe": comparison.real.channel,
    }

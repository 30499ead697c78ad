"""Patch statistics of an evaluation: violins, heterogeneity, and agreement with the patch as the unit."""

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
    """A prediction against the real channel with the patch as the unit.

    Attributes
    ----------
    name : str
        Of the prediction.
    heterogeneity : Heterogeneity
        Of its one channel, on the same patches and from the same grey level as the real one.
    icc : IntraclassCorrelation
        Over the mean grey levels of patches with enough tissue; of patches that depend on each other with intervals
        from blocks of them, or without.
    test : AndersonDarling or None
        Of the same means, with a p-value from exchanging patches, or blocks of them where they depend on each other;
        None for too few.
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
    minimum_tissue : float
        Share of a patch that had to be tissue for it to count.
    """

    channels: tuple[str, ...]
    roles: tuple[str, ...]
    thresholds: tuple[float, ...] | None
    heterogeneity: Heterogeneity
    predictions: tuple[PatchAgreement, ...]
    minimum_tissue: float = 0.5


class PatchesPart:
    """A slide and its predictions patch by patch."""

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
        """Nuclei, vessels and probe, and the predictions."""
        return [channel for image in self._images for channel in image]

    def begin(self) -> Generator[float, None, None]:
        """Find the grey level from which a pixel of each channel is covered."""
        slide, found = self._comparison.real.slide, []
        if slide.pixel_size_um is None:
            return
        number = len(self._roles)
        for index, channel in enumerate(self._roles.values()):
            image = LevelChannel(slide, channel, slide.level_for(_PIXEL_UM), _SMOOTHING_UM)
            steps = grey_threshold(image, self._comparison.tissue, None)
            found.append((yield from shares(steps, index / number, (index + 1) / number)))
        self._thresholds = tuple(found)

    def ranges(self) -> Sequence[PatchCounter]:
        """None is needed."""
        return []

    def counters(self) -> Sequence[PatchCounter]:
        """One for the slide and one for each prediction."""
        patch_px = self._settings.patch_of(self._comparison.real.slide.shape)
        # the same grey level for a prediction as for the real channel, which is the last one
        own = None if self._thresholds is None else self._thresholds[-1:]
        levels = [self._thresholds, *([own] * len(self._comparison.predictions))]
        self._counters = [
            PatchCounter(image, self._comparison.tissue, patch_px, thresholds, self._comparison.finished)
            for image, thresholds in zip(self._images, levels, strict=True)
        ]
        return self._counters

    def finish(self) -> Generator[float, None, PatchFindings]:
        """Spread over the patches, and agreement of each prediction."""
        slide, predictions = self._comparison.real.slide, self._comparison.predictions
        names = tuple(slide.channel_names[channel] for channel in self._roles.values())
        real = self._heterogeneity(self._counters[0], names)
        agreements: list[PatchAgreement] = []
        for counter, prediction in zip(self._counters[1:], predictions, strict=True):
            yield (1 + len(agreements)) / len(self._counters)
            own = self._heterogeneity(counter, [prediction.slide.channel_names[prediction.channel]])
            agreements.append(_agreement(prediction.name, real, own, self._settings))
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
    means = np.stack([own[real.enough] for own in maps], axis=1)
    apart = maps[0] - maps[1]
    test = None
    if len(means) >= _LEAST_PATCHES:
        # exchanged are real and predicted: the dependence of their differences matters
        test = anderson_darling_permutation(
            [[[mean] for mean in column] for column in means.T],
            paired=True,
            permutations=settings.permutations,
            seed=settings.seed,
            blocks=patch_blocks([apart], real.enough),
        )
    agreement = icc_over_blocks(
        means,
        patch_blocks([maps[0] + maps[1], apart], real.enough),
        resamples=settings.resamples,
        confidence=settings.confidence,
        seed=settings.seed,
    )
    return PatchAgreement(name, predicted, agreement, test)


def _channels(comparison: SlideComparison) -> dict[str, int]:
    """Channels by what they show, the probe last."""
    roles = {"nuclei": comparison.roles.nuclei, "vessels": comparison.roles.vessels}
    found = {role: channel for role, channel in roles.items() if channel not in (None, comparison.real.channel)}
    return {
        **{role: channel for role, channel in found.items() if channel is not None},
        "probe": comparison.real.channel,
    }

"""Calibration of a prediction by the regions in which the probe was imaged, counted block by block."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis.counts.intensity_histogram import ValueCounts, value_counts
from napari_hrpn.analysis.counts.moments import AgreementSums, update
from napari_hrpn.analysis.scan.block_scan import BlockCounter, PixelBlock, check_sizes, count_blocks
from napari_hrpn.analysis.scan.pair_counters import PairRange, scan_pairs
from napari_hrpn.analysis.statistics.calibration import CalibrationLine, calibration_line, check_number
from napari_hrpn.core import Box, Progress
from napari_hrpn.core.errors import AnalysisError
from napari_hrpn.slides import slide_fingerprint, slide_identity

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import dask.array as da

    from napari_hrpn.analysis.counts.intensity_histogram import ValueBins
    from napari_hrpn.analysis.tissue.slide_penetration import ProbeImage
    from napari_hrpn.slides import Annotation, Region, RegionMask

    Counted = tuple[dict[int, AgreementSums], ValueCounts, ValueCounts]

_LEAST_COVERED = 0.5
_ENDS = 5, 95
IMAGE_FACTS = "name", "channel", "identity", "fingerprint"


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration of a prediction of one slide.

    Attributes
    ----------
    line : CalibrationLine
        The line, with its shrinkage and its R2 in regions that are left out.
    regions : tuple of Annotation
        The regions that it was fitted in.
    pixels : tuple of int
        Number of pixels in each.
    regions_range, tissue_range : tuple of float
        5th and 95th percentile of the predicted grey levels, in the regions and on the tissue.
    slide, prediction : dict
        Name, channel, identity and fingerprint of both images.
    version : str
        Version of this package that fitted it.
    """

    line: CalibrationLine
    regions: tuple[Annotation, ...]
    pixels: tuple[int, ...]
    regions_range: tuple[float, float]
    tissue_range: tuple[float, float]
    slide: dict[str, str]
    prediction: dict[str, str]
    version: str

    @property
    def covered(self) -> float:
        """Share of the tissue's range that the regions cover, 0 to 1."""
        common = min(self.regions_range[1], self.tissue_range[1]) - max(self.regions_range[0], self.tissue_range[0])
        length = self.tissue_range[1] - self.tissue_range[0]
        return max(common, 0.0) / length if length > 0 else 0.0


def calibrate_prediction(
    real: ProbeImage, prediction: ProbeImage, regions: Sequence[Region], tissue: RegionMask | None = None
) -> Generator[Progress, None, Calibration]:
    """Fit real = offset + slope x predicted in the regions in which the probe was imaged.

    The rest of the real channel is not used. See `analysis/statistics/calibration.py` for the fit and its shrinkage.

    Parameters
    ----------
    real, prediction : ProbeImage
        The imaged channel and its prediction.
    regions : sequence of Region
        Three regions or more that do not overlap.
    tissue : RegionMask, optional
        Tissue, over which the range of the prediction is taken; the whole slide if not given.

    Yields
    ------
    Progress
        After each block.

    Returns
    -------
    Calibration
        The fitted line, and where it comes from.

    Raises
    ------
    AnalysisError
        If regions overlap, are fewer than three, or cover less than half of the range of the prediction on the
        tissue, or if R2 of regions that are left out does not rise to above 0.
    SlideError
        If a slide cannot be read.
    """
    check_number(len(regions))
    check_sizes(real.slide, prediction.slide, [] if tissue is None else [tissue])
    if (finished := prediction.slide.finished) is not None:
        msg = (
            f"{prediction.slide.source.name} has {finished.number} of {finished.total} tiles; expected a complete "
            "prediction: finish it first."
        )
        raise AnalysisError(msg)
    channels = real.slide.levels[0][real.channel], prediction.slide.levels[0][prediction.channel]
    predicted = PairRange((channels[1], channels[1]))
    (counter,) = yield from scan_pairs(
        [predicted],
        lambda: [_Counter(channels, predicted.bins, regions, tissue)],
        lambda counters: count_blocks(channels, counters),
    )
    found = [index for index in range(len(regions)) if counter.sums[index].n]
    line = calibration_line([counter.sums[index] for index in found])
    inside, everywhere = (values.percentile(_ENDS).tolist() for values in counter.values)
    calibration = Calibration(
        line,
        tuple(regions[index].outlined() for index in found),
        tuple(counter.sums[index].n for index in found),
        (inside[0], inside[1]),
        (everywhere[0], everywhere[1]),
        _image_facts(real),
        _image_facts(prediction),
        version("napari-hrpn"),
    )
    _check_range(calibration)
    return calibration


def _image_facts(image: ProbeImage) -> dict[str, str]:
    slide = image.slide
    channel = slide.channel_names[image.channel]
    found = slide.source.name, channel, slide_identity(slide), slide_fingerprint(slide)
    return dict(zip(IMAGE_FACTS, found, strict=True))


def _check_range(found: Calibration) -> None:
    if found.covered < _LEAST_COVERED:
        regions, tissue = (f"{low:.4g} to {high:.4g}" for low, high in (found.regions_range, found.tissue_range))
        msg = (
            f"the prediction is {regions} in the regions and {tissue} on the tissue (5th to 95th percentile), so the "
            f"regions cover {found.covered:.0%} of its range; expected {_LEAST_COVERED:.0%} or more: draw regions in "
            "darker or brighter places too."
        )
        raise AnalysisError(msg)


class _Counter(BlockCounter["Counted"]):
    """Counter of the pixel pairs of each region, and of the predicted grey levels in all regions and on the tissue."""

    def __init__(
        self, channels: tuple[da.Array, da.Array], bins: ValueBins, rois: Sequence[Region], tissue: RegionMask | None
    ) -> None:
        self._channels, self._bins, self._rois, self._tissue = channels, bins, rois, tissue
        height, width = channels[0].shape
        self._boxes = [roi.bounds((height, width)) for roi in rois]
        self.sums = [AgreementSums()] * len(rois)
        nothing = value_counts(np.empty(0, channels[1].dtype), None, bins)
        self.values = nothing, nothing

    def count(self, block: PixelBlock) -> Counted:
        """Count a block; the real channel is read only where a region is."""
        predicted = block.pixels(self._channels[1])
        owners, sums = np.zeros(block.shape, np.intp), dict[int, AgreementSums]()
        (y, x), whole = block.origin, Box(block.rows.start, block.rows.stop, block.columns.start, block.columns.stop)
        for index, box in enumerate(self._boxes):
            part = box.intersection(whole)
            if not part.area:
                continue
            within = np.s_[part.y0 - y : part.y1 - y, part.x0 - x : part.x1 - x]
            inside = self._rois[index].within(*part.slices)
            if (taken := owners[within][inside]).any():
                raise AnalysisError(self._overlap_words(int(taken.max()) - 1, index))
            owners[within][inside] = 1 + index
            real = block.pixels(self._channels[0])[within]
            sums[index] = update(AgreementSums(), real, predicted[within], inside)
        tissue = None if self._tissue is None else block.inside(self._tissue)
        return sums, value_counts(predicted, owners > 0, self._bins), value_counts(predicted, tissue, self._bins)

    def add(self, found: Counted) -> None:
        """Pool the counts."""
        sums, *values = found
        for index, new in sums.items():
            self.sums[index] += new
        self.values = self.values[0] + values[0], self.values[1] + values[1]

    def _overlap_words(self, *indices: int) -> str:
        first, second = (self._rois[index].name or f"number {index + 1}" for index in indices)
        return (
            f"the regions {first} and {second} overlap; expected regions that share no pixel, as each is left out in "
            "turn to test the others: move or delete one."
        )

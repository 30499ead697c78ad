"""Numbers of the overlap, in the view and in the region, and rows for a file."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from napari_hrpn.plugin.threshold_miou.curves import MEAN_IOU, chance_level
from napari_hrpn.reports import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_hrpn.analysis import PairCounts
    from napari_hrpn.plugin.threshold_miou.overlap import Overlap, Overview
    from napari_hrpn.plugin.threshold_miou.overlay import View
    from napari_hrpn.slides import Slide

HEADINGS = {
    "Prediction": "The predicted layer",
    "Where": "The view at the displayed level, or the whole region",
    "IoU": "Pixels that reach the threshold in both images, over those that do in either (equation 8 of the paper)",
    "mean IoU": "Mean of the IoU of the pixels that reach the threshold and the IoU of those that do not",
    "real": "Share of the pixels whose real value reaches the threshold",
    "pred.": "Share of the pixels whose predicted value reaches the threshold",
    "n": "Pixels that were compared",
}
_IN_VIEW, _IN_REGION = "view", "region"
LEVEL_TIP = (
    "Levels whose pixels were counted: coarse pixels are means of fine ones, and their overlap is usually higher\n"
    "than at full resolution"
)
_NOT_IN_VIEW = "In view: nothing; show the layer in 2D, and move to the slide."


def number_rows(
    overview: Overview, overlaps: Sequence[Overlap], view: View | None, threshold: float
) -> list[list[str | int]]:
    """Rows under `HEADINGS`: for each prediction the view, if it is counted, and the region."""
    rows = []
    for index, channel in enumerate(overview.pair.predictions):
        if view is not None:
            rows.append(_row(channel.name, _IN_VIEW, view.counts[index], threshold))
        rows.append(_row(channel.name, _IN_REGION, overlaps[index].counts, threshold))
    return rows


def overlap_records(
    overview: Overview, overlaps: Sequence[Overlap], threshold: float, percentile: float
) -> list[dict[str, Any]]:
    """Rows for a file: for each prediction the threshold first, then its curve."""
    return [
        row
        for channel, overlap in zip(overview.pair.predictions, overlaps, strict=True)
        for row in _records(overview, channel.name, overlap, threshold, percentile)
    ]


def levels_in_words(overview: Overview, overlaps: Sequence[Overlap], view: View | None) -> str:
    """Describe the levels whose pixels were counted."""
    slide = overview.pair.real.slide
    if view is None:
        first = _NOT_IN_VIEW
    else:
        level, last = view.window.level, len(overview.levels) - 1
        resolution = _resolution_in_words(max(overview.levels.downsample(level)), slide)
        first = f"In view: level {level} of 0 to {last}, {resolution}."
    coarsest = max(overlap.downsample for overlap in overlaps)
    note = "" if coarsest == 1 else " (an estimate)"
    return f"{first}\nRegion ({overview.region.name}): {_resolution_in_words(coarsest, slide)}{note}."


def _resolution_in_words(downsample: float, slide: Slide) -> str:
    """Describe a resolution."""
    size = "" if slide.pixel_size_um is None else f", {downsample * max(slide.pixel_size_um):.3g} µm pixels"
    return f"full resolution{size}" if downsample == 1 else f"1/{downsample:.3g} of the resolution{size}"


def _row(name: str, where: str, counts: PairCounts, threshold: float) -> list[str | int]:
    from napari_hrpn.analysis import iou_at

    point = iou_at(counts, threshold)
    shares = ("–" if math.isnan(f) else f"{100 * f:.3g} %" for f in (point.real_fraction, point.predicted_fraction))
    return [name, where, number(point.iou), number(point.mean_iou), *shares, point.n]


def _records(
    overview: Overview, name: str, overlap: Overlap, threshold: float, percentile: float
) -> Iterator[dict[str, Any]]:
    from napari_hrpn.analysis import iou_at

    current = replace(iou_at(overlap.counts, threshold), percentile=percentile)
    for kind, points in (("threshold", (current,)), ("curve", overlap.points)):
        for point in points:
            yield {
                "real": overview.pair.real.name,
                "predicted": name,
                "region": overview.region.name,
                "downsample": overlap.downsample,
                "point": kind,
                **asdict(point),
                "chance_mean_iou": chance_level(point, MEAN_IOU),
            }

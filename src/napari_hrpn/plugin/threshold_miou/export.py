"""Rows of the CSV: each prediction's curve, and the current threshold, with what they are numbers of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from napari_hrpn.plugin.threshold_miou.curves import MEAN_IOU, chance_level

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_hrpn.analysis import IouPoint
    from napari_hrpn.plugin.threshold_miou.overlap import Overlap, Overview


@dataclass(frozen=True, eq=False)
class Measured:
    """Overlap of one prediction, to be saved.

    Attributes
    ----------
    real, predicted : str
        Names of the layers.
    region : str
        What was measured, such as "Tissue".
    downsample : float
        Full-resolution pixels along a pixel that was looked at.
    points : tuple of IouPoint
        The curve.
    current : IouPoint
        At the threshold.
    """

    real: str
    predicted: str
    region: str
    downsample: float
    points: tuple[IouPoint, ...]
    current: IouPoint


def table_rows(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Rows of a table.

    Parameters
    ----------
    measured : sequence of Measured
        Of each prediction.

    Returns
    -------
    list of dict
        One for each point of each curve, and one for each current threshold, which is the first.
    """
    return [row for each in measured for row in _rows(each)]


def measured_overlap(overview: Overview, prediction: int, overlap: Overlap, current: IouPoint) -> Measured:
    """What is saved of a prediction.

    Parameters
    ----------
    overview : Overview
        Pair and region.
    prediction : int
        Which one.
    overlap : Overlap
        The best that is known.
    current : IouPoint
        At the threshold.

    Returns
    -------
    Measured
        With the names of the layers.
    """
    pair = overview.pair
    predicted = pair.predictions[prediction].name
    return Measured(pair.real.name, predicted, overview.region.title, overlap.downsample, overlap.points, current)


def _rows(measured: Measured) -> Iterator[dict[str, Any]]:
    for kind, points in (("threshold", (measured.current,)), ("curve", measured.points)):
        for point in points:
            yield {
                "real": measured.real,
                "predicted": measured.predicted,
                "region": measured.region,
                "downsample": measured.downsample,
                "point": kind,
                **asdict(point),
                "chance_mean_iou": chance_level(point, MEAN_IOU),
            }

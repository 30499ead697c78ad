"""Mean and spread of a study's results over slides: what the table shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_hrpn.analysis import mean_and_sd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_hrpn.analysis import MeanAndSd
    from napari_hrpn.experiments.results import ResultRow

METRICS = ("mse", "rmse", "r2", "psnr_db", "pearson_r")


@dataclass(frozen=True)
class SummaryRow:
    """One network over all slides of a part.

    Attributes
    ----------
    model, channels : str
        As in `ResultRow`.
    branches : int or None
        As in `ResultRow`.
    ablation : bool
        As in `ResultRow`.
    part, region : str
        As in `ResultRow`.
    chose_checkpoint : bool
        Whether any of the slides also decided which epoch was kept.
    slides, tumours : int
        How many; the tumour is the unit, slides of one tumour are not independent.
    metrics : mapping of str to MeanAndSd
        By the name of the column: mse, rmse, r2, psnr_db, pearson_r.
    parameters : int or None
        Of the network.
    seconds, patches_per_second, peak_memory_mb : float
        Mean over the trainings; of the memory the largest.
    """

    model: str
    channels: str
    branches: int | None
    ablation: bool
    part: str
    region: str
    chose_checkpoint: bool
    slides: int
    tumours: int
    metrics: Mapping[str, MeanAndSd]
    parameters: int | None
    seconds: float
    patches_per_second: float
    peak_memory_mb: float


def summarised(rows: Iterable[ResultRow]) -> tuple[SummaryRow, ...]:
    """Mean and standard deviation over slides, for each network, part and region.

    Parameters
    ----------
    rows : iterable of ResultRow
        A study's.

    Returns
    -------
    tuple of SummaryRow
        In the order in which they first occur. The spread is between slides (between folds, as a fold has one
        tumour), not the uncertainty of the mean.
    """
    groups: dict[tuple[object, ...], list[ResultRow]] = {}
    for row in rows:
        key = (row.model, row.channels, row.branches, row.ablation, row.part, row.region)
        groups.setdefault(key, []).append(row)
    return tuple(_summary(group) for group in groups.values())


def ablation_rows(rows: Sequence[ResultRow]) -> tuple[ResultRow, ...]:
    """Rows of the ablation grid: HRPN on the folds on which parts of it were taken away.

    Parameters
    ----------
    rows : sequence of ResultRow
        A study's.

    Returns
    -------
    tuple of ResultRow
        The study's own HRPN on those folds among them; few inputs and branches first. Empty where the study has no
        ablations.
    """
    folds = {(row.fold, row.part) for row in rows if row.ablation}
    chosen = [row for row in rows if row.model == "hrpn" and (row.fold, row.part) in folds]
    return tuple(sorted(chosen, key=lambda row: (row.channels.count("+"), row.channels, row.branches or 0)))


def _summary(rows: list[ResultRow]) -> SummaryRow:
    first, trainings = rows[0], {row.fold: row for row in rows}.values()
    return SummaryRow(
        model=first.model,
        channels=first.channels,
        branches=first.branches,
        ablation=first.ablation,
        part=first.part,
        region=first.region,
        chose_checkpoint=any(row.chose_checkpoint for row in rows),
        slides=len(rows),
        tumours=len({row.tumour for row in rows}),
        metrics={name: mean_and_sd([getattr(row, name) for row in rows]) for name in METRICS},
        parameters=first.parameters,
        seconds=mean_and_sd([row.seconds for row in trainings]).mean,
        patches_per_second=mean_and_sd([row.patches_per_second for row in trainings]).mean,
        peak_memory_mb=max(
            (row.peak_memory_mb for row in trainings if not math.isnan(row.peak_memory_mb)), default=math.nan
        ),
    )

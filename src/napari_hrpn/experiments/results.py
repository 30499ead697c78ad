"""Results of a study: a row per network or baseline, slide and region, as CSV and Parquet, and their means."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from napari_hrpn.analysis import mean_and_sd
from napari_hrpn.analysis.metrics import STUDY, STUDY_METRICS, metrics_in
from napari_hrpn.core.files import replaced_file
from napari_hrpn.core.plain_text import csv_cell, text_of_cell
from napari_hrpn.settings.networks import HRPN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from napari_hrpn.analysis import MeanAndSd

_NETWORK = ("model", "channels", "branches", "ablation", "part", "region")
"""Columns that are equal in all rows that are averaged."""
_RESULTS = "results.csv"


@dataclass(frozen=True)
class ResultRow:
    """Agreement of one network or baseline with one slide.

    Attributes
    ----------
    model : str
        A network, such as "hrpn", or a baseline: "mean", "blurred", "raw vessels" and the like.
    channels : str
        Input stains, joined by "+".
    branches : int or None
        Number of branches of HRPN; None for other models.
    ablation : bool
        Whether channels or branches differ from the study's own.
    fold : str
        The tumour that was held out, or "final".
    slide, tumour : str
        The slide that was measured, and its tumour.
    part : str
        "validation" or "test".
    chose_checkpoint : bool
        Whether this tumour also decided which epoch was kept, so that the numbers are biased.
    region : str
        "tissue" or "frame".
    mse, rmse, r2, psnr_db, pearson_r : float
        As in `Agreement`; NaN if undefined.
    n : int
        Number of pixels.
    data_range : float
        MAX of the PSNR.
    seconds : float
        Time of the training; NaN for baselines, which have none of the following numbers either.
    patches_per_second : float
        Speed of the training, mean over the epochs.
    peak_memory_mb : float
        Peak memory of the training, in 10^6 bytes.
    epochs, best_epoch : int or None
        Number of finished epochs, and the epoch that was kept.
    parameters : int or None
        Number of parameters of the network that predicts.
    note : str
        Why the training ended early, or why a number is missing.
    more : mapping of str to float
        Further metrics that studies show, by their keys; without those that were not measured, as of baselines.
    """

    model: str
    channels: str
    branches: int | None
    ablation: bool
    fold: str
    slide: str
    tumour: str
    part: str
    chose_checkpoint: bool
    region: str
    mse: float
    rmse: float
    r2: float
    psnr_db: float
    pearson_r: float
    n: int
    data_range: float
    seconds: float = math.nan
    patches_per_second: float = math.nan
    peak_memory_mb: float = math.nan
    epochs: int | None = None
    best_epoch: int | None = None
    parameters: int | None = None
    note: str = ""
    more: Mapping[str, float] = field(default_factory=dict)

    def metric(self, name: str) -> float:
        """One of the metrics of a study; NaN where it was not measured."""
        return float(getattr(self, name) if name in _NUMBERS else self.more.get(name, math.nan))

    def cells(self) -> dict[str, Any]:
        """The row of a table, the same columns for all rows."""
        cells = asdict(self)
        del cells["more"]
        return cells | {metric.key: self.metric(metric.key) for metric in metrics_in(STUDY)}

    def plain(self) -> dict[str, Any]:
        """Return the row for JSON, which has neither NaN nor infinity."""
        return {name: _for_json(value) for name, value in self.cells().items()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> ResultRow:
        """Return the row that `plain` was made from."""
        numbers = {name: math.nan if plain[name] is None else float(plain[name]) for name in _NUMBERS}
        return _row_of({**plain, **numbers})


def _row_of(cells: Mapping[str, Any]) -> ResultRow:
    """The row of a table; a metric that the table does not have, as it was made before, was not measured."""
    more = {metric.key: cells.get(metric.key) for metric in metrics_in(STUDY)}
    own = {column.name: cells[column.name] for column in fields(ResultRow) if column.name in cells}
    return ResultRow(**own, more={key: float(value) for key, value in more.items() if value is not None})


def _columns(kind: str) -> tuple[str, ...]:
    return tuple(column.name for column in fields(ResultRow) if column.type == kind)


_COUNTS, _NUMBERS = _columns("int | None"), _columns("float")


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
        Number of slides and of tumours; the tumour is the unit, since slides of one tumour are not independent.
    metrics : mapping of str to MeanAndSd
        Metrics by column: mse, rmse, r2, psnr_db, pearson_r.
    parameters : int or None
        Number of parameters of the network.
    seconds, patches_per_second, peak_memory_mb : float
        Means over the trainings; for the memory, the maximum.
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


def write_results(rows: Iterable[ResultRow], folder: Path) -> Path:
    """Write ``results.csv`` and ``results.parquet``, each in one step; older ones are replaced.

    Parameters
    ----------
    rows : iterable of ResultRow
        Rows in any order.
    folder : pathlib.Path
        Output folder.

    Returns
    -------
    pathlib.Path
        The CSV file.
    """
    import pandas as pd

    columns = [column.name for column in fields(ResultRow) if column.name != "more"]
    columns += [metric.key for metric in metrics_in(STUDY)]
    table = pd.DataFrame([row.cells() for row in rows], columns=columns)
    # integers that may be missing, as baselines have no epochs
    table = table.astype(dict.fromkeys(_COUNTS, "Int64"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _RESULTS
    with replaced_file(path.with_suffix(".parquet")) as partial:
        table.to_parquet(partial, index=False)
    with replaced_file(path) as partial:
        table.map(csv_cell).to_csv(partial, index=False, lineterminator="\n")
    return path


def read_results(path: str | Path) -> tuple[ResultRow, ...]:
    """Read the rows that `write_results` wrote.

    Parameters
    ----------
    path : str or Path
        The CSV file.

    Returns
    -------
    tuple of ResultRow
        The same rows.

    Raises
    ------
    StudyError
        If the file is damaged.
    """
    import pandas as pd

    from napari_hrpn.experiments.study import StudyError

    try:
        table = pd.read_csv(
            path,
            dtype=dict.fromkeys(_COUNTS, "Int64"),
            converters=dict.fromkeys(_columns("str"), text_of_cell),
            # a slide or tumour may be called NA or None
            keep_default_na=False,
            na_values={name: [""] for name in (*_COUNTS, *_NUMBERS, *STUDY_METRICS)},
        )
        records: list[dict[str, Any]] = table.to_dict("records")
        return tuple(_row_of({**row, **{name: None for name in _COUNTS if row[name] is pd.NA}}) for row in records)
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{path} is not the table of results of a study; run napari-hrpn cross-validate again to write it."
        raise StudyError(msg) from error


def summarised(rows: Iterable[ResultRow]) -> tuple[SummaryRow, ...]:
    """Mean and standard deviation over slides, for each network, part and region.

    Parameters
    ----------
    rows : iterable of ResultRow
        Rows of a study.

    Returns
    -------
    tuple of SummaryRow
        In the order in which networks, parts and regions first occur. The spread is between slides (between folds, as
        a fold has one tumour), not the uncertainty of the mean.
    """
    groups: dict[tuple[object, ...], list[ResultRow]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, name) for name in _NETWORK), []).append(row)
    return tuple(map(_summary, groups.values()))


def ablation_rows(rows: Sequence[ResultRow]) -> tuple[ResultRow, ...]:
    """Rows of the ablation grid: HRPN, as a whole and with parts taken away, on the folds of the ablations.

    Parameters
    ----------
    rows : sequence of ResultRow
        Rows of a study.

    Returns
    -------
    tuple of ResultRow
        Few inputs and branches first; empty if the study has no ablations.
    """
    folds = {(row.fold, row.part) for row in rows if row.ablation}
    chosen = [row for row in rows if row.model == HRPN.name and (row.fold, row.part) in folds]
    return tuple(sorted(chosen, key=lambda row: (row.channels.count("+"), row.channels, row.branches or 0)))


def _for_json(value: object) -> object:
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else str(value)


def _summary(rows: list[ResultRow]) -> SummaryRow:
    trainings = {row.fold: row for row in rows}.values()
    memory = [row.peak_memory_mb for row in trainings if not math.isnan(row.peak_memory_mb)]
    return SummaryRow(
        **{name: getattr(rows[0], name) for name in (*_NETWORK, "parameters")},
        chose_checkpoint=any(row.chose_checkpoint for row in rows),
        slides=len(rows),
        tumours=len({row.tumour for row in rows}),
        metrics={name: mean_and_sd([row.metric(name) for row in rows]) for name in STUDY_METRICS},
        seconds=mean_and_sd([row.seconds for row in trainings]).mean,
        patches_per_second=mean_and_sd([row.patches_per_second for row in trainings]).mean,
        peak_memory_mb=max(memory, default=math.nan),
    )

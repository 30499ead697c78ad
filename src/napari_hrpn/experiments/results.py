"""Rows of a study's result: one per network or baseline, slide and region, as CSV and Parquet."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from napari_hrpn.core.files import replaced_file
from napari_hrpn.core.plain_text import csv_cell, text_of_cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_RESULTS = "results.csv"


@dataclass(frozen=True)
class ResultRow:
    """How well one network predicts one slide.

    Attributes
    ----------
    model : str
        "hrpn" or "ganda", or a baseline: "mean", "blurred", "raw vessels" and the like.
    channels : str
        Input stains, joined by "+".
    branches : int or None
        Of HRPN.
    ablation : bool
        Whether channels or branches differ from the study's own.
    fold : str
        The tumour that was held out, or "final".
    slide, tumour : str
        What was measured.
    part : str
        "validation" or "test".
    chose_checkpoint : bool
        Whether this tumour also decided which epoch was kept, so that the figures are not unbiased.
    region : str
        "tissue" or "frame".
    mse, rmse, r2, psnr_db, pearson_r : float
        As in `Agreement`; NaN for what does not exist.
    n : int
        Pixels.
    data_range : float
        MAX of the PSNR.
    seconds : float
        Of the training; NaN for baselines, as are all that follow.
    patches_per_second : float
        Trained on, mean over the epochs.
    peak_memory_mb : float
        Largest of the training, in 10^6 bytes.
    epochs, best_epoch : int or None
        Finished, and the one that was kept.
    parameters : int or None
        Of the network that predicts.
    note : str
        Why the training ended early, or why a number is missing.
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


_COUNTS = ("branches", "epochs", "best_epoch", "parameters")
_NUMBERS = tuple(each.name for each in fields(ResultRow) if each.type == "float")


def write_results(rows: Iterable[ResultRow], folder: Path) -> Path:
    """Write ``results.csv`` and ``results.parquet``, each in one step; older ones are replaced.

    Parameters
    ----------
    rows : iterable of ResultRow
        In any order.
    folder : pathlib.Path
        Where to.

    Returns
    -------
    pathlib.Path
        The CSV file.
    """
    import pandas as pd

    table = pd.DataFrame([asdict(row) for row in rows], columns=[each.name for each in fields(ResultRow)])
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
    """
    import pandas as pd

    texts = {each.name: str for each in fields(ResultRow) if each.type == "str"}
    table = pd.read_csv(
        path,
        dtype={**texts, **dict.fromkeys(_COUNTS, "Int64")},
        keep_default_na=False,
        na_values={name: [""] for name in (*_COUNTS, *_NUMBERS)},
    )
    for name in texts:
        table[name] = table[name].map(text_of_cell)
    return tuple(_row(record) for record in table.to_dict("records"))


def plain_row(row: ResultRow) -> dict[str, Any]:
    """A row for JSON, which knows neither NaN nor infinity."""
    return {name: _for_json(value) for name, value in asdict(row).items()}


def row_from_plain(plain: Mapping[str, Any]) -> ResultRow:
    """The row that `plain_row` was given."""
    numbers = {name: math.nan if plain[name] is None else float(plain[name]) for name in _NUMBERS}
    return ResultRow(**{**plain, **numbers})


def _row(record: Mapping[str, Any]) -> ResultRow:
    import pandas as pd

    counts = {name: None if pd.isna(record[name]) else int(record[name]) for name in _COUNTS}
    return ResultRow(**{**record, **counts})


def _for_json(value: object) -> object:
    if isinstance(value, float) and math.isnan(value):
        return None
    return str(value) if isinstance(value, float) and math.isinf(value) else value

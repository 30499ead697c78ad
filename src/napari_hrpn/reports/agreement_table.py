"""Agreement as CSV, one row per region, and as JSON; what does not exist is empty or null, never a number."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from napari_hrpn.core.files import replaced_file
from napari_hrpn.core.plain_text import csv_cell

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_hrpn.analysis import Agreement

_COLUMNS = ("n", "mse", "rmse", "r2", "r2_ceiling", "psnr_db", "pearson_r", "data_range", "reason")


def write_agreement(
    rows: Mapping[str, Agreement],
    folder: Path,
    *,
    r2_ceilings: Mapping[str, float] | None = None,
    about: Mapping[str, Any] | None = None,
) -> tuple[Path, Path]:
    """Write ``agreement.csv`` and ``agreement.json``, each in one step; older ones are replaced.

    Parameters
    ----------
    rows : mapping of str to Agreement
        Agreement by region, such as "tissue" and "frame".
    folder : pathlib.Path
        Where to.
    r2_ceilings : mapping of str to float, optional
        Best possible R2 by region, where it is known.
    about : mapping, optional
        What was compared; goes into the JSON as it is.

    Returns
    -------
    tuple of pathlib.Path
        The CSV and the JSON file.
    """
    ceilings = r2_ceilings or {}
    table = {
        region: {column: ({**asdict(row), "r2_ceiling": ceilings.get(region)})[column] for column in _COLUMNS}
        for region, row in rows.items()
    }
    finite = {region: {key: _as_json(value) for key, value in row.items()} for region, row in table.items()}
    content = json.dumps({**(about or {}), "agreement": finite}, indent=2, allow_nan=False) + "\n"
    paths = folder / "agreement.csv", folder / "agreement.json"
    for path, text in zip(paths, (_as_csv(table), content), strict=True):
        with replaced_file(path, sync=False) as partial:
            partial.write_text(text, encoding="utf-8")
    return paths


def _as_csv(table: Mapping[str, Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("region", *_COLUMNS))
    for region, row in table.items():
        writer.writerow((csv_cell(region), *("" if _is_missing(value) else value for value in row.values())))
    return text.getvalue()


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _as_json(value: object) -> object:
    """JSON knows no infinity: that of the PSNR of equal images becomes a string."""
    if _is_missing(value):
        return None
    return str(value) if isinstance(value, float) and math.isinf(value) else value

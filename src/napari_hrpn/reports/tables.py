"""Tables of an evaluation as CSV and Parquet; undefined numbers are empty cells."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Any

from napari_hrpn.analysis import EvaluationPart
from napari_hrpn.analysis.metrics import METRICS
from napari_hrpn.core.files import replaced_file, save_json
from napari_hrpn.core.plain_text import csv_cell
from napari_hrpn.reports.serialization import fields_of, plain_part
from napari_hrpn.slides.writers.output_path import partial_output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_hrpn.analysis import Agreement, VesselFindings

    Plain = dict[str, Any]
    Rows = list[Plain]


def evaluation_tables(parts: Mapping[str, Plain]) -> dict[str, Rows]:
    """All tables of an evaluation."""
    pixels = [part for name, part in parts.items() if name.startswith("pixels ")]
    tables: dict[str, Rows] = {
        "regions": [row for part in pixels for row in _region_rows(part)],
        "iou_curve": [{"prediction": part["name"], **point} for part in pixels for point in part["iou_curve"]],
        "quantiles": [row for part in pixels for row in _quantiles(part)],
        "histogram": [row for part in pixels for row in _histogram(part)],
        "density": [row for part in pixels for row in _densities(part)],
    }
    tables |= {
        f"uncertainty_{kind}": [
            {"prediction": part["name"], **row} for part in pixels for row in part.get("uncertainty", {}).get(kind, ())
        ]
        for kind in ("deciles", "predicted_deciles", "spread")
    }
    if penetration := parts.get("penetration"):
        tables |= _penetration_tables(penetration)
    if patches := parts.get("patches"):
        tables |= {"patches": patches["patches"], "heterogeneity": patches["spread"]}
        tables["patch_agreement"] = [{"prediction": name, **row} for name, row in patches["agreement"].items()]
    if quality := parts.get("quality"):
        tables["quality"] = [{**row, "channels": " ".join(map(str, row["channels"]))} for row in quality["findings"]]
        tables["grey_levels"] = [
            {key: value for key, value in row.items() if not isinstance(value, list | dict)}
            for row in quality["grey_levels"]
        ]
    return {name: rows for name, rows in tables.items() if rows}


def penetration_tables(found: VesselFindings) -> dict[str, Rows]:
    """Tables of vessels and penetration, without the other tables of an evaluation.

    Parameters
    ----------
    found : VesselFindings
        Measured vessels and penetration.

    Returns
    -------
    dict of str to list of dict
        The same tables as those of an evaluation; undefined numbers are None.
    """
    return evaluation_tables({"penetration": plain_part(EvaluationPart("penetration", found))})


def _region_rows(part: Plain) -> Rows:
    """Numbers of a prediction, a row per region."""
    rows = []
    for region in (part["tissue"], part["frame"], *part["rois"]):
        if region is None:
            continue
        row = {"prediction": part["name"], **region}
        # the column "reason" has the same texts
        row.pop("reasons", None)
        intervals, box = row.pop("intervals", None) or {}, row.pop("box_px", None)
        for key in (metric.key for metric in METRICS if metric.interval):
            ends = intervals.get(key, {})
            row[f"{key}_low"], row[f"{key}_high"] = ends.get("low"), ends.get("high")
        row["interval_blocks"] = intervals.get("effective_blocks")
        row |= dict(zip(("y0_px", "y1_px", "x0_px", "x1_px"), box or [None] * 4, strict=True))
        rows.append(row)
    return rows


def write_tables(tables: Mapping[str, Rows], folder: Path) -> tuple[Path, ...]:
    """Write tables as CSV and Parquet, each in one step; existing files are replaced."""
    import pandas as pd

    paths: list[Path] = []
    for name, rows in tables.items():
        frame = pd.DataFrame(rows)
        paths += [folder / f"{name}.csv", folder / f"{name}.parquet"]
        with partial_output(paths[-2], None, overwrite=True) as partial:
            # only texts can be taken for formulas
            texts = frame.select_dtypes(exclude=["number", "bool"]).columns
            shown = frame.assign(**{name: frame[name].map(csv_cell) for name in texts})
            shown.rename(columns=csv_cell).to_csv(partial, index=False, lineterminator="\n")
        with partial_output(paths[-1], None, overwrite=True) as partial:
            frame.to_parquet(partial, index=False)
    return tuple(paths)


def _zipped(columns: Mapping[str, Sequence[Any]], **same: str) -> Rows:
    """Rows made from columns, with the same additional cells in each row."""
    return [{**same, **dict(zip(columns, row, strict=True))} for row in zip(*columns.values(), strict=True)]


def _quantiles(part: Plain) -> Rows:
    found = part["quantiles"]
    columns = {"percentile": found["percentiles"], "real": found["real"], "predicted": found["predicted"]}
    return _zipped(columns, prediction=part["name"])


def _histogram(part: Plain) -> Rows:
    edges, (real, predicted) = part["histogram"]["edges"], part["histogram"]["counts"]
    columns = {"from": edges[:-1], "to": edges[1:], "real_pixels": real, "predicted_pixels": predicted}
    return _zipped(columns, prediction=part["name"])


def _densities(part: Plain) -> Rows:
    rows = []
    for region, density in part["densities"].items():
        low, high = density["range"]
        width = (high - low) / 256
        columns = {image: [low + (cell + 0.5) * width for cell in density[image]] for image in ("real", "predicted")}
        columns["pixels"] = density["pixels"]
        rows += _zipped(columns, prediction=part["name"], region=region)
    return rows


def _penetration_tables(part: Plain) -> dict[str, Rows]:
    shells, bands, lengths = [], [], []
    numbers = ("n", "d50_um", "d90_um", "decay_um", "vessel_mean", "background")
    floors = ("d50_low_um", "d50_high_um", "d90_low_um", "d90_high_um", "darkest", "decay_from_um", "range_um")
    for profile in part["profiles"]:
        identity = {name: profile[name] for name in ("image", "area")}
        shells += [{**identity, **shell} for shell in profile["shells"]]
        bands += [{**identity, **band} for band in profile["bands"]]
        beyond = {f"share_beyond_{share['beyond_um']:g}_um": share["share"] for share in profile["beyond"]}
        first, last = ({name: profile[name] for name in names} for names in (numbers, ("reason", *floors)))
        lengths.append({**identity, **first, **beyond, **last})
    return {
        "penetration": lengths,
        "penetration_shells": shells,
        "penetration_bands": bands,
        "vessels": part["vessels"],
        "vessel_density": [part["density"]],
    }


def write_agreement(
    rows: Mapping[str, Agreement],
    folder: Path,
    *,
    r2_ceilings: Mapping[str, float] | None = None,
    about: Mapping[str, Any] | None = None,
) -> tuple[Path, Path]:
    """Write ``agreement.csv`` and ``agreement.json``, each in one step; existing files are replaced.

    Parameters
    ----------
    rows : mapping of str to Agreement
        Agreement by region, such as "tissue" and "frame".
    folder : pathlib.Path
        Output folder.
    r2_ceilings : mapping of str to float, optional
        Best possible R2 by region, if it is known.
    about : mapping, optional
        Facts about the comparison, which are written into the JSON unchanged.

    Returns
    -------
    tuple of pathlib.Path
        The CSV and the JSON file.
    """
    ceilings = r2_ceilings or {}
    table = {
        region: {
            **fields_of(row, "n", "mse", "rmse", "r2"),
            "r2_ceiling": ceilings.get(region),
            **fields_of(row, "psnr_db", "pearson_r", "data_range", "reason"),
        }
        for region, row in rows.items()
    }
    numbers = {region: {key: _as_json(value) for key, value in row.items()} for region, row in table.items()}
    paths = folder / "agreement.csv", folder / "agreement.json"
    write_csv([{"region": region, **row} for region, row in table.items()], paths[0])
    save_json(paths[1], {**(about or {}), "agreement": numbers})
    return paths


def write_csv(rows: Sequence[Plain], path: Path) -> None:
    """Write rows as CSV in one step, with empty cells for missing values; an existing file is replaced."""
    with replaced_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {key: "" if _is_missing(value) else csv_cell(value) for key, value in row.items()} for row in rows
        )


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _as_json(value: object) -> object:
    """Value for JSON, which has no infinity: the infinite PSNR of equal images becomes a string."""
    if _is_missing(value):
        return None
    return str(value) if isinstance(value, float) and math.isinf(value) else value

"""Cells of CSV and Parquet hold the numbers and names that a table was given, and nothing where there is none."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hrpn.analysis import agreement
from napari_hrpn.core.plain_text import text_of_cell
from napari_hrpn.reports import write_agreement
from napari_hrpn.reports.serialization import finite
from napari_hrpn.reports.tables import evaluation_tables, write_csv, write_tables

steady = settings(derandomize=True, deadline=None, max_examples=25)
# a file has line feeds alone; other signs of a new line come back as one
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
ROWS = st.lists(
    st.fixed_dictionaries(
        {"name": WORDS.filter(bool), "mean": st.none() | st.floats(-1e12, 1e12), "n": st.integers(-(2**53), 2**53)}
    ),
    min_size=1,
    max_size=6,
)


def cells(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file as Python's own reader has them."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read(row: dict[str, str]) -> dict[str, Any]:
    """Cells of a row as what they were made from."""
    mean = float(row["mean"]) if row["mean"] else None
    return {"name": text_of_cell(row["name"]), "mean": mean, "n": int(row["n"])}


@steady
@given(ROWS)
def test_rows_read_back_exactly_from_csv_of_either_writer(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    write_tables({"table": rows}, folder)
    write_csv(rows, folder / "plain.csv")
    assert [read(row) for row in cells(folder / "table.csv")] == rows
    assert [read(row) for row in cells(folder / "plain.csv")] == rows


@steady
@given(ROWS)
def test_parquet_is_the_table_of_pandas(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    folder = tmp_path_factory.mktemp("tables")
    paths = write_tables({"table": rows}, folder)
    assert paths == (folder / "table.csv", folder / "table.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(paths[1]), pd.DataFrame(rows))


def test_a_cell_without_a_number_is_empty_and_not_a_word(tmp_path: Path) -> None:
    rows = [{"name": "a", "mean": None, "n": 1}, {"name": "b", "mean": math.nan, "n": 2}]
    write_tables({"table": rows}, tmp_path)
    write_csv(rows, tmp_path / "plain.csv")
    for name in ("table.csv", "plain.csv"):
        assert (tmp_path / name).read_text("utf-8") == "name,mean,n\na,,1\nb,,2\n"
    assert pd.read_parquet(tmp_path / "table.parquet")["mean"].isna().all()


def test_a_table_replaces_an_earlier_one_and_leaves_no_other_file(tmp_path: Path) -> None:
    for value in (1, 2):
        write_tables({"a": [{"x": value}], "b": [{"x": -value}]}, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}.{kind}" for name in "ab" for kind in ("csv", "parquet")
    }
    assert (tmp_path / "a.csv").read_text() == "x\n2\n"


def test_a_csv_without_rows_is_a_file_without_columns(tmp_path: Path) -> None:
    write_csv([], tmp_path / "empty.csv")
    assert (tmp_path / "empty.csv").read_text("utf-8").strip() == ""


PIXELS = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), min_size=3, max_size=40)


@steady
@given(PIXELS, st.floats(0, 1))
def test_agreement_has_the_same_numbers_in_csv_and_json(
    tmp_path_factory: pytest.TempPathFactory, pixels: list[tuple[int, int]], ceiling: float
) -> None:
    y, p = np.array(pixels, np.uint8).T
    found = agreement(y, p)
    paths = write_agreement({"frame": found}, tmp_path_factory.mktemp("agreement"), r2_ceilings={"frame": ceiling})
    (row,) = cells(paths[0])
    numbers = json.loads(paths[1].read_text("utf-8"))["agreement"]["frame"]
    assert {"region": "frame", **numbers}.keys() == row.keys()
    for key in ("n", "mse", "rmse", "r2", "psnr_db", "pearson_r", "data_range"):
        value = getattr(found, key)
        assert (math.nan if row[key] == "" else float(row[key])) == pytest.approx(value, rel=0, abs=0, nan_ok=True)
        assert (math.nan if numbers[key] is None else float(numbers[key])) == pytest.approx(value, abs=0, nan_ok=True)
    assert float(row["r2_ceiling"]) == numbers["r2_ceiling"] == ceiling
    errors = y.astype(float) - p
    assert float(row["mse"]) == pytest.approx((errors**2).mean())


NUMBERS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | WORDS


@steady
@given(st.recursive(NUMBERS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3)))
def test_what_is_made_finite_is_json_and_keeps_all_that_is_finite(value: object) -> None:
    found = finite(value)
    # JSON that has no constant such as NaN keeps it as it is
    assert json.loads(json.dumps(found, allow_nan=False)) == found

    def expected(part: object) -> object:
        if isinstance(part, dict):
            return {key: expected(inner) for key, inner in part.items()}
        if isinstance(part, list):
            return [expected(inner) for inner in part]
        return None if part in (math.inf, -math.inf) or part != part else part

    assert found == expected(value)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64, bool])
def test_numbers_of_numpy_become_those_of_python(dtype: type) -> None:
    array = np.array([[0, 1], [1, 0]], dtype)
    assert finite({1: array, "one": array[0, 1], "both": (array[0, 0], array[0, 1])}) == {
        "1": array.tolist(),
        "one": array[0, 1].item(),
        "both": [array[0, 0].item(), array[0, 1].item()],
    }
    assert type(finite(array[0, 1])) is type(array[0, 1].item())
    assert finite(np.array([np.nan, np.inf, 1.0])) == [None, None, 1.0]


def pixels_part(name: str) -> dict[str, Any]:
    """Plain numbers of the pixels of a prediction in one region."""
    region = {"region": "tissue", "n": 6, "pearson_r": 0.5, "reason": "", "reasons": [], "box_px": [1, 2, 3, 4]}
    region["intervals"] = {"pearson_r": {"low": 0.25, "high": 0.75}, "effective_blocks": 9.0}
    return {
        "name": name,
        "tissue": region,
        "frame": {"region": "frame", "n": 8, "reason": "constant", "reasons": ["constant"]},
        "rois": [],
        "iou_curve": [{"percentile": 90, "iou": 0.5, "mean_iou": 0.6}],
        "quantiles": {"percentiles": [0, 50, 100], "real": [1.0, 2.0, 3.0], "predicted": [2.0, 2.5, None]},
        "histogram": {"edges": [0, 2, 4], "counts": [[4, 2], [3, 3]]},
        "densities": {"tissue": {"range": [0.0, 256.0], "real": [0, 255], "predicted": [1, 3], "pixels": [4, 2]}},
    }


def test_tables_of_pixels_have_a_row_for_each_region_percentile_bin_and_cell() -> None:
    tables = evaluation_tables({f"pixels {name}": pixels_part(name) for name in ("a", "b")})
    assert {name: len(rows) for name, rows in tables.items()} == {
        "regions": 4, "iou_curve": 2, "quantiles": 6, "histogram": 4, "density": 4,
    }  # fmt: skip
    assert all(
        [row["prediction"] for row in rows] == sorted(row["prediction"] for row in rows) for rows in tables.values()
    )
    tissue, frame = tables["regions"][:2]
    assert (tissue["pearson_r_low"], tissue["pearson_r_high"], tissue["interval_blocks"]) == (0.25, 0.75, 9.0)
    assert [tissue[key] for key in ("y0_px", "y1_px", "x0_px", "x1_px")] == [1, 2, 3, 4]
    assert {frame[key] for key in ("y0_px", "x1_px", "pearson_r_low", "interval_blocks")} == {None}
    assert "reasons" not in tissue
    assert tables["histogram"][1] == {"prediction": "a", "from": 2, "to": 4, "real_pixels": 2, "predicted_pixels": 3}
    # a cell stands at the grey level of its middle
    assert [(row["real"], row["predicted"], row["pixels"]) for row in tables["density"][:2]] == [
        (0.5, 1.5, 4),
        (255.5, 3.5, 2),
    ]
    assert tables["quantiles"][2] == {"prediction": "a", "percentile": 100, "real": 3.0, "predicted": None}


def test_an_evaluation_of_nothing_has_no_tables() -> None:
    assert evaluation_tables({}) == {}

"""Rows of a study come back from disk as they were, and their means are those of NumPy."""

import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from napari_hrpn.experiments import METRICS, ResultRow, ablation_rows, read_results, summarised, write_results

ROW = ResultRow(
    "hrpn", "nuclei+vessels", 4, False, "T1", "T1", "T1", "validation", True, "tissue",
    1 / 3, 0.5, -2.0, 40.0, 0.25, 100, 255.0, 9.0, 2.0, 3.0, 20, 7, 2_176_824,
)  # fmt: skip
ODD = replace(
    ROW, branches=None, mse=0.0, psnr_db=math.inf, r2=math.nan, tumour="NA", slide="007", fold="1", note="a, b"
)
BASELINE = ResultRow(
    "mean", "nuclei", None, False, "T1", "T1", "T1", "validation", False, "frame", 1, 1, 0, 48, math.nan, 9, 255
)


def equal(first: ResultRow, second: ResultRow) -> bool:
    # a metric that was not measured and one that does not exist are the same
    one, other = (
        asdict(row) | {name: row.metric(name) for name in METRICS} | {"more": None} for row in (first, second)
    )
    return all(a == b or (a != a and b != b) for a, b in zip(one.values(), other.values(), strict=True))


@pytest.mark.parametrize("row", [ROW, ODD, BASELINE])
def test_rows_come_back_as_they_were(row: ResultRow, tmp_path: Path) -> None:
    path = write_results([ROW, row], tmp_path)
    found = read_results(path)
    assert equal(found[1], row), found[1]
    assert equal(ResultRow.from_plain(row.plain()), row)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["results.csv", "results.parquet"]


def test_means_are_over_slides_and_tumours_are_counted() -> None:
    mse = [1.0, 4.0, 10.0]
    rows = [replace(ROW, slide=f"s{i}", tumour=f"T{i // 2}", fold=f"T{i // 2}", mse=v) for i, v in enumerate(mse)]
    rows += [replace(ROW, region="frame", r2=math.nan), replace(ROW, part="test", chose_checkpoint=False)]
    cross, frame, test = summarised(rows)
    assert (cross.slides, cross.tumours, cross.chose_checkpoint, cross.parameters) == (3, 2, True, 2_176_824)
    assert cross.metrics["mse"].mean == pytest.approx(np.mean(mse))
    assert cross.metrics["mse"].sd == pytest.approx(np.std(mse, ddof=1))
    assert frame.metrics["r2"].n == 0
    assert math.isnan(frame.metrics["r2"].mean)
    assert math.isnan(test.metrics["mse"].sd)
    assert not test.chose_checkpoint


def test_seconds_are_per_training_not_per_slide() -> None:
    rows = [replace(ROW, slide="a", seconds=10.0), replace(ROW, slide="b", seconds=10.0)]
    rows += [replace(ROW, slide="c", fold="T2", seconds=40.0)]
    assert summarised(rows)[0].seconds == 25.0


def test_the_grid_is_hrpn_on_the_folds_with_ablations() -> None:
    final = replace(ROW, fold="final", part="test")
    one = replace(final, branches=1, ablation=True)
    nuclei = replace(final, channels="nuclei", ablation=True)
    assert ablation_rows([ROW, final, replace(final, model="ganda"), one, nuclei]) == (nuclei, one, final)
    assert ablation_rows([ROW, final]) == ()

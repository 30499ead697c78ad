"""A study's table and figures show every number and every point that they are given."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.image import imread

from napari_hrpn.experiments import ResultRow, ablation_rows, summarised
from napari_hrpn.reports import write_study_figures, write_study_table

ROW = ResultRow(
    "hrpn", "nuclei+vessels", 4, False, "T1", "T1", "T1", "validation", True, "tissue",
    4.0, 2.0, 0.5, 42.1, 0.75, 100, 255.0, 1234.5, 2.0, 3.0, 20, 7, 2_176_824,
)  # fmt: skip
BASELINE = ResultRow(
    "raw vessels", "vessels", None, False, "T1", "T1", "T1", "validation", False, "tissue",
    math.nan, math.nan, math.nan, math.nan, 0.6, 100, 255.0,
)  # fmt: skip


@pytest.fixture
def rows() -> list[ResultRow]:
    folds = [replace(ROW, fold=f"T{i}", slide=f"T{i}", tumour=f"T{i}", mse=float(i), r2=0.1 * i) for i in range(1, 6)]
    final = replace(ROW, fold="final", slide="T6", tumour="T6", part="test", chose_checkpoint=False, mse=9.0)
    grid = [
        replace(final, channels=channels, branches=branches, ablation=True, mse=branches * 10.0)
        for channels in ("nuclei", "vessels")
        for branches in (1, 2)
    ]
    both = [*folds, BASELINE, replace(ROW, model="ganda", branches=None, psnr_db=math.inf), final, *grid]
    return both + [replace(row, region="frame") for row in both]


def parts(rows: list[ResultRow]) -> tuple[list[ResultRow], tuple[ResultRow, ...]]:
    return [row for row in rows if not row.ablation], ablation_rows(rows)


def test_table_has_mean_spread_and_n(rows: list[ResultRow], tmp_path: Path) -> None:
    models, grid = map(summarised, parts(rows))
    path = write_study_table(models, grid, tmp_path, "Six tumours")
    text = path.read_text("utf-8")
    assert text.startswith("# Six tumours\n")
    hrpn = next(line for line in text.splitlines() if line.startswith("| hrpn* |"))
    cells = [cell.strip() for cell in hrpn.split("|")[1:-1]]
    assert cells[:6] == ["hrpn*", "nuclei + vessels", "4", "5 (5 tumours)", "3.0 ± 1.6", "2 ± 0"]
    assert cells[6] == "0.30 ± 0.16"
    assert cells[-2:] == ["2,176,824", "1,234" if "1,234" in hrpn else "1,235"]
    raw = next(line for line in text.splitlines() if line.startswith("| raw vessels |"))
    assert raw.count("| 0.6 |") == 1
    assert "nan" not in text
    assert text.count("## Ablations of HRPN: Test tumours") == 2
    table = list(csv.DictReader(path.with_suffix(".csv").read_text("utf-8").splitlines()))
    assert len(table) == len(models) + len(grid)
    assert float(table[0]["mse_mean"]) == 3.0
    assert float(table[0]["mse_sd"]) == pytest.approx(np.std([1, 2, 3, 4, 5], ddof=1))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["table.csv", "table.md"]


def test_every_figure_has_its_points_beside_it(rows: list[ResultRow], tmp_path: Path) -> None:
    models, grid = parts(rows)
    paths = write_study_figures(models, grid, tmp_path / "figures")
    assert [path.name for path in paths] == [
        "models-tissue.png", "models-frame.png", "ablations-tissue.png", "ablations-frame.png",
    ]  # fmt: skip
    for path, expected in zip(paths, (models, models, grid, grid), strict=True):
        assert imread(path).shape[0] > 300
        table = list(csv.DictReader(path.with_suffix(".csv").read_text("utf-8").splitlines()))
        region = path.stem.partition("-")[2]
        wanted = [row for row in expected if row.region == region]
        assert [(row["slide"], row["fold"]) for row in table] == [(row.slide, row.fold) for row in wanted]
        assert [float(row["pearson_r"]) for row in table] == [row.pearson_r for row in wanted]


def test_all_points_are_drawn(rows: list[ResultRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []
    plot = Axes.plot

    def noting(self, x, y, *rest, **how):  # type: ignore[no-untyped-def]
        if rest == ("o",):
            drawn.extend(y)
        return plot(self, x, y, *rest, **how)

    monkeypatch.setattr(Axes, "plot", noting)
    models, _ = parts(rows)
    write_study_figures(models, (), tmp_path)
    metrics = ("mse", "rmse", "r2", "psnr_db", "pearson_r")
    wanted = [getattr(row, name) for row in models for name in metrics]
    assert sorted(drawn) == sorted(value for value in wanted if math.isfinite(value))
    assert not list(tmp_path.glob("ablations*"))


def test_a_study_without_ablations_has_no_such_part(rows: list[ResultRow], tmp_path: Path) -> None:
    models, _ = parts(rows)
    text = write_study_table(summarised(models), (), tmp_path).read_text("utf-8")
    assert "Ablations" not in text

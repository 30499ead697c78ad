"""A row in the table of metrics is all that a new metric needs to be in every file, table and page."""

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from napari_hrpn.analysis import EvaluationSettings, ProbeImage, SlideComparison, metrics
from napari_hrpn.analysis.metrics import Metric
from napari_hrpn.core import drive
from napari_hrpn.reports import EvaluationRequest, evaluation, serialization, write_evaluation
from napari_hrpn.slides import open_slide
from support.evaluated_slides import evaluated_slide


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("metric")
    command = [sys.executable, "-m", "support.new_metric", str(path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return path


@pytest.mark.slow
def test_an_evaluation_has_it_in_numbers_table_regions_and_page(folder: Path) -> None:
    found = json.loads((folder / "evaluation" / "evaluation.json").read_text("utf-8"))
    assert found["tissue"]["local_product"] > 0
    table = pd.read_csv(folder / "evaluation" / "tables" / "regions.csv")
    assert table["local_product"].tolist()[:2] == [found[region]["local_product"] for region in ("tissue", "frame")]
    assert "local_product" in (folder / "evaluation" / "rois.geojson").read_text("utf-8")
    page = (folder / "evaluation" / "evaluation.html").read_text("utf-8")
    assert "local product, px²" in page
    assert "Mean of products around a pixel." in page


@pytest.mark.slow
def test_a_cohort_has_it(folder: Path) -> None:
    tumours = pd.read_csv(folder / "cohort" / "tables" / "tumours.csv")
    assert tumours["local_product"].gt(0).all()
    assert "local product, px²" in next((folder / "cohort").glob("*.html")).read_text("utf-8")


@pytest.mark.slow
def test_the_tables_of_regions_that_are_drawn_have_the_number_of_the_evaluation(folder: Path) -> None:
    found = json.loads((folder / "evaluation" / "evaluation.json").read_text("utf-8"))
    (row,) = pd.read_csv(folder / "rois.csv").to_dict("records")
    assert row["local_product"] == pytest.approx(found["rois"][0]["local_product"], rel=1e-12)
    assert "local product" in (folder / "panel.html").read_text("utf-8")
    assert json.loads((folder / "rois.json").read_text("utf-8"))["mean_and_sd"]["good"]["local_product"]["n"] == 1


@pytest.mark.slow
def test_a_study_has_it_for_networks_and_not_for_baselines(folder: Path) -> None:
    results = pd.read_csv(folder / "study" / "results.csv")
    assert results.groupby("model")["local_product"].count().loc[["hrpn", "mean"]].tolist() == [4, 0]


@pytest.mark.usefixtures("tiny_figures")
def test_pixels_that_were_counted_before_there_was_the_metric_are_counted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = evaluated_slide(tmp_path)
    images = ProbeImage("real", open_slide(slide.real), 2), ProbeImage("good", open_slide(slide.good), 0)
    settings = EvaluationSettings(resamples=100, permutations=99)
    order = EvaluationRequest(SlideComparison(images[0], images[1:]), "T", "drawn", settings)
    with closing(write_evaluation(order, tmp_path / "out")) as steps:
        assert any(report.step == "tables" for report in steps)
    row = Metric("n_squared", "n²", "Pixels, squared.", lambda r: r.agreement.n**2, views=(metrics.PAGE,))
    rows = (*metrics.METRICS, row)
    for module in (metrics, serialization, evaluation):
        monkeypatch.setattr(module, "METRICS", rows)
    drive(write_evaluation(order, tmp_path / "out"))
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))
    assert found["frame"]["n_squared"] == slide.y.size**2

"""``evaluate`` of an ensemble's prediction: its uncertainty in JSON, tables and page."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from napari_hrpn.cli import run
from napari_hrpn.core import drive
from napari_hrpn.inference import PredictionSettings, predict_slide
from napari_hrpn.slides import open_slide, prediction_record
from support.evaluated_slides import evaluated_slide, write_slide
from support.predictions import lively_checkpoint

pytestmark = pytest.mark.usefixtures("tiny_figures")


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    made = evaluated_slide(tmp_path_factory.mktemp("slide"))
    sd = np.random.default_rng(4).uniform(0.5, 6, made.p.shape)
    pixels = np.stack([made.p, sd]).astype(np.float32)
    return made, pixels, write_slide(pixels, ("predicted QD", "sd"), made.folder / "slide.ensemble.ome.tif")


def evaluate(slide, output, *more):
    made, _, path = slide
    words = [str(made.real), str(made.good), str(path), *made.words[2:], "--block", "24"]
    assert run(["evaluate", *words, "-o", str(made.folder / output), *more]) == 0
    return made.folder / output


def test_json_tables_page_and_terminal_have_the_uncertainty_of_the_ensemble_alone(slide, capsys):
    made, (mean, sd), _ = slide
    folder = evaluate(slide, "out")
    printed = capsys.readouterr().out
    predictions = json.loads((folder / "evaluation.json").read_text("utf-8"))["predictions"]
    single, found = predictions["good"], predictions["ensemble"]
    y, inside = made.y.astype(np.float64), np.load(made.mask) > 0
    covered = np.abs(y - mean)[inside] <= stats.norm.ppf(0.9) * sd[inside].astype(np.float64)
    assert found["tissue"]["coverage_80"] == pytest.approx(covered.mean(), abs=1e-12)
    assert f"coverage of 80 % {covered.mean():.3g}" in printed
    assert printed.count("error by SD: ") == printed.count("CRPS") == 1
    assert {"crps", "width_80", "interval_score_80", "coverage_95"} <= found["rois"][0].keys()
    assert sum(row["n"] for row in found["uncertainty"]["deciles"]) == inside.sum()
    assert sum(row["n"] for row in found["uncertainty"]["predicted_deciles"]) == inside.sum()
    assert sum(row["n"] for row in found["uncertainty"]["spread"]) == inside.sum()
    assert "uncertainty" not in single
    assert "crps" not in single["tissue"]
    regions = pd.read_csv(folder / "tables" / "regions.csv").set_index(["prediction", "region"])
    assert regions.loc[("ensemble", "tissue"), "coverage_80"] == found["tissue"]["coverage_80"]
    assert np.isnan(regions.loc[("good", "tissue"), "coverage_80"])
    for kind in ("deciles", "predicted_deciles"):
        table = pd.read_csv(folder / "tables" / f"uncertainty_{kind}.csv")
        assert table.to_dict("records") == [{"prediction": "ensemble", **row} for row in found["uncertainty"][kind]]
    assert (folder / "tables" / "uncertainty_spread.parquet").is_file()
    page = (folder / "evaluation.html").read_text("utf-8")
    assert page.index(">Uncertainty</h2>") < page.index(">Figures</h2>")
    assert "coverage of 80 %" in page


def test_a_cohort_has_the_factor_of_the_levels_that_its_tumours_allow(slide):
    folder, made = evaluate(slide, "out"), slide[0]
    assert run(["report", str(folder), "-o", str(made.folder / "cohort")]) == 0
    rows = json.loads((made.folder / "cohort" / "cohort.json").read_text("utf-8"))["intervals"]
    assert [(row["prediction"], row["level"], row["tumours"]) for row in rows] == [
        ("ensemble", level, 1) for level in (50, 80, 90, 95)
    ]
    assert rows[0]["factor"] > 0
    assert rows[1]["factor"] is None
    assert rows[1]["reason"].startswith("1 held-out tumour allows intervals of at most 50 %")
    assert "90 % needs 9" in rows[2]["reason"]
    page = (made.folder / "cohort" / "cohort.html").read_text("utf-8")
    assert "Intervals for a new tumour" in page


@pytest.mark.filterwarnings("ignore::napari_hrpn.inference.PredictionWarning")
def test_a_tumour_that_a_member_was_trained_on_or_chosen_by_is_said_to_be_no_test(slide, capsys, tmp_path):
    made, members = slide[0], []
    for number, split in enumerate(({"train": ["mouse 3"]}, {"train": ["other"], "validation": ["mouse 4"]})):
        members.append(lively_checkpoint(1, pixel_size_um=1.2, split=split))
        members[-1].weights["head.last.weight"][:] *= 1 + number
    store = tmp_path / "slide.predicted.ome.zarr"
    drive(predict_slide(open_slide(made.real), members, store, PredictionSettings(device="cpu")))
    assert prediction_record(store).trained_on == ("mouse 3", "other", "mouse 4")
    folders = []
    for tumour in ("Mouse 3", "mouse 4", "mouse 5"):
        folders.append(str(tmp_path / tumour))
        command = ["evaluate", str(made.real), str(store), "--mask", str(made.mask), "--tumour", tumour]
        capsys.readouterr()
        assert run([*command, "--block", "24", "-o", folders[-1]]) == 0
        facts = json.loads((tmp_path / tumour / "evaluation.json").read_text("utf-8"))["about"]["predictions"]
        for text in (capsys.readouterr().out, (tmp_path / tumour / "evaluation.html").read_text("utf-8")):
            sentence = f"was trained on {tumour} or chosen by it, so these numbers, coverage included, are no test"
            assert (sentence in text, facts["predicted"].get("trained_on")) == (
                (False, None) if tumour == "mouse 5" else (True, True)
            )
    assert run(["report", *folders, "-o", str(tmp_path / "cohort")]) == 0
    rows = pd.read_csv(tmp_path / "cohort" / "tables" / "intervals.csv")
    assert set(rows["tumours"]) == {1}
    assert set(rows["trained_on"]) == {"Mouse 3; mouse 4"}
    page = (tmp_path / "cohort" / "cohort.html").read_text("utf-8")
    assert "trained on Mouse 3, mouse 4 or chosen by them, so these numbers are no test" in page


def test_a_page_without_an_ensemble_has_no_uncertainty(slide):
    made, _, _ = slide
    folder = made.folder / "single"
    assert run(["evaluate", str(made.real), str(made.good), *made.words[2:], "--block", "24", "-o", str(folder)]) == 0
    page = (folder / "evaluation.html").read_text("utf-8")
    assert "Uncertainty" not in page
    assert "CRPS" not in page
    assert not list((folder / "tables").glob("uncertainty*"))

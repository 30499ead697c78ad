"""A cohort averages slides within tumours and then tumours, as pandas does; its files, page and figures agree."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hrpn.analysis.metrics import COHORT, metrics_in
from napari_hrpn.reports import ReportError, number, write_cohort
from napari_hrpn.reports.cohort import cohort_differences, cohort_rows, cohort_summary
from napari_hrpn.reports.cohort_page import cohort_figures
from napari_hrpn.reports.folder import ReportFolder
from napari_hrpn.reports.serialization import fields_of
from napari_hrpn.reports.tables import write_tables
from support.page_outline import Outline

steady = settings(derandomize=True, deadline=None, max_examples=25)
KEYS = [metric.key for metric in metrics_in(COHORT) if metric.key != "n"]
COLOURS = {"HRPN": "#2fd5e0", "GANDA": "#e0c53a"}
# of each tumour its slides, by the predictions that they have
COHORT_OF = {"T1": ["HRPN GANDA", "HRPN"], "T2": ["HRPN GANDA"], "T3": ["GANDA"], "T4": ["HRPN GANDA"] * 3}
COHORT_OF |= {"T5": ["HRPN GANDA"], "T6": ["HRPN"], "T7": ["HRPN GANDA", "GANDA"]}


def prediction_of(tissue: dict[str, Any], frame: dict[str, Any], value: float) -> dict[str, Any]:
    """A prediction of which only the numbers of its regions matter."""
    shells = [{"from_um": 5.0 * i, "to_um": 5.0 * i + 5, "mean": value + 3 - i} for i in range(3)]
    shells.append({"from_um": 15.0, "to_um": None, "mean": 1.0})
    profile = {"shells": shells, "d50_um": 10 * value, "d90_um": None, "decay_um": 20 * value}
    return {
        "tissue": tissue,
        "frame": frame,
        "region": "tissue",
        "iou_curve": [{"percentile": percentile, "iou": value / percentile} for percentile in range(1, 100)],
        "distributions": {"wasserstein": value, "qq_slope": None},
        "patches": {"icc_a1": value / 2},
        "penetration": {"real": {"tissue": profile}, "predicted": {"tissue": profile}},
    }


def evaluation_of(tumour: str, slide: str, predictions: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Content of an evaluation with these predictions."""
    first = next(iter(predictions.values()))
    about = {
        "tumour": tumour,
        "real": {"name": f"{slide}.tif", "identity": f"identity {slide}", "sha256": None},
        "predictions": {name: {"colour": COLOURS.get(name)} for name in predictions},
    }
    vessels = {"vessels_per_mm2": 100.0 + len(slide), "vessel_area_fraction": 0.1, "cells_per_mm2": None}
    return {
        "format": "napari-hrpn evaluation 1",
        "predictions": predictions,
        "penetration": first["penetration"],
        "vessels": vessels,
        "heterogeneity": {"patch_px": 64},
        "about": about,
    }


def random_evaluations() -> list[dict[str, Any]]:
    """Evaluations of `COHORT_OF`, of which some numbers are missing."""
    random = np.random.default_rng(3)
    evaluations = []
    for tumour, slides in COHORT_OF.items():
        for index, names in enumerate(slides):
            predictions = {}
            for name in names.split():
                regions = [
                    {"n": int(random.integers(10, 999)), **{key: float(random.normal()) for key in KEYS}}
                    for _ in range(2)
                ]
                regions[0]["slope"] = None if tumour == "T2" else regions[0]["slope"]
                predictions[name] = prediction_of(*regions, float(random.uniform(1, 2)))
            evaluations.append(evaluation_of(tumour, f"{tumour}-{index}", predictions))
    return evaluations


def written(folder: Path, evaluations: list[dict[str, Any]]) -> list[Path]:
    """Folders of complete evaluations, with patches of which every third has too little tissue."""
    paths = []
    for index, evaluation in enumerate(evaluations):
        place = ReportFolder(folder / f"evaluation {index}")
        place.finish(evaluation, "")
        images = ["real", *evaluation["predictions"]]
        rows = [
            {"enough": row % 3 > 0, **{f"{name} total": 100.0 * index + row + at for at, name in enumerate(images)}}
            for row in range(9)
        ]
        write_tables({"patches": rows}, place.path / "tables")
        paths.append(place.path)
    return paths


def slides_frame(evaluations: list[dict[str, Any]]) -> pd.DataFrame:
    """A row per slide, prediction and region, with the numbers that the evaluations have."""
    rows = [
        {"tumour": evaluation["about"]["tumour"], "prediction": name, "region": region, **prediction[region]}
        for evaluation in evaluations
        for name, prediction in evaluation["predictions"].items()
        for region in ("tissue", "frame")
    ]
    return pd.DataFrame(rows).astype(dict.fromkeys(KEYS, float))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return written(tmp_path_factory.mktemp("evaluations"), random_evaluations())


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time of a cohort."""
    monkeypatch.setattr("napari_hrpn.reports.cohort.cohort_figures", lambda *_: [])


@pytest.fixture(scope="module")
def cohort(folders: list[Path]) -> Path:
    output = folders[0].parent / "cohort"
    found = write_cohort(folders, output)
    assert (found.tumours, found.json, found.page) == (7, output / "cohort.json", output / "cohort.html")
    return output


def test_slides_are_averaged_within_their_tumour(cohort: Path) -> None:
    groups = slides_frame(random_evaluations()).groupby(["tumour", "prediction", "region"])
    found = pd.read_csv(cohort / "tables" / "tumours.csv").set_index(["tumour", "prediction", "region"]).sort_index()
    pd.testing.assert_frame_equal(found[["n", *KEYS]], groups.mean()[["n", *KEYS]], check_dtype=False)
    pd.testing.assert_series_equal(found["slides"], groups.size(), check_names=False)


def test_mean_sd_and_n_are_over_tumours_and_not_over_slides(cohort: Path) -> None:
    tumours = slides_frame(random_evaluations()).groupby(["tumour", "prediction", "region"])[KEYS].mean()
    groups = tumours.groupby(["prediction", "region"])
    found = pd.read_csv(cohort / "tables" / "summary.csv").set_index(["prediction", "region"])
    for key in KEYS:
        rows = found[found["number"] == key].sort_index()
        expected = groups[key].agg(["mean", "std", "count"]).set_axis(["mean", "sd", "n"], axis=1)
        pd.testing.assert_frame_equal(rows[["mean", "sd", "n"]], expected, check_dtype=False)
        has_interval = rows["n"] >= 5
        assert (rows["low"].notna() == has_interval).all()
        inside = rows[has_interval]
        assert ((inside["low"] < inside["mean"]) & (inside["mean"] < inside["high"])).all()


def test_differences_are_of_tumours_that_both_predictions_have(cohort: Path) -> None:
    tumours = slides_frame(random_evaluations()).groupby(["tumour", "prediction", "region"])[KEYS].mean()
    wide = tumours.unstack("prediction")
    found = pd.read_csv(cohort / "tables" / "differences.csv").set_index(["number", "region"])
    assert set(zip(found["first"], found["second"], strict=True)) == {("HRPN", "GANDA")}
    for key in KEYS:
        for region in ("tissue", "frame"):
            rows = wide[key].xs(region, level="region")
            expected = (rows["HRPN"] - rows["GANDA"]).dropna()
            row = found.loc[(key, region)]
            assert row["n"] == len(expected)
            assert (row["mean"], row["sd"]) == pytest.approx((expected.mean(), expected.std()))
    # a number of the slide or of the real channel is the same for both
    assert not {"vessels_per_mm2", "real_d50_um", "n"} & set(found.index.get_level_values("number"))


def test_json_has_the_rows_of_the_tables_with_none_for_missing_numbers(cohort: Path) -> None:
    content = json.loads((cohort / "cohort.json").read_text("utf-8"))
    for name in ("tumours", "summary", "differences"):
        table = pd.read_parquet(cohort / "tables" / f"{name}.parquet")
        assert len(content[name]) == len(table)
        for column in table:
            values = [row.get(column) for row in content[name]]
            assert values == [None if pd.isna(value) else value for value in table[column].tolist()]
    assert [one["folder"] for one in content["evaluations"]] == [f"evaluation {index}" for index in range(11)]


def test_the_page_shows_every_tumour_and_its_numbers(cohort: Path) -> None:
    outline = Outline((cohort / "cohort.html").read_text("utf-8"))
    found = outline.of("td")
    assert outline.of("h1") == ["Cohort of 7 tumours"]
    for row in pd.read_csv(cohort / "tables" / "tumours.csv").to_dict("records"):
        assert f"{row['tumour']}, {row['prediction']}" in found
        assert number(row["pearson_r"]) in found
    assert {"HRPN - GANDA", "identity T1-0", "T7-1.tif"} <= set(found)


def test_each_point_of_a_figure_is_a_tumour_and_the_bar_is_their_mean(folders: list[Path]) -> None:
    evaluations = dict(zip(folders, random_evaluations(), strict=True))
    tumours = cohort_rows(list(evaluations.values()))
    rows = [{**fields_of(row, "tumour", "prediction", "region", "slides"), **row.numbers} for row in tumours]
    drawings = {drawing.name: drawing for drawing in cohort_figures(rows, evaluations)}
    assert set(drawings) == {"tumours", "patches", "penetration"}
    axes = next(one for one in drawings["tumours"].figure.axes if one.get_title() == "Pearson r")
    for x, (name, points) in enumerate(zip(COLOURS, axes.collections, strict=True)):
        values = [row["pearson_r"] for row in rows if (row["prediction"], row["region"]) == (name, "tissue")]
        heights = np.ma.getdata(points.get_offsets())[:, 1]
        np.testing.assert_array_equal(np.sort(heights[np.isfinite(heights)]), np.sort(values))
        bar = next(line for line in axes.lines if list(line.get_xdata()) == [x - 0.2, x + 0.2])
        np.testing.assert_allclose(bar.get_ydata(), np.mean(values))
        assert bar.get_color() == COLOURS[name]
    real = drawings["patches"].figure.axes[0]
    drawn = np.concatenate([np.ma.getdata(points.get_offsets())[:, 1] for points in real.collections[2::3]])
    kept = [100.0 * index + row for index in range(11) for row in range(9) if row % 3]
    np.testing.assert_array_equal(np.sort(drawn), kept)
    profiles = drawings["penetration"].figure.axes
    assert [one.get_title() for one in profiles] == ["real", "HRPN", "GANDA"]
    assert [len(one.lines) for one in profiles] == [11, 9, 9]
    for line in profiles[0].lines:
        assert list(line.get_xdata()) == [2.5, 7.5, 12.5]
        assert line.get_ydata()[0] == 1


VALUES = st.none() | st.floats(-1e6, 1e6)


@steady
@given(st.lists(st.tuples(st.sampled_from("ABC"), VALUES, st.integers(0, 5)), min_size=1, max_size=12))
def test_missing_numbers_and_regions_never_pull_a_mean(slides: list[tuple[str, float | None, int]]) -> None:
    evaluations = [
        evaluation_of(tumour, f"{index}", {"HRPN": prediction_of({"n": n, "r2": value}, {"n": 0}, 1.0)})
        for index, (tumour, value, n) in enumerate(slides)
    ]
    rows = cohort_rows(evaluations)
    frame = pd.DataFrame(slides, columns=["tumour", "r2", "n"]).query("n > 0").astype({"r2": float})
    expected = frame.groupby("tumour", sort=False)["r2"].agg(["mean", "size"])
    assert [(row.tumour, row.region, row.slides) for row in rows] == [
        (tumour, "tissue", size) for tumour, size in expected["size"].items()
    ]
    found = [row.numbers["r2"] for row in rows]
    np.testing.assert_allclose(found, expected["mean"], rtol=1e-9, atol=1e-6)
    spread = [row for row in cohort_summary(rows) if row["number"] == "r2"]
    known = [value for value in found if math.isfinite(value)]
    assert [row["n"] for row in spread] == ([len(known)] if rows else [])
    assert cohort_differences(rows) == []


@steady
@given(st.permutations(range(11)))
def test_means_do_not_depend_on_the_order_of_the_evaluations(order: list[int]) -> None:
    evaluations = random_evaluations()
    tables = []
    for places in (range(11), order):
        rows = cohort_rows([evaluations[place] for place in places])
        tables.append({(row.tumour, row.prediction, row.region): row.numbers["r2"] for row in rows})
    assert tables[0] == pytest.approx(tables[1])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("tumours", ["AA", "AB"])
def test_slides_with_and_without_known_tissue_are_pooled_in_any_order(order: tuple[int, int], tumours: str) -> None:
    evaluations = []
    for tumour, region in zip(tumours, ("tissue", "frame"), strict=True):
        tissue = {"n": 9 if region == "tissue" else 0, "r2": 0.5}
        both = {name: prediction_of(tissue, {"n": 12, "r2": 0.25}, 1.5) for name in COLOURS}
        for prediction in both.values():
            prediction["region"] = region
        evaluations.append(evaluation_of(tumour, region, both))
    rows = cohort_rows([evaluations[place] for place in order])
    for region in ("tissue", "frame"):
        # each number of the whole slide was measured once, in one of the regions
        (wasserstein,) = [
            row["mean"]
            for row in cohort_summary(rows)
            if (row["number"], row["prediction"], row["region"]) == ("wasserstein", "HRPN", region)
        ]
        assert wasserstein == 1.5
    differences = {(row["number"], row["region"]): (row["mean"], row["n"]) for row in cohort_differences(rows)}
    assert differences["wasserstein", "frame"] == (0, 1)
    assert differences["r2", "frame"] == (0, len(set(tumours)))


@pytest.mark.usefixtures("without_figures")
def test_a_cohort_of_the_same_evaluations_is_made_again_and_another_refused(
    folders: list[Path], tmp_path: Path
) -> None:
    write_cohort(folders[:2], tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "tables").iterdir()}
    write_cohort(folders[1::-1], tmp_path)
    assert {path.name for path in (tmp_path / "tables").iterdir()} == set(before)
    with pytest.raises(ReportError, match="holds a cohort of other evaluations"):
        write_cohort(folders[:3], tmp_path)
    assert len(json.loads((tmp_path / "cohort.json").read_text("utf-8"))["evaluations"]) == 2
    assert write_cohort(folders[:3], tmp_path, overwrite=True).tumours == 2


@pytest.mark.usefixtures("without_figures")
def test_a_slide_is_pooled_once(tmp_path: Path) -> None:
    evaluation = random_evaluations()[0]
    twice = written(tmp_path, [evaluation, evaluation])
    with pytest.raises(ReportError, match="given twice"):
        write_cohort(twice, tmp_path / "cohort")
    assert not (tmp_path / "cohort").exists()
    assert write_cohort([twice[0], twice[0]], tmp_path / "cohort").tumours == 1


@pytest.mark.parametrize("missing", ["iou_curve", "patches", "distributions", "tissue"])
def test_an_evaluation_without_its_numbers_is_named_by_its_tumour(missing: str) -> None:
    evaluation = random_evaluations()[0]
    del evaluation["predictions"]["HRPN"][missing]
    with pytest.raises(ReportError, match="the evaluation of 'T1' lacks numbers or is damaged"):
        cohort_rows([evaluation])

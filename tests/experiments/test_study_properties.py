"""Studies of any tumours: folds, the grid of ablations, means of results, and files of results."""

import itertools
import math
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_hrpn.experiments import (
    METRICS,
    Ablations,
    ResultRow,
    Study,
    StudyError,
    StudySlide,
    ablation_rows,
    read_results,
    summarised,
    write_results,
)
from napari_hrpn.experiments.baselines import BlurMoments, baseline_fits, fit_agreement
from napari_hrpn.experiments.study import readable, study_experiments, study_folds
from napari_hrpn.experiments.study_folder import StudyFolder
from napari_hrpn.training import SlideEntry
from support.steady import steady

NUMBERS = st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf])
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
ROWS = st.builds(
    ResultRow,
    model=st.sampled_from(["hrpn", "ganda", "mean"]),
    channels=st.sampled_from(["nuclei", "nuclei+vessels"]),
    branches=st.sampled_from([None, 1, 4]),
    ablation=st.booleans(),
    fold=st.sampled_from(["T1", "T2", "final"]),
    slide=NAMES,
    tumour=st.sampled_from(["T1", "T2", "NA", "007"]),
    part=st.sampled_from(["validation", "test"]),
    chose_checkpoint=st.booleans(),
    region=st.sampled_from(["tissue", "frame"]),
    **dict.fromkeys(("mse", "rmse", "r2", "psnr_db", "pearson_r", "data_range"), NUMBERS),
    n=st.integers(0, 2**40),
    seconds=NUMBERS,
    patches_per_second=NUMBERS,
    peak_memory_mb=NUMBERS,
    epochs=st.none() | st.integers(0, 500),
    best_epoch=st.none() | st.integers(0, 500),
    parameters=st.none() | st.integers(0, 10**9),
    note=NAMES | st.just(""),
    more=st.just({}) | st.builds(lambda value: {"ssim": value}, st.floats(-1, 1)),
)
BY = ["model", "channels", "branches", "ablation", "part", "region"]


def plain(row: ResultRow) -> dict[str, object]:
    """The row with metrics that were not measured beside those that do not exist, and NaN that equals itself."""
    cells = {"more": None}
    cells = asdict(row) | {name: row.metric(name) for name in METRICS} | cells
    return {name: "NaN" if isinstance(value, float) and math.isnan(value) else value for name, value in cells.items()}


def study(tumours: dict[str, int], **changes: object) -> Study:
    """A study of slides that no file holds, so many of each tumour."""
    slides = [
        StudySlide(f"{tumour}-{number}", SlideEntry(Path(f"/nowhere/{tumour}-{number}.tif"), tumour=tumour))
        for tumour, count in tumours.items()
        for number in range(count)
    ]
    return Study(Path("study.toml"), tuple(slides), **changes)


@st.composite
def studies(draw: st.DrawFn) -> Study:
    counts = draw(st.lists(st.integers(1, 3), min_size=2, max_size=6))
    tumours = {f"T{number}": count for number, count in enumerate(counts)}
    test = draw(st.integers(0, len(counts) - 2))
    models = draw(st.sampled_from([("hrpn",), ("ganda",), ("hrpn", "ganda")]))
    grid = draw(st.none() | st.builds(Ablations, branches=st.sampled_from([(1,), (1, 2), (1, 2, 4)])))
    return study(
        tumours, test=tuple(tumours)[:test], models=models, ablations=grid, folds=draw(st.booleans()) or not test
    )


@steady(40)
@given(studies())
def test_no_fold_learns_from_a_slide_that_it_measures(found):
    folds = study_folds(found)
    measured = [slide.name for fold in folds if fold.part == "validation" for slide in fold.measured]
    assert sorted(measured) == sorted(slide.name for slide in found.slides_of(found.tumours) if found.folds)
    for fold in folds:
        learnt = {slide.entry.tumour_id for slide in fold.learnable}
        assert learnt.isdisjoint(slide.entry.tumour_id for slide in fold.measured)
        assert learnt.isdisjoint(found.test)
        assert learnt <= set(found.tumours)
        assert fold.validate in found.tumours
        of_test = {entry.tumour_id for entry in fold.entries if entry.part == "test"}
        assert of_test == (set(found.test) if fold.part == "test" else set())
    assert [fold.name for fold in folds if fold.part == "test"] == (["final"] if found.test else [])


@steady(40)
@given(studies())
def test_each_network_of_a_study_is_trained_once_under_its_own_name(found):
    experiments = study_experiments(found)
    names = [experiment.name for experiment in experiments]
    assert len({name.casefold() for name in names}) == len(names)
    assert all(readable(name) == name for name in names)
    own = [experiment for experiment in experiments if not experiment.ablation]
    folds = study_folds(found)
    pairs = {(experiment.settings.model, experiment.fold.name) for experiment in own}
    assert pairs >= set(itertools.product(found.models, (fold.name for fold in folds)))
    if found.ablations is not None:
        chosen = (folds[-1] if found.test else folds[0]).name
        grid = [each for each in experiments if each.settings.model == "hrpn" and each.fold.name == chosen]
        cells = sorted((each.settings.channels, each.settings.branches) for each in grid)
        asked = set(itertools.product(found.ablations.channels, found.ablations.branches))
        assert len(set(cells)) == len(cells)
        assert asked <= set(cells)
        assert {each.fold.name for each in experiments if each.ablation} <= {chosen}


@steady(15)
@given(st.lists(ROWS, min_size=1, max_size=6))
def test_results_come_back_from_a_folder_and_from_a_record_as_they_were(tmp_path_factory, rows):
    path = write_results(rows, tmp_path_factory.mktemp("results"))
    assert [plain(row) for row in read_results(path)] == [plain(row) for row in rows]
    assert [plain(ResultRow.from_plain(row.plain())) for row in rows] == [plain(row) for row in rows]
    parquet = pd.read_parquet(path.with_suffix(".parquet"))
    assert parquet.columns.tolist() == pd.read_csv(path).columns.tolist()
    np.testing.assert_array_equal(parquet["mse"], [row.mse for row in rows])


@steady(25)
@given(st.lists(ROWS.map(lambda row: replace(row, branches=4)), min_size=1, max_size=20))
def test_means_of_results_are_those_of_pandas(rows):
    rows = [replace(row, **{name: abs(getattr(row, name)) for name in ("mse", "r2")}) for row in rows]
    rows = [replace(row, mse=math.nan) if math.isinf(row.mse) else row for row in rows]
    rows += [replace(row, slide=f"{row.slide} again", seconds=3 * row.seconds + 1) for row in rows]
    table = pd.DataFrame([row.cells() for row in rows]).replace({"branches": {math.nan: None}})
    groups = table.groupby(BY, dropna=False, sort=False)
    found = summarised(rows)
    assert len(found) == groups.ngroups
    for summary, (_, group) in zip(found, groups, strict=True):
        assert (summary.slides, summary.tumours) == (len(group), group["tumour"].nunique())
        assert summary.chose_checkpoint == group["chose_checkpoint"].any()
        mse = summary.metrics["mse"]
        assert mse.n == group["mse"].count()
        np.testing.assert_allclose([mse.mean, mse.sd], [group["mse"].mean(), group["mse"].std()], rtol=1e-9, atol=1e-6)
        # a training is measured on several slides, and counts once
        trainings = group.drop_duplicates("fold", keep="last")
        np.testing.assert_equal(summary.peak_memory_mb, trainings["peak_memory_mb"].max())
        np.testing.assert_allclose(summary.seconds, trainings["seconds"].mean(), rtol=1e-9, atol=1e-6)


@steady(40)
@given(st.lists(ROWS, max_size=12))
def test_the_grid_of_results_holds_each_ablation_of_hrpn_and_its_rivals_on_the_same_folds(rows):
    found = ablation_rows(rows)
    folds = {(row.fold, row.part) for row in rows if row.ablation}
    assert sorted(map(id, found)) == sorted(
        id(row) for row in rows if row.model == "hrpn" and (row.fold, row.part) in folds
    )
    assert [row.channels.count("+") for row in found] == sorted(row.channels.count("+") for row in found)


@pytest.mark.parametrize(
    ("tumours", "changes", "words"),
    [
        ({"a": 2}, {}, "has 1 tumour that"),
        ({"a": 1, "b": 1, "c": 1}, {"test": ("a", "b", "c")}, "has 0 tumours that"),
        ({"a": 1, "b": 1}, {"models": ("hrpn", "hrpn")}, "each once"),
        ({"a": 1, "b": 1}, {"models": ()}, "no model"),
        ({"a": 1, "b": 1, "c": 1}, {"test": ("c", "d")}, "names the tumour 'd'"),
        ({"a": 1, "b": 1, "c": 1}, {"test": ("c",), "validate": "c"}, "a, b"),
        ({"a": 1, "b": 1}, {"folds": False}, "neither folds nor tumours"),
        ({"a b": 1, "a/b": 1}, {}, "differ too little for names of folders"),
        ({"é": 1, "É": 1}, {}, "differ too little for names of folders"),
        ({"a": 1, "b": 1}, {"settings": {"epochs": 0}}, "epochs is 0"),
        ({"a": 1, "b": 1}, {"settings": {"ganda": {"batch": -1}}}, "settings of ganda"),
        ({"a": 1, "b": 1}, {"recipe": "slow"}, "'slow'"),
        ({"a": 1, "b": 1}, {"ablations": Ablations(branches=(7,))}, "branches is 7"),
    ],
)
def test_what_no_study_can_be_is_refused_in_one_sentence(
    tumours: dict[str, int], changes: dict[str, object], words: str
) -> None:
    with pytest.raises(StudyError) as caught:
        study(tumours, **changes)
    assert words in str(caught.value)
    assert "study.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


@steady(60)
@given(st.text(max_size=12))
def test_any_name_becomes_the_name_of_a_file(name):
    found = readable(name)
    assert found
    assert readable(found) == found
    assert not set(found) & set('/\\:*?"<>| \t\n\0')
    assert found.strip(".") == found


@steady(20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_a_fit_from_sums_is_that_of_numpy_over_the_pixels(seed, inputs):
    random = np.random.default_rng(seed)
    x = random.integers(0, 255, (200, inputs)).astype(float)
    y = np.rint(x @ random.uniform(0, 1, inputs) + 30 + random.normal(0, 9, 200))
    columns = np.column_stack([np.ones(200), x, y])
    moments = [BlurMoments(part.T @ part, part.T @ part) for part in (columns[:80], columns[80:])]
    mean, blurred, *raw = baseline_fits(moments, [f"stain {index}" for index in range(inputs)], (0.0,))
    weights = np.linalg.lstsq(columns[:, :-1], y, rcond=None)[0]
    np.testing.assert_allclose(blurred.weights, weights, rtol=1e-6, atol=1e-6)
    sums = moments[0].frame + moments[1].frame
    found = fit_agreement(blurred, sums, 255.0)
    error = y - columns[:, :-1] @ weights
    assert found.mse == pytest.approx((error**2).mean(), rel=1e-6)
    assert found.r2 == pytest.approx(1 - error.var() / y.var(), rel=1e-6)
    assert fit_agreement(mean, sums, 255.0).r2 == pytest.approx(0, abs=1e-9)
    assert found.r2 >= 0
    for index, fit in enumerate(raw):
        alone = fit_agreement(fit, sums, 255.0)
        assert alone.pearson_r == pytest.approx(np.corrcoef(x[:, index], y)[0, 1], rel=1e-9)
        assert math.isnan(alone.mse)
        assert alone.reason


def test_sums_of_a_baseline_are_kept_for_their_slide_and_settings_alone(tmp_path: Path) -> None:
    from support.studies import write_tumour

    entries = [SlideEntry(write_tumour(tmp_path / f"T{seed}.ome.tif", seed)) for seed in range(2)]
    found = Study(tmp_path / "study.toml", tuple(StudySlide(entry.path.name, entry) for entry in entries))
    settings, moments = found.reference_settings, BlurMoments(np.eye(4) / 3, np.eye(4) * 1e17)
    StudyFolder(tmp_path / "out").keep_moments(found.slides[0], settings, moments)
    folder = StudyFolder(tmp_path / "out")
    kept = folder.moments(found.slides[0], settings)
    for name in (field.name for field in fields(BlurMoments)):
        np.testing.assert_array_equal(getattr(kept, name), getattr(moments, name))
    assert folder.moments(found.slides[1], settings) is None
    assert folder.moments(found.slides[0], replace(settings, channels=("nuclei",))) is None
    write_tumour(entries[0].path, 7)
    assert StudyFolder(tmp_path / "out").moments(found.slides[0], settings) is None

"""A study from its file to its table: what is kept, what is refused, what goes on."""

import json
import shutil
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pandas as pd
import pytest

from napari_hrpn.analysis import agreement
from napari_hrpn.core import drive
from napari_hrpn.experiments import (
    IncompleteStudyError,
    ResultRow,
    Study,
    StudyError,
    StudyReport,
    StudyWarning,
    cross_validate,
    cross_validation,
    read_results,
    read_study,
)
from napari_hrpn.models import save_checkpoint
from napari_hrpn.settings.networks import NO_AUGMENTATION
from napari_hrpn.slides import SlideError, open_slide
from napari_hrpn.training import TrainingError
from support.predictions import lively_checkpoint
from support.studies import FakeTraining, write_study, write_tumour

TEXT = "test = ['T3']\nmodels = ['hrpn']\n[settings]\nbranches = 1\npatch_px = 32\nepochs = 2\ndevice = 'cpu'\n"
RUNS = ["hrpn-nuclei+vessels-1-branch-without-T1", "hrpn-nuclei+vessels-1-branch-without-T2"]
FINAL = "hrpn-nuclei+vessels-1-branch-final"

pytestmark = pytest.mark.filterwarnings("ignore::napari_hrpn.training.TrainingWarning")


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> FakeTraining:
    fake = FakeTraining()
    monkeypatch.setattr(cross_validation, "train_model", fake)
    return fake


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return read_study(write_study(tmp_path / "slides", TEXT))


def carry_out(
    study: Study, folder: Path, stop: Event | None = None, seen: Callable[[StudyReport], None] = lambda _: None
) -> tuple[list[StudyReport], Path | None]:
    reports: list[StudyReport] = []

    def report(news: StudyReport) -> None:
        reports.append(news)
        seen(news)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "bright ")
        return reports, drive(cross_validate(study, folder, stop=stop), report)


def of_networks(path: Path | None) -> list[ResultRow]:
    assert path is not None
    return [row for row in read_results(path) if row.model in ("hrpn", "ganda")]


def test_every_fold_is_trained_measured_and_told(study: Study, training: FakeTraining, tmp_path: Path) -> None:
    reports, path = carry_out(study, tmp_path / "out")
    assert training.folders == [*RUNS, FINAL]
    entries, settings, validate = training.asked[RUNS[0]]
    assert ([entry.tumour_id for entry in entries], settings.branches, validate) == (["T1", "T2"], 1, "T1")
    entries, _, validate = training.asked[FINAL]
    assert ([(entry.tumour_id, entry.part) for entry in entries], validate) == (
        [("T1", "auto"), ("T2", "auto"), ("T3", "test")],
        "T2",
    )
    rows = of_networks(path)
    assert [(row.fold, row.slide, row.part, row.chose_checkpoint, row.region) for row in rows] == [
        (fold, slide, part, part == "validation", region)
        for fold, slide, part in (("T1", "T1", "validation"), ("T2", "T2", "validation"), ("final", "T3", "test"))
        for region in ("tissue", "frame")
    ]
    assert {row.model for row in read_results(path)} == {"hrpn", "mean", "blurred", "raw nuclei", "raw vessels"}
    done = [report.done + report.share for report in reports]
    assert done == sorted(done)
    assert (reports[-1].done, reports[-1].total) == (3, 3)
    assert (rows[0].seconds, rows[0].patches_per_second, rows[0].peak_memory_mb) == (9.0, 12.0, 3.0)
    assert (rows[0].epochs, rows[0].best_epoch, rows[0].parameters) == (2, 1, 368_976)


def test_the_numbers_are_those_of_the_prediction_beside_them(
    study: Study, training: FakeTraining, tmp_path: Path
) -> None:
    _, path = carry_out(study, tmp_path / "out")
    frame = of_networks(path)[-1]
    predicted = open_slide(tmp_path / "out" / "runs" / FINAL / "predictions" / "T3.ome.zarr")
    real = open_slide(tmp_path / "slides" / "T3.ome.tif")
    expected = agreement(np.asarray(real.levels[0][2]), np.asarray(predicted.levels[0][0]))
    assert (frame.mse, frame.r2, frame.pearson_r, frame.psnr_db) == pytest.approx(
        (expected.mse, expected.r2, expected.pearson_r, expected.psnr_db), rel=1e-9
    )
    assert frame.n == 96 * 128


def test_csv_and_parquet_hold_the_same_rows(study: Study, training: FakeTraining, tmp_path: Path) -> None:
    _, path = carry_out(study, tmp_path / "out")
    assert path == tmp_path / "out" / "results.csv"
    table = pd.read_parquet(path.with_suffix(".parquet"))
    rows = read_results(path)
    assert len(table) == len(rows) == 2 * 3 * 5
    np.testing.assert_allclose(table["mse"], [row.mse for row in rows], rtol=1e-15)
    assert list(table.columns) == path.read_text("utf-8").partition("\n")[0].split(",")


def test_baselines_learn_from_the_other_tumours_alone(study: Study, training: FakeTraining, tmp_path: Path) -> None:
    _, path = carry_out(study, tmp_path / "out")
    rows = [row for row in read_results(path) if row.model == "mean" and row.region == "tissue"]
    real = {
        name: np.asarray(open_slide(tmp_path / "slides" / f"{name}.ome.tif").levels[0][2])
        for name in ("T1", "T2", "T3")
    }
    # these small slides are tissue all over
    assert {row.n for row in rows} == {96 * 128}
    learnt_from = {"T1": ("T2",), "T2": ("T1",), "final": ("T1", "T2")}
    for row in rows:
        mean = np.mean([real[name] for name in learnt_from[row.fold]])
        assert row.mse == pytest.approx(np.mean((real[row.slide] - mean) ** 2), rel=1e-9)
        assert not row.chose_checkpoint


def test_a_second_call_does_nothing_again(study: Study, training: FakeTraining, tmp_path: Path) -> None:
    _, path = carry_out(study, tmp_path / "out")
    assert path is not None
    before = path.read_bytes()
    reports, again = carry_out(study, tmp_path / "out")
    assert (again, len(training.folders), reports) == (path, 3, [])
    assert path.read_bytes() == before


def test_a_killed_study_goes_on_with_what_is_missing(study: Study, training: FakeTraining, tmp_path: Path) -> None:
    _, whole = carry_out(study, tmp_path / "whole")
    training.folders.clear()
    steps = cross_validate(study, tmp_path / "out")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "bright ")
        for report in steps:
            # as a kill would have it: while the second network is being measured
            if report.experiment == RUNS[1] and report.share > 0.9:
                break
        steps.close()
    assert training.folders == RUNS
    reports, path = carry_out(study, tmp_path / "out")
    assert training.folders == [*RUNS, RUNS[1], FINAL]
    assert reports[0].done == 1
    assert path is not None
    assert whole is not None
    assert path.read_text("utf-8") == whole.read_text("utf-8")


def test_stopping_ends_it_with_everything_kept(study: Study, training: FakeTraining, tmp_path: Path) -> None:
    stop = Event()

    def until_the_second(report: StudyReport) -> None:
        if report.experiment == RUNS[1]:
            stop.set()

    _, path = carry_out(study, tmp_path / "out", stop, until_the_second)
    assert path is None
    assert training.folders == RUNS
    assert (tmp_path / "out" / "runs" / RUNS[0] / "metrics.json").is_file()
    assert not (tmp_path / "out" / "runs" / RUNS[1] / "metrics.json").exists()
    assert [row.fold for row in of_networks(tmp_path / "out" / "results.csv")] == ["T1", "T1"]


def test_another_study_is_refused_but_an_extended_one_goes_on(
    study: Study, training: FakeTraining, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    carry_out(study, out)
    with pytest.raises(StudyError, match=r"without-T1 was made from another study \(epochs was 2, now it is 3\)"):
        carry_out(study.with_settings(epochs=3), out)
    with pytest.raises(StudyError, match=r"T1 was made from another study \(the slide T3 is new"):
        carry_out(replace(study, test=()), out)
    _, path = carry_out(study.with_settings(device="cpu"), out)
    assert len(training.folders) == 3
    _, path = carry_out(replace(study, models=("hrpn", "ganda")), out)
    assert len(training.folders) == 6
    assert Counter(row.model for row in of_networks(path)) == {"hrpn": 6, "ganda": 6}


def test_a_study_from_before_augmentation_goes_on_without_it(
    study: Study, training: FakeTraining, tmp_path: Path
) -> None:
    stop, out = Event(), tmp_path / "out"
    carry_out(study.with_settings(**NO_AUGMENTATION), out, stop, lambda report: stop.set() if report.done else None)
    for path in (*out.glob("runs/*/run.json"), *out.glob("runs/*/metrics.json")):
        record = json.loads(path.read_text("utf-8"))
        settings = record.get("settings") or record["request"]["settings"]
        for name in NO_AUGMENTATION:
            del settings[name]
        path.write_text(json.dumps(record), "utf-8")
    begun = list(training.folders)
    with pytest.raises(StudyError, match=r"another study \(gain was 1.0, now it is 2.0\)"):
        carry_out(study.with_settings(gain=2.0), out)
    carry_out(study, out)
    assert training.folders[: len(begun)] == begun
    assert RUNS[0] not in training.folders[len(begun) :]
    assert not any(settings.augments for _, settings, _ in training.asked.values())


def test_a_slide_that_changed_is_noticed(study: Study, training: FakeTraining, tmp_path: Path) -> None:
    carry_out(study, tmp_path / "out")
    write_tumour(tmp_path / "slides" / "T1.ome.tif", 99, (128, 128))
    with pytest.raises(StudyError, match="the slide T1 is new, gone or changed"):
        carry_out(study, tmp_path / "out")


def test_every_fold_has_the_same_start_and_another_one_is_noticed(training: FakeTraining, tmp_path: Path) -> None:
    slides, parent = tmp_path / "slides", tmp_path / "slides" / "parent.safetensors"
    slides.mkdir()
    save_checkpoint(lively_checkpoint(1, input_roles=("nuclei", "vessels")), parent)
    study = read_study(write_study(slides, TEXT + "start = 'parent.safetensors'\n"))
    carry_out(study, tmp_path / "out")
    assert {settings.start for _, settings, _ in training.asked.values()} == {str(parent)}
    carry_out(study, tmp_path / "out")
    assert len(training.folders) == 3
    save_checkpoint(lively_checkpoint(2, input_roles=("nuclei", "vessels")), parent)
    with pytest.raises(StudyError, match=r"was made from another study \(start was "):
        carry_out(study, tmp_path / "out")


def test_a_study_may_move_with_its_results(study: Study, training: FakeTraining, tmp_path: Path) -> None:
    carry_out(study, tmp_path / "out")
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(tmp_path / "slides", tmp_path / "elsewhere" / "slides", copy_function=shutil.copy2)
    (tmp_path / "out").rename(tmp_path / "elsewhere" / "out")
    carry_out(read_study(tmp_path / "elsewhere" / "slides" / "study.toml"), tmp_path / "elsewhere" / "out")
    assert len(training.folders) == 3


def test_one_network_that_fails_does_not_end_the_study(
    study: Study, training: FakeTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_once(entries, folder, settings, **options):  # type: ignore[no-untyped-def]
        if folder.name == RUNS[0] and len(training.folders) == 0:
            training.folders.append("failed")
            msg = "the training diverged."
            raise TrainingError(msg)
        return training(entries, folder, settings, **options)

    monkeypatch.setattr(cross_validation, "train_model", fails_once)
    with (
        pytest.warns(StudyWarning, match="without-T1 has no result, the study continues: the training diverged"),
        pytest.raises(IncompleteStudyError, match="1 of 3 networks has no result") as caught,
    ):
        carry_out(study, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert [row.fold for row in of_networks(caught.value.args[1])] == ["T2", "T2", "final", "final"]
    _, path = carry_out(study, tmp_path / "out")
    assert len(of_networks(path)) == 6


def test_what_cannot_work_is_refused_before_any_training(study: Study, training: FakeTraining, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cd45"):
        carry_out(study.with_settings(channels=("nuclei", "cd45")), tmp_path / "out")
    (tmp_path / "slides" / "T3.ome.tif").write_bytes(b"II*\0broken")
    with pytest.raises(SlideError, match="T3"):
        carry_out(study, tmp_path / "out")
    assert training.folders == []
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StudyError, match="cannot be written"):
        carry_out(study, tmp_path / "file" / "out")


def test_two_programs_do_not_share_a_folder(study: Study, training: FakeTraining, tmp_path: Path) -> None:
    steps = cross_validate(study, tmp_path / "out")
    next(steps)
    with pytest.raises(StudyError, match="another program"):
        carry_out(study, tmp_path / "out")
    steps.close()
    carry_out(study, tmp_path / "out")


def test_damaged_metrics_are_named(study: Study, training: FakeTraining, tmp_path: Path) -> None:
    carry_out(study, tmp_path / "out")
    path = tmp_path / "out" / "runs" / FINAL / "metrics.json"
    path.write_text(path.read_text("utf-8")[:100], encoding="utf-8")
    with pytest.raises(StudyError, match=r"metrics\.json cannot be read .* delete it"):
        carry_out(study, tmp_path / "out")


def test_metrics_are_json_that_everyone_reads(study: Study, training: FakeTraining, tmp_path: Path) -> None:
    carry_out(study, tmp_path / "out")
    text = (tmp_path / "out" / "runs" / FINAL / "metrics.json").read_text("utf-8")
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text)["request"]["settings"]["branches"] == 1


def test_a_real_study_learns_and_goes_on(tmp_path: Path) -> None:
    text = f"{TEXT}steps_per_epoch = 2\nbatch = 2\nlearning_rate = 1e-3\n".replace("epochs = 2", "epochs = 1")
    study = read_study(write_study(tmp_path / "slides", text))
    steps = cross_validate(study, tmp_path / "out")
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "bright |there are only|T3.ome.tif is kept|the checkpoint was trained on one slide"
        )
        for report in steps:
            if report.done == 1 and report.experiment == RUNS[1]:
                break
        steps.close()
        _, path = carry_out(study, tmp_path / "out")
    rows = of_networks(path)
    assert [row.fold for row in rows] == ["T1", "T1", "T2", "T2", "final", "final"]
    assert all(np.isfinite([row.mse, row.r2, row.seconds, row.patches_per_second]).all() for row in rows)
    assert {(row.epochs, row.best_epoch, row.parameters) for row in rows} == {(1, 1, 368_976)}


@pytest.mark.parametrize("content", [b"", b"a,b\n1\n2,3,4\n", bytes(range(128, 256)), b"garbage\n1\n"])
def test_a_damaged_table_of_results_is_refused_in_a_sentence(content: bytes, tmp_path: Path) -> None:
    table = tmp_path / "results.csv"
    table.write_bytes(content)
    with pytest.raises(StudyError, match="is not the table of results of a study"):
        read_results(table)

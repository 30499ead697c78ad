"""Errors on held-out tumours: measured once from a study's predictions, and used by predictions with the study."""

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from napari_hrpn.analysis.scan.block_scan import count_blocks
from napari_hrpn.analysis.statistics.error_model import coverage, error_model
from napari_hrpn.cli import run
from napari_hrpn.core import drive
from napari_hrpn.experiments import (
    Study,
    StudyError,
    cross_validate,
    cross_validation,
    fold_checkpoints,
    read_study,
    study_error_model,
    uncertainty,
)
from napari_hrpn.models import load_checkpoint, save_checkpoint
from napari_hrpn.slides import RegionMask, open_slide, prediction_record
from support.studies import FakeTraining, write_study

TEXT = "test = ['T3']\nmodels = ['hrpn']\n[settings]\nbranches = 1\npatch_px = 32\nepochs = 2\ndevice = 'cpu'\n"
RUNS = ("hrpn-nuclei+vessels-1-branch-without-T1", "hrpn-nuclei+vessels-1-branch-without-T2")

pytestmark = [
    pytest.mark.filterwarnings("ignore::napari_hrpn.training.TrainingWarning"),
    pytest.mark.filterwarnings("ignore:bright "),
]


@pytest.fixture(scope="module")
def training() -> Iterator[FakeTraining]:
    fake = FakeTraining()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cross_validation, "train_model", fake)
        yield fake


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return read_study(write_study(tmp_path_factory.mktemp("study") / "slides", TEXT))


@pytest.fixture(scope="module")
def folder(study: Study, training: FakeTraining) -> Path:
    """A finished study in the folder "out", and its slides."""
    drive(cross_validate(study, study.source.parents[1] / "out"))
    return study.source.parents[1]


def saved(folder: Path) -> dict:
    return json.loads((folder / "uncertainty.json").read_text("utf-8"))


def pixels(folder: Path, name: str, tumour: str) -> tuple[np.ndarray, np.ndarray]:
    real = open_slide(folder / "slides" / f"{tumour}.ome.tif").levels[0][2]
    predicted = open_slide(folder / "out" / "runs" / name / "predictions" / f"{tumour}.ome.zarr").levels[0][0]
    return np.asarray(real).ravel(), np.asarray(predicted).ravel()


def test_the_model_is_that_of_the_held_out_pixels_and_is_made_again_without_training(
    study: Study, training: FakeTraining, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = folder / "out"
    content = saved(out)
    (network,) = content["networks"]
    # these small slides are tissue all over
    first, second = (pixels(folder, run, tumour) for run, tumour in zip(RUNS, ("T1", "T2"), strict=True))
    model = error_model([first, second])
    np.testing.assert_allclose([one["predicted"] for one in network["bins"]], model.predicted, rtol=1e-12)
    np.testing.assert_allclose([one["sd"] for one in network["bins"]], model.sd, rtol=1e-12)
    assert (network["tumours"], network["highest_level"], content["level"]) == (2, pytest.approx(2 / 3), 0.8)
    assert network["by_tumour"] == [
        {
            "tumour": name,
            "n": 96 * 128,
            "chose_checkpoint": True,
            "coverage_left_out": pytest.approx(coverage(error_model([other]), one), abs=1e-12),
        }
        for name, one, other in (("T1", first, second), ("T2", second, first))
    ]
    members = [load_checkpoint(path) for path in fold_checkpoints(out)]
    assert study_error_model(out, members) == replace(
        model, predicted=tuple(one["predicted"] for one in network["bins"])
    )
    with pytest.raises(StudyError, match="other networks than"):
        study_error_model(out, members[:1])

    (out / "uncertainty.json").unlink()
    for predictions in out.glob("runs/*/predictions"):
        shutil.rmtree(predictions)
    trained = list(training.folders)
    drive(cross_validate(study, out))
    assert (saved(out), training.folders) == (content, trained)

    monkeypatch.setattr(uncertainty, "_MOST_PX", 1000)
    (out / "uncertainty.json").unlink()
    drive(cross_validate(study, out))
    assert [one["n"] for one in saved(out)["networks"][0]["by_tumour"]] == [24 * 32] * 2


def test_a_regular_subsample_of_the_tissue_does_not_depend_on_blocks() -> None:
    random = np.random.default_rng(0)
    images, mask = random.random((2, 97, 113)), np.zeros((97, 113), bool)
    mask[20:90, 5:100] = True
    found = []
    for chunk in (16, 50, 200):
        channels = tuple(da.from_array(image, chunks=chunk, name=f"{chunk}-{n}") for n, image in enumerate(images))
        sample = uncertainty._PixelSample(channels, RegionMask(mask, (1.0, 1.0)), 5)
        drive(count_blocks(channels, [sample]))
        found.append(np.array(sample.pixels))
    grid = np.zeros_like(mask)
    grid[2::5, 2::5] = True
    expected = images[:, mask & grid]
    for one in found:
        np.testing.assert_array_equal(np.sort(one, axis=1), np.sort(expected, axis=1))


@pytest.mark.filterwarnings("always:the study does not say")
def test_a_prediction_by_a_study_is_nowhere_surer_than_the_errors_on_held_out_tumours(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, slide = shutil.copytree(folder / "out", tmp_path / "out"), folder / "slides" / "T3.ome.tif"
    words = ["predict", str(slide), "--study", str(out), "--device", "cpu", "-o"]
    assert run([*words, str(tmp_path / "a")]) == 0
    stored = tmp_path / "a" / "T3.predicted.ome.zarr"
    predicted, sd = np.asarray(open_slide(stored).levels[0])
    bins = saved(out)["networks"][0]["bins"]
    expected = np.interp(predicted, [one["predicted"] for one in bins], [one["sd"] for one in bins])
    # both folds have the same network here, so that there is no spread
    np.testing.assert_allclose(sd, expected, rtol=1e-6)
    record = prediction_record(stored)
    assert record is not None
    assert record.request["error_model"] == {
        "tumours": 2, "predicted": [one["predicted"] for one in bins], "sd": [one["sd"] for one in bins],
    }  # fmt: skip

    (out / "uncertainty.json").unlink()
    capsys.readouterr()
    assert run([*words, str(tmp_path / "b")]) == 0
    assert "run napari-hrpn cross-validate again" in capsys.readouterr().err
    assert not np.asarray(open_slide(tmp_path / "b" / "T3.predicted.ome.zarr").levels[0][1]).any()
    (out / "uncertainty.json").write_text(json.dumps({"format": "another"}), "utf-8")
    assert run([*words, str(tmp_path / "c")]) == 2
    assert "uncertainty.json was not written by this version; delete it" in capsys.readouterr().err


def test_a_single_network_has_a_deviation_if_its_errors_are_known(
    study: Study, training: FakeTraining, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    drive(cross_validate(replace(study, folds=False), out))
    (network,) = saved(out)["networks"]
    assert network["by_tumour"] == [
        {"tumour": "T3", "n": 96 * 128, "chose_checkpoint": False, "coverage_left_out": None}
    ]
    (path,) = fold_checkpoints(out)
    assert path.parent.name == "hrpn-nuclei+vessels-1-branch-final"
    slide = study.source.parent / "T1.ome.tif"
    assert run(["predict", str(slide), "--study", str(out), "--device", "cpu", "-o", str(tmp_path / "a")]) == 0
    assert open_slide(tmp_path / "a" / "T1.predicted.ome.zarr").channel_names == ("predicted probe", "sd")
    (out / "uncertainty.json").unlink()
    with pytest.raises(StudyError, match=r"too few networks for an ensemble \(1\)"):
        fold_checkpoints(out)


def test_a_network_that_was_put_in_the_place_of_another_is_refused(
    study: Study, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(folder / "out", tmp_path / "out")
    replaced = out / "runs" / RUNS[1] / "checkpoint.safetensors"
    original, found = replaced.read_bytes(), load_checkpoint(replaced)
    save_checkpoint(replace(found, weights={name: 2 * weight for name, weight in found.weights.items()}), replaced)
    slide = folder / "slides" / "T3.ome.tif"
    words = ["predict", str(slide), "--study", str(out), "--device", "cpu", "-o", str(tmp_path / "a")]
    assert run(words) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"has the errors of other networks than {RUNS[1]} in this folder; put back" in said
    assert not (tmp_path / "a").exists()
    with pytest.raises(StudyError, match=r"without-T2 was made from another study \(its checkpoint is another network"):
        drive(cross_validate(study, out))
    replaced.write_bytes(original)
    drive(cross_validate(study, out))
    assert run(words) == 0


def test_the_errors_of_another_study_are_refused_for_a_single_network(
    study: Study, training: FakeTraining, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    drive(cross_validate(replace(study, folds=False), out))
    content = saved(folder / "out")
    content["networks"][0]["checkpoints"] = ["0" * 16, "1" * 16]
    (out / "uncertainty.json").write_text(json.dumps(content), "utf-8")
    slide = study.source.parent / "T1.ome.tif"
    assert run(["predict", str(slide), "--study", str(out), "--device", "cpu", "-o", str(tmp_path / "a")]) == 2
    assert "errors of other networks than hrpn-nuclei+vessels-1-branch-final in this folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bins": []}, "0 grey levels and 0 SDs"),
        ({"bins": [{"predicted": math.pi}]}, "values are missing"),
        ({"bins": [{"predicted": 1, "sd": -2}]}, "bin 1 .* the grey level 1 and the SD -2; expected finite"),
        ({"bins": [{"predicted": 1, "sd": math.nan}]}, "the SD nan; expected finite"),
        ({"bins": [{"predicted": 1, "sd": 10**400}]}, "values are missing or of another kind"),
        ({"bins": [{"predicted": 3, "sd": 1}, {"predicted": 3, "sd": 1}]}, "bin 2 .* levels that rise"),
        ({"bins": [{"predicted": math.inf, "sd": 1}]}, "the grey level inf"),
        ({"tumours": None}, "it has 1 tumours, and says that there are None"),
        ({"tumours": 3}, "it has 1 tumours, and says that there are 3"),
        ({"by_tumour": [{"coverage_left_out": 1.5}]}, "a coverage is 1.5; expected 0 to 1"),
        ({"highest_level": math.nan}, "a coverage is nan"),
        ({"checkpoints": "a"}, "values are missing or of another kind"),
    ],
)
def test_values_that_cannot_be_are_named(tmp_path: Path, change: dict, said: str) -> None:
    network = {
        "checkpoints": ["a"],
        "tumours": 1,
        "highest_level": 0.5,
        "bins": [{"predicted": 1, "sd": 2}],
        "by_tumour": [{"coverage_left_out": None}],
    }
    members = [type("Member", (), {"digest": "a"})]
    for content in (network, {**network, **change}):
        whole = {"format": "napari-hrpn uncertainty 1", "networks": [content]}
        (tmp_path / "uncertainty.json").write_text(json.dumps(whole), "utf-8")
        if content is network:
            assert study_error_model(tmp_path, members) is not None
    with pytest.raises(StudyError, match=rf"is damaged \(.*{said}.*\); delete it"):
        study_error_model(tmp_path, members)


def test_a_damaged_file_is_one_sentence_for_the_user(
    study: Study, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, slide = shutil.copytree(folder / "out", tmp_path / "out"), folder / "slides" / "T3.ome.tif"
    content = saved(out)
    content["networks"][0]["bins"][1]["sd"] = -1
    (out / "uncertainty.json").write_text(json.dumps(content), "utf-8")
    assert run(["predict", str(slide), "--study", str(out), "--device", "cpu", "-o", str(tmp_path / "a")]) == 2
    assert "uncertainty.json is damaged (bin 2" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(StudyError, match=r"is damaged .* run napari-hrpn cross-validate again"):
        drive(cross_validate(study, out))

"""Recipes on the command line: a chain of all steps, what it stands for, and outputs that are made again."""

import os
import shlex
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_hrpn.cli import run
from napari_hrpn.models import bundled_checkpoint, load_checkpoint
from napari_hrpn.recipes import read_recipe, save_output_recipe
from napari_hrpn.slides import open_slide
from napari_hrpn.training import (
    RunFolder,
    RunRequest,
    SlideEntry,
    TrainingResult,
    TrainingSettings,
    recipe_settings,
)
from napari_hrpn.training.training_recipe import training_recipe
from support.studies import write_tumour

pytestmark = pytest.mark.filterwarnings("ignore")
CHAIN = """
[train]
folder = "run"
branches = 1
patch_px = 64
batch = 2
steps_per_epoch = 1
epochs = 1
device = "cpu"
validate = "T2"
[predict]
folder = "predicted"
device = "cpu"
[evaluate]
folder = "evaluations"
[report]
folder = "cohort"
[[slide]]
path = "T1.ome.tif"
roles = { vessels = "CD31" }
[[slide]]
path = "T2.ome.tif"
roles = { vessels = "CD31" }
"""
OUTPUTS = ("run", "predicted/T1.predicted.ome.zarr", "predicted", "evaluations/T1", "cohort")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chain that has been carried out."""
    folder = tmp_path_factory.mktemp("recipe")
    for number, name in enumerate(("T1", "T2")):
        write_tumour(folder / f"{name}.ome.tif", number)
    recipe = folder / "recipe.toml"
    recipe.write_text(CHAIN, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        # drawing would take most of the time
        patch.setattr(
            "matplotlib.figure.Figure.savefig", lambda _, path, **__: Image.new("L", (1, 1)).save(path, "png")
        )
        assert run(["run", str(recipe)]) == 0
    return folder


@pytest.fixture
def kept(folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file that a test changes, put back afterwards."""
    path = folder / request.param
    before, status = path.read_bytes(), path.stat()
    yield path
    path.write_bytes(before)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.usefixtures("tiny_figures")
def test_commands_of_the_dry_run_are_what_was_done(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", str(folder / "recipe.toml"), "--dry-run"]) == 0
    lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    assert [line[1] for line in lines] == ["train", "predict", "evaluate", "evaluate", "report"]
    for line in lines[:-1]:
        assert run(line[1:]) == 0
        assert "already complete" in capsys.readouterr().out
    assert run(lines[-1][1:]) == 0
    assert capsys.readouterr().out.startswith("2 tumours")


def test_one_step_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", str(folder / "recipe.toml"), "--only", "predict"]) == 0
    assert capsys.readouterr().out.count("already complete") == 2
    assert run(["run", str(folder / "recipe.toml"), "--only", "convert"]) == 2
    assert "the step 'convert' is not in the recipe; expected one of train" in capsys.readouterr().err


@pytest.mark.usefixtures("tiny_figures")
@pytest.mark.parametrize("output", OUTPUTS)
def test_an_output_is_made_again_from_the_recipe_beside_it(
    folder: Path, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rerun", str(folder / output)]) == 0
    words = "2 tumours" if output == "cohort" else "already complete"
    assert capsys.readouterr().out.count(words) == (2 if output == "predicted" else 1)


def test_a_recipe_beside_an_output_has_all_that_decides_it(folder: Path) -> None:
    request = RunFolder(folder / "run").request()
    training = read_recipe(folder / "run" / "recipe.toml")
    assert training.chosen("train").items() >= {"epochs": 1, "momentum": 0.9, "sampling": "crops"}.items()
    assert [slide["path"] for slide in training.slides] == [entry.path for entry in request.entries]
    made = read_recipe(folder / "predicted" / "T1.predicted.ome.zarr.recipe.toml")
    assert made.steps["predict"]["checkpoint"] == (folder / "run" / "checkpoint.safetensors",)
    assert made.steps["predict"]["core"] == 512
    assert made.slides[0]["roles"] == {"nuclei": "DAPI", "vessels": "CD31"}
    assert made.hashes.keys() == {folder / "T1.ome.tif", folder / "run" / "checkpoint.safetensors"}
    evaluated = read_recipe(folder / "evaluations" / "T1" / "recipe.toml")
    assert evaluated.slides[0]["roles"]["probe"] == "QD"
    assert evaluated.steps["evaluate"]["resamples"] == 2000
    assert len(read_recipe(folder / "cohort" / "recipe.toml").hashes) == 2


def test_the_same_prediction_is_made_elsewhere(folder: Path) -> None:
    old, new = folder / "predicted" / "T2.predicted.ome.zarr", folder / "again.ome.zarr"
    assert run(["rerun", str(old), "-o", str(new)]) == 0
    pixels = [np.asarray(open_slide(path).levels[0]) for path in (old, new)]
    np.testing.assert_array_equal(*pixels)
    assert read_recipe(folder / "again.ome.zarr.recipe.toml").steps["predict"]["folder"] == new


def test_an_output_that_was_renamed_is_made_again_under_its_new_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = folder / "predicted" / "T1.predicted.ome.zarr.recipe.toml"
    renamed = recipe.with_name("new.ome.zarr.recipe.toml")
    recipe.rename(renamed)
    try:
        assert run(["rerun", str(folder / "predicted" / "new.ome.zarr"), "--dry-run"]) == 0
        assert _output(capsys.readouterr().out) == folder / "predicted" / "new.ome.zarr"
    finally:
        renamed.rename(recipe)


def test_outputs_of_a_folder_keep_their_names_in_another(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rerun", str(folder / "predicted"), "-o", str(folder / "more"), "--dry-run"]) == 0
    outputs = [_output(line).name for line in capsys.readouterr().out.splitlines()]
    assert outputs == ["T1.predicted.ome.zarr", "T2.predicted.ome.zarr"]


def _output(line: str) -> Path:
    words = shlex.split(line)
    return Path(words[words.index("-o") + 1])


@pytest.mark.parametrize(
    ("kept", "output"),
    [
        ("T1.ome.tif", "run"),
        ("T1.ome.tif", "predicted"),
        ("T1.ome.tif", "evaluations/T1"),
        ("run/checkpoint.safetensors", "predicted/T1.predicted.ome.zarr"),
        ("evaluations/T2/evaluation.json", "cohort"),
    ],
    indirect=["kept"],
)
def test_what_has_changed_is_refused(folder: Path, kept: Path, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray(kept.read_bytes())
    content[-200] ^= 255
    kept.write_bytes(bundled_checkpoint().read_bytes() if kept.suffix == ".safetensors" else content)
    assert run(["rerun", str(folder / output)]) == 2
    said = capsys.readouterr().err
    assert f"{kept} has the hash" in said
    assert "put back the file as it was" in said


def test_a_study_and_a_folder_without_a_recipe_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "study.toml").write_text('title = "S"\n[[slide]]\npath = "T1.ome.tif"\n', encoding="utf-8")
    assert run(["run", str(tmp_path / "study.toml")]) == 2
    assert "napari-hrpn cross-validate" in capsys.readouterr().err
    assert run(["rerun", str(tmp_path)]) == 2
    assert "expected an output of train, predict, evaluate or report with its recipe" in capsys.readouterr().err


def test_a_training_that_napari_began_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = (write_tumour(tmp_path / f"{name}.ome.tif", number) for number, name in enumerate("ab"))
    (tmp_path / "a.geojson").write_text("{}", encoding="utf-8")
    (folder := tmp_path / "run").mkdir()
    first = SlideEntry(a, "m1", "train", {"nuclei": 0, "probe": "QD"}, tmp_path / "a.geojson", 0, classes=("Tumor",))
    second = SlideEntry(folder / ".." / b.name, part="validation", classes=("Tumor",))
    settings = recipe_settings("paper", momentum=0.5, start="synthetic", freeze=("stem",), max_minutes=3.0)
    request = RunRequest((first, second), settings)
    save_output_recipe(training_recipe(request, load_checkpoint(bundled_checkpoint()), folder), folder)
    asked = []

    def train(
        entries: list[SlideEntry], folder: Path, settings: TrainingSettings, *, validate: str | None, **_: object
    ) -> Generator[None, None, TrainingResult]:
        asked.append((folder, RunRequest(tuple(entries), settings, validate)))
        return TrainingResult(folder, None, (), 0, complete=True)
        yield

    monkeypatch.setattr("napari_hrpn.training.train_model", train)
    assert run(["rerun", str(folder)]) == 0
    ((place, found),) = asked
    assert place == folder
    assert found.matches(request)
    assert found.settings == settings
    assert not found.matches(RunRequest((first,), settings))

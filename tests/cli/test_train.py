"""The training command: what it asks of `train_model`, what it shows, and how it ends and goes on."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from napari_hrpn import training
from napari_hrpn.cli import run
from napari_hrpn.cli.entry import app
from napari_hrpn.models import load_checkpoint
from napari_hrpn.slides import write_ome_tiff
from napari_hrpn.training import (
    CutReport,
    EpochRecord,
    EpochReport,
    Preview,
    RunFolder,
    StepReport,
    TrainingError,
    TrainingResult,
    recipe_settings,
)
from support.predictions import make_slide

PICTURE = Preview(np.zeros((2, 4, 4), np.float32), np.zeros((4, 4), np.float32), np.zeros((4, 4), np.float32))
few_patches = pytest.mark.filterwarnings("ignore:there are only:napari_hrpn.training.TrainingWarning")
QUICK = ("--branches", 1, "--patch", 64, "--batch", 2, "--steps", 3, "--epochs", 2, "--device", "cpu")


class FakeTraining:
    """Takes the place of `train_model`: two epochs of two steps, or what a test puts there."""

    def __init__(self) -> None:
        self.asked: dict = {}
        self.closed = False
        self.before_step = lambda number: None
        self.complete, self.reason, self.new = True, "", True

    def __call__(self, entries, folder, settings, *, validate=None, cache=None, stop=None):
        self.asked = {"entries": entries, "folder": folder, "settings": settings, "validate": validate, "cache": cache}
        self.stop = stop
        return self._work(folder)

    def _work(self, folder):
        history = []
        try:
            if self.new:
                yield from (CutReport("t1.ome.tif", done, 4, done) for done in range(1, 5))
                for number in range(4):
                    self.before_step(number)
                    epoch, step = number // 2 + 1, number % 2 + 1
                    loss, done = 10.0 / (number + 1), number + 1.0
                    yield StepReport(epoch, 2, step, 2, loss, loss, 1e-3, 12.5, done, 3.0 - number)
                    if self.stop.is_set():
                        return self._result(folder, history, complete=False)
                    if step == 2:
                        history.append(EpochRecord(epoch, 9.5 / epoch, 7.25 * epoch, 1e-3, number + 1.0, 12.5, 0.1, 0))
                        yield EpochReport(history[-1], 2, 1, 3.0 - number, PICTURE)
            return self._result(folder, history, complete=self.complete)
        finally:
            self.closed = True

    def _result(self, folder, history, complete):
        checkpoint = folder / "checkpoint.safetensors" if history or not self.new else None
        history = history or [EpochRecord(1, 9.5, 7.25, 1e-3, 2.0, 12.5, 0.1, 0)] * (not self.new)
        return TrainingResult(folder, checkpoint, tuple(history), int(bool(history)), complete, self.reason)


@pytest.fixture
def fake(monkeypatch):
    fake = FakeTraining()
    monkeypatch.setattr(training, "train_model", fake)
    return fake


def command(*words: object) -> int:
    return run(["train", *map(str, words)])


def write_slides(folder: Path) -> list[Path]:
    paths = [folder / f"t{number}.ome.tif" for number in (1, 2)]
    for number, path in enumerate(paths):
        for _ in write_ome_tiff(make_slide(160, 200 + number, path), path):
            pass
    return paths


def test_help_shows_examples_and_loads_no_torch():
    result = CliRunner().invoke(app, ["train", "--help"])
    assert result.exit_code == 0
    assert "\n    napari-hrpn train" in result.output
    code = "import sys, napari_hrpn.cli as c; c.run(['train', '--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "pandas", "napari", "qtpy"}.isdisjoint(done.stdout.split())


@pytest.mark.parametrize(("recipe", "model"), [("paper", "hrpn"), ("fast", "ganda")])
def test_what_is_left_out_is_as_the_recipe_has_it(fake, recipe, model):
    assert command("a.tif", "-o", "run", "--recipe", recipe, "--model", model) == 0
    assert fake.asked["settings"] == recipe_settings(recipe, model)
    assert command("a.tif", "-o", "run") == 0
    assert fake.asked["settings"] == recipe_settings()
    assert (fake.asked["validate"], fake.asked["cache"], fake.asked["folder"]) == (None, None, Path("run"))


def test_every_choice_reaches_the_settings(fake, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    words = "--channels nuclei,fap --target drug --branches 3 --upsampling transposed --epochs 7 --steps 11 --batch 5 "
    words += "--patch 96 --learning-rate 0.02 --max-minutes 1.5 --device cpu --devices 3 --precision bf16 --seed 4"
    assert command("a.tif", "-o", "run", "--validate", "a", "--cache", "kept", *words.split()) == 0
    assert fake.asked["settings"] == recipe_settings(
        channels=("nuclei", "fap"),
        target="drug",
        branches=3,
        upsampling="transposed",
        epochs=7,
        steps_per_epoch=11,
        batch=5,
        patch_px=96,
        learning_rate=0.02,
        max_minutes=1.5,
        device="cpu",
        devices=3,
        precision="bf16",
        seed=4,
    )
    assert (fake.asked["validate"], fake.asked["cache"]) == ("a", Path("kept"))


def test_slides_get_their_tumour_part_channels_and_regions(fake, tmp_path):
    for name in ("a.geojson", "b.json"):
        (tmp_path / name).write_text("[]")
    words = "--tumour a=mouse1 --tumour b.ome.tif=mouse2 --test mouse2 --probe Cy5 --role fap=3 --z 4"
    channels = ("--channels", "nuclei,vessels,fap")
    assert command("a.tif", "b.ome.tif", "-o", "run", "--regions", tmp_path, *channels, *words.split()) == 0
    first, second = fake.asked["entries"]
    assert (first.path, second.path) == (Path("a.tif").absolute(), Path("b.ome.tif").absolute())
    assert (first.tumour_id, first.part, second.tumour_id, second.part) == ("mouse1", "auto", "mouse2", "test")
    assert (first.regions, second.regions) == (tmp_path / "a.geojson", tmp_path / "b.json")
    assert first.roles == second.roles == {"probe": "Cy5", "fap": "3"}
    assert (first.z, first.t, first.series) == (4, None, None)


def test_one_file_of_regions_is_for_the_only_slide(fake, tmp_path):
    place = tmp_path / "drawn.geojson"
    place.write_text("[]")
    assert command("a.tif", "-o", "run", "--regions", place) == 0
    assert fake.asked["entries"][0].regions == place


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--recipe quick", "there is no recipe 'quick'"),
        ("--branches 5", "branches is 5; expected 1 to 4"),
        ("--patch 100", "multiple of 32 px"),
        ("--device cuda:9", "not on this machine"),
        ("--devices 0", "devices is 0; expected 1 to 64"),
        ("--devices 9", "a batch has 8 patches for 9 devices"),
        ("--devices 2 --device cuda:9", "not on this machine"),
        ("--devices 8 --device cpu", "needs 8 devices, but there are 3 processors"),
        ("--tumour c=1", "--tumour names 'c'; expected one of the slides a, b"),
        ("--tumour a", "--tumour got 'a'; expected NAME=ID"),
        ("--tumour a=1 --tumour a=2", "each name once"),
        ("--role fap", "--role got 'fap'"),
        ("--role probe=1 --probe 2", "given twice"),
        (
            "--channels nuclei --vessels CD31",
            "a channel is given for vessels, but the network predicts probe",
        ),
        ("--test c", "there is no tumour 'c' to keep for testing; expected one of a, b"),
        ("--regions nowhere", "there is no file or folder nowhere"),
        ("--regions one.geojson", "has the regions of one slide but 2 are given"),
        ("--regions .", "has no regions for a.tif; expected a.geojson"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_begun(fake, tmp_path, monkeypatch, capsys, words, sentence):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    Path("one.geojson").write_text("[]")
    assert command("a.tif", "b.tif", "-o", "run", *words.split()) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert printed.err.startswith("napari-hrpn: error: ")
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert fake.asked == {}


def test_progress_epochs_and_summary_are_shown(fake, capsys):
    assert command("a.tif", "-o", "run") == 0
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert "cutting patches: 50 %, t1.ome.tif, 0 s left" in lines
    assert "training: 50 %, epoch 1, loss 5, 12.5 patches/s, 2 s left" in lines
    assert "epoch 1 of 2: loss 9.5, validation 7.25 (best so far)" in lines
    assert "epoch 2 of 2: loss 4.75, validation 14.5" in lines
    assert printed.out == (
        f"2 epochs in 4 s; epoch 1 is the best, with a validation loss of 7.25: {Path('run/checkpoint.safetensors')}\n"
    )
    assert fake.closed


def test_result_as_json(fake, capsys):
    assert command("a.tif", "-o", "run", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "checkpoint": str(Path("run/checkpoint.safetensors")),
        "best_epoch": 1,
        "validation_loss": 7.25,
        "validation_r": None,
        "validation_r2": None,
        "baseline_r": None,
        "baseline_r2": None,
        "epochs": 2,
        "complete": True,
        "seconds": 4.0,
        "reason": "",
    }


def test_without_validation_no_number_is_called_one(fake, capsys):
    assert command("a.tif", "-o", "run", "--validate", "none") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("2 epochs in 4 s; epoch 1 is kept: ")
    assert "validation" not in printed.err
    assert "best" not in printed.err
    assert "slides trained on 7.25" in printed.err
    assert command("a.tif", "-o", "run", "--validate", "none", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert [facts[name] for name in ("validation_loss", "validation_r", "validation_r2", "baseline_r")] == [None] * 4
    assert facts["best_epoch"] == 1


def test_a_complete_run_says_so(fake, capsys):
    fake.new = False
    assert command("a.tif", "-o", "run") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("already complete; epoch 1 is the best")
    assert printed.err == ""


def test_a_training_that_diverged_keeps_its_checkpoint_and_fails(fake, capsys):
    fake.complete, fake.reason = False, "the training diverged in epoch 3."
    assert command("a.tif", "-o", "run") == 2
    printed = capsys.readouterr()
    assert "checkpoint.safetensors" in printed.out
    assert printed.err.splitlines()[-1] == "napari-hrpn: error: the training diverged in epoch 3."


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")
def test_a_signal_stops_after_the_step_and_tells_how_to_go_on(fake, capsys, number, code):
    steps = []

    def before_step(step: int) -> None:
        steps.append(step)
        if step == 1:
            signal.raise_signal(number)

    fake.before_step = before_step
    assert command("a.tif", "-o", "run", "--json") == code
    printed = capsys.readouterr()
    assert steps == [0, 1]
    assert json.loads(printed.out)["complete"] is False
    assert printed.err.splitlines()[-1] == "Stopped; everything is kept: run the same command again to resume."
    assert fake.closed


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")
def test_a_second_signal_does_not_wait(fake, capsys):
    def before_step(step: int) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    fake.before_step = before_step
    assert command("a.tif", "-o", "run") == 130
    assert "run the same command again to resume" in capsys.readouterr().err
    assert fake.closed


def test_an_error_in_the_middle_is_one_line(fake, capsys):
    def before_step(step: int) -> None:
        raise TrainingError("a single patch does not fit.")

    fake.before_step = before_step
    assert command("a.tif", "-o", "run") == 2
    assert capsys.readouterr().err.splitlines()[-1] == "napari-hrpn: error: a single patch does not fit."


@few_patches
def test_a_real_training_ends_in_a_checkpoint_and_is_then_complete(tmp_path, capsys):
    slides = write_slides(tmp_path)
    assert command(*slides, "-o", tmp_path / "run", "--json", *QUICK) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["epochs"], found["complete"]) == (2, True)
    assert load_checkpoint(found["checkpoint"]).card.split["validation"] == ["t2"]
    assert command(*slides, "-o", tmp_path / "run", *QUICK) == 0
    assert capsys.readouterr().out.startswith("already complete; ")


def test_a_start_and_what_it_freezes_are_asked_for(fake):
    assert command("a.tif", "-o", "run", "--start", "synthetic", "--freeze", "stem, stage1") == 0
    assert fake.asked["settings"] == recipe_settings(start="synthetic", freeze=("stem", "stage1"))
    assert command("a.tif", "-o", "run", "--freeze", "stem") == 2


@pytest.mark.filterwarnings("ignore::napari_hrpn.training.TrainingWarning")
def test_a_training_begins_with_another_and_its_card_says_so(tmp_path, capsys):
    slides, quick = write_slides(tmp_path), (*QUICK[:-4], "--epochs", 1, *QUICK[-2:])
    assert command(*slides, "-o", tmp_path / "run", *quick) == 0
    parent = tmp_path / "run" / "checkpoint.safetensors"
    words = ("-o", tmp_path / "next", *quick, "--start", parent, "--freeze", "stem")
    assert command(*slides, *words) == 0
    capsys.readouterr()
    assert run(["info", "--checkpoint", str(tmp_path / "next" / "checkpoint.safetensors"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["parent"]
    assert (shown["digest"], shown["frozen"]) == (load_checkpoint(parent).digest, ["stem"])
    assert command(*slides, "-o", tmp_path / "other", *quick, "--start", "nothing") == 2
    assert "there is no checkpoint nothing" in capsys.readouterr().err


@few_patches
@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")
def test_a_stopped_program_goes_on_to_the_same_weights(tmp_path, capsys):
    slides = [str(path) for path in write_slides(tmp_path)]
    words = [*slides, *map(str, QUICK), "--epochs", "6", "--precision", "fp32", "-o"]
    program = [sys.executable, "-c", "from napari_hrpn.cli import main; main()", "train", *words]
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    with subprocess.Popen([*program, str(stopped)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as work:
        while not (stopped / "checkpoint.safetensors").exists() and work.poll() is None:
            time.sleep(0.01)
        work.send_signal(signal.SIGINT)
        _, errors = work.communicate(timeout=60)
    assert work.returncode == 130, errors
    assert "Traceback" not in errors
    assert "run the same command again to resume" in errors
    assert "warning: there are only 8 patches" in errors
    assert 1 <= len(RunFolder(stopped).state().history) < 6
    assert command(*words, stopped) == 0
    assert command(*words, whole) == 0
    one, other = (load_checkpoint(folder / "checkpoint.safetensors") for folder in (stopped, whole))
    assert one.digest == other.digest

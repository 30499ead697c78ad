"""A training from slides to a checkpoint: the same whatever interrupts it, and never lost."""

import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_hrpn.core import drive, relayed
from napari_hrpn.inference import PredictionSettings, predict_slide
from napari_hrpn.models import load_checkpoint
from napari_hrpn.slides import open_slide
from napari_hrpn.training import (
    CutReport,
    EpochReport,
    RunFolder,
    StepReport,
    TrainingError,
    recipe_settings,
    train_model,
)
from napari_hrpn.training.learners.learner import Learner

# the slides are tiny, and said to be
pytestmark = pytest.mark.filterwarnings("ignore:there are only:napari_hrpn.training.TrainingWarning")


def finish(training):
    """Run to the end; reports and result."""
    reports = []
    return reports, drive(training, reports.append)


def stopping(training, stop, after):
    """Set the event after so many steps and epochs."""
    seen = 0

    def count(report):
        nonlocal seen
        seen += isinstance(report, StepReport | EpochReport)
        if seen == after:
            stop.set()
        return report

    return relayed(training, count)


def weights(folder):
    return load_checkpoint(RunFolder(folder).checkpoint).weights


def state(folder):
    return {name: tensor.numpy() for name, tensor in RunFolder(folder).tensors().items()}


def assert_same_run(one, other):
    for name, array in state(one).items():
        np.testing.assert_array_equal(array, state(other)[name], err_msg=name)
    for name, tensor in weights(one).items():
        assert torch.equal(tensor, weights(other)[name]), name
    features = [load_checkpoint(RunFolder(folder).checkpoint).features for folder in (one, other)]
    assert features[0].digest == features[1].digest
    losses = [[(r.epoch, r.train_loss, r.validation_loss) for r in RunFolder(f).state().history] for f in (one, other)]
    assert losses[0] == losses[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tumours):
    """A training that nothing interrupted."""
    from napari_hrpn.training import SlideEntry

    settings = replace(
        recipe_settings(), branches=1, patch_px=64, batch=2, steps_per_epoch=4, epochs=2, device="cpu", precision="fp32"
    )
    folder = tmp_path_factory.mktemp("whole") / "run"
    reports, result = finish(train_model([SlideEntry(path) for path in tumours], folder, settings))
    return folder, reports, result


def test_a_training_reports_and_leaves_a_checkpoint_that_predicts(whole, tumours, tmp_path):
    _, reports, result = whole
    assert [type(report) for report in reports if not isinstance(report, CutReport)] == [
        *[StepReport] * 4,
        EpochReport,
        *[StepReport] * 4,
        EpochReport,
    ]
    assert result.complete
    assert result.reason == ""
    assert result.best_epoch == 1 + int(np.argmin([record.validation_loss for record in result.history]))
    checkpoint = load_checkpoint(result.checkpoint)
    assert checkpoint.card.split["validation"] == ["tumour3"]
    assert checkpoint.card.split["train"] == ["tumour1", "tumour2"]
    assert checkpoint.card.metrics["epoch"] == result.best_epoch
    _, report = finish(
        predict_slide(open_slide(tumours[0]), checkpoint, tmp_path / "p.ome.zarr", PredictionSettings(device="cpu"))
    )
    assert report.complete


def test_validation_loss_is_that_of_the_checkpoint_in_grey_levels(whole, tumours):
    """An independent account: predict the validation slide patch by patch and square the error."""
    _, _, result = whole
    checkpoint = load_checkpoint(result.checkpoint)
    pixels = open_slide(tumours[2]).levels[0].compute()
    network, scaling = checkpoint.network(), checkpoint.card.scaling
    errors = []
    for y in range(0, 256, 64):
        for x in range(0, 256, 64):
            patch = pixels[:, y : y + 64, x : x + 64]
            with torch.no_grad():
                output = network(torch.from_numpy(scaling.scale_inputs(patch[:2]))[None])[0, 0].numpy()
            errors.append((scaling.unscale_output(output) - patch[2]).astype(np.float64) ** 2)
    recorded = result.history[result.best_epoch - 1].validation_loss
    assert np.mean(errors) == pytest.approx(recorded, rel=1e-4)


def test_preview_shows_real_and_predicted_in_grey_levels(whole, tumours):
    _, reports, _ = whole
    preview = next(report.preview for report in reports if isinstance(report, EpochReport))
    real = open_slide(tumours[2]).levels[0][2].compute()
    found = [
        np.allclose(real[y : y + 64, x : x + 64], preview.real, atol=1e-3)
        for y in range(0, 256, 64)
        for x in range(0, 256, 64)
    ]
    assert sum(found) == 1
    assert preview.predicted.shape == (64, 64)
    assert preview.inputs.shape == (2, 64, 64)


def test_same_seed_same_weights_other_seed_others(whole, entries, quick, tmp_path):
    finish(train_model(entries, tmp_path / "again", quick))
    assert_same_run(whole[0], tmp_path / "again")
    finish(train_model(entries, tmp_path / "other", replace(quick, seed=1, steps_per_epoch=1, epochs=1)))
    assert any(not torch.equal(tensor, weights(whole[0])[name]) for name, tensor in weights(tmp_path / "other").items())


@pytest.mark.parametrize("after", [3, 5, 6])
def test_stopped_and_continued_equals_uninterrupted(whole, entries, quick, tmp_path, after):
    stop, folder = threading.Event(), tmp_path / "run"
    _, result = finish(stopping(train_model(entries, folder, quick, stop=stop), stop, after))
    assert not result.complete
    assert not RunFolder(folder).state().complete
    _, result = finish(train_model(entries, folder, quick))
    assert result.complete
    assert_same_run(whole[0], folder)


KILLED = """
from pathlib import Path
from dataclasses import replace
from napari_hrpn.training import SlideEntry, recipe_settings, train_model
settings = replace(recipe_settings(), branches=1, patch_px=64, batch=2, steps_per_epoch=4, epochs=2, device="cpu",
                   precision="fp32")
for report in train_model([SlideEntry(Path(path)) for path in {paths!r}], {folder!r}, settings):
    print(type(report).__name__, flush=True)
"""


def test_after_kill_9_the_continued_training_is_identical_to_the_bit(whole, tumours, entries, quick, tmp_path):
    code = textwrap.dedent(KILLED).format(paths=[str(path) for path in tumours], folder=str(tmp_path / "run"))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "EpochReport":
                break
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert len(RunFolder(tmp_path / "run").state().history) == 1
    finish(train_model(entries, tmp_path / "run", quick))
    assert_same_run(whole[0], tmp_path / "run")


@pytest.fixture
def complete(whole, tmp_path):
    """Folder of a complete training, to be changed."""
    return Path(shutil.copytree(whole[0], tmp_path / "run"))


def test_a_complete_training_is_not_repeated_but_can_go_on_for_longer(whole, complete, entries, quick):
    reports, again = finish(train_model(entries, complete, quick))
    assert reports == []
    assert (again.history, again.best_epoch, again.complete) == (whole[2].history, whole[2].best_epoch, True)
    _, longer = finish(train_model(entries, complete, replace(quick, epochs=3)))
    assert [record.epoch for record in longer.history] == [1, 2, 3]
    assert longer.history[:2] == whole[2].history


def test_a_complete_training_without_its_checkpoint_is_refused(whole, complete, entries, quick):
    assert all(-1 <= record.validation_r <= 1 and record.baseline_r > 0 for record in whole[2].history)
    RunFolder(complete).checkpoint.unlink()
    with pytest.raises(TrainingError, match=r"is complete, but its checkpoint\.safetensors is gone"):
        finish(train_model(entries, complete, quick))


def test_memory_running_out_cuts_the_batch_in_pieces(entries, quick, tmp_path, monkeypatch):
    step, sizes = Learner.step, []

    def starved(self, pieces, rate):
        sizes.append([len(piece.inputs) for piece in pieces])
        if len(pieces[0].inputs) > 1:
            raise torch.OutOfMemoryError
        return step(self, pieces, rate)

    monkeypatch.setattr(Learner, "step", starved)
    _, result = finish(train_model(entries, tmp_path, replace(quick, epochs=1)))
    assert result.complete
    assert sizes == [[2], *[[1, 1]] * 4]


def test_memory_too_small_for_one_patch_is_said(entries, quick, tmp_path, monkeypatch):
    def starved(*_):
        raise MemoryError

    monkeypatch.setattr(Learner, "step", starved)
    with pytest.raises(TrainingError, match="single patch of 64 px does not fit"):
        finish(train_model(entries, tmp_path, quick))


def test_a_loss_that_is_not_finite_ends_the_training_with_the_last_good_checkpoint(
    entries, quick, tmp_path, monkeypatch
):
    step, calls = Learner.step, []

    def broken(self, pieces, rate):
        calls.append(1)
        return step(self, pieces, rate) if len(calls) <= 5 else float("nan")

    monkeypatch.setattr(Learner, "step", broken)
    _, result = finish(train_model(entries, tmp_path, quick))
    assert not result.complete
    assert "diverged in epoch 2" in result.reason
    assert "checkpoint of epoch 1 is kept" in result.reason
    assert load_checkpoint(result.checkpoint).card.metrics["epoch"] == 1


def test_time_runs_out(entries, quick, tmp_path):
    settings = replace(quick, epochs=10_000, max_minutes=0.02)
    reports, result = finish(train_model(entries, tmp_path, settings))
    assert result.complete
    assert 1 <= len(result.history) < 10_000
    assert isinstance(reports[-1], EpochReport)
    assert finish(train_model(entries, tmp_path, settings)) == ([], result)


def test_without_validation_all_slides_are_trained_on_and_the_last_epoch_is_kept(entries, quick, tmp_path):
    _, result = finish(train_model(entries, tmp_path / "run", quick, validate="none", cache=tmp_path / "cache"))
    card = load_checkpoint(result.checkpoint).card
    assert result.best_epoch == quick.epochs == card.metrics["epoch"]
    assert (len(card.split["train"]), card.split["validation"]) == (len(entries), [])
    assert card.metrics["training_r"] == result.history[-1].validation_r
    assert not [name for name in card.metrics if name.startswith("validation")]


def test_another_training_in_the_folder_is_refused(whole, entries, quick):
    with pytest.raises(TrainingError, match="holds a training of other slides or settings"):
        finish(train_model(entries, whole[0], replace(quick, learning_rate=1e-3)))


def test_two_at_once_in_one_folder_are_refused(entries, quick, tmp_path):
    first = train_model(entries, tmp_path / "run", quick)
    next(first)
    with pytest.raises(TrainingError, match="another program is training"):
        next(train_model(entries, tmp_path / "run", quick))
    first.close()


def test_closing_the_generator_ends_its_threads(entries, quick, tmp_path):
    training = train_model(entries, tmp_path / "run", quick)
    while not isinstance(next(training), StepReport):
        pass
    training.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("napari-hrpn")]


@pytest.mark.parametrize("changes", [{"recipe": "paper"}, {"model": "ganda"}, {"model": "ganda", "recipe": "paper"}])
def test_every_recipe_runs(changes, entries, tmp_path):
    settings = recipe_settings(
        **changes, patch_px=64, batch=2, epochs=1, steps_per_epoch=2, branches=1, device="cpu", precision="fp32"
    )
    _, result = finish(train_model(entries, tmp_path, settings))
    assert result.complete
    assert load_checkpoint(result.checkpoint).card.recipe["model"] == settings.model


def test_bf16_and_another_architecture_run(entries, quick, tmp_path):
    settings = replace(quick, branches=2, upsampling="transposed", precision="bf16", channels=("vessels",), epochs=1)
    _, result = finish(train_model(entries, tmp_path, settings))
    assert load_checkpoint(result.checkpoint).settings.in_channels == 1
    assert Path(result.checkpoint).stat().st_size > 1e5

"""The folder of a run: what is written is read again, and what is damaged is said."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from napari_hrpn.training import EpochRecord, RunFolder, RunRequest, SlideEntry, TrainingError, recipe_settings
from napari_hrpn.training.run_folder import RunState

ENTRY = SlideEntry(Path("a.tif"), "T1", "train", {"nuclei": "DAPI", "vessels": 1}, Path("r.geojson"), 2, 3, None)
REQUEST = RunRequest((ENTRY, SlideEntry(Path("b.tif"))), recipe_settings(branches=2, channels=("vessels",)), "b")
RECORD = EpochRecord(1, 2.0, 3.0, 1e-3, 4.0, 5.0, 0.1, 6)


def test_what_was_asked_for_is_read_again(tmp_path):
    folder = RunFolder(tmp_path / "new" / "run")
    assert folder.request() is None
    folder.begin(REQUEST)
    found = folder.request()
    assert found.settings == REQUEST.settings
    assert found.validate == "b"
    assert found.entries[0] == replace(ENTRY, path=Path("a.tif").absolute(), regions=Path("r.geojson").absolute())
    assert found.matches(REQUEST)


def test_epochs_time_and_device_may_change_and_nothing_else(tmp_path):
    folder = RunFolder(tmp_path)
    folder.begin(REQUEST)
    longer = replace(REQUEST.settings, epochs=99, max_minutes=3.0, device="cpu")
    folder.begin(replace(REQUEST, settings=longer))
    assert folder.request().settings.epochs == 99
    for other in (
        replace(REQUEST, validate="a"),
        replace(REQUEST, entries=REQUEST.entries[:1]),
        replace(REQUEST, settings=replace(longer, batch=3)),
    ):
        with pytest.raises(TrainingError, match="other slides or settings"):
            folder.begin(other)


def test_state_tensors_and_history_are_kept_together(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.state() == RunState()
    assert folder.tensors() == {}
    state = RunState(epoch=1, step=2, history=(RECORD,), best_epoch=1, seconds=7.5, error_sum=0.1)
    folder.keep(state, {"a": torch.arange(3.0), "b": torch.tensor(2)})
    assert folder.state() == state
    assert torch.equal(folder.tensors()["a"], torch.arange(3.0))
    with (tmp_path / "history.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert {name: float(value) if value else None for name, value in row.items()} == {
        name: None if value is None else float(value) for name, value in vars(RECORD).items()
    }
    assert not list(tmp_path.glob("*.partial"))


def test_damaged_files_are_named(tmp_path):
    folder = RunFolder(tmp_path)
    (tmp_path / "state.safetensors").write_bytes(b"nonsense")
    with pytest.raises(TrainingError, match="is damaged"):
        folder.state()
    (tmp_path / "run.json").write_text('{"format": "something else"}')
    with pytest.raises(TrainingError, match="does not describe a training"):
        folder.request()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match="cannot be written"), RunFolder(tmp_path / "file" / "run").locked():
        pass

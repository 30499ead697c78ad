"""A fake training that keeps a real run folder, slides, and the widget in a viewer."""

import threading
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch

from napari_hrpn.inference import Device
from napari_hrpn.models import save_checkpoint
from napari_hrpn.plugin.train.widget import TrainWidget
from napari_hrpn.training import (
    CutReport,
    EpochRecord,
    EpochReport,
    Estimate,
    Preview,
    RunFolder,
    RunRequest,
    Split,
    StepReport,
    TrainingWarning,
)
from napari_hrpn.training.run_folder import RunState
from support.predictions import lively_checkpoint
from support.quality import all_is_well
from support.settling import WAIT_MS

DEVICES = (Device("cuda:0", "Fast GPU", 7 * 10**9, 8 * 10**9), Device("cpu", "CPU, 2 threads", 3 * 10**9, 4 * 10**9))
STEPS = 4


class FakeTraining:
    """Stands in for `train_model`: learns nothing, as many steps as it is allowed to, and can go on."""

    def __init__(self):
        self.calls = []
        self.fails_with = None
        self.reason = ""
        self.warns_of = ""
        self.closed = threading.Event()
        self._allowed = threading.Semaphore(0)

    def let(self, steps=1000):
        self._allowed.release(steps)

    @staticmethod
    def record(epoch):
        """The validation loss is lowest in the second epoch."""
        validation = 300 + 50 * abs(epoch - 2)
        return EpochRecord(epoch, 1000 / epoch, validation, 1e-3, 60.0 * epoch, 12.5, 0.1, 10**9)

    def __call__(self, entries, folder, settings, *, validate=None, cache=None, stop=None):
        self.calls.append(SimpleNamespace(entries=entries, folder=folder, settings=settings, validate=validate))
        try:
            if self.fails_with is not None:
                raise self.fails_with
            if self.warns_of:
                warnings.warn(self.warns_of, TrainingWarning, stacklevel=2)
            run = RunFolder(folder)
            run.begin(RunRequest(tuple(entries), settings, validate))
            yield CutReport("tumour", 1, 2, 7)
            return (yield from self._learn(run, settings, stop))
        finally:
            self.closed.set()

    def _learn(self, run, settings, stop):
        state = run.state()
        while state.epoch < settings.epochs and not stop.is_set() and not self.reason:
            if not self._allowed.acquire(timeout=0.01):
                continue
            state = replace(state, step=state.step + 1)
            loss = 900.0 / (state.epoch + 1) + state.step
            yield StepReport(
                state.epoch + 1, settings.epochs, state.step, STEPS, loss, loss, 1e-3, 12.5, 60.0 * state.epoch, 200.0
            )
            if state.step == STEPS:
                record = self.record(state.epoch + 1)
                best = min((*state.history, record), key=lambda record: record.validation_loss).epoch
                state = RunState(record.epoch, 0, (*state.history, record), best)
                save_checkpoint(lively_checkpoint(title="from two tumours"), run.checkpoint)
                run.keep(state, {"weights": torch.zeros(1)})
                yield EpochReport(record, settings.epochs, best, 100.0, a_preview(record.epoch))
        state = replace(state, complete=state.epoch >= settings.epochs, reason=self.reason)
        run.keep(state, {"weights": torch.zeros(1)})
        return run.result(state)


@pytest.fixture
def until(qtbot):
    """Waits for a state."""

    def wait(condition):
        qtbot.waitUntil(condition, timeout=WAIT_MS)

    return wait


def a_preview(seed=0):
    random = np.random.default_rng(seed)
    inputs = random.random((2, 32, 32)).astype(np.float32) * 100
    return Preview(inputs, inputs[0] + 10, inputs[1])


@pytest.fixture
def preview():
    return a_preview()


@pytest.fixture
def training(monkeypatch):
    """The fake training, with an estimate and checks that take no time."""
    fake = FakeTraining()
    split = Split((), (), (), "Validated on tumour 2.")
    fake.checked = SimpleNamespace(split=split, warnings=("tumour 1 and tumour 2 look alike.",), cache_bytes=3 * 10**8)
    fake.refused_with = None

    def check(*_, **__):
        if fake.refused_with is not None:
            raise fake.refused_with
        return fake.checked

    monkeypatch.setattr("napari_hrpn.training.train_model", fake)
    monkeypatch.setattr("napari_hrpn.training.checks.check_training", check)
    monkeypatch.setattr("napari_hrpn.training.estimate", lambda *_, **__: Estimate(600.0, 2 * 10**9))
    monkeypatch.setattr("napari_hrpn.inference.list_devices", lambda: DEVICES)
    monkeypatch.setattr("napari_hrpn.analysis.slide_quality", all_is_well)
    monkeypatch.setattr("napari_hrpn.plugin.train.setup.LOOK_AHEAD_MS", 50)
    return fake


@pytest.fixture
def slide_files(tmp_path):
    """Two slides of 0.5 µm pixels."""
    random = np.random.default_rng(3)
    paths = [tmp_path / f"tumour {number}.ome.tif" for number in (1, 2)]
    metadata = {
        "axes": "CYX",
        "Channel": {"Name": ["DAPI", "CD31", "QD"]},
        "PhysicalSizeY": 0.5,
        "PhysicalSizeX": 0.5,
    }
    for path in paths:
        pixels = random.integers(5, 90, (3, 300, 320)).astype(np.uint8)
        tifffile.imwrite(path, pixels, photometric="minisblack", metadata=metadata)
    return paths


@pytest.fixture
def open_widget(qtbot, made):
    """Opens the widget in a viewer, with slides in its table."""

    def opened(viewer, paths=()):
        widget = TrainWidget(viewer)
        made.append(widget)
        viewer.window.add_dock_widget(widget, name="Train HRPN")
        qtbot.waitUntil(widget.train_button.isEnabled, timeout=WAIT_MS)
        if paths:
            widget.setup.slides_table.add_files(paths)
            qtbot.waitUntil(lambda: "patches to learn from" in shown(widget.setup.prospect_label), timeout=WAIT_MS)
        return widget

    return opened


def shown(label):
    """What a label says, without the places where its words may be broken."""
    return label.text().replace("\u200b", "")


@pytest.fixture
def text_of():
    return shown


@pytest.fixture
def widget(training, make_napari_viewer_proxy, open_widget, slide_files):
    return open_widget(make_napari_viewer_proxy(), slide_files)


@pytest.fixture
def wait_for(qtbot):
    """Waits for the beginning or the end of a run."""

    def run(widget, *, running):
        qtbot.waitUntil(lambda: widget.is_running == running, timeout=WAIT_MS)

    return run


@pytest.fixture
def threads():
    """Threads of the package that are alive."""

    def run():
        return [thread for thread in threading.enumerate() if thread.name.startswith("napari-hrpn")]

    return run

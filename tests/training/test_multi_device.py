"""Several devices take the steps of one: shown on the CPU, where a device is a process."""

import multiprocessing
import os
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from napari_hrpn.models import load_checkpoint
from napari_hrpn.slides import SlideError
from napari_hrpn.training import (
    EpochReport,
    RunFolder,
    StepReport,
    TrainingError,
    TrainingResult,
    multi_device,
    recipe_settings,
    train_model,
)
from napari_hrpn.training.learners.learner import SINGLE
from napari_hrpn.training.multi_device import most_devices, training_devices
from napari_hrpn.training.session import gather_material

# the slides are tiny, and said to be
pytestmark = [
    pytest.mark.filterwarnings("ignore:there are only:napari_hrpn.training.TrainingWarning"),
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two processors are needed"),
]

WAIT_SECONDS = 600
STEPS = """
import torch
from safetensors.torch import save_file
from napari_hrpn.models import GANDASettings
from napari_hrpn.training import recipe_settings
from napari_hrpn.training.learners.ganda import GANDALearner
from napari_hrpn.training.data.patch_loader import Batch
from napari_hrpn.training.learners.learner import Learner

ARCHITECTURE = GANDASettings(channels=(4, 6, 8), discriminator_channels=(4, 6), patch_px=64)


def learners(team, *, normalised):
    recipe = recipe_settings("fast", patch_px=64, branches=2, optimiser="rmsprop", weight_decay=0.0)
    hrpn = Learner(recipe, team=team)
    ganda = GANDALearner(recipe_settings("paper", "ganda", patch_px=64), architecture=ARCHITECTURE, team=team)
    frozen = Learner(recipe, team=team)
    frozen.start_from(frozen.network.state_dict(), ["stem"], recipe)
    for network in (hrpn.network, ganda.network, ganda._discriminator, frozen.network):
        for layer in network.modules():
            if isinstance(layer, torch.nn.Dropout2d):
                layer.p = 0.0
            if isinstance(layer, torch.nn.BatchNorm2d) and not normalised:
                layer.forward = lambda x: x
    return {"hrpn": hrpn, "ganda": ganda, "frozen": frozen}


def learnt(team, *, normalised):
    found = {}
    for name, learner in learners(team, normalised=normalised).items():
        for step, patches in enumerate((5, 1)):
            random = torch.Generator().manual_seed(step)
            inputs, target = (torch.rand(patches, c, 64, 64, generator=random) for c in (2, 1))
            share = torch.linspace(1, 0.2, patches)[:, None, None, None]
            valid = torch.rand(patches, 1, 64, 64, generator=random) < share
            own = slice(team.rank, None, team.size)
            pieces = [Batch(inputs[own], target[own], valid[own])] if len(inputs[own]) else []
            # at so small a rate nothing changes before the gradients of the second step
            error = learner.step(pieces, 1e-3 if normalised else 1e-12)
            found[f"{name}.error{step}"] = torch.tensor(error, dtype=torch.float64)
            for part in ("network", "_discriminator"):
                weights = getattr(learner, part, torch.nn.Identity()).named_parameters()
                gradients = {key: weight.grad for key, weight in weights if weight.grad is not None}
                found |= {f"{name}.gradient{step}.{part}.{key}": grad.clone() for key, grad in gradients.items()}
        found |= {f"{name}.{key}": tensor for key, tensor in learner.tensors().items()}
    return {name: tensor.contiguous() for name, tensor in found.items()}


def write(team, folder):
    for normalised in (True, False):
        save_file(learnt(team, normalised=normalised), f"{folder}/{normalised}{team.rank}of{team.size}.safetensors")
"""
ON_TWO = """
from napari_hrpn.training.multi_device import _FabricTeam
team = _FabricTeam(("cpu", "cpu"), rank, port)
torch.set_num_threads(1)
assert team.from_first(0.1 + team.rank, team.rank == 0) == (0.1, 1.0)
assert team.sum(torch.tensor([1.0, team.rank])).tolist() == [2.0, 1.0]
write(team, folder)
"""


@pytest.fixture(scope="module")
def forking():
    """Starts processes as copies of one that has loaded all that is slow to load, where the system can do that."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "napari_hrpn.training.multi_device", "lightning_fabric"])
    return context


@pytest.fixture(scope="module")
def learnt(tmp_path_factory, forking):
    """Tensors after a step of five patches and one of a single patch, on one device and on each of two."""
    folder = tmp_path_factory.mktemp("learnt")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        names = {"port": probe.getsockname()[1], "folder": str(folder)}
    running = [forking.Process(target=exec, args=(STEPS + ON_TWO, {**names, "rank": rank})) for rank in range(2)]
    for process in running:
        process.start()
    here = {}
    exec(STEPS, here)
    here["write"](SINGLE, folder)
    for process in running:
        process.join(WAIT_SECONDS)
    assert [process.exitcode for process in running] == [0, 0]
    return lambda name: load_file(folder / f"{name}.safetensors")


def test_two_devices_take_the_steps_of_the_whole_batch(learnt):
    """Without batch normalisation, which sees the patches of one device; the second has none of the second batch."""
    alone, first = learnt("False0of1"), learnt("False0of2")
    compared = [name for name in alone if ".error" in name or ".gradient" in name]
    assert len(compared) > 100
    for name in compared:
        size = float(alone[name].abs().max())
        assert size > 0
        torch.testing.assert_close(first[name], alone[name], rtol=0, atol=1e-4 * size, msg=name)


def test_every_weight_learns_on_one_device_as_on_two(learnt):
    assert learnt("True0of1").keys() == learnt("True0of2").keys()


@pytest.mark.parametrize("kind", ["True", "False"])
def test_all_devices_hold_the_same_to_the_bit(kind, learnt):
    first, second = learnt(f"{kind}0of2"), learnt(f"{kind}1of2")
    differing = [name for name, tensor in first.items() if not torch.equal(tensor, second[name])]
    # of the batches, each counts its own, and nothing depends on it
    assert [name for name in differing if "num_batches_tracked" not in name] == []


def test_batch_statistics_are_the_mean_of_what_the_devices_saw(learnt):
    alone, first = learnt("True0of1"), learnt("True0of2")
    name = "ganda.network.encoders.0.1.running_mean"
    torch.testing.assert_close(first[name], alone[name], rtol=0.2, atol=0.02)


def test_frozen_weights_and_statistics_stay_on_two_devices_as_on_one(learnt):
    alone, first = learnt("True0of1"), learnt("True0of2")
    frozen = [name for name in alone if name.startswith("frozen.network.stem.")]
    assert any("running_var" in name for name in frozen)
    assert all(torch.equal(alone[name], first[name]) for name in frozen)
    assert not torch.equal(first["frozen.network.stem.0.0.weight"], first["hrpn.network.stem.0.0.weight"])


@pytest.fixture
def quick():
    """One branch, three steps of three crops in each of two epochs, on two processes."""
    return recipe_settings(
        branches=1,
        patch_px=32,
        batch=3,
        steps_per_epoch=3,
        epochs=2,
        device="cpu",
        precision="fp32",
        devices=2,
    )


def reports(training):
    """Reports, the result last."""
    result = yield from training
    yield result


def assert_same_run(one, other):
    for name, tensor in RunFolder(one).tensors().items():
        assert torch.equal(tensor, RunFolder(other).tensors()[name]), name
    assert load_checkpoint(RunFolder(one).checkpoint).digest == load_checkpoint(RunFolder(other).checkpoint).digest
    losses = [[(r.epoch, r.train_loss, r.validation_loss) for r in RunFolder(f).state().history] for f in (one, other)]
    assert losses[0] == losses[1]


def test_stopped_and_continued_equals_uninterrupted(entries, quick, tmp_path, forking, monkeypatch):
    monkeypatch.setattr(multi_device.multiprocessing, "get_context", lambda _: forking)
    whole, parts, stop = tmp_path / "whole", tmp_path / "parts", threading.Event()
    *told, result = reports(train_model(entries, whole, quick))
    kinds = [type(report) for report in told if isinstance(report, StepReport | EpochReport)]
    assert kinds == [*[StepReport] * 3, EpochReport] * 2
    assert result.complete

    for report in reports(train_model(entries, parts, quick, stop=stop)):
        if isinstance(report, StepReport):
            stop.set()
    assert isinstance(report, TrainingResult)
    assert not report.complete
    assert RunFolder(parts).state().step == 1

    *_, result = reports(train_model(entries, parts, quick))
    assert result.complete
    assert_same_run(whole, parts)
    assert multiprocessing.active_children() == []


def test_an_error_on_a_device_is_the_same_sentence_here(entries, quick, tmp_path, monkeypatch):
    def lost(request, *others):
        gone = replace(request, entries=(replace(entries[0], path=Path("gone.ome.tif")), *entries[1:]))
        return replace(gather_material(request, *others), request=gone)

    monkeypatch.setattr(sys.modules[train_model.__module__], "gather_material", lost)
    with pytest.raises(SlideError, match=r"gone\.ome\.tif"):
        list(reports(train_model(entries, tmp_path, quick)))
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(("target", "how"), [(print, "exit code 0"), (os._exit, "exit code 1")])
def test_a_process_that_ends_without_a_word_ends_the_training(target, how, monkeypatch):
    monkeypatch.setattr(multi_device, "_train_on_one", target)
    with pytest.raises(TrainingError, match=rf"one of the 2 processes .* without an error message \({how}\)"):
        next(multi_device.train_together(None, ("cpu", "cpu"), threading.Event()))
    assert multiprocessing.active_children() == []


def test_reports_come_over_pipes_of_any_class(monkeypatch):
    """On Windows, both ends of a pipe are no `Connection`."""
    pipe, processes = SimpleNamespace(recv=lambda: ("report", None, "")), multi_device._Processes()
    processes._unfinished.append(pipe)
    monkeypatch.setattr(multi_device.connection, "wait", list)
    assert processes.next_report() == "report"


def test_without_the_extra_it_is_said_before_anything_is_begun(entries, quick, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(TrainingError, match=r'pip install "napari-hrpn\[multi-gpu\]"'):
        next(train_model(entries, tmp_path / "run", quick))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("first", "most"), [("cuda:0", 3), ("cuda:2", 1), ("cpu", 5), ("mps", 1)])
def test_as_many_are_offered_as_there_are(first, most, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.setattr("os.cpu_count", lambda: 5)
    assert most_devices(first) == most
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert most_devices(first) == 1


@pytest.mark.parametrize(
    ("device", "wanted", "found"),
    [
        ("cuda:0", 3, ("cuda:0", "cuda:1", "cuda:2")),
        ("cuda:1", 2, ("cuda:1", "cuda:2")),
        ("cuda:1", 3, "there are 2 of them from cuda:1 on"),
        ("mps", 2, "there are 1 mps device"),
        ("cpu", 2, ("cpu", "cpu")),
        ("cuda:2", 1, ("cuda:2",)),
    ],
)
def test_devices_are_counted_from_the_one_that_is_named(quick, device, wanted, found, monkeypatch):
    monkeypatch.setattr(
        "napari_hrpn.training.multi_device.choose_device", lambda name: type("Device", (), {"name": name})
    )
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    settings = replace(quick, device=device, devices=wanted)
    if isinstance(found, tuple):
        assert training_devices(settings) == found
    else:
        with pytest.raises(TrainingError, match=found):
            training_devices(settings)

"""One step of HRPN: the gradient of the whole batch, padding left out, weights averaged, state complete."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from napari_hrpn.models import HRPNSettings
from napari_hrpn.training import recipe_settings
from napari_hrpn.training.data.patch_loader import Batch
from napari_hrpn.training.learners.learner import Learner, ProcessGroup

SETTINGS = recipe_settings(branches=1, patch_px=32, batch=4, averaging=0.0)


def patches(count, seed=0):
    random = np.random.default_rng(seed)
    inputs, target = (random.random((count, c, 32, 32)).astype(np.float32) for c in (2, 1))
    valid = random.random((count, 1, 32, 32)) < 0.7
    return Batch(torch.from_numpy(inputs), torch.from_numpy(target), torch.from_numpy(valid))


def halves(batch):
    return [Batch(batch.inputs[i], batch.target[i], batch.valid[i]) for i in (slice(0, 3), slice(3, None))]


@pytest.fixture
def linear(monkeypatch):
    """A learner without batch normalisation, of which a batch and its pieces see the same."""
    monkeypatch.setattr("napari_hrpn.training.learners.learner.built", lambda settings: nn.Conv2d(2, 1, 3, padding=1))
    return lambda: Learner(replace(SETTINGS, optimiser="rmsprop"), "cpu", "fp32")


def test_pieces_of_a_batch_give_the_step_of_the_whole(linear):
    whole, pieces, batch = linear(), linear(), patches(4)
    losses = whole.step([batch], 1e-2), pieces.step(halves(batch), 1e-2)
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for name, weight in whole.network.state_dict().items():
        torch.testing.assert_close(pieces.network.state_dict()[name], weight, rtol=1e-5, atol=1e-7)


def test_the_loss_is_the_mean_squared_error_without_padding(linear):
    learner, batch = linear(), patches(3)
    with torch.no_grad():
        difference = (learner.network(batch.inputs) - batch.target)[batch.valid].double()
    assert learner.step([batch], 0.0) == pytest.approx(float((difference**2).mean()), rel=1e-6)


def test_nothing_is_learnt_from_what_is_not_valid():
    batch = patches(2)
    other = Batch(batch.inputs, torch.where(batch.valid, batch.target, 9.0), batch.valid)
    learners = [Learner(SETTINGS), Learner(SETTINGS)]
    for learner, seen in zip(learners, (batch, other), strict=True):
        torch.manual_seed(1)
        learner.step([seen], 1e-2)
    assert torch.equal(*(torch.cat([w.flatten() for w in each.network.parameters()]) for each in learners))


def test_a_learner_goes_on_from_its_tensors_to_the_bit():
    settings = replace(SETTINGS, averaging=0.9)
    straight, first = Learner(settings), Learner(settings)
    for step in range(4):
        for learner in (straight, first) if step < 2 else (straight,):
            torch.manual_seed(step)
            learner.step([patches(2, step)], 1e-3)
    second = Learner(replace(settings, seed=5))
    second.load({name: tensor.clone() for name, tensor in first.tensors().items()})
    for step in (2, 3):
        torch.manual_seed(step)
        second.step([patches(2, step)], 1e-3)
    for name, tensor in straight.tensors().items():
        assert torch.equal(second.tensors()[name], tensor), name


def test_a_step_that_fails_leaves_no_trace():
    class Starved(ProcessGroup):
        def unite(self, *networks):
            raise torch.OutOfMemoryError

    settings = replace(SETTINGS, averaging=0.9)
    starved, expected = Learner(settings, team=Starved()), Learner(settings)
    with pytest.raises(torch.OutOfMemoryError):
        starved.step([patches(4)], 1e-2)
    assert all(torch.equal(tensor, starved.tensors()[name]) for name, tensor in expected.tensors().items())


def test_averaged_weights_lag_behind_and_are_what_is_evaluated():
    learner = Learner(replace(SETTINGS, averaging=0.5))
    for step in range(3):
        learner.step([patches(2, step)], 1e-2)
    latest, averaged = learner.network.state_dict(), learner.evaluated().state_dict()
    assert not torch.equal(latest["head.last.weight"], averaged["head.last.weight"])
    assert not learner.evaluated().training


def test_it_learns():
    settings = replace(SETTINGS, averaging=0.0)
    learner, batch = Learner(settings), patches(4)
    smooth = torch.nn.functional.avg_pool2d(batch.inputs[:, :1], 9, 1, 4)
    batch = Batch(batch.inputs, smooth * 4 - 2, torch.ones_like(batch.valid))
    losses = [learner.step([batch], 3e-3) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]


def test_settings_reach_the_architecture():
    settings = recipe_settings(channels=("nuclei", "vessels", "fap"), branches=3, upsampling="transposed")
    architecture = HRPNSettings.of_training(settings)
    assert (architecture.in_channels, architecture.branches, architecture.upsampling) == (3, 3, "transposed")

"""The baseline learns, in pieces as at once, goes on to the bit, and averages its weights."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save
from torch.nn import functional

from napari_hrpn.models import GANDASettings
from napari_hrpn.settings import TrainingSettings, recipe_settings
from napari_hrpn.training.data.patch_loader import Batch
from napari_hrpn.training.learners.ganda import GANDALearner
from napari_hrpn.training.learners.learner import _WeightAverage

TINY = GANDASettings(channels=(4, 6, 8), discriminator_channels=(4, 6), patch_px=64)
SETTINGS = recipe_settings("paper", "ganda", patch_px=64, batch=4)


def learner(settings: TrainingSettings = SETTINGS, precision: str = "fp32") -> GANDALearner:
    return GANDALearner(settings, "cpu", precision, TINY)


def blurred(inputs: torch.Tensor) -> torch.Tensor:
    return functional.avg_pool2d(inputs.mean(dim=1, keepdim=True), 5, stride=1, padding=2)


def toy_batch(step: int, n: int = 4) -> Batch:
    """Noise of two grain sizes; the target is its mean, blurred and bent."""
    random = torch.Generator().manual_seed(step)
    coarse = torch.rand(n, 2, 8, 8, generator=random)
    grain = torch.rand(n, 2, 64, 64, generator=random)
    inputs = 2 * (0.7 * functional.interpolate(coarse, size=64, mode="bilinear") + 0.3 * grain) - 1
    target = torch.tanh(2 * blurred(inputs))
    valid = torch.ones_like(target, dtype=torch.bool)
    return Batch(inputs, target, valid)


def padded(batch: Batch, value: float) -> Batch:
    """The same, with padding of some value below row 48."""
    valid = batch.valid.clone()
    valid[..., 48:, :] = False
    return Batch(batch.inputs, torch.where(valid, batch.target, value), valid)


def in_pieces(batch: Batch, size: int) -> list[Batch]:
    parts = zip(*(part.split(size) for part in (batch.inputs, batch.target, batch.valid)), strict=True)
    return [Batch(*part) for part in parts]


def learn(pupil: GANDALearner, steps: range, rate: float = 2e-4) -> list[float]:
    errors = []
    for step in steps:
        torch.manual_seed(step)
        errors.append(pupil.step([toy_batch(step)], rate))
    return errors


def error_of(network: torch.nn.Module) -> float:
    batch = toy_batch(10_000)
    with torch.no_grad():
        return float(((network(batch.inputs) - batch.target) ** 2).mean())


def through_a_file(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return load(save({name: tensor.contiguous() for name, tensor in tensors.items()}))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_learns_a_blurred_input(precision):
    pupil = learner(replace(SETTINGS, averaging=0.8), precision)
    before = error_of(pupil.evaluated())
    errors = learn(pupil, range(40), rate=3e-3)
    assert sum(errors[-5:]) < 0.2 * sum(errors[:5])
    assert error_of(pupil.evaluated()) < 0.2 * before


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_three_steps_a_file_and_three_more_equal_six_to_the_bit(averaging):
    settings = replace(SETTINGS, averaging=averaging)
    whole, first, second = learner(settings), learner(settings), learner(replace(settings, seed=99))
    errors = learn(whole, range(6))
    learn(first, range(3))
    second.load(through_a_file(first.tensors()))
    assert learn(second, range(3, 6)) == errors[3:]
    expected, found = whole.tensors(), second.tensors()
    assert expected.keys() == found.keys()
    assert [name for name, tensor in expected.items() if not torch.equal(tensor, found[name])] == []


def test_the_seed_decides_the_first_weights():
    first, same, other = learner(), learner(), learner(replace(SETTINGS, seed=1))
    assert error_of(first.evaluated()) == error_of(same.evaluated()) != error_of(other.evaluated())


def without_batch_statistics(pupil: GANDALearner) -> GANDALearner:
    """Batch normalisation sees one piece at a time; without it, pieces and whole must agree."""
    for network in (pupil.network, pupil._discriminator):
        for layer in network.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.forward = lambda x: x
    return pupil


@pytest.mark.parametrize("size", [1, 3])
def test_gradients_of_a_batch_in_pieces_are_those_of_the_whole_batch(size):
    whole, pieces = (without_batch_statistics(learner()) for _ in range(2))
    batch = padded(toy_batch(0), -1.0)
    batch.valid[0, ..., 20:, :] = False
    # at so small a rate the discriminator is the same in the generator's turn
    expected = whole.step([batch], 1e-9)
    assert pieces.step(in_pieces(batch, size), 1e-9) == pytest.approx(expected, rel=1e-5)
    for network, other in ((whole.network, pieces.network), (whole._discriminator, pieces._discriminator)):
        gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
        assert len(gradients) >= 2 * 3
        for name, gradient in gradients.items():
            assert gradient.abs().max() > 0
            torch.testing.assert_close(other.get_parameter(name).grad, gradient, rtol=1e-3, atol=1e-5)


def test_pieces_count_once_into_the_running_statistics():
    pupil = learner()
    pupil.step(in_pieces(toy_batch(0), 2), 1e-3)
    counts = [tensor for name, tensor in pupil.tensors().items() if name.startswith("network") and "batches" in name]
    assert counts
    assert all(int(count) == 2 for count in counts)


@pytest.mark.parametrize("before", [0, 2])
def test_memory_that_runs_out_in_the_generators_turn_leaves_no_trace(before, monkeypatch):
    starved, expected, batch = learner(), learner(), toy_batch(5)
    judged, calls = starved._judged, []

    def judge(patches):
        calls.append(1)
        # the first two are the discriminator's turn, after which it takes its step
        if len(calls) == 3:
            raise torch.OutOfMemoryError
        return judged(patches)

    for pupil in (starved, expected):
        learn(pupil, range(before), 1e-3)
    monkeypatch.setattr(starved, "_judged", judge)
    with pytest.raises(torch.OutOfMemoryError):
        starved.step([batch], 1e-3)
    for pupil in (starved, expected):
        torch.manual_seed(9)
        pupil.step(in_pieces(batch, 2), 1e-3)
    found = starved.tensors()
    assert [name for name, tensor in expected.tensors().items() if not torch.equal(tensor, found[name])] == []


def test_the_error_that_is_told_is_that_of_the_pixels_that_are_not_padding():
    pupil, batch = learner(), padded(toy_batch(0), 0.5)
    pupil.network.train()
    with torch.no_grad():
        difference = (pupil.network(batch.inputs) - batch.target)[..., :48, :]
    told = learner().step([batch], 1e-3)
    assert told == pytest.approx(float((difference**2).mean()), rel=1e-5)


def test_nothing_is_learnt_from_what_is_not_valid():
    pupils = learner(), learner()
    for pupil, value in zip(pupils, (-1.0, 1.0), strict=True):
        pupil.step([padded(toy_batch(0), value)], 1e-3)
    assert torch.equal(pupils[0].network.last.weight, pupils[1].network.last.weight)
    assert torch.equal(pupils[0]._discriminator.dense.weight, pupils[1]._discriminator.dense.weight)


def test_the_discriminator_learns_to_tell_real_from_generated():
    pupil = learner()
    learn(pupil, range(12), rate=2e-3)
    batch = toy_batch(50)
    noise = torch.rand(batch.target.shape) * 2 - 1
    with torch.no_grad():
        real, fake = pupil._discriminator.train()(batch.target), pupil._discriminator(noise)
    assert real.mean() > fake.mean()


def test_blank_patches_do_no_harm():
    pupil = learner()
    blank = torch.full((2, 1, 64, 64), -1.0)
    batch = Batch(blank.expand(2, 2, 64, 64), blank, torch.zeros_like(blank, dtype=torch.bool))
    assert pupil.step([batch], 1e-3) == 0
    assert all(torch.isfinite(tensor).all() for tensor in pupil.tensors().values())


def test_the_architecture_follows_the_recipe():
    settings = recipe_settings("fast", "ganda", channels=("nuclei", "vessels", "stroma"), patch_px=96)
    assert GANDASettings.of_training(settings) == GANDASettings(in_channels=3, patch_px=96)


def test_averaged_weights_follow_the_latest_at_first_and_keep_more_later():
    latest = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(latest.weight)
    average = _WeightAverage(latest, kept=0.5)
    torch.nn.init.ones_(latest.weight)
    expected = 0.0
    for step in range(12):
        average.update(latest, step)
        kept = min(0.5, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept)
        assert float(average.network.weight) == pytest.approx(expected, rel=1e-6)
    assert not average.network.weight.requires_grad
    assert not average.network.training


def test_averaging_counts_batch_statistics_and_comes_back_from_its_tensors():
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    average = _WeightAverage(network, kept=0.9)
    for step in range(3):
        network(torch.rand(2, 1, 8, 8) + step)
        average.update(network, step)
    assert 0 < float(average.network[1].running_mean.abs().sum()) < float(network[1].running_mean.abs().sum())
    assert int(average.network[1].num_batches_tracked) == 3
    other = _WeightAverage(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)), kept=0.9)
    other.network.load_state_dict(through_a_file(average.network.state_dict()))
    assert all(
        torch.equal(tensor, other.network.state_dict()[name]) for name, tensor in average.network.state_dict().items()
    )

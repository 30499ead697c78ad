"""What every network of the table promises, whichever it is."""

import io
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from napari_hrpn.inference import PredictionSettings, predict_slide
from napari_hrpn.inference.predictor import fold_batch_normalisation
from napari_hrpn.models import (
    Checkpoint,
    GreyLevelNetwork,
    IntensityScaling,
    halo_of,
    load_checkpoint,
    save_checkpoint,
)
from napari_hrpn.models.architectures import architecture_of, built, settings_class
from napari_hrpn.models.torchscript import torchscript_bytes
from napari_hrpn.settings import recipe_settings
from napari_hrpn.settings.networks import NETWORKS
from napari_hrpn.slides import open_slide
from napari_hrpn.training.data.patch_loader import Batch
from napari_hrpn.training.learners import make_learner
from support.predictions import lively_checkpoint, make_slide, one_shot

RECIPES = [(network.name, recipe) for network in NETWORKS.values() for recipe in network.recipes]


def small(name, recipe=None):
    """Settings of a training of the network, with few branches and small patches."""
    network = NETWORKS[name]
    branches = {"branches": 1} if "branches" in network.options else {}
    changes = {"patch_px": 32, "batch": 2, "precision": "fp32", "device": "cpu"}
    return recipe_settings(recipe or next(iter(network.recipes)), name, **branches, **changes)


@pytest.fixture(params=NETWORKS)
def name(request):
    return request.param


@pytest.fixture
def settings(name):
    return settings_class(name).of_training(small(name))


def lively(settings):
    torch.manual_seed(3)
    network = built(settings)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=(1 / parameter[0].numel()) ** 0.5)
    return Checkpoint(settings, network.state_dict(), lively_checkpoint().card)


def test_row_and_network_agree(name, settings):
    row = NETWORKS[name]
    assert architecture_of(settings) is row
    assert row.recipes
    assert settings.stride == small(name).stride == row.stride
    assert settings.in_channels == 2
    assert replace(settings, in_channels=3).in_channels == 3


def test_output_is_float32_and_a_crop_is_the_middle(settings):
    network = built(settings).eval()
    images = torch.rand(1, 2, 4 * settings.stride, 6 * settings.stride)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert network(images).dtype is torch.float32
    crop = settings.stride
    with torch.no_grad():
        whole, middle = network(images), network(images, crop=crop)
    assert whole.shape == (1, 1, *images.shape[-2:])
    torch.testing.assert_close(middle, whole[..., crop:-crop, crop:-crop], rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_its_torchscript_is_the_same_network_at_any_size(name, settings):
    plain = json.loads(json.dumps({"settings": asdict(settings), "scaling": asdict(IntensityScaling())}))
    network = GreyLevelNetwork(name, **plain).eval()
    script = torch.jit.load(io.BytesIO(torchscript_bytes(network, 2, settings.stride)))
    images = torch.rand(2, 2, 3 * settings.stride, 5 * settings.stride)
    with torch.no_grad():
        torch.testing.assert_close(script(images), network(images), rtol=0, atol=1e-6)


def test_it_sees_as_far_with_one_channel(settings):
    assert settings.narrowed().stride == settings.stride
    assert 0 < halo_of(settings) <= 1024


def test_sizes_that_fit_no_machine_are_refused(settings):
    with pytest.raises(ValueError, match="expected"):
        replace(settings, in_channels=10**9)


def test_batch_normalisation_can_be_folded(settings):
    network = built(settings).eval()
    fold_batch_normalisation(network)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


def test_a_checkpoint_comes_back(name, settings, tmp_path):
    checkpoint = lively(settings)
    save_checkpoint(checkpoint, tmp_path / "network.safetensors")
    loaded = load_checkpoint(tmp_path / "network.safetensors")
    assert (loaded.architecture, loaded.settings) == (name, settings)
    assert all(torch.equal(tensor, loaded.weights[key]) for key, tensor in checkpoint.weights.items())


def test_tiles_equal_the_whole(settings, tmp_path):
    slide, checkpoint = make_slide(700, 533, tmp_path / "slide.tif"), lively(settings)
    expected = one_shot(slide, checkpoint, halo_of(settings))
    how = PredictionSettings(device="cpu", skip_blank=False, core=512)
    for _ in predict_slide(slide, checkpoint, tmp_path / "out.ome.zarr", how):
        pass
    found = np.asarray(open_slide(tmp_path / "out.ome.zarr").levels[0][0])
    assert np.ptp(expected) > 0
    assert np.abs(found - expected).max() <= 1e-5 * np.ptp(expected)


@pytest.mark.parametrize(("model", "recipe"), RECIPES)
def test_a_step_of_each_recipe_changes_all_weights(model, recipe):
    learner = make_learner(small(model, recipe), "cpu")
    before = [weight.detach().clone() for weight in learner.network.parameters()]
    valid = torch.ones(2, 1, 32, 32, dtype=torch.bool)
    assert learner.step([Batch(torch.rand(2, 2, 32, 32), torch.rand(2, 1, 32, 32), valid)], 1e-2) > 0
    same = [torch.equal(*pair) for pair in zip(before, learner.network.parameters(), strict=True)]
    assert not all(same)

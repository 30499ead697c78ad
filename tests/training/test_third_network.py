"""A third network is one file and one row: it learns, is saved, loaded and predicts as the others do."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from napari_hrpn.core import drive
from napari_hrpn.core.options import options
from napari_hrpn.inference import PredictionSettings, predict_slide
from napari_hrpn.models import Checkpoint, CheckpointError, halo_of, load_checkpoint, save_checkpoint
from napari_hrpn.models.architectures import built
from napari_hrpn.settings.networks import NETWORKS, Network
from napari_hrpn.slides import open_slide
from napari_hrpn.training import TrainingError, TrainingSettings, recipe_settings
from napari_hrpn.training.data.patch_loader import Batch
from napari_hrpn.training.learners import make_learner
from support.predictions import make_slide


@dataclass(frozen=True)
class PlainSettings:
    in_channels: int = 2
    width: int = 8
    stride: int = 4

    @classmethod
    def of_training(cls, settings):
        return cls(len(settings.channels))

    def narrowed(self):
        return replace(self, in_channels=1, width=1)


class Plain(nn.Module):
    """Three convolutions."""

    Settings = PlainSettings

    def __init__(self, settings):
        super().__init__()
        self.settings = settings
        widths = (settings.in_channels, settings.width, settings.width, 1)
        self.layers = nn.Sequential(*(nn.Conv2d(widths[i], widths[i + 1], 3, padding=1) for i in range(3)))

    def forward(self, x, crop=0):
        y = self.layers(x)
        return y[..., crop : y.shape[-2] - crop, crop : y.shape[-1] - crop]


@pytest.fixture
def plain(monkeypatch):
    """Settings of a training of the third network, which is in the table for the time of a test."""
    row = Network("plain", "Plain CNN", "three convolutions", f"{__name__}:Plain", 4, {"fast": {"batch": 2}})
    monkeypatch.setitem(NETWORKS, row.name, row)
    monkeypatch.setitem(options(TrainingSettings)["model"].titles, row.name, row.title)
    return recipe_settings("fast", "plain", patch_px=32, precision="fp32")


def test_it_learns_is_kept_and_predicts(plain, tmp_path):
    learner = make_learner(plain, "cpu")
    before = [weight.detach().clone() for weight in learner.network.parameters()]
    batch = Batch(torch.rand(2, 2, 32, 32), torch.rand(2, 1, 32, 32), torch.ones(2, 1, 32, 32, dtype=torch.bool))
    assert learner.step([batch], 1e-2) > 0
    assert not any(torch.equal(*pair) for pair in zip(before, learner.network.parameters(), strict=True))

    path = tmp_path / "plain.safetensors"
    save_checkpoint(Checkpoint(learner.settings, learner.evaluated().state_dict()), path)
    loaded = load_checkpoint(path)
    assert (loaded.architecture, loaded.settings) == ("plain", PlainSettings())
    assert halo_of(loaded.settings) == 4

    slide = make_slide(70, 90, tmp_path / "slide.tif")
    drive(predict_slide(slide, loaded, tmp_path / "predicted.ome.zarr", PredictionSettings(device="cpu")))
    found = open_slide(tmp_path / "predicted.ome.zarr").levels[0][0].compute()
    pixels = torch.from_numpy(slide.levels[0][:2].compute().astype(np.float32))[None]
    with torch.no_grad():
        expected = loaded.network()(pixels)[0, 0].numpy()
    # beyond the border tiles see a mirrored slide, the convolutions zeros
    inner = (slice(3, -3), slice(3, -3))
    np.testing.assert_allclose(found[inner], expected[inner], atol=1e-4)


def test_what_is_in_no_table_is_refused_by_name(plain, tmp_path, monkeypatch):
    path = tmp_path / "plain.safetensors"
    save_checkpoint(Checkpoint(PlainSettings(), built(PlainSettings()).state_dict()), path)
    monkeypatch.delitem(NETWORKS, "plain")
    monkeypatch.delitem(options(TrainingSettings)["model"].titles, "plain")
    with pytest.raises(CheckpointError, match="is for a network 'plain'; expected hrpn or ganda"):
        load_checkpoint(path)
    with pytest.raises(TrainingError, match="no model 'plain'; expected one of hrpn, ganda"):
        recipe_settings("fast", "plain")
    with pytest.raises(TrainingError, match="model is 'plain'; expected one of hrpn, ganda"):
        TrainingSettings(model="plain")

"""A graphics card learns what a processor learns, and its checkpoint opens anywhere.

`benchmarks/gpu.py` runs these tests where little is installed: they need no window and no napari.
"""

import gc
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_hrpn.inference.predictor import Predictor
from napari_hrpn.models import load_checkpoint
from napari_hrpn.training import EpochReport, train_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def losses(entries, folder, settings):
    reports = train_model(entries, folder, settings)
    return [report.record.validation_loss for report in reports if isinstance(report, EpochReport)]


def test_the_first_epochs_are_about_those_of_the_processor(entries, quick, tmp_path):
    ours = losses(entries, tmp_path / "gpu", replace(quick, device="cuda"))
    np.testing.assert_allclose(ours, losses(entries, tmp_path / "cpu", quick), rtol=0.2)  # dropout differs


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_checkpoint_of_the_card_opens_on_a_processor(entries, quick, tmp_path, precision):
    losses(entries, tmp_path / "gpu", replace(quick, device="cuda", precision=precision))
    checkpoint = load_checkpoint(tmp_path / "gpu" / "checkpoint.safetensors")
    pixels = np.random.default_rng(0).random((2, 128, 128), np.float32)
    there, here = (Predictor(checkpoint, device).run(pixels, 32) for device in ("cuda", "cpu"))
    np.testing.assert_allclose(there, here, atol=1e-4 * np.ptp(here))


def test_memory_is_given_back_after_a_training(entries, quick, tmp_path):
    before = torch.cuda.memory_allocated()
    losses(entries, tmp_path / "gpu", replace(quick, device="cuda"))
    gc.collect()
    assert torch.cuda.memory_allocated() <= before

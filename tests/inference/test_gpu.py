"""A graphics card predicts what a processor predicts, to a stated bound, and gives its memory back.

`benchmarks/gpu.py` runs these tests where little is installed: they need no window and no napari.
"""

import gc
from dataclasses import replace

import numpy as np
import pytest
import torch
import zarr

from napari_hrpn.inference import PredictionSettings, predict_slide
from napari_hrpn.inference.predictor import Predictor
from napari_hrpn.models import bundled_checkpoint, load_checkpoint
from support.predictions import lively_checkpoint, make_slide

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
PLAIN = PredictionSettings(device="cpu", skip_blank=False, core=512)


def predicted(slide, checkpoint, path, settings):
    for _ in predict_slide(slide, checkpoint, path, settings):
        pass
    return np.asarray(zarr.open_group(path, mode="r")["0"][...])[0]


@pytest.mark.parametrize("branches", [1, 4])
def test_the_card_agrees_with_the_processor(source, tmp_path, branches):
    slide, checkpoint = make_slide(700, 900, source), lively_checkpoint(branches)
    exact = predicted(slide, checkpoint, tmp_path / "cpu.ome.zarr", PLAIN)
    ours = predicted(slide, checkpoint, tmp_path / "gpu.ome.zarr", replace(PLAIN, device="cuda"))
    assert np.abs(ours - exact).max() < 1e-4 * np.ptp(exact)


def test_half_precision_errs_no_more_than_is_said(source, tmp_path):
    slide, checkpoint = make_slide(700, 900, source), load_checkpoint(bundled_checkpoint())
    exact = predicted(slide, checkpoint, tmp_path / "cpu.ome.zarr", PLAIN)
    rough = predicted(slide, checkpoint, tmp_path / "gpu.ome.zarr", replace(PLAIN, device="cuda", precision="bf16"))
    errors = np.abs(rough - exact) / np.ptp(exact)
    assert errors.mean() < 0.002
    assert errors.max() < 0.1


def test_cores_of_any_size_give_the_same_pixels(source, tmp_path):
    slide, checkpoint = make_slide(1100, 1300, source), lively_checkpoint(4)
    small = predicted(slide, checkpoint, tmp_path / "small.ome.zarr", replace(PLAIN, device="cuda"))
    large = predicted(slide, checkpoint, tmp_path / "large.ome.zarr", replace(PLAIN, device="cuda", core=2048))
    assert np.abs(small - large).max() < 1e-5 * np.ptp(large)


def test_memory_is_given_back(source, tmp_path):
    before = torch.cuda.memory_allocated()
    predicted(make_slide(700, 700, source), lively_checkpoint(), tmp_path / "a.ome.zarr", replace(PLAIN, device="cuda"))
    gc.collect()
    assert torch.cuda.memory_allocated() <= before


def test_a_core_that_does_not_fit_is_predicted_in_quarters(source, tmp_path):
    slide, checkpoint = make_slide(2048, 2048, source), lively_checkpoint(4)
    roomy = replace(PLAIN, device="cuda", core=2048, memory_gb=20.0)
    exact = predicted(slide, checkpoint, tmp_path / "roomy.ome.zarr", roomy)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(1e9 / total)
    try:
        tight = predicted(slide, checkpoint, tmp_path / "tight.ome.zarr", roomy)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert np.abs(tight - exact).max() < 1e-5 * np.ptp(exact)


def test_pixels_that_were_copied_ahead_are_those_that_were_read():
    predictor = Predictor(lively_checkpoint(), "cuda")
    pixels = np.random.default_rng(0).random((2, 256, 256), np.float32)
    ahead = [predictor.ready(pixels) for _ in range(4)]
    assert all(torch.equal(copy.cpu()[0], torch.from_numpy(pixels)) for copy in ahead)

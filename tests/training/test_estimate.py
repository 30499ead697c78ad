"""An estimate scales with the work, knows what a step keeps, and leaves torch's random numbers alone."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch

from napari_hrpn.inference import PredictionError
from napari_hrpn.training import TrainingSettings, estimate
from napari_hrpn.training.estimate import _measured

SETTINGS = TrainingSettings(branches=1, patch_px=64, batch=4, epochs=3, precision="fp32")


def test_time_scales_with_epochs_steps_and_validation():
    once = estimate(replace(SETTINGS, epochs=1), 1, "cpu")
    assert once.seconds > 0
    assert estimate(SETTINGS, 10, "cpu").seconds == pytest.approx(30 * once.seconds)
    judged = estimate(replace(SETTINGS, epochs=1), 1, "cpu", validation_patches=12)
    assert judged.seconds == pytest.approx(2 * once.seconds)


def test_time_is_no_longer_than_asked_for():
    assert estimate(replace(SETTINGS, max_minutes=0.01), 1_000_000, "cpu").seconds == pytest.approx(0.6)


def test_settings_that_change_no_step_are_not_measured_again():
    estimate(SETTINGS, 10, "cpu")
    before = _measured.cache_info().misses
    estimate(replace(SETTINGS, epochs=7, max_minutes=5.0, seed=3, device="cpu"), 4, "auto")
    assert _measured.cache_info().misses == before


def test_several_processes_on_a_cpu_hold_a_network_each_and_share_the_rest():
    one, two = (estimate(replace(SETTINGS, devices=devices), 10, "cpu") for devices in (1, 2))
    assert two.seconds == one.seconds
    assert one.memory_bytes < two.memory_bytes < 2 * one.memory_bytes


def test_memory_of_a_step_is_that_of_its_activations():
    def bytes_per_px(**changes):
        settings = replace(SETTINGS, patch_px=96, batch=2000, **changes)
        return estimate(settings, 1, "cpu").memory_bytes / (2000 * 96**2)

    # counted by hand for the first stage alone: a stem of 64 at 1/2 and 1/4, four bottlenecks at 1/4 of the size
    least = 4 * (64 / 4 + 64 / 16 + 4 * (64 + 64 + 256) / 16)
    one, four = bytes_per_px(), bytes_per_px(branches=4)
    assert least < one < 4 * least
    assert 1.2 < four / one < 1.6
    assert bytes_per_px(precision="bf16") < 0.8 * one


GROWTH = """
import re, sys, warnings
from pathlib import Path
import psutil, torch
from napari_hrpn.training import SlideEntry, estimate, recipe_settings, train_model
warnings.simplefilter("ignore")
torch.set_num_threads(1)
folder, batch, patch_px = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
settings = recipe_settings(
    batch=batch, patch_px=patch_px, epochs=1, steps_per_epoch=2, precision="fp32", device="cpu", seed=2
)
expected = estimate(settings, 2, "cpu").memory_bytes
before = psutil.Process().memory_info().rss
entries = [SlideEntry(folder / f"{name}.ome.tif", part=part) for name, part in (("a", "train"), ("b", "validation"))]
for _ in train_model(entries, folder / "run", settings):
    pass
# what the system counts for `resource` begins with the process that started this one
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
print(expected, peak - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems count resident memory otherwise")
def test_memory_is_what_a_program_grows_by(tmp_path):
    for seed, name in enumerate("ab"):
        pixels = np.random.default_rng(seed).integers(0, 200, (3, 512, 512)).astype(np.uint8)
        names = {"Name": ["DAPI", "CD31", "QD"]}
        metadata = {"axes": "CYX", "Channel": names}
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", pixels, photometric="minisblack", metadata=metadata)
    command = [sys.executable, "-c", GROWTH, str(tmp_path), "4", "256"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected, growth = map(int, done.stdout.split())
    # where processes beside it leave no time to read ahead, it grows less
    assert 0.75 * growth < expected < 1.5 * growth


def test_random_numbers_go_on_as_if_nothing_had_been_measured():
    _measured.cache_clear()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    estimate(SETTINGS, 1, "cpu")
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_ganda_can_be_estimated():
    found = estimate(replace(SETTINGS, model="ganda", patch_px=128, scaling="full_scale"), 1, "cpu")
    assert found.seconds > 0
    assert found.memory_bytes > 4 * 2_000_000


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(PredictionError, match="not on this machine"):
        estimate(SETTINGS, 1, "cuda:99")

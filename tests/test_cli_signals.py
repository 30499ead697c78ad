"""Ctrl-C and SIGTERM on the real program: what is finished is kept, and the same command goes on."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_hrpn.cli import run
from napari_hrpn.models import HRPN, Checkpoint, HRPNSettings, IntensityScaling, ModelCard, save_checkpoint
from napari_hrpn.slides import open_slide

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of 9 tiles and a network."""
    folder = tmp_path_factory.mktemp("signals")
    torch.manual_seed(0)
    settings = HRPNSettings(branches=1)
    card = ModelCard(scaling=IntensityScaling(kind="percentile"))
    save_checkpoint(Checkpoint(settings, HRPN(settings).state_dict(), card), folder / "random.safetensors")
    assert run(["phantom", str(folder / "slide.ome.zarr"), "--preset", "tiny", "--size", "1100"]) == 0
    return folder


def words(folder: Path, output: str) -> list[str]:
    slide, checkpoint = str(folder / "slide.ome.zarr"), str(folder / "random.safetensors")
    options = ["--core", "512", "--no-skip-blank", "--device", "cpu"]
    return ["predict", slide, "-o", str(folder / output), "--checkpoint", checkpoint, *options]


def finished_tiles(place: Path) -> int:
    import zarr

    try:
        return int(np.asarray(zarr.open_array(place / "finished", mode="r")[:]).sum())
    except FileNotFoundError:
        return 0


def test_stopped_prediction_goes_on_to_the_same_pixels(folder: Path) -> None:
    place = folder / "stopped" / "slide.predicted.ome.zarr"
    program = [sys.executable, "-c", "from napari_hrpn.cli import main; main()", *words(folder, "stopped")]
    for number, code, tiles in ((signal.SIGINT, 130, 2), (signal.SIGTERM, 143, 5)):
        with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            while finished_tiles(place) < tiles and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == code
        assert "Traceback" not in errors
        assert "run the same command again to resume" in errors
        assert tiles <= finished_tiles(place) < 9
    assert run(words(folder, "stopped")) == 0
    assert run(words(folder, "whole")) == 0
    whole = open_slide(folder / "whole" / "slide.predicted.ome.zarr")
    for one, other in zip(open_slide(place).levels, whole.levels, strict=True):
        np.testing.assert_array_equal(one.compute(), other.compute())


def test_interrupted_conversion_leaves_nothing_behind(folder: Path) -> None:
    big = folder / "big.ome.zarr"
    program = [sys.executable, "-c", "from napari_hrpn.cli import main; main()", "phantom", str(big), "--size", "20000"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not list(folder.glob("big*")) and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "was not written" in errors
    assert "Traceback" not in errors
    assert not list(folder.glob("big*"))


def test_error_of_the_user_is_one_line_and_exit_code_2(folder: Path) -> None:
    program = [sys.executable, "-c", "from napari_hrpn.cli import main; main()", "info", str(folder / "missing.tif")]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("napari-hrpn: error: ")
    assert done.stderr.count("\n") == 1

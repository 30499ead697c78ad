"""``predict --workers``: Ctrl-C in a terminal reaches every process; what is finished is kept, and nothing goes on."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from napari_hrpn.cli import run
from napari_hrpn.models import save_checkpoint
from support.predictions import lively_checkpoint, make_slide, one_thread, save_slide

pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slides, of 9 tiles and of 1, and a network."""
    folder = tmp_path_factory.mktemp("workers")
    save_checkpoint(lively_checkpoint(), folder / "lively.safetensors")
    save_slide(make_slide(1060, 1040, folder / "none"), folder / "large.ome.zarr")
    save_slide(make_slide(300, 200, folder / "none"), folder / "small.ome.zarr")
    return folder


def words(folder: Path, output: str, *more: str) -> list[str]:
    slides = [str(folder / "large.ome.zarr"), str(folder / "missing.tif"), str(folder / "small.ome.zarr")]
    checkpoint = str(folder / "lively.safetensors")
    options = ["--core", "512", "--no-skip-blank", "--device", "cpu", *more]
    return ["predict", *slides, "-o", str(folder / output), "--checkpoint", checkpoint, *options]


def finished_tiles(place: Path) -> int:
    import zarr

    try:
        return int(np.asarray(zarr.open_array(place / "finished", mode="r")[:]).sum())
    except FileNotFoundError:
        return 0


def contents(path: Path) -> dict[str, bytes]:
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")
def test_ctrl_c_in_a_terminal_keeps_what_is_finished_and_ends_every_process(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = folder / "stopped" / "large.predicted.ome.zarr"
    program = [sys.executable, "-c", "from napari_hrpn.cli import main; main()"]
    with subprocess.Popen(
        [*program, *words(folder, "stopped", "--workers", "2")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while finished_tiles(place) < 2 and process.poll() is None:
            time.sleep(0.02)
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert children
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    assert "Traceback" not in errors
    assert "run the same command again to resume" in errors
    assert f"of 9 tiles are finished and kept in {place}" in output
    assert 2 <= finished_tiles(place) < 9
    # the slide that is not there is one line, and the others go on
    assert run(words(folder, "stopped", "--workers", "2")) == 2
    said = capsys.readouterr()
    assert "napari-hrpn: error: There is no file or folder" in said.err
    assert "predicting 3 slides: 100 %" in said.err
    assert re.search(r"large.ome.zarr: [1-7] more tiles?, 9 of 9", said.out)
    assert (folder / "stopped" / "small.predicted.ome.zarr").is_dir()
    with one_thread():
        assert run(words(folder, "alone")) == 2
    assert contents(folder / "stopped") == contents(folder / "alone")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--workers", "2", "--scheduler", "tcp://127.0.0.1:1"], "give one of the two"),
        (["--workers", "0"], "--workers"),
        (["--scheduler", "nonsense"], "no scheduler answers at nonsense"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(more, said, folder, capsys) -> None:
    assert run(words(folder, "wrong", *more)) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1

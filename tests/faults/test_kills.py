"""Commands that are killed at random file operations, and begun again, end in what an undisturbed one makes.

`scripts/test tests/faults/test_kills.py --kills 10` kills each command so often, `--fault-seed 1` at other moments.
"""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from napari_hrpn.models import save_checkpoint
from napari_hrpn.slides import open_slide
from support.predictions import lively_checkpoint
from support.studies import write_tumour

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills as on POSIX")
PROGRAM = Path(__file__).parents[1] / "support" / "killed_command.py"


def levels_of(path: Path) -> list[np.ndarray]:
    return [np.asarray(level) for level in open_slide(path).levels]


def weights_of(path: Path) -> list[np.ndarray]:
    weights = load_file(path / "checkpoint.safetensors")
    return [weights[name] for name in sorted(weights)]


def numbers_of(path: Path) -> list[np.ndarray]:
    content = json.loads((path / "evaluation.json").read_text(encoding="utf-8"))
    kept = {name: part for name, part in content.items() if name != "about"}
    return [np.array(json.dumps(kept, sort_keys=True))]


COMMANDS: dict[str, tuple[list[str], str, Callable[[Path], list[np.ndarray]]]] = {
    "convert": (["convert", "{slide}", "{out}/slide.ome.zarr"], "slide.ome.zarr", levels_of),
    "convert to TIFF": (["convert", "{slide}", "{out}/slide.ome.tif"], "slide.ome.tif", levels_of),
    "phantom": (["phantom", "{out}/p.ome.zarr", "--preset", "tiny", "--size", "300"], "p.ome.zarr", levels_of),
    "predict": (
        ["predict", "{slide}", "-o", "{out}", "--checkpoint", "{network}", "--core", "512", "--device", "cpu"],
        "slide.predicted.ome.zarr",
        levels_of,
    ),
    "evaluate": (["evaluate", "{slide}", "{predicted}", "--probe", "QD", "-o", "{out}/e"], "e", numbers_of),
    "train": (
        [
            "train", "{slide}", "{other}", "-o", "{out}/run", "--branches", "1", "--patch", "64", "--batch", "2",
            "--epochs", "2", "--steps-per-epoch", "3", "--device", "cpu",
        ],
        "run",
        weights_of,
    ),
}  # fmt: skip
OFTEN = {"convert", "predict"}
"""What is killed every time the tests are run; the others when more kills are asked for."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("killed")
    slide, other = (write_tumour(folder / f"{name}.ome.tif", seed, (600, 640)) for name, seed in
                    (("slide", 1), ("other", 2)))  # fmt: skip
    predicted = write_tumour(folder / "predicted.ome.tif", 3, (600, 640))
    save_checkpoint(lively_checkpoint(pixel_size_um=1.0), folder / "network.safetensors")
    names = {"slide": slide, "other": other, "predicted": predicted, "network": folder / "network.safetensors"}
    return {name: str(path) for name, path in names.items()}


def run(words: list[str], files: dict[str, str], out: Path, to_kill: int = 0) -> subprocess.CompletedProcess[str]:
    out.mkdir(exist_ok=True)
    command = [word.format(out=out, **files) for word in words]
    program = [sys.executable, str(PROGRAM), str(out), str(to_kill), *command]
    return subprocess.run(program, capture_output=True, text=True, check=False, timeout=280)


@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_any_moment_it_ends_in_what_an_undisturbed_one_makes(
    command, files, tmp_path, number_of_kills, fault_seed
):
    if number_of_kills < 2 and command not in OFTEN:
        pytest.skip("only with --kills 2 or more")
    words, made, content_of = COMMANDS[command]
    whole = run(words, files, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    expected = content_of(tmp_path / "whole" / made)
    operations = int(whole.stdout.rsplit("operations ", 1)[1])
    chance = random.Random(f"{command} {fault_seed}")
    for number in range(number_of_kills):
        out = tmp_path / f"killed{number}"
        moments = [chance.randint(1, operations) for _ in range(chance.choice((1, 1, 2)))]
        for moment in moments:
            killed = run(words, files, out, moment)
            assert killed.returncode in {0, -9}, killed.stderr
        last = run(words, files, out)
        # a command that refuses to replace what is complete says so
        complete = last.returncode == 2 and killed.returncode == 0
        assert last.returncode == 0 or complete, f"killed at {moments} of {operations}: {last.stderr}"
        for found, wanted in zip(content_of(out / made), expected, strict=True):
            np.testing.assert_array_equal(found, wanted, err_msg=f"killed at {moments} of {operations}")
        assert not [path for path in out.rglob("*") if path.name.endswith(".partial")], f"killed at {moments}"

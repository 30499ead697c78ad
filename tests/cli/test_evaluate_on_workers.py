"""``evaluate --workers``: the files of one process, and no process that stays behind."""

import json
from pathlib import Path

import numpy as np
import psutil
import pytest

from napari_hrpn.cli import run
from support.evaluated_slides import EvaluatedSlide, evaluated_slide, write_slide

pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> EvaluatedSlide:
    """A slide, and an ensemble's prediction of it in floating point, whose range takes a pass of its own."""
    made = evaluated_slide(tmp_path_factory.mktemp("slide"))
    sd = np.random.default_rng(4).uniform(0.5, 6, made.p.shape)
    write_slide(np.stack([made.p, sd]).astype(np.float32), ("predicted QD", "sd"), made.folder / "slide.sd.ome.tif")
    return made


def words(slide: EvaluatedSlide, output: str, *more: str) -> list[str]:
    files = [str(slide.real), str(slide.folder / "slide.sd.ome.tif"), *slide.words[2:]]
    return ["evaluate", *files, "--block", "24", "-o", str(slide.folder / output), *more]


def content(folder: Path) -> dict:
    found = json.loads((folder / "evaluation.json").read_text("utf-8"))
    del found["about"]["made"]
    return found


def tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "tables").iterdir()}


@pytest.mark.usefixtures("tiny_figures")
def test_workers_make_the_files_of_one_process(slide, capfd) -> None:
    before = psutil.Process().children(recursive=True)
    assert run(words(slide, "workers", "--workers", "2")) == 0
    assert "Traceback" not in capfd.readouterr().err
    assert set(psutil.Process().children(recursive=True)) <= {*before, *resource_trackers()}
    assert run(words(slide, "alone")) == 0
    alone = content(slide.folder / "alone")
    assert alone["predictions"]["sd"]["tissue"]["coverage_80"] > 0
    assert content(slide.folder / "workers") == alone
    assert tables(slide.folder / "workers") == tables(slide.folder / "alone")


def resource_trackers() -> list[psutil.Process]:
    """What Python itself starts beside the first process, and keeps."""
    children = psutil.Process().children()
    return [each for each in children if "resource_tracker" in " ".join(each.cmdline())]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--workers", "2", "--scheduler", "tcp://127.0.0.1:1"], "give one of the two"),
        (["--workers", "0"], "--workers"),
        (["--scheduler", "nonsense"], "no scheduler answers at nonsense"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(more, said, slide, capsys) -> None:
    assert run(words(slide, "wrong", *more)) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1
    assert not (slide.folder / "wrong").exists()

"""What a shell or a terminal does to words: paths with ~ or of Windows, and letters that a terminal has not."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_hrpn.cli import run
from napari_hrpn.cli.terminal import follow
from napari_hrpn.core import Progress
from support.ome_zarr import write_image

NAME = "µ→𝔛 \udcff.zarr"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, beside a home of its own."""
    for name in ("home", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def image(path: Path) -> Path:
    write_image(path, [np.ones((3, 20, 20), np.uint8)])
    return path


def test_options_with_a_home_are_understood_as_a_shell_would(here: Path) -> None:
    image(here / "~a.zarr")
    for output in ("--noise-free=~/b.ome.tif", "--noise-free=~c.ome.tif"):
        assert run(["phantom", "~/a.ome.tif", "--preset", "tiny", "--size", "64", output, "--overwrite"]) == 0
    assert run(["info", "~a.zarr"]) == 0
    assert sorted(path.name for path in here.iterdir()) == ["~a.zarr", "~c.ome.tif"]
    assert sorted(path.name for path in (here.parent / "home").iterdir()) == ["a.ome.tif", "b.ome.tif"]


@pytest.mark.parametrize("words", [("info", "~no-such-user/a.tif"), ("report", "e", "-o", "~no-such-user/x")])
def test_the_home_of_an_unknown_user_is_one_sentence(
    here: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    assert "home of a user who has none" in capsys.readouterr().err
    assert list(here.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="there it is a path")
@pytest.mark.parametrize("output", ["Z:\\x", "--output=C:/x", "-oZ:\\x", "\\\\server\\share"])
def test_a_path_of_windows_makes_no_folder_here(here: Path, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [output] if output.startswith("-") else ["-o", output]
    assert run(["predict", str(image(here / "a.zarr")), *words]) == 2
    assert "is a Windows path" in capsys.readouterr().err
    assert [path.name for path in here.iterdir()] == ["a.zarr"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes there alone")
@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_terminal_without_the_letters_of_a_name_shows_escapes(encoding: str, here: Path) -> None:
    path = image(here / NAME) / "zarr.json"
    content = json.loads(path.read_text())
    content["attributes"]["ome"]["omero"]["channels"][0]["label"] = "𝔛 \ud800"
    path.write_text(json.dumps(content))
    code = "from napari_hrpn.cli.entry import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "info", NAME],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    if encoding == "ascii":
        # the library that prints takes ASCII for a setting that is missing
        assert b".zarr" in done.stdout
        return
    assert "µ\\u2192\\U0001d51b \\udcff.zarr".encode(encoding) in done.stdout
    assert b"\\U0001d51b \\ufffd" in done.stdout


def test_a_bar_is_drawn_on_a_terminal_without_its_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", errors="strict")
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    follow((step for step in (Progress(1, 2, "3 µm²"), Progress(2, 2))), "measuring R²")
    shown.flush()
    drawn = shown.buffer.getvalue()
    assert b"\x1b[" in drawn
    assert "measuring R²".encode("cp1252") in drawn

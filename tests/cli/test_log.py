"""The log of a command, and shell completion."""

import re
import warnings
from pathlib import Path

import pytest

from napari_hrpn.cli import run
from napari_hrpn.cli.terminal import LOG, follow
from napari_hrpn.core import Progress
from napari_hrpn.slides import SlideWarning

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} napari-hrpn\[\d+\] (\w+) (.*)")


def lines(log: Path) -> list[tuple[str, str]]:
    return [LINE.fullmatch(line).groups() for line in log.read_text("utf-8").splitlines()]


def test_a_log_has_start_progress_and_end_and_is_appended_to(tmp_path: Path) -> None:
    log, slide = tmp_path / "work.log", tmp_path / "slide.ome.tif"
    words = ["phantom", str(slide), "--preset", "tiny", "--size", "64", "--log", str(log)]
    assert run(words) == 0
    first = lines(log)
    assert {level for level, _ in first} == {"INFO"}
    assert first[0][1].startswith("started: napari-hrpn")
    assert any("writing slide.ome.tif: 100 %" in text for _, text in first)
    assert first[-1][1] == "ended with exit code 0"
    assert run(words) == 2
    again = lines(log)[len(first) :]
    assert next(text for level, text in again if level == "ERROR").startswith(f"{slide} exists already")
    assert again[-1][1] == "ended with exit code 2"
    # a command without --log writes nothing
    before = log.read_bytes()
    run(["cache"])
    assert log.read_bytes() == before


@pytest.mark.parametrize("name", ["missing/work.log", "slide.txt"])
def test_a_log_that_cannot_be_written_or_is_something_else_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "slide.txt").write_bytes(b"mine\n")
    assert run(["cache", "--log", str(tmp_path / name)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert name in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["slide.txt"]
    assert (tmp_path / "slide.txt").read_bytes() == b"mine\n"


@pytest.mark.filterwarnings("always")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_work_goes_on_when_the_log_cannot_be_written_any_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", "--log", "/dev/full"]) == 0
    told = capsys.readouterr().err
    assert told.count("/dev/full cannot be written") == 1
    assert "Traceback" not in told


@pytest.mark.filterwarnings("default:100 %:napari_hrpn.slides.SlideWarning")
def test_warnings_and_errors_of_the_program_are_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "work.log"

    def fail(_: object = None) -> None:
        for _ in range(2):
            warnings.warn("100 % bright", SlideWarning, stacklevel=1)
        raise RuntimeError("a bug")

    monkeypatch.setattr("napari_hrpn.slides.pyramid_cache_bytes", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        run(["cache", "--log", str(log)])
    text = log.read_text("utf-8")
    assert text.count("WARNING 100 % bright") == 1
    assert "CRITICAL ended by an error of the program\nTraceback" in text
    assert text.endswith("RuntimeError: a bug\n")


def test_without_a_log_nothing_more_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def steps():
        yield Progress(1, 2)
        yield Progress(2, 2)

    follow(steps(), "working")
    LOG.error("for the log alone")
    assert capsys.readouterr().err == "working: 50 %\nworking: 100 %\n"


@pytest.mark.parametrize(("typed", "offered"), [("napari-hrpn pre", "predict"), ("napari-hrpn cache --cl", "--clear")])
def test_the_shell_completes_commands_and_options(
    typed: str, offered: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_NAPARI_HRPN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    with pytest.raises(SystemExit, match="0"):
        run([])
    assert capsys.readouterr().out.split() == [offered]

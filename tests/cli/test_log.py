"""The log of a command, and shell completion."""

import os
import re
import subprocess
import sys
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


def test_the_folder_of_a_log_is_made(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "today" / "work.log"
    assert run(["cache", "--log", str(log)]) == 0
    assert lines(log)[-1] == ("INFO", "ended with exit code 0")


@pytest.mark.parametrize("name", ["slide.txt/work.log", "slide.txt"])
def test_a_log_that_cannot_be_written_or_is_something_else_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "slide.txt").write_bytes(b"mine\n")
    assert run(["cache", "--log", str(tmp_path / name)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "slide.txt" in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["slide.txt"]
    assert (tmp_path / "slide.txt").read_bytes() == b"mine\n"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["info", "--unknown"], "No such option: --unknown"),
        (["predict", "slide.ome.tif"], "Missing option '-o' / '--output'"),
        (["report", "-o", "cohort"], "Missing argument 'EVALUATION_DIR...'"),
        (["train", "s3://bucket/slide.ome.zarr"], "is an address of object storage, which train does not take"),
        (["no-such-command"], "No such command 'no-such-command'"),
    ],
)
@pytest.mark.parametrize("is_one_word", [False, True])
def test_words_that_are_not_understood_are_in_the_log(
    words: list[str], error: str, is_one_word: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "work.log"
    assert run([*words, *([f"--log={log}"] if is_one_word else ["--log", str(log)])]) == 2
    logged = lines(log)
    assert [level for level, _ in logged] == ["INFO", "INFO", "ERROR", "INFO"]
    assert error in logged[2][1]
    assert capsys.readouterr().err == f"napari-hrpn: error: {logged[2][1]}\n"


def test_words_after_two_dashes_and_values_that_lack_name_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["info", "--", "--log", "work.log"]) == run(["cache", "--log"]) == 2
    assert "'--log' requires an argument" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_log_in_a_named_pipe_is_refused_instead_of_waiting_for_a_reader(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "pipe")
    code = f"from napari_hrpn.cli import run; raise SystemExit(run(['cache', '--log', {str(tmp_path / 'pipe')!r}]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "is a named pipe" in done.stderr


@pytest.mark.parametrize("command", ["cache", "info"])
@pytest.mark.parametrize("address", ["s3://bucket/work.log", "https://host.org/work.log", "file:///tmp/work.log"])
def test_a_log_at_an_address_is_refused_in_one_sentence(
    command: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([command, "--log", address]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"napari-hrpn: error: {address} is an address, where no line can be appended; give --log")
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


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

"""What differs on Windows and macOS, simulated: names, case, open files, signals, and calls of one system alone."""

import ast
import ctypes
import errno
import nturl2path
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from zarr.storage import LocalStore

from napari_hrpn.cli import demo, run
from napari_hrpn.cli.predict import output_places
from napari_hrpn.cli.terminal import CommandError
from napari_hrpn.core import files, heap
from napari_hrpn.core.files import replaced_file
from napari_hrpn.core.plain_text import no_device
from napari_hrpn.experiments.study import readable
from napari_hrpn.reports.drawing import file_name
from napari_hrpn.slides import SlideError, as_location, location, open_slide, slide_identity
from napari_hrpn.slides.writers.ome_zarr_writer import create_levels, write_part
from napari_hrpn.slides.writers.output_path import _sentence, partial_output

PACKAGE = Path(__file__).parents[1] / "src" / "napari_hrpn"
SOURCES = [(path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text("utf-8"))) for path in PACKAGE.rglob("*.py")]
ABSENT_MODULES = {"fcntl", "grp", "msvcrt", "pwd", "resource", "termios", "winreg", "_winapi"}
ABSENT_NAMES = {
    *("fork", "geteuid", "getuid", "killpg", "mkfifo", "sched_getaffinity", "setpriority", "statvfs", "sysconf"),
    *("register_at_fork", "pthread_sigmask", "SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "setitimer", "windll"),
}
WITH_A_CHECK = {
    ("inference/cluster/connection.py", "pthread_sigmask"),
    ("plugin/background.py", "setpriority"),
    ("slides/zarr_arrays.py", "register_at_fork"),
    ("training/multi_device.py", "pthread_sigmask"),
}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            yield getattr(node.func, "attr", getattr(node.func, "id", "")), node


def is_text(name: str, call: ast.Call) -> bool:
    if name != "open":
        return name in ("read_text", "write_text")
    given = [*call.args[:2], *(word.value for word in call.keywords if word.arg == "mode")]
    modes = [value.value for value in given if isinstance(value, ast.Constant)]
    return any(mode in ("r", "w", "a", "x", "r+", "w+") for mode in modes) or isinstance(call.func, ast.Name)


def without(keyword: str, path: str, tree: ast.AST) -> list[str]:
    """Calls that read or write text without a keyword."""
    texts = [call for name, call in calls(tree) if is_text(name, call) and (name == "open" or keyword == "encoding")]
    return [f"{path}:{call.lineno}" for call in texts if keyword not in {word.arg for word in call.keywords}]


def test_every_text_file_has_an_encoding_and_every_table_its_own_line_ends() -> None:
    assert not [place for path, tree in SOURCES for place in without("encoding", path, tree)]
    tables = [(path, tree) for path, tree in SOURCES if "\nimport csv\n" in (PACKAGE / path).read_text("utf-8")]
    assert len(tables) >= 3
    assert not [place for path, tree in tables for place in without("newline", path, tree)]


def test_modules_and_functions_of_one_system_are_checked_for_before_they_are_used() -> None:
    at_top = [
        f"{path}: {name}"
        for path, tree in SOURCES
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (getattr(node, "module", None), *(alias.name for alias in node.names))
        if name in ABSENT_MODULES
    ]
    assert not at_top
    used = {
        (path, node.attr)
        for path, tree in SOURCES
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in ABSENT_NAMES
    }
    assert used == WITH_A_CHECK


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_the_heap_of_another_c_library_is_left_alone(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise TypeError("no library without a name")

    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert heap.glibc() is None
    heap.return_freed_memory()


@pytest.mark.parametrize("name", ["CON", "nul", "Aux.ome.tif", "COM1", "lpt9.csv"])
def test_no_name_is_that_of_a_device(name: str) -> None:
    assert no_device(name) == f"_{name}"
    assert file_name(name).startswith("_")
    assert readable(name).startswith("_")
    assert no_device(f"a{name}") == f"a{name}"
    assert no_device("con .txt") == "_con .txt"
    assert no_device("console") == "console"


@pytest.mark.parametrize("name", ['a:b*c?"<d>|e', "tumour 1. ", "C:\\slides\\a", "a/b"])
def test_names_of_files_have_no_letter_that_windows_refuses(name: str) -> None:
    for made in (file_name(name), readable(name)):
        assert not set(made) & set('<>:"/\\|?*')
        assert made == made.strip(" .")


def test_slides_whose_names_differ_in_case_alone_do_not_share_an_output(tmp_path: Path) -> None:
    slides = [tmp_path / "x" / "A1.ome.tif", tmp_path / "y" / "a1.ome.tif"]
    with pytest.raises(CommandError, match=r"would both be written to A1\.predicted"):
        output_places(slides, tmp_path / "out")


def test_a_phantom_and_its_truth_are_not_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["phantom", str(tmp_path / "a.ome.tif"), "--preset", "tiny", "--size", "64"]
    assert run([*words, "--noise-free", str(tmp_path / "A.ome.tif")]) == 2
    assert "is given for both images" in capsys.readouterr().err


def test_a_slide_under_another_spelling_is_not_replaced(tmp_path: Path) -> None:
    """A second name of one file, as "Slide.tif" is of "slide.tif" where case is ignored."""
    (tmp_path / "slide.tif").write_bytes(b"mine")
    os.link(tmp_path / "slide.tif", tmp_path / "Slide.tif")
    output = partial_output(tmp_path / "Slide.tif", tmp_path / "slide.tif", overwrite=True)
    with pytest.raises(SlideError, match="is the slide"), output as partial:
        partial.write_bytes(b"new")
    assert (tmp_path / "slide.tif").read_bytes() == b"mine"


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> Callable[[type, str, int], None]:
    """Makes a method refuse its first calls, as Windows does while a file is open."""
    monkeypatch.setattr(files, "_SECONDS_BETWEEN_TRIES", 0)

    def refuse(kind: type, name: str, times: int) -> None:
        done, left = getattr(kind, name), [times]

        def method(*arguments: object) -> object:
            if left[0]:
                left[0] -= 1
                raise PermissionError(errno.EACCES, "Access is denied", str(arguments[0]))
            return done(*arguments)

        monkeypatch.setattr(kind, name, method)

    return refuse


def test_a_file_that_is_open_for_a_moment_is_replaced(tmp_path: Path, refusals: Callable[..., None]) -> None:
    (tmp_path / "table.csv").write_text("old")
    refusals(Path, "replace", 3)
    with replaced_file(tmp_path / "table.csv") as partial:
        partial.write_text("new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("table.csv", "new")]


def test_a_file_that_stays_open_is_named_and_left_as_it_is(tmp_path: Path, refusals: Callable[..., None]) -> None:
    (tmp_path / "table.csv").write_text("old")
    refusals(Path, "replace", 1000)
    with pytest.raises(PermissionError, match="perhaps another program has it open") as error:  # noqa: SIM117
        with replaced_file(tmp_path / "table.csv") as partial:
            partial.write_text("new")
    assert error.value.filename == str(tmp_path / "table.csv")
    with pytest.raises(SlideError, match="close it in other programs"):  # noqa: SIM117
        with partial_output(tmp_path / "table.csv", None, overwrite=True) as partial:
            partial.write_text("new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("table.csv", "old")]


def test_a_folder_and_chunks_that_are_read_at_that_moment_are_written(
    tmp_path: Path, refusals: Callable[..., None]
) -> None:
    # a file or folder whose place a folder takes is moved away first
    (tmp_path / "out.zarr").write_text("old")
    refusals(Path, "rename", 2)
    with partial_output(tmp_path / "out.zarr", None, overwrite=True) as partial:
        levels = create_levels(partial, [(1, 600, 40)], np.dtype("uint8"))
        # the two chunks of the slide are refused, and one of them once more
        refusals(LocalStore, "set", 3)
        write_part(np.full((1, 600, 40), 7, "uint8"), (0, 0, 0), levels)
        assert (levels[0][:] == 7).all()
    assert [path.is_dir() for path in tmp_path.iterdir()] == [True]


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.ENOENT])
def test_a_path_that_is_too_long_is_one_sentence(number: int, tmp_path: Path) -> None:
    path = tmp_path / ("a" * 300) / "zarr.json"
    assert "too long for this system" in _sentence(tmp_path, OSError(number, "reason", str(path)))
    assert "too long" not in _sentence(tmp_path, OSError(errno.ENOENT, "reason", str(tmp_path / "gone")))


def test_an_address_of_a_file_may_be_on_a_drive_or_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location, "url2pathname", nturl2path.url2pathname)
    assert str(as_location("file:///C:/slides/a%20b.tif")) == "C:\\slides\\a b.tif"
    assert str(as_location("file://server/share/a.tif")) == "\\\\server\\share\\a.tif"
    assert not location.is_address("C:\\slides\\a.tif")
    assert not location.is_address("C://slides/a.tif")


def test_a_study_may_have_backslashes_in_paths(tmp_path: Path) -> None:
    from napari_hrpn.experiments import read_study

    (tmp_path / "slides").mkdir()
    tables = []
    for name in ("a", "b"):
        (tmp_path / "slides" / f"{name}.tif").write_bytes(b"II*\0")
        tables.append(f"[[slide]]\npath = 'slides\\{name}.tif'\ntumour = '{name}'\n")
    (tmp_path / "study.toml").write_text("\n".join(tables), encoding="utf-8")
    found = [slide.entry.path for slide in read_study(tmp_path / "study.toml").slides]
    assert found == [tmp_path / "slides" / "a.tif", tmp_path / "slides" / "b.tif"]


def test_hidden_files_of_macos_do_not_change_a_folder_of_stains(tmp_path: Path) -> None:
    import tifffile

    for name in ("DAPI", "CD31"):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.ones((40, 40), np.uint8))
    before = slide_identity(open_slide(tmp_path))
    (tmp_path / "._DAPI.tif").write_bytes(b"\0\5\x16\7")
    assert slide_identity(open_slide(tmp_path)) == before


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs a list of the files in memory")
def test_a_loaded_checkpoint_may_be_replaced_and_deleted() -> None:
    from napari_hrpn.models import bundled_checkpoint, load_checkpoint

    loaded = load_checkpoint(bundled_checkpoint())
    assert str(bundled_checkpoint()) not in Path("/proc/self/maps").read_text()
    assert loaded.digest


BREAK = """
import os, signal
signal.SIGBREAK = signal.SIGUSR1
import typer
from napari_hrpn.cli import terminal
try:
    with terminal.stop_on_signals("Stopped.") as stop:
        os.kill(os.getpid(), signal.SIGBREAK)
        assert stop.is_set()
        stop.leave()
except typer.Exit as end:
    print(end.exit_code - 128 == signal.SIGBREAK)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as on POSIX")
def test_ctrl_break_stops_like_ctrl_c() -> None:
    done = subprocess.run([sys.executable, "-c", BREAK], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


def test_ctrl_c_does_not_close_the_viewer_of_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr(demo, "why_no_viewer", lambda *_: "")
    monkeypatch.setattr(demo.subprocess, "CREATE_NEW_PROCESS_GROUP", 512, raising=False)
    monkeypatch.setattr(demo.subprocess, "Popen", lambda *_, **how: started.append(SimpleNamespace(**how)))
    demo._open_viewer([tmp_path / "a.tif"], tmp_path / "napari.log")
    assert started[0].creationflags == 512
    assert started[0].start_new_session

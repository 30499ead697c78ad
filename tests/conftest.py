"""Fixtures that every room uses."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# the suite runs in two processes: with more threads each, torch's wait for one another and take several times the work
os.environ.setdefault("OMP_NUM_THREADS", "1")
SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of tests/faults, which can be run larger than they are every time."""
    group = parser.getgroup("faults", "how much tests/faults tries")
    group.addoption("--mutants", type=int, default=10, help="damaged copies of each kind of file")
    group.addoption("--kills", type=int, default=1, help="kills of each command")
    group.addoption("--apart", action="store_true", help="each attack in a process of its own, with little memory")
    group.addoption("--fault-seed", type=int, default=0, help="which copies and which moments")


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What forms remember goes here and not to the user, also from a widget that outlives its test by a moment."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        # platformdirs reads this
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images beside the checkout; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real images are not beside this checkout")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def plain_zarr(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for most users, zarr decodes by itself; what tests start in processes of their own has zarrs."""
    monkeypatch.setattr("napari_hrpn.slides.zarr_arrays.find_spec", lambda _: None)


@pytest.fixture
def tiny_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of reports are one pixel, for tests of numbers, tables and pages: drawing takes most of a report."""
    from PIL import Image

    def save(figure: object, path: Path, **options: object) -> None:
        Image.new("L", (1, 1)).save(path, "png")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", save)
    monkeypatch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda *_: None)


@pytest.fixture
def bucket() -> Iterator[str]:
    """Address of empty object storage in memory."""
    from fsspec.implementations.memory import MemoryFileSystem

    def clear() -> None:
        MemoryFileSystem.store.clear()
        MemoryFileSystem.pseudo_dirs[:] = [""]

    clear()
    yield "memory://bucket"
    clear()

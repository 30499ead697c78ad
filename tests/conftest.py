"""Fixtures that every room uses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


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
def bucket() -> Iterator[str]:
    """Address of empty object storage in memory."""
    from fsspec.implementations.memory import MemoryFileSystem

    def clear() -> None:
        MemoryFileSystem.store.clear()
        MemoryFileSystem.pseudo_dirs[:] = [""]

    clear()
    yield "memory://bucket"
    clear()

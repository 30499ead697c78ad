"""Fixtures of the tile engine's tests."""

from pathlib import Path

import pytest


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file for a slide to be of."""
    path = tmp_path / "slide.tif"
    path.write_bytes(b"x")
    return path

"""Every step of the tutorials, in a window and in a folder of its own."""

from pathlib import Path

import pytest

from support.tutorial import Window

PAGES = sorted((Path(__file__).parents[2] / "docs" / "tutorials").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_every_step_of_the_tutorial_works(page, make_napari_viewer, qtbot, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platformdirs.user_documents_path", lambda: tmp_path, raising=False)
    Window(make_napari_viewer, qtbot, monkeypatch).follow(page)

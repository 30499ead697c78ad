"""A file is replaced in one step: whoever looks finds the old one or the new one, and nothing beside it."""

import os

import pytest

from napari_hrpn.core import files as replaced_file_module
from napari_hrpn.core.files import replaced_file


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize("was_there", [True, False])
def test_a_file_takes_its_name_when_it_is_whole(tmp_path, sync, was_there):
    path = tmp_path / "table.csv"
    if was_there:
        path.write_text("old")
    with replaced_file(path, sync=sync) as partial:
        partial.write_text("new")
        assert path.exists() is was_there
        assert not was_there or path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def fail_half_way(partial):
    partial.write_text("half")
    raise KeyError("lost")


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(KeyError), replaced_file(path) as partial:
        fail_half_way(partial)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_synced_file_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    path, seen = tmp_path / "table.csv", []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(path.exists()))
    for sync in (True, False):
        with replaced_file(path, sync=sync) as partial:
            partial.write_text("new")
    assert seen == [False]


def test_a_folder_that_is_gone_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError), replaced_file(tmp_path / "gone" / "table.csv") as partial:
        partial.write_text("new")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_program_left_goes_an_hour_later_and_nothing_else(tmp_path):
    path = tmp_path / "state"
    left = [replaced_file_module._partial(path, pid) for pid in (7, 8)]
    mine = [tmp_path / name for name in ("state.partial", "state.7.partial", "state.7-00000000.partial", "other")]
    for file in (*left, *mine):
        file.write_text("x")
    for file in (left[0], *mine):
        os.utime(file, (0, 0))
    with replaced_file(path) as partial:
        partial.write_text("new")
    assert sorted(tmp_path.iterdir()) == sorted([path, left[1], *mine])

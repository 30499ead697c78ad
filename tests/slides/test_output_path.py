"""Outputs appear whole or not at all, and nothing is deleted but what this program wrote."""

import asyncio
import errno

import numpy as np
import pytest
import zarr
from zarr.core.sync import sync
from zarr.storage import LocalStore

from napari_hrpn.slides import SlideError
from napari_hrpn.slides.metadata import multiscales_metadata
from napari_hrpn.slides.writers.ome_zarr_writer import create_levels, write_part
from napari_hrpn.slides.writers.output_path import REPLACED, _partial_folder, partial_output


def write(path, text="new", *, overwrite=False):
    with partial_output(path, None, overwrite=overwrite) as partial:
        partial.write_text(text)


def our_zarr(path):
    (level,) = create_levels(path, [(1, 40, 50)], np.dtype("uint8"))
    level[...] = 1
    zarr.open_group(path, mode="r+").attrs["ome"] = multiscales_metadata("x", [(1, 40, 50)], ["DAPI"], None)
    return path


def members(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_two_programs_do_not_write_one_output(tmp_path):
    with partial_output(tmp_path / "out", None, overwrite=True) as first:
        first.write_text("first")
        with pytest.raises(SlideError, match="being written by another program"):
            write(tmp_path / "out", overwrite=True)
        write(tmp_path / "other")
    assert (tmp_path / "out").read_text() == "first"
    assert members(tmp_path) == ["other", "out"]


def test_what_a_killed_program_left_goes_and_what_the_user_has_stays(tmp_path):
    mine = ["out.partial", "out.replaced", "out.levels.partial", f"{_partial_folder(tmp_path / 'out').name}/notes"]
    left = _partial_folder(tmp_path / "out") / ("a" * 32)
    (left / "out").mkdir(parents=True)
    for name in mine:
        (tmp_path / name).write_text("mine")

    write(tmp_path / "out")

    assert not left.exists()
    assert [(tmp_path / name).read_text() for name in mine] == ["mine"] * 4


def test_an_old_output_that_a_killed_program_had_moved_comes_back(tmp_path):
    left = _partial_folder(tmp_path / "out.zarr") / ("a" * 32)
    left.mkdir(parents=True)
    our_zarr(left / REPLACED)

    with pytest.raises(RuntimeError, match="stopped"), partial_output(tmp_path / "out.zarr", None, overwrite=True):
        raise RuntimeError("stopped")

    assert np.all(zarr.open_array(tmp_path / "out.zarr" / "0", mode="r")[:] == 1)
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]


@pytest.mark.parametrize("name", ["notes.txt", "0/c/rois.geojson", "labels/zarr.json", "0/c/0/0/0.bak", "1/zarr.json"])
def test_a_folder_with_a_file_of_somebody_else_is_not_replaced(tmp_path, name):
    path = our_zarr(tmp_path / "out.zarr")
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    (path / name).write_text("mine")
    before = members(path)

    with pytest.raises(SlideError, match=f"holds {name.partition('/')[0]}.*did not write"):
        write(path, overwrite=True)

    assert members(path) == before


def test_an_ome_zarr_of_another_program_is_not_replaced(tmp_path):
    group = zarr.create_group(tmp_path / "out.zarr", zarr_format=3)
    group.create_array("0", data=np.ones((1, 4, 5), "uint8"))
    ome = multiscales_metadata("x", [(1, 4, 5)], ["DAPI"], None)
    del ome["multiscales"][0]["type"]
    group.attrs["ome"] = ome

    with pytest.raises(SlideError, match="not an OME-Zarr of this program"):
        write(tmp_path / "out.zarr", overwrite=True)


def test_a_folder_of_ours_takes_the_place_of_a_folder_or_a_file(tmp_path):
    our_zarr(tmp_path / "folder")
    (tmp_path / "folder" / ".DS_Store").write_text("")
    (tmp_path / "file").write_text("old")
    for name in ("folder", "file"):
        with partial_output(tmp_path / name, None, overwrite=True) as partial:
            partial.mkdir()
    assert members(tmp_path) == ["file", "folder"]


def test_zarr_has_ended_all_it_began_when_a_chunk_cannot_be_written(tmp_path, monkeypatch):
    levels = create_levels(tmp_path / "out", [(6, 512, 1024)], np.dtype("uint8"))
    begun, ended = [], []
    put = LocalStore.set

    async def full(store, key, value):
        begun.append(key)
        if len(begun) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        await asyncio.sleep(0.05)
        await put(store, key, value)
        ended.append(key)

    monkeypatch.setattr(LocalStore, "set", full)
    with pytest.raises(OSError, match="No space"):
        write_part(np.ones((6, 512, 1024), "uint8"), (0, 0, 0), levels)

    assert len(ended) == len(begun) - 1
    assert sync(count_of_tasks()) == 0


async def count_of_tasks():
    return len(asyncio.all_tasks()) - 1

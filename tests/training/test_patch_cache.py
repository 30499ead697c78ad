"""Patches on disk: the slide's own pixels, whole or known not to be, read once."""

import errno
import os
import pickle
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from filelock import FileLock

from napari_hrpn.core import drive
from napari_hrpn.slides import SlideError
from napari_hrpn.training import TrainingError, cut_patches, patch_cache_bytes, recipe_settings
from napari_hrpn.training.data import patch_cutting
from napari_hrpn.training.data.patch_cache import CELLS, COMPLETE, PATCHES, PatchCache, is_whole
from napari_hrpn.training.data.patch_grid import BLANK
from support.training_slides import addressed, region, training_slide

GRID = recipe_settings("paper", patch_px=64)
CROPS = recipe_settings("fast", patch_px=64)
SHAPE = (300, 4300)


def cut(slide, folder, settings=GRID):
    (cache,) = drive(cut_patches([slide], settings, folder))
    return cache


def counting(reads):
    """Something to call for every chunk that is read."""

    def count(chunk):
        reads.append(chunk.size)
        return chunk

    return count


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_patches_are_the_pixels_of_the_slide_and_zero_beyond(tmp_path, dtype):
    pixels = (addressed(*SHAPE) % 251 + 1).astype(dtype)
    with cut(training_slide(pixels), tmp_path) as cache:
        padded = np.pad(pixels, ((0, 0), (0, 20), (0, 52)))
        assert cache.patches.dtype == dtype
        assert cache.patches.shape == (5 * 68, 3, 64, 64)
        assert cache.slide_shape == SHAPE
        for patch, (row, column, y0, x0, height, width) in zip(cache.patches, cache.cells.tolist(), strict=True):
            assert (y0, x0) == (64 * row, 64 * column)
            assert (height, width) == (min(64, 300 - y0), min(64, 4300 - x0))
            np.testing.assert_array_equal(patch, padded[:, y0 : y0 + 64, x0 : x0 + 64])
        assert len(np.unique(cache.cells[["row", "column"]])) == 5 * 68
        np.testing.assert_array_equal(np.load(cache.folder / PATCHES), cache.patches)


def test_channels_come_in_the_order_of_the_network(tmp_path):
    pixels = addressed(64, 64)
    with cut(training_slide(pixels, inputs=(2, 0), target=1), tmp_path) as cache:
        np.testing.assert_array_equal(cache.patches[0], pixels[[2, 0, 1]])


def test_blank_cells_are_dropped_and_recorded(tmp_path):
    pixels = addressed(256, 256)
    pixels[:2, 64:128, :] = 0
    pixels[:2, 100, 200] = (0, 1)
    with cut(training_slide(pixels), tmp_path) as cache:
        assert np.argwhere(cache.numbers == BLANK).tolist() == [[1, 0], [1, 1], [1, 2]]
        assert len(cache) == len(cache.cells) == 13


@pytest.fixture
def known_slide(monkeypatch):
    """A slide in memory is known by its middle: reads of that are not to be counted."""
    monkeypatch.setattr(patch_cutting, "slide_identity", lambda slide: slide.source.name)


@pytest.mark.usefixtures("known_slide")
@pytest.mark.parametrize(("chunks", "twice"), [((1, 512, 512), 0), ((3, 100, 100), 2 * 3), ((1, 300, 4300), 0)])
def test_every_chunk_is_read_once_but_where_a_block_cuts_through_it(tmp_path, chunks, twice):
    reads = []
    slide = training_slide(addressed(*SHAPE), chunks=chunks, on_read=counting(reads))
    cut(slide, tmp_path, CROPS).close()
    assert len(reads) == int(np.prod(slide.slide.levels[0].numblocks)) + twice


@pytest.mark.usefixtures("known_slide")
def test_cells_outside_the_regions_are_neither_read_nor_cut(tmp_path):
    reads = []
    regions = region(SHAPE, (0, 60, 600, 700), downsample=10)
    slide = training_slide(addressed(*SHAPE), regions, on_read=counting(reads))
    with cut(slide, tmp_path, replace(GRID, minimum_overlap=0.3)) as cache:
        assert [tuple(cell)[:2] for cell in cache.cells.tolist()] == [(0, 9), (0, 10)]
        assert len(reads) == 3


@pytest.mark.usefixtures("known_slide")
def test_what_is_there_is_not_cut_again(tmp_path):
    cut(training_slide(addressed(*SHAPE)), tmp_path).close()
    reads = []
    slide = training_slide(addressed(*SHAPE), on_read=counting(reads))
    reports = list(cut_patches([slide, slide], GRID, tmp_path))
    assert [(report.done, report.total, report.patches) for report in reports] == [(340, 680, 340), (680, 680, 680)]
    first, second = drive(cut_patches([slide, slide], GRID, tmp_path))
    assert first.folder == second.folder
    assert reads == []


def test_what_decides_the_pixels_decides_the_folder(tmp_path):
    pixels, shape = addressed(600, 600), (600, 600)
    slides = {
        "as it is": (training_slide(pixels), GRID),
        "inputs": (training_slide(pixels, inputs=(1, 0)), GRID),
        "target": (training_slide(pixels, inputs=(0,), target=1), GRID),
        "slide": (training_slide(pixels, name="other.zarr"), GRID),
        "cells": (training_slide(pixels), replace(GRID, patch_px=128)),
        "regions": (training_slide(pixels, region(shape, (0, 300, 0, 300))), GRID),
    }
    folders = {name: cut(slide, tmp_path, settings).folder for name, (slide, settings) in slides.items()}
    assert len(set(folders.values())) == len(slides)
    everywhere = training_slide(pixels, region(shape, (0, 600, 0, 600)))
    assert cut(everywhere, tmp_path).folder == folders["as it is"]


def test_reports_count_cells_and_patches_over_all_slides(tmp_path):
    slides = [training_slide(addressed(*SHAPE)), training_slide(addressed(100, 64), name="second.zarr")]
    reports = list(cut_patches(slides, GRID, tmp_path))
    assert [report.done for report in reports] == sorted(report.done for report in reports)
    assert {report.total for report in reports} == {342}
    assert (reports[0].slide, reports[-1].slide) == ("slide.zarr", "second.zarr")
    assert (reports[-1].done, reports[-1].patches) == (342, 342)
    assert len(reports) > 3


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from napari_hrpn.training.data.patch_grid import BLANK
from support.training_slides import addressed, training_slide
from napari_hrpn.training import cut_patches, recipe_settings
slide = training_slide(addressed(300, 4300))
for number, _ in enumerate(cut_patches([slide], recipe_settings("paper", patch_px=64), Path(sys.argv[2])), start=1):
    if number == 2:
        os._exit(9)
"""


def test_a_killed_run_is_gone_on_with(tmp_path):
    tests = os.fspath(Path(__file__).parents[1])
    killed = subprocess.run([sys.executable, "-c", KILLED, tests, str(tmp_path / "killed")], check=False)
    assert killed.returncode == 9
    (folder,) = (path for path in (tmp_path / "killed").iterdir() if path.is_dir())
    assert not is_whole(folder)
    with pytest.raises(TrainingError, match="no complete patches"):
        PatchCache(folder)
    # two of three blocks are kept: what is left to take is the third
    slide = training_slide(addressed(*SHAPE))
    assert patch_cache_bytes([slide], GRID, tmp_path / "killed") == 5 * 4 * 3 * 64 * 64 * 2
    cut(slide, tmp_path / "killed").close()
    assert content(folder) == content(cut(slide, tmp_path / "whole").folder)


def test_a_closed_run_is_gone_on_with(tmp_path):
    steps = cut_patches([training_slide(addressed(*SHAPE))], GRID, tmp_path / "closed")
    next(steps)
    steps.close()
    slide = training_slide(addressed(*SHAPE))
    closed, whole = (cut(slide, tmp_path / name).folder for name in ("closed", "whole"))
    assert content(closed) == content(whole)


def shorten(path):
    os.truncate(path, path.stat().st_size - 1)


def lengthen(path):
    path.write_bytes(path.read_bytes() + b"more")


def scribble(path):
    path.write_bytes(b"scribble")


HARMS = [(name, harm) for name in (PATCHES, CELLS, COMPLETE) for harm in (shorten, lengthen, scribble, os.unlink)]
HARMS.remove((CELLS, lengthen))  # numpy reads no further than the table goes


@pytest.mark.parametrize(("name", "harm"), HARMS, ids=lambda value: getattr(value, "__name__", value))
def test_a_damaged_cache_is_noticed_and_made_whole(tmp_path, name, harm):
    slide = training_slide(addressed(*SHAPE))
    folder = cut(slide, tmp_path).folder
    whole = content(folder)
    harm(folder / name)
    assert not is_whole(folder)
    cut(slide, tmp_path).close()
    assert content(folder) == whole


def test_disk_that_it_takes_is_known_before(tmp_path):
    slides = [training_slide(addressed(*SHAPE)), training_slide(addressed(100, 64), name="second.zarr")]
    before = patch_cache_bytes([*slides, slides[0]], GRID, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    for cache in drive(cut_patches(slides, GRID, tmp_path / "new")):
        before -= cache.patches.nbytes
    assert before == 0
    assert patch_cache_bytes(slides, GRID, tmp_path / "new") == 0


def test_a_disk_that_fills_up_is_one_sentence(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(patch_cutting, "replaced_file", full)
    with pytest.raises(TrainingError, match="No space left on device"):
        drive(cut_patches([training_slide(addressed(*SHAPE))], GRID, tmp_path))


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="patches cannot be written"):
        drive(cut_patches([training_slide(addressed(64, 64))], GRID, tmp_path / "file" / "patches"))


def test_regions_without_a_patch_are_refused_by_name(tmp_path):
    slide = training_slide(addressed(600, 600), region((600, 600), (0, 20, 0, 20)), name="tumour7.zarr")
    for settings in (GRID, CROPS):
        with pytest.raises(TrainingError, match=r"tumour7\.zarr has no patch of 64 px with 50% of it in the annotated"):
            drive(cut_patches([training_slide(addressed(64, 64)), slide], settings, tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_blank_slide_is_refused_by_name(tmp_path):
    pixels = addressed(64, 64)
    pixels[:2] = 0
    with pytest.raises(TrainingError, match=r"slide\.zarr is blank"):
        drive(cut_patches([training_slide(pixels)], GRID, tmp_path))
    assert not any(path.name == COMPLETE for path in tmp_path.rglob("*"))


def test_an_error_of_the_slide_comes_through_and_can_be_got_over(tmp_path):
    def fail(chunk):
        if chunk.size and chunk.max() > 4099:
            raise SlideError("slide.zarr: rows 0 to 300 cannot be read.")
        return chunk

    slide = training_slide(addressed(*SHAPE), on_read=fail)
    with pytest.raises(SlideError, match="cannot be read"):
        cut(slide, tmp_path)
    whole = cut(training_slide(addressed(*SHAPE)), tmp_path / "whole").folder
    assert content(cut(training_slide(addressed(*SHAPE)), tmp_path).folder) == content(whole)


def test_it_waits_for_another_program_that_cuts_the_same(tmp_path):
    slide = training_slide(addressed(*SHAPE))
    folder = cut(slide, tmp_path).folder
    expected = content(folder)
    shutil.rmtree(folder)
    other = FileLock(folder.with_name(f"{folder.name}.lock"))
    other.acquire()
    steps = cut_patches([slide], GRID, tmp_path)
    assert [next(steps).done for _ in range(2)] == [0, 0]
    assert not folder.exists()
    other.release()
    drive(steps)
    assert content(folder) == expected


def test_two_at_once_cut_it_once(tmp_path):
    reads = []
    slides = [training_slide(addressed(*SHAPE), on_read=counting(reads)) for _ in range(2)]
    threads = [threading.Thread(target=cut, args=(slide, tmp_path)) for slide in slides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(reads) <= 3 * 300 * 4300 + 2 * 3 * 3 * 512 * 512
    with cut(slides[0], tmp_path) as cache:
        assert len(cache) == 340


def test_a_window_is_what_the_slide_has_there(tmp_path):
    pixels = addressed(600, 1200)
    pixels[:2, :512, 512:1024] = 0
    regions = region((600, 1200), (0, 600, 0, 1024))
    with cut(training_slide(pixels, regions), tmp_path, CROPS) as cache:
        expected = np.pad(pixels, ((0, 0), (0, 512), (0, 512)))
        expected[:, :512, 512:1024] = 0  # dropped, since its inputs are
        expected[:, :, 1024:] = 0  # left out
        for y0, x0, side in [(0, 0, 512), (0, 0, 64), (500, 500, 512), (37, 300, 64), (590, 1000, 64), (0, 600, 512)]:
            found = cache.window(y0, x0, side)
            np.testing.assert_array_equal(found, expected[:, y0 : y0 + side, x0 : x0 + side])


def opened():
    return {file.path for file in psutil.Process().open_files()}


def test_the_file_is_let_go_and_opened_again(tmp_path):
    cache = cut(training_slide(addressed(64, 64)), tmp_path)
    with cache:
        first = cache.patches[0, 0, 0, 0]
        assert os.fspath(cache.folder / PATCHES) in opened()
    assert os.fspath(cache.folder / PATCHES) not in opened()
    assert cache.patches[0, 0, 0, 0] == first
    cache.close()


def test_another_process_is_sent_the_place_not_the_pixels(tmp_path):
    with cut(training_slide(addressed(*SHAPE)), tmp_path) as cache:
        assert cache.patches.nbytes > 1_000_000
        sent = pickle.dumps(cache)
        assert len(sent) < 1000
        np.testing.assert_array_equal(pickle.loads(sent).cells, cache.cells)


def test_a_cache_that_is_cut_short_while_it_is_read_is_a_sentence(tmp_path):
    with cut(training_slide(addressed(300, 300)), tmp_path) as cache:
        np.asarray(cache.window(0, 0, 64)).sum()
        path = cache.folder / PATCHES
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(TrainingError, match="was shortened or deleted during the training"):
            cache.window(0, 0, 64)
        path.unlink()
        with pytest.raises(TrainingError, match="cut it anew"):
            cache.window(70, 70, 64)

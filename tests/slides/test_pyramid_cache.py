"""Coarse levels of flat slides on disk: equal to the computed ones, whole or known not to be."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import tifffile

from napari_hrpn.core import drive
from napari_hrpn.slides import Slide, SlideError, open_slide
from napari_hrpn.slides import pyramid_cache as caching
from napari_hrpn.slides.pyramid_cache import (
    clear_pyramid_cache,
    open_cache,
    pyramid_cache_bytes,
    pyramid_cache_folder,
)
from napari_hrpn.slides.writers.ome_zarr_writer import copy_block

BUILD = """
import os, sys
from pathlib import Path
from napari_hrpn.slides import open_slide
from napari_hrpn.slides.pyramid_cache import open_cache
for number, report in enumerate(open_cache(open_slide(sys.argv[1]), Path(sys.argv[2])).build(), start=1):
    if number == int(sys.argv[3]):
        os._exit(9)
"""


def flat_file(folder, shape=(1, 2301, 4999), dtype="uint16"):
    pixels = np.random.default_rng(1).integers(0, 4000, shape).astype(dtype)
    path = folder / "flat.ome.tif"
    tifffile.imwrite(path, pixels, tile=(512, 512), photometric="minisblack", metadata={"axes": "CYX"})
    return path


def cached_pyramid(slide, folder):
    """Build the coarse levels of a slide, and take them from disk."""
    cache = open_cache(slide, folder)
    yield from cache.build()
    return cache.as_slide()


def assert_same_levels(cached, slide):
    assert cached.stored_levels == len(cached.levels) == len(slide.levels)
    for ours, computed in zip(cached.levels, slide.levels, strict=True):
        assert ours.dtype == computed.dtype
        np.testing.assert_array_equal(ours.compute(), computed.compute())


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((2, 2301, 4999), "uint16"), ((1, 1025, 4097), "uint8"), ((1, 2049, 1100), "float32")],
)
def test_cached_levels_equal_computed_ones_to_the_bit(tmp_path, shape, dtype):
    slide = open_slide(flat_file(tmp_path, shape, dtype))
    assert slide.stored_levels == 1

    cached = drive(cached_pyramid(slide, tmp_path / "cache"))

    assert_same_levels(cached, slide)
    assert cached.channel_names == slide.channel_names
    assert cached.source == slide.source


def test_levels_go_on_from_the_coarsest_stored_one(tmp_path):
    flat = open_slide(flat_file(tmp_path))
    slide = Slide(flat.levels, flat.channel_names, None, flat.source, stored_levels=2)
    cache = open_cache(slide, tmp_path / "cache")

    boxes = [report.box for report in cache.build()]

    assert [level.shape for level in cache.levels] == [level.shape for level in slide.levels[2:]]
    assert boxes == [(0, 2301, 0, 4096), (0, 2301, 4096, 4999)]
    assert_same_levels(cache.as_slide(), slide)


def test_reports_cover_every_pixel_once(tmp_path):
    slide = open_slide(flat_file(tmp_path))
    covered = np.zeros(slide.shape, int)

    reports = list(cached_pyramid(slide, tmp_path / "cache"))

    for report in reports:
        y0, y1, x0, x1 = report.box
        covered[y0:y1, x0:x1] += 1
    assert (covered == 1).all()
    assert [report.done for report in reports] == list(range(1, reports[-1].total + 1))


def test_what_is_reported_can_be_seen_at_once_on_every_level(tmp_path):
    slide = open_slide(flat_file(tmp_path))
    cache = open_cache(slide, tmp_path / "cache")
    assert not cache.complete

    y0, y1, x0, x1 = next(cache.build()).box

    for level, computed in zip(cache.levels, slide.levels[1:], strict=True):
        down = round(slide.shape[0] / level.shape[1])
        box = (slice(None), slice(y0 // down, y1 // down), slice(x0 // down, x1 // down))
        np.testing.assert_array_equal(level[box], computed[box].compute())
    assert not cache.complete


def test_a_finished_cache_is_not_built_again(tmp_path, monkeypatch):
    slide = open_slide(flat_file(tmp_path))
    drive(cached_pyramid(slide, tmp_path / "cache"))
    monkeypatch.setattr(caching, "copy_block", None)

    assert list(cached_pyramid(slide, tmp_path / "cache")) == []


def test_a_changed_file_has_another_cache(tmp_path):
    drive(cached_pyramid(open_slide(flat_file(tmp_path)), tmp_path / "cache"))
    changed = open_slide(flat_file(tmp_path, (1, 2301, 5001)))

    assert not open_cache(changed, tmp_path / "cache").complete


def test_a_killed_build_is_not_complete_and_goes_on(tmp_path, monkeypatch):
    path = flat_file(tmp_path)
    killed = subprocess.run([sys.executable, "-c", BUILD, path, tmp_path / "cache", "2"], check=False)
    assert killed.returncode == 9
    slide = open_slide(path)
    assert not open_cache(slide, tmp_path / "cache").complete
    built = []

    def counted(source, levels, box, *, coarser_only):
        built.append(box)
        copy_block(source, levels, box, coarser_only=coarser_only)

    monkeypatch.setattr(caching, "copy_block", counted)
    cached = drive(cached_pyramid(slide, tmp_path / "cache"))

    assert len(built) == 6 - 2
    assert_same_levels(cached, slide)


def test_a_block_that_breaks_is_not_marked(tmp_path, monkeypatch):
    slide = open_slide(flat_file(tmp_path))

    def breaks(source, levels, box, *, coarser_only):
        copy_block(source, levels, box, coarser_only=coarser_only)
        if box[2] > 0:
            raise SlideError("flat.ome.tif is cut off.")

    with monkeypatch.context() as patch:
        patch.setattr(caching, "copy_block", breaks)
        with pytest.raises(SlideError, match="cut off"):
            drive(cached_pyramid(slide, tmp_path / "cache"))
    reports = list(cached_pyramid(slide, tmp_path / "cache"))

    assert reports[0].done == 2
    assert len(reports) == 5


def test_several_programs_build_one_cache_together(tmp_path):
    path = flat_file(tmp_path)
    command = [sys.executable, "-c", BUILD, path, tmp_path / "cache", "-1"]

    programs = [subprocess.Popen(command) for _ in range(2)]

    assert [program.wait(timeout=120) for program in programs] == [0, 0]
    slide = open_slide(path)
    cache = open_cache(slide, tmp_path / "cache")
    assert cache.complete
    assert_same_levels(cache.as_slide(), slide)


def test_a_second_viewer_sees_what_the_first_one_builds(tmp_path, monkeypatch):
    monkeypatch.setattr(caching, "SECONDS_BETWEEN_CHECKS", 0.01)
    slide = open_slide(flat_file(tmp_path))
    first = open_cache(slide, tmp_path / "cache").build()
    next(first)
    second = open_cache(slide, tmp_path / "cache").build()

    waiting = next(second)
    assert waiting.box is None
    assert waiting.done == 1
    rest = {report.box for report in first}
    seen = {report.box for report in second}

    assert seen == rest


def test_when_the_first_builder_stops_the_second_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(caching, "SECONDS_BETWEEN_CHECKS", 0.01)
    slide = open_slide(flat_file(tmp_path))
    first = open_cache(slide, tmp_path / "cache").build()
    next(first)
    second = open_cache(slide, tmp_path / "cache")
    steps = second.build()
    next(steps)

    first.close()

    assert len([report for report in steps if report.box is not None]) == 5
    assert second.complete


def test_a_build_may_be_closed_from_another_thread(tmp_path):
    slide = open_slide(flat_file(tmp_path))
    steps = open_cache(slide, tmp_path / "cache").build()
    next(steps)

    closing = threading.Thread(target=steps.close)
    closing.start()
    closing.join()

    assert len(list(cached_pyramid(slide, tmp_path / "cache"))) == 5


def test_clearing_frees_what_was_taken_and_no_more(tmp_path):
    folder = tmp_path / "cache"
    slide = open_slide(flat_file(tmp_path))
    drive(cached_pyramid(slide, folder))
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").write_text("precious")
    taken = pyramid_cache_bytes(folder)

    assert taken > 1_000_000
    assert clear_pyramid_cache(folder) == taken
    assert pyramid_cache_bytes(folder) == 0
    assert (folder / "notes" / "mine.txt").exists()
    assert_same_levels(drive(cached_pyramid(slide, folder)), slide)


def test_clearing_leaves_what_is_being_built(tmp_path):
    slide = open_slide(flat_file(tmp_path))
    steps = cached_pyramid(slide, tmp_path / "cache")
    next(steps)

    assert clear_pyramid_cache(tmp_path / "cache") == 0

    assert_same_levels(drive(steps), slide)


def test_a_damaged_cache_is_made_anew(tmp_path):
    slide = open_slide(flat_file(tmp_path))
    cache = open_cache(slide, tmp_path / "cache")
    next(cache.build())
    (cache.folder / "levels.zarr" / "1" / "zarr.json").unlink()

    assert_same_levels(drive(cached_pyramid(slide, tmp_path / "cache")), slide)


def test_a_place_that_cannot_be_written_is_told_in_a_sentence(tmp_path):
    slide = open_slide(flat_file(tmp_path, (1, 1100, 30)))
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(SlideError, match="could not be written"):
        open_cache(slide, tmp_path / "file")


def test_the_cache_has_a_place_of_the_user():
    assert pyramid_cache_folder().name == "pyramids"
    assert "napari-hrpn" in pyramid_cache_folder().parts
    assert clear_pyramid_cache(pyramid_cache_folder() / "nothing here") == 0

"""Whatever cannot end well is refused in one sentence before time is spent, and nothing is written by looking."""

import json
import re
import shutil
from collections import namedtuple
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

from napari_hrpn.slides import RegionMask, Slide, SlideError, coarser_levels, write_ome_tiff, write_ome_zarr
from napari_hrpn.training import RunFolder, RunRequest, SlideEntry, TrainingError, TrainingSettings, TrainingSlide
from napari_hrpn.training.checks import _check_disk, check_training
from napari_hrpn.training.data.grey_levels import MOST_BLOCKS
from napari_hrpn.training.pixel_checks import check_pixels
from support.object_storage import uploaded
from support.predictions import make_slide

SETTINGS = TrainingSettings(branches=1, patch_px=64, batch=2)


def written(path, slide):
    write = write_ome_zarr if path.suffix == ".zarr" else write_ome_tiff
    for _ in write(slide, path):
        pass
    return path


def changed(path, change=lambda pixels: pixels, um=0.5, shape=(160, 200)):
    size = None if um is None else tuple(np.broadcast_to(um, 2).tolist())
    slide = make_slide(*shape, path, pixel_size_um=size)
    finest = da.from_array(change(slide.levels[0].compute()), name=False)
    return written(path, Slide((finest, *coarser_levels(finest)), slide.channel_names, slide.pixel_size_um, path))


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return [changed(tmp_path_factory.mktemp("good") / f"t{n}.ome.tif", shape=(160, 200 + n)) for n in (1, 2)]


def check(paths, folder, settings=SETTINGS, **options):
    return check_training([SlideEntry(path) for path in paths], settings, folder, **options)


def refusal(paths, folder, settings=SETTINGS, **options):
    with pytest.raises((TrainingError, SlideError)) as caught:
        check(paths, folder, settings, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def test_a_slide_in_object_storage_is_refused(tmp_path, bucket):
    changed(tmp_path / "slide.ome.zarr")
    address = uploaded(tmp_path / "slide.ome.zarr", f"{bucket}/slide.ome.zarr")
    assert "is an address of object storage, expected a file or folder" in refusal([address], tmp_path / "run")


def test_good_slides_pass_and_nothing_is_written(good, tmp_path):
    checked = check(good, tmp_path / "new" / "run")
    assert [slide.entry.path for slide in checked.split.train] == good[:1]
    assert [slide.entry.path for slide in checked.split.validation] == good[1:]
    assert checked.cache_bytes > 0
    assert list(tmp_path.iterdir()) == []


def test_no_slides(tmp_path):
    assert "there are no slides" in refusal([], tmp_path)


def test_a_slide_listed_twice_under_two_paths(good, tmp_path):
    detour = good[0].parent / ".." / good[0].parent.name / good[0].name
    assert "listed twice" in refusal([good[0], detour], tmp_path)


def test_small_slides(good, tmp_path):
    small = changed(tmp_path / "small.ome.tif", shape=(63, 200))
    assert "small.ome.tif has 200 x 63 px, expected at least 64" in refusal([*good, small], tmp_path / "run")


def test_pixel_sizes_may_differ_by_five_per_cent(good, tmp_path):
    near = changed(tmp_path / "near.ome.tif", um=0.52, shape=(160, 210))
    far = changed(tmp_path / "far.ome.tif", um=0.53)
    check([*good, near], tmp_path / "run")
    assert "0.5 µm but far.ome.tif of 0.53 µm" in refusal([*good, far], tmp_path / "run")


def test_pixel_types_must_be_the_same(good, tmp_path):
    deep = changed(tmp_path / "deep.ome.tif", lambda pixels: pixels.astype(np.uint16))
    assert "type uint8 but deep.ome.tif of type uint16" in refusal([*good, deep], tmp_path / "run")


@pytest.mark.parametrize(("channel", "role"), [(0, "nuclei"), (1, "vessels"), (2, "probe")])
def test_a_constant_channel(good, tmp_path, channel, role):
    def flat(pixels):
        pixels[channel] = 7
        return pixels

    path = changed(tmp_path / "flat.ome.tif", flat)
    assert f"the {role} channel {channel}" in (sentence := refusal([*good, path], tmp_path / "run"))
    assert "of flat.ome.tif is 7 everywhere, so there is nothing to learn" in sentence


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_floats_that_are_no_numbers(tmp_path, value):
    def broken(pixels):
        pixels = pixels.astype(np.float32)
        pixels[1, 100, 30] = value
        return pixels

    paths = [changed(tmp_path / f"t{n}.ome.tif", broken, shape=(160, 200 + n)) for n in (1, 2)]
    assert "vessels channel 1 = AF488 of t1.ome.tif has pixels that are NaN, infinite or beyond 1e12" in refusal(
        paths, tmp_path / "run"
    )


def test_only_the_regions_have_to_show_something(good, tmp_path):
    path = changed(tmp_path / "half.ome.tif", lambda pixels: pixels * (np.arange(200) < 100).astype(np.uint8))
    entries = [SlideEntry(good[0])]
    for name, left in (("dark", 110), ("bright", 10)):
        ring = [[left, 10], [left + 80, 10], [left + 80, 150], [left, 150], [left, 10]]
        place = tmp_path / f"{name}.geojson"
        place.write_text(json.dumps([{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}}]))
        entries.append(SlideEntry(path, regions=place))
    with pytest.raises(TrainingError, match="is 0 everywhere in its regions"):
        check_training([entries[0], entries[1]], SETTINGS, tmp_path / "run")
    check_training([entries[0], entries[2]], SETTINGS, tmp_path / "run")


def test_regions_that_cover_nothing(good, tmp_path):
    place = tmp_path / "labels.npy"
    np.save(place, np.zeros((16, 20), np.uint8))
    entries = [SlideEntry(good[0], regions=place), SlideEntry(good[1])]
    with pytest.raises(SlideError, match="cover no pixel"):
        check_training(entries, SETTINGS, tmp_path / "run")


def test_regions_too_small_for_a_patch(good, tmp_path):
    labels = np.zeros((160, 201), np.uint8)
    labels[:20, :20] = 1
    np.save(tmp_path / "labels.npy", labels)
    entries = [SlideEntry(good[0], regions=tmp_path / "labels.npy"), SlideEntry(good[1])]
    settings = replace(SETTINGS, sampling="grid")
    with pytest.raises(TrainingError, match=r"no patch of 64 px to learn from in t1.ome.tif, .* 50% in the regions"):
        check_training(entries, settings, tmp_path / "run")


def slide_of(finest, stored=1, mask=None):
    regions = None if mask is None else RegionMask(mask, (finest.shape[1] / mask.shape[0],) * 2)
    slide = Slide((finest, *coarser_levels(finest)), ("DAPI", "AF488", "QD"), None, RunFolder(".").path, 0, None, None)
    return TrainingSlide(SlideEntry(slide.source), replace(slide, stored_levels=stored), (0, 1), 2, regions)


def test_a_look_reads_little_of_a_big_flat_slide():
    read = []

    def block(info):
        read.append(info[0]["array-location"])
        shape = [stop - start for start, stop in info[0]["array-location"]]
        return np.random.default_rng(len(read)).integers(0, 9, shape, np.uint8)

    finest = da.zeros((3, 40_960, 40_960), np.uint8, chunks=(3, 512, 512))
    finest = finest.map_blocks(lambda _, block_info: block(block_info), dtype=np.uint8, meta=np.empty((0, 0, 0), "u1"))
    read.clear()
    check_pixels(slide_of(finest), SETTINGS)
    assert 1 <= len(read) <= 4


def test_a_big_flat_slide_with_little_on_it_is_not_called_empty():
    pixels = da.zeros((3, 5120, 5120), np.uint8, chunks=(3, 512, 512))
    assert MOST_BLOCKS < (5120 // 512) ** 2
    check_pixels(slide_of(pixels), SETTINGS)


def test_what_a_coarse_level_rounds_away_is_looked_for_on_the_finest():
    pixels = np.zeros((3, 256, 256), np.uint8)
    pixels[:, ::16, ::16] = 1
    finest = da.from_array(pixels, name=False)
    slide = slide_of(finest, stored=3)
    coarse = tuple(da.from_array(pixels[:, ::step, ::step] * 0, name=False) for step in (2, 4))
    check_pixels(replace(slide, slide=replace(slide.slide, levels=(finest, *coarse))), SETTINGS)


def test_a_run_folder_that_is_a_file_or_lies_in_one(good, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "file is a file, expected a folder for the run" in refusal(good, tmp_path / "file")
    assert "file is a file, expected a folder for the run" in refusal(good, tmp_path / "file" / "run")
    assert "expected a folder for the patches" in refusal(good, tmp_path / "run", cache=tmp_path / "file")


def test_a_run_folder_with_something_else_in_it(good, tmp_path):
    (tmp_path / "thesis.docx").write_text("mine")
    assert "holds thesis.docx but no training" in refusal(good, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_a_run_folder_of_ours_or_without_anything_of_the_users(good, tmp_path):
    (tmp_path / ".DS_Store").write_text("")
    (tmp_path / "patches").mkdir()
    check(good, tmp_path)
    RunFolder(tmp_path).begin(RunRequest((), SETTINGS))
    (tmp_path / "notes.txt").write_text("beside a run there may be more")
    check(good, tmp_path)


def test_a_folder_that_may_not_be_written(good, tmp_path, monkeypatch):
    def refused(dir):  # noqa: A002
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    assert "cannot be written (Permission denied); choose another folder" in refusal(good, tmp_path)


def test_nothing_is_written_into_a_slide(good, tmp_path):
    path = changed(tmp_path / "slide.ome.zarr")
    assert "inside the slide slide.ome.zarr" in refusal([*good, path], path / "run")
    assert "inside the slide slide.ome.zarr" in refusal([*good, path], tmp_path / "run", cache=path / "patches")


def test_a_disk_that_is_too_small(good, tmp_path, monkeypatch):
    usage = namedtuple("Usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(160_000_000))
    check(good, tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(150_000_000))
    assert "0.15 GB free" in refusal(good, tmp_path)
    with pytest.raises(TrainingError, match=r"0\.25 GB are needed, 0\.10 GB of it for patches"):
        _check_disk(tmp_path / "run", tmp_path / "elsewhere", 100_000_000)


def test_what_is_worth_a_warning(good, tmp_path):
    other = changed(tmp_path / "other.ome.tif", um=None, shape=(160, 240))
    entries = [SlideEntry(good[0]), SlideEntry(good[1]), SlideEntry(other, part="test")]
    told = check_training(entries, SETTINGS, tmp_path / "run").warnings
    found = [bool(re.search(sentence, " | ".join(told))) for sentence in (
        "other.ome.tif has no pixel size",
        r"there are only \d+ patches of 64 px to learn from",
    )]  # fmt: skip
    assert found == [True] * 2


def test_pixels_that_are_not_square_are_worth_a_warning_unless_they_are_resampled(tmp_path):
    paths = [changed(tmp_path / f"t{n}.ome.tif", um=(0.5, 1.0), shape=(320, 200 + n)) for n in (1, 2)]
    sentence = "t1.ome.tif, t2.ome.tif: pixels of 0.5 x 1 µm are not square"
    assert any(sentence in found for found in check(paths, tmp_path / "run").warnings)
    square = replace(SETTINGS, pixel_um=1.0)
    assert not any("square" in found for found in check(paths, tmp_path / "run", square).warnings)


def test_real_slides_of_two_kinds_are_not_mixed(shared_data, tmp_path):
    paths = [shared_data / "merck" / "z0701.ome.tif", shared_data / "dextran" / "fov03.ome.tif"]
    assert "uint16 but fov03.ome.tif of type uint8" in refusal(paths, tmp_path)

"""Batches: the slide's own pixels, scaled, turned together; the same for the same seed, epoch and step."""

import gc
import threading
from contextlib import closing
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from napari_hrpn.core import Box, drive
from napari_hrpn.models import IntensityScaling
from napari_hrpn.settings.networks import NO_AUGMENTATION
from napari_hrpn.training import TrainingError, cut_patches, recipe_settings
from napari_hrpn.training.data import patch_loader
from napari_hrpn.training.data.patch_cache import PatchCache
from napari_hrpn.training.data.patch_loader import PatchFeed, PatchSource, _BufferPool, validation_batches
from support.training_slides import addressed, region, training_slide

GRID = recipe_settings("paper", patch_px=64, batch=4, padding_counts=False)
CROPS = recipe_settings("fast", patch_px=64, batch=4, steps_per_epoch=6, **NO_AUGMENTATION)
SCALING = IntensityScaling(offsets=(10.0, 20.0), scales=(50.0, 40.0), target_offset=30.0, target_scale=60.0)


@pytest.fixture
def source(tmp_path):
    """Make sources of addressed pixels, and close them."""
    caches = []

    def make(shape, settings, regions=None, *, cut_regions=None, scaling=SCALING, pixels=None, name="slide.zarr"):
        pixels = addressed(*shape) if pixels is None else pixels
        slide = training_slide(pixels, cut_regions, name=name)
        caches.extend(drive(cut_patches([slide], settings, tmp_path)))
        return PatchSource(caches[-1], regions, scaling)

    yield make
    for cache in caches:
        cache.close()


def grey(batch):
    """Grey levels of all channels, as they were on the slide."""
    offsets, scales = (np.array(values)[:, None, None] for values in (SCALING.offsets, SCALING.scales))
    target = SCALING.unscale_output(batch.target)
    return np.concatenate([np.rint(batch.inputs * scales + offsets), np.rint(target)], axis=1).astype(int)


def origins(batches):
    """First pixels of patches that were not turned."""
    return [(y - 1, x - 1) for batch in batches for y, x, _ in grey(batch)[:, :, 0, 0]]


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        for name in ("inputs", "target", "valid"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_the_grid_gives_every_patch_once_per_epoch_in_a_new_order(source):
    shape = (300, 200)
    patches = PatchFeed([source(shape, GRID)], GRID)
    expected = [(y, x) for y in range(0, 300, 64) for x in range(0, 200, 64)]
    orders = [origins(patches.batches(epoch)) for epoch in (0, 1, 0)]
    assert patches.steps == 5
    assert [sorted(order) for order in orders] == [expected] * 3
    assert orders[0] == orders[2] != orders[1]
    assert origins(PatchFeed([source(shape, GRID)], replace(GRID, seed=1)).batches(0)) != orders[0]


def test_the_order_is_shuffled_over_all_slides_and_the_last_batch_is_kept(source):
    sources = [source((192, 192), GRID), source((64, 128), GRID, pixels=addressed(64, 128) + 1000, name="b.zarr")]
    batches = list(PatchFeed(sources, replace(GRID, batch=2)).batches(3))
    assert [len(batch.inputs) for batch in batches] == [2, 2, 2, 2, 2, 1]
    assert sorted(np.concatenate([grey(batch)[:, 0, 0, 0] for batch in batches]) > 1000) == [False] * 9 + [True] * 2


def test_patches_are_scaled_for_the_network(source):
    pixels = addressed(64, 64)
    (batch,) = PatchFeed([source((64, 64), GRID)], GRID).batches(0)
    assert batch.inputs.dtype == batch.target.dtype == np.float32
    np.testing.assert_array_equal(batch.inputs[0], SCALING.scale_inputs(pixels[:2]))
    np.testing.assert_allclose(batch.target[0, 0], (pixels[2] - 30.0) / 60.0, rtol=1e-6)
    assert batch.valid.all()


def test_padding_is_grey_level_nought_and_not_valid(source):
    (batch,) = PatchFeed([source((50, 30), GRID)], GRID).batches(0)
    expected = np.zeros((1, 1, 64, 64), bool)
    expected[..., :50, :30] = True
    np.testing.assert_array_equal(batch.valid, expected)
    assert (grey(batch)[0, :, ~expected[0, 0]] == 0).all()
    np.testing.assert_array_equal(grey(batch)[0, :, :50, :30], addressed(50, 30))


def test_padding_counts_where_the_recipe_says_so_but_never_in_validation(source):
    settings = replace(GRID, padding_counts=True)
    here = source((50, 30), settings)
    (batch,) = PatchFeed([here], settings).batches(0)
    assert batch.valid.all()
    (judged,) = validation_batches([here], settings, 4)
    assert judged.valid.sum() == 50 * 30


@pytest.mark.parametrize("settings", [replace(GRID, padding_counts=True), replace(CROPS, flips=False)])
def test_what_lies_outside_the_regions_is_never_valid(source, settings):
    """So that the parts of one slide share no pixel, however far their patches reach into each other."""
    shape = (256, 250)
    regions = region(shape, (0, 160, 0, 250))
    here = source(shape, settings, regions, cut_regions=regions)
    inside = regions.within(slice(0, 320), slice(0, 320))
    batches = [*PatchFeed([here], settings).batches(0), *validation_batches([here], settings, 4)]
    reaching = 0
    for batch in batches:
        for (y, x), valid in zip(origins([batch]), batch.valid[:, 0], strict=True):
            expected = inside[y : y + 64, x : x + 64]
            assert not valid[~expected].any()
            assert valid[:, : 250 - x][expected[:, : 250 - x]].all()
            reaching += not expected.all()
    assert reaching


def test_inputs_target_and_padding_are_turned_alike_in_eight_ways(source):
    settings = replace(GRID, flips=True, batch=1)
    patches = PatchFeed([source((64, 40), settings)], settings)
    plain = np.pad(addressed(64, 40), ((0, 0), (0, 0), (0, 24)))
    ways = [np.rot90(side, k, (1, 2)) for side in (plain, plain[:, ::-1]) for k in range(4)]
    seen = set()
    for epoch in range(60):
        (batch,) = patches.batches(epoch)
        (way,) = (i for i, turned in enumerate(ways) if np.array_equal(grey(batch)[0], turned))
        np.testing.assert_array_equal(batch.valid[0, 0], ways[way][0] > 0)
        seen.add(way)
    assert seen == set(range(8))


@pytest.mark.parametrize("settings", [replace(GRID, flips=True), CROPS], ids=["grid", "crops"])
def test_an_epoch_goes_on_from_any_step_with_any_number_of_threads(source, settings):
    here = source((400, 300), settings)
    whole = list(PatchFeed([here], settings, threads=1).batches(2))
    assert len(whole) >= 6
    for first_step in (0, 1, len(whole) - 1, len(whole)):
        assert_equal(PatchFeed([here], settings, threads=3).batches(2, first_step), whole[first_step:])


def test_patches_outside_the_narrower_regions_of_a_source_are_left_out(source):
    shape = (256, 256)
    here = source(shape, GRID, region(shape, (0, 100, 0, 256)))
    assert len(here.cache) == 16
    assert sorted(origins(PatchFeed([here], GRID).batches(0))) == [(y, x) for y in (0, 64) for x in (0, 64, 128, 192)]


def test_crops_are_squares_of_the_slide_with_enough_of_the_regions(source):
    shape = (700, 1300)
    regions = region(shape, (100, 600, 300, 700), (20, 90, 1100, 1290), downsample=10)
    settings = replace(CROPS, flips=False, steps_per_epoch=60)
    found = list(PatchFeed([source(shape, settings, regions, cut_regions=regions)], settings).batches(0))
    pixels = addressed(*shape)
    places = origins(found)
    inside = regions.within(slice(0, shape[0]), slice(0, shape[1]))
    valid = np.concatenate([batch.valid[:, 0] for batch in found])
    for patch, seen, (y, x) in zip(np.concatenate([grey(batch) for batch in found]), valid, places, strict=True):
        assert regions.share(Box(y, y + 64, x, x + 64)) > 0.5 - 1e-9
        np.testing.assert_array_equal(patch, pixels[:, y : y + 64, x : x + 64])
        np.testing.assert_array_equal(seen, inside[y : y + 64, x : x + 64])
    # some of them lie on several cells, in either direction
    assert any(y // 512 != (y + 63) // 512 for y, _ in places)
    assert any(x // 512 != (x + 63) // 512 for _, x in places)
    assert len(set(places)) > 200


def test_slides_take_part_by_the_pixels_of_their_regions(source):
    small, large = (256, 256), (512, 512)
    sources = [
        source(small, CROPS, pixels=addressed(*small)),
        source(large, CROPS, region(large, (0, 384, 0, 512)), pixels=addressed(*large) + 5000, name="b.zarr"),
    ]
    settings = replace(CROPS, steps_per_epoch=200)
    of_second = np.concatenate([grey(batch)[:, 0, 0, 0] > 5000 for batch in PatchFeed(sources, settings).batches(0)])
    assert np.mean(of_second) == pytest.approx(3 / 4, abs=0.05)


def test_steps_of_crops_cover_the_regions_once(source):
    settings = replace(CROPS, steps_per_epoch=None, batch=1)
    shape = (640, 640)
    assert PatchFeed([source(shape, settings)], settings).steps == 100
    assert PatchFeed([source(shape, settings, region(shape, (0, 320, 0, 640)))], settings).steps == 50
    assert PatchFeed([source(shape, settings, region(shape, (0, 128, 0, 128)))], settings).steps == 50
    assert PatchFeed([source(shape, settings)], CROPS).steps == 6


def test_a_slide_smaller_than_a_crop_is_padded(source):
    settings = replace(CROPS, flips=False)
    batch = next(PatchFeed([source((40, 90), settings)], settings).batches(0))
    assert (batch.valid.sum(axis=(1, 2, 3)) == 40 * 64).all()
    assert (grey(batch)[:, :, 40:] == 0).all()


@pytest.mark.parametrize("settings", [GRID, CROPS], ids=["grid", "crops"])
def test_regions_without_a_patch_are_one_sentence(source, settings):
    here = source((256, 256), settings, region((256, 256), (0, 20, 0, 20)))
    with pytest.raises(TrainingError, match="no patch of 64 px"):
        PatchFeed([here], settings)
    with pytest.raises(TrainingError, match="no patch of 64 px"):
        next(validation_batches([here], settings, 4))


def running():
    return [thread for thread in threading.enumerate() if thread.name.startswith("patches")]


def test_threads_end_with_the_generator(source):
    batches = PatchFeed([source((400, 400), GRID)], GRID).batches(0)
    next(batches)
    assert running()
    batches.close()
    assert not running()
    with closing(PatchFeed([source((400, 400), GRID)], GRID).batches(0)) as batches:
        for _ in batches:
            pass
    assert not running()


def test_an_error_in_a_thread_comes_out_of_the_generator(source, monkeypatch):
    here = source((400, 400), GRID)

    def fail(*_):
        raise OSError("the disk is gone")

    monkeypatch.setattr(PatchCache, "window", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        next(PatchFeed([here], GRID).batches(0))
    assert not running()


def test_only_a_few_batches_are_made_ahead(source, monkeypatch):
    made = []
    make = patch_loader._batch
    monkeypatch.setattr(
        patch_loader, "_batch", lambda *arguments, **options: made.append(1) or make(*arguments, **options)
    )
    settings = replace(GRID, batch=1)
    with closing(PatchFeed([source((640, 640), settings)], settings).batches(0)) as batches:
        assert len(list(islice(batches, 3))) == 3
        assert len(made) <= 3 + patch_loader.AHEAD


def test_batches_that_are_held_stay_as_they_are(source):
    patches = PatchFeed([source((640, 640), GRID)], GRID)
    held = list(patches.batches(0))
    one_by_one = []
    for batch in patches.batches(0):
        one_by_one.append((batch.inputs.sum(), batch.target.sum()))
        del batch
    assert [(batch.inputs.sum(), batch.target.sum()) for batch in held] == one_by_one


def test_memory_is_lent_again_only_when_no_view_is_left():
    memory = _BufferPool()

    def address(array):
        return array.__array_interface__["data"][0]

    first = memory.array((4, 5), np.float32)
    place, view = address(first), torch.from_numpy(first[1:3])[:, 2:]
    del first
    assert address(memory.array((20,), np.float32)) != place
    del view
    gc.collect()
    assert place in {address(memory.array((5, 4), np.float32)), address(memory.array((5, 4), np.float32))}


def test_validation_is_every_cell_of_the_grid_in_order(source):
    settings = replace(GRID, flips=True)
    shape = (300, 2200)
    found = list(validation_batches([source(shape, settings)], settings, 7))
    assert [len(batch.inputs) for batch in found] == [7] * 25
    assert origins(found) == [(y, x) for y in range(0, 300, 64) for x in range(0, 2200, 64)]
    assert sum(batch.valid.sum() for batch in found) == 300 * 2200


def test_validation_on_crops_covers_every_pixel_once(source):
    shape = (600, 700)
    settings = recipe_settings("fast", patch_px=96)
    found = list(validation_batches([source(shape, settings)], settings, 5))
    covered, pixels = np.zeros(shape, int), addressed(*shape)
    for batch in found:
        for patch, valid in zip(grey(batch), batch.valid[:, 0], strict=True):
            height, width = valid.any(axis=1).sum(), valid.any(axis=0).sum()
            y, x = patch[0, 0, 0] - 1, patch[1, 0, 0] - 1
            np.testing.assert_array_equal(patch[:, :height, :width], pixels[:, y : y + height, x : x + width])
            covered[y : y + height, x : x + width] += 1
    assert (covered == 1).all()
    assert origins(found) == sorted(origins(found))


def test_validation_on_crops_begins_where_the_regions_do(source):
    shape = (600, 700)
    regions = region(shape, (100, 240, 500, 690), downsample=10)
    here = source(shape, CROPS, regions, cut_regions=regions)
    found = origins(validation_batches([here], CROPS, 3))
    assert found == [(100, 500), (100, 564), (100, 628), (164, 500), (164, 564), (164, 628)]


def test_validation_on_regions_that_miss_the_grid_takes_a_crop_that_qualifies(source):
    shape = (600, 600)
    # a thin corner above and left of a square, so that the grid that begins there cuts the square in four
    regions = region(shape, (100, 110, 100, 110), (140, 200, 140, 200), downsample=10)
    here = source(shape, CROPS, regions, cut_regions=regions)
    ((y, x),) = origins(validation_batches([here], CROPS, 4))
    assert (y, x) not in {(i, j) for i in (100, 164) for j in (100, 164)}
    assert regions.share(Box(y, y + 64, x, x + 64)) > 0.5 - 1e-9


@pytest.mark.parametrize("settings", [GRID, CROPS])
def test_shares_of_a_batch_are_together_the_batch(source, settings):
    here = source((320, 192), settings)
    whole = list(PatchFeed([here], settings).batches(1))
    parts = [list(PatchFeed([here], settings, share=(part, 3)).batches(1)) for part in range(3)]
    for batch, *shares in zip(whole, *parts, strict=True):
        sizes = [len(share.inputs) for share in shares]
        assert sum(sizes) == len(batch.inputs)
        assert max(sizes) - min(sizes) <= 1
        together = [grey(shares[i % 3])[i // 3] for i in range(len(batch.inputs))]
        np.testing.assert_array_equal(np.stack(together), grey(batch))


def test_a_share_may_be_empty_but_the_first(source):
    here = source((64, 64), GRID)
    (first,), (second,) = (PatchFeed([here], GRID, share=(part, 2)).batches(0) for part in (0, 1))
    assert first.inputs.shape == (1, 2, 64, 64)
    assert second.inputs.shape == (0, 2, 64, 64)


def test_shares_of_the_validation_are_together_all_of_it(source):
    here = source((300, 200), GRID)
    parts = [origins(validation_batches([here], GRID, 3, (part, 2))) for part in range(2)]
    assert sorted(parts[0] + parts[1]) == origins(validation_batches([here], GRID, 3))
    assert len(parts[0]) == len(parts[1])

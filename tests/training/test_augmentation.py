"""Augmentation changes the inputs of training patches alone, by a seed, as strongly as the settings allow."""

import json
from dataclasses import replace
from math import log

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_hrpn.core import drive
from napari_hrpn.models import IntensityScaling
from napari_hrpn.settings.networks import NETWORKS, NO_AUGMENTATION
from napari_hrpn.training import RunFolder, RunRequest, TrainingError, cut_patches, recipe_settings
from napari_hrpn.training.data.augmentation import Augmentation
from napari_hrpn.training.data.patch_loader import PatchFeed, PatchSource, validation_batches
from support.training_slides import training_slide

FAST = recipe_settings("fast", patch_px=64, batch=4, steps_per_epoch=5)
OFF = replace(FAST, **NO_AUGMENTATION)
GRID = replace(FAST, sampling="grid")
RANGES = np.array([[0, 1], [0, 1]], np.float32)
SCALING = IntensityScaling(offsets=(10.0, 20.0), scales=(50.0, 40.0), target_offset=30.0, target_scale=60.0)


@pytest.fixture
def source(tmp_path):
    """Make the source of a slide with noise, and close it."""
    caches = []

    def make(shape, settings=FAST, scaling=SCALING, ranges=None):
        pixels = np.random.default_rng(1).integers(1, 200, (3, *shape), np.uint16)
        caches.extend(drive(cut_patches([training_slide(pixels)], settings, tmp_path / str(len(caches)))))
        return PatchSource(caches[-1], None, scaling, ranges)

    yield make
    for cache in caches:
        cache.close()


def image(side=64, seed=0):
    return gaussian_filter(np.random.default_rng(seed).random((2, side, side)), (0, 2, 2)).astype(np.float32)


def changed(seed, inputs=None, ranges=RANGES, **strengths):
    found = image() if inputs is None else inputs.copy()
    Augmentation(replace(OFF, **strengths)).apply(found, ranges, seed)
    return found


def all_of(batches, name):
    return np.concatenate([getattr(batch, name) for batch in batches])


@pytest.mark.parametrize("settings", [FAST, GRID], ids=["crops", "grid"])
def test_inputs_change_and_target_crops_and_turns_do_not(source, settings):
    here = source((200, 200), settings)
    plain, augmented = (
        list(PatchFeed([here], one).batches(1)) for one in (replace(settings, **NO_AUGMENTATION), settings)
    )
    for name in ("target", "valid"):
        np.testing.assert_array_equal(all_of(augmented, name), all_of(plain, name))
    before, after = all_of(plain, "inputs"), all_of(augmented, "inputs")
    assert (np.abs(after - before).mean(axis=(2, 3)) > 1e-3).all()
    # each patch is still recognised as the one it was made from
    for one, other in zip(before, after, strict=True):
        assert np.corrcoef(one[0].ravel(), other[0].ravel())[0, 1] > 0.3


def test_validation_is_never_augmented(source):
    here = source((200, 200))
    found, expected = (all_of(validation_batches([here], one, 3), "inputs") for one in (FAST, OFF))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("settings", [FAST, GRID], ids=["crops", "grid"])
def test_a_resumed_epoch_and_shares_of_it_are_those_of_the_whole(source, settings):
    here = source((200, 200), settings)
    whole = list(PatchFeed([here], settings, threads=1).batches(2))
    resumed = list(PatchFeed([here], settings, threads=3).batches(2, 2))
    np.testing.assert_array_equal(all_of(resumed, "inputs"), all_of(whole[2:], "inputs"))
    for part in range(2):
        share = all_of(PatchFeed([here], settings, share=(part, 2)).batches(2), "inputs")
        np.testing.assert_array_equal(share, all_of(whole, "inputs")[part::2])


@pytest.mark.parametrize("counts", [True, False])
def test_padding_stays_grey_level_nought(source, counts):
    settings = replace(FAST, padding_counts=counts, sampling="grid", batch=1)
    here = source((50, 30), settings)
    nought = SCALING.scale_inputs(np.zeros((2, 1, 1)))[:, 0, 0]
    turns = set()
    for epoch in range(60):
        (batch,) = PatchFeed([here], settings).batches(epoch)
        padded = batch.target[0, 0] == SCALING.scale_target(np.zeros(1))
        assert padded.sum() == 64**2 - 50 * 30
        for inputs, expected in zip(batch.inputs[0], nought, strict=True):
            assert (inputs[padded] == expected).all()
            assert (inputs[~padded] != expected).mean() > 0.99
        turns.add(padded.tobytes())
    assert len(turns) == 8


def test_an_input_that_is_no_image_stays():
    channels = ("vessels", "distance")
    found = image()
    Augmentation(replace(FAST, channels=channels)).apply(found, RANGES, 1)
    for role, one, other in zip(channels, found, image(), strict=True):
        assert np.array_equal(one, other) == (role == "distance")


def test_gain_and_offset_are_drawn_for_each_input_evenly_within_their_limits():
    gains, offsets = [], []
    for seed in range(1, 400):
        for one, other in zip(image(), changed(seed, gain=1.6, offset=0.05), strict=True):
            gain, offset = np.polyfit(one.ravel().astype(float), other.ravel(), 1)
            np.testing.assert_allclose(other, gain * one + offset, atol=1e-5)
            gains.append(log(gain) / log(1.6))
            offsets.append(offset / 0.05)
    for drawn in (np.array(gains), np.array(offsets)):
        assert np.abs(drawn).max() <= 1 + 1e-4
        # that of a uniform distribution from -1 to 1
        assert drawn.mean() == pytest.approx(0, abs=0.08)
        assert drawn.std() == pytest.approx(3**-0.5, rel=0.06)
        nuclei, vessels = drawn.reshape(-1, 2).T
        assert abs(np.corrcoef(nuclei, vessels)[0, 1]) < 0.2


@pytest.mark.parametrize(("name", "most"), [("blur_px", 1.0), ("haze", 0.2), ("noise", 0.05)])
def test_each_strength_changes_details_as_it_should(name, most):
    inputs = image(128)
    details = [inputs[0] - gaussian_filter(inputs[0], 4)]
    for seed in range(1, 30):
        found = changed(seed, inputs, **{name: most})[0]
        if name == "blur_px":
            assert found.mean() == pytest.approx(inputs[0].mean(), rel=1e-3)
            assert found.std() <= inputs[0].std()
        elif name == "haze":
            added = found - inputs[0]
            assert 0 <= added.mean() <= 1.01 * most * inputs[0].mean()
            assert added.std() < 0.2 * inputs[0].std()
        else:
            assert (found - inputs[0]).std() <= 1.02 * most
        details.append(found)
    # a very small blur changes no pixel
    assert len({one.tobytes() for one in details}) >= 25


def test_a_blur_is_that_of_a_gaussian():
    point = np.zeros((2, 33, 33), np.float32)
    point[:, 16, 16] = 1
    found = changed(3, point, blur_px=2.0)[0]
    widths = np.arange(33) - 16
    # its variance along each side, and no light lost
    assert found.sum() == pytest.approx(1, abs=1e-5)
    variance = (found.sum(axis=0) * widths**2).sum()
    assert variance == pytest.approx((found.sum(axis=1) * widths**2).sum(), rel=1e-4)
    assert 0 < variance <= 4


@pytest.mark.parametrize(
    ("offset", "scale"), [((100.0, 300.0), (700.0, 20.0)), ((0.0, 0.0), (1.0, 1.0)), ((127.5, 127.5), (127.5, 127.5))]
)
def test_strengths_mean_the_same_with_every_scaling(source, offset, scale):
    """Whatever an input is scaled by, the change of its grey levels is the same."""
    ranges = ((10.0, 60.0), (20.0, 60.0))
    usual = PatchFeed([source((128, 128))], FAST).batches(0)
    scaling = replace(SCALING, offsets=offset, scales=scale)
    other = PatchFeed([source((128, 128), scaling=scaling, ranges=ranges)], FAST).batches(0)
    shape = (2, 1, 1)
    grey = all_of(usual, "inputs") * np.reshape(SCALING.scales, shape) + np.reshape(SCALING.offsets, shape)
    found = all_of(other, "inputs") * np.reshape(scale, shape) + np.reshape(offset, shape)
    np.testing.assert_allclose(found, grey, atol=0.02)


def test_it_is_on_in_the_fast_recipe_of_hrpn_alone():
    for name, network in NETWORKS.items():
        for recipe in network.recipes:
            assert recipe_settings(recipe, name).augments == ((name, recipe) == ("hrpn", "fast"))
    for name in NO_AUGMENTATION:
        assert replace(OFF, **{name: getattr(FAST, name)}).augments


@pytest.fixture
def older(tmp_path):
    """The folder of a run that was begun before there was augmentation."""
    folder = RunFolder(tmp_path)
    folder.begin(RunRequest((), OFF))
    file = tmp_path / "run.json"
    saved = json.loads(file.read_text("utf-8"))
    saved["settings"] = {name: value for name, value in saved["settings"].items() if name not in NO_AUGMENTATION}
    file.write_text(json.dumps(saved), "utf-8")
    return folder


def test_a_run_from_before_is_resumed_as_it_was_begun_every_time(older):
    assert older.request().settings == OFF
    for settings in (FAST, replace(FAST, epochs=30), FAST, OFF):
        resumed = older.as_begun(RunRequest((), settings))
        assert resumed.settings == replace(settings, **NO_AUGMENTATION)
        older.begin(resumed)


def test_a_run_from_before_is_not_resumed_with_augmentation_that_was_asked_for(older):
    request = older.as_begun(RunRequest((), replace(FAST, gain=2.0)))
    assert (request.settings.gain, request.settings.offset) == (2.0, 0.0)
    with pytest.raises(TrainingError, match="other slides or settings"):
        older.begin(request)


def test_a_run_of_today_keeps_what_was_asked_for(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.as_begun(RunRequest((), FAST)).settings == FAST
    folder.begin(RunRequest((), OFF))
    assert folder.as_begun(RunRequest((), FAST)).settings == FAST
    with pytest.raises(TrainingError, match="other slides or settings"):
        folder.begin(RunRequest((), FAST))

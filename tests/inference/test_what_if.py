"""Network and physics beside each other, on slides that are read from a coarser level, with and without a probe."""

from dataclasses import replace

import numpy as np
import pytest

from napari_hrpn.core import drive
from napari_hrpn.inference import CounterfactualNetwork, PredictionSettings, PredictionWarning, what_if
from napari_hrpn.phantom import PHANTOM_PRESETS, phantom_slide
from napari_hrpn.phantom.sampling import Bounds
from napari_hrpn.phantom.tissue import TissueShape, vessels_within
from napari_hrpn.settings.what_if import WhatIfSettings
from napari_hrpn.slides import coarser_levels
from support.predictions import lively_checkpoint

SETTINGS = replace(PHANTOM_PRESETS["tiny"], pixel_size_um=0.6)
SIZE = 400
FEW = WhatIfSettings(window_um=100.0, shams=2)


def centre_um():
    extent = (SIZE * 0.6, SIZE * 0.6)
    vessels = vessels_within(Bounds(0, 0, *extent), SETTINGS, TissueShape(SETTINGS, extent, 1))
    return tuple(vessels.centre_um[np.argmin(np.abs(vessels.centre_um - SIZE * 0.3).max(axis=1))].tolist())


@pytest.fixture(scope="module")
def slide():
    """A phantom with a coarser level in its file."""
    slide = phantom_slide(SETTINGS, size=SIZE, seed=1).slide
    finest = slide.levels[0].persist()
    return replace(slide, levels=(finest, *coarser_levels(finest, 128)), stored_levels=2)


@pytest.mark.parametrize(("trained_um", "level"), [(0.6, 0), (1.2, 1), (1.5, 1)])
@pytest.mark.parametrize("probe", [2, None])
def test_both_maps_lie_on_the_vessel(slide, trained_um, level, probe, tmp_path):
    checkpoint = lively_checkpoint(pixel_size_um=trained_um, resamples=True)
    network = CounterfactualNetwork(slide, checkpoint, tmp_path / "out", PredictionSettings(device="cpu"))
    assert network.level == level
    place = centre_um()
    result = drive(what_if(network, "remove", place, FEW, probe=probe))
    shape = (result.box.height, result.box.width)
    assert {result.predicted.shape, result.network.shape, result.physics.shape, result.noise.shape} == {shape}
    y, x = (np.array(place) / 0.6 - (result.box.y0, result.box.x0)).astype(int)
    assert result.distance_um[y, x] < 3
    beyond = result.distance_um > 60
    assert np.abs(result.network[result.distance_um < 3]).mean() > np.abs(result.network[beyond]).mean()
    if probe is not None:
        lowest = np.unravel_index(np.argmin(result.physics), shape)
        assert np.hypot(lowest[0] - y, lowest[1] - x) * 0.6 < 8
    assert result.probe == ("predicted" if probe is None else "imaged")
    # neither images of integers nor the 256 grey levels of a screen show less
    floor = max(0.5, (result.predicted.max() - result.predicted.min()) / 510)
    assert result.noise_floor == pytest.approx(floor)
    assert result.noise.min() == pytest.approx(floor)
    assert np.abs(result.network[result.significant]).min() > floor * (1 - 1e-6)
    assert result.opposite_share == np.mean(result.network[result.significant] > 0)


def test_warnings_of_the_prediction_are_given(slide, tmp_path):
    network = CounterfactualNetwork(slide, lively_checkpoint(pixel_size_um=3.0), tmp_path / "out")
    with pytest.warns(PredictionWarning, match="trained at 3 µm"):
        next(what_if(network, "remove", centre_um(), FEW))


def test_an_empty_channel_of_the_probe_is_not_fitted(slide, tmp_path):
    levels = tuple(level * np.array([1, 1, 0], level.dtype)[:, None, None] for level in slide.levels)
    empty = replace(slide, levels=levels)
    network = CounterfactualNetwork(
        empty, lively_checkpoint(pixel_size_um=0.6), tmp_path / "out", PredictionSettings(device="cpu")
    )
    with pytest.warns(PredictionWarning, match="the same everywhere in the window, so that"):
        result = drive(what_if(network, "remove", centre_um(), FEW, probe=2))
    assert result.probe == "predicted"
    assert "the same everywhere" in result.warnings[-1]

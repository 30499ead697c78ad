"""The fit of diffusion and uptake against the Bessel function of a line source."""

import numpy as np
import pytest
from scipy.special import k0

from napari_hrpn.analysis import AnalysisError
from napari_hrpn.analysis.tissue.vessel_edit import vessel_window
from napari_hrpn.analysis.tissue.vessel_transport import fit_vessel_transport
from napari_hrpn.core import drive
from napari_hrpn.settings.what_if import WhatIfSettings
from support.vessel_slides import discs, slide_of

LAMBDA_UM, RADIUS = 25.0, 4
CENTRES = np.array([[100, 110], [180, 90], [220, 230], [90, 230], [160, 160]])
STRENGTHS = np.array([1.0, 0.5, 2.0, 0.8, 1.5]) * 40
FLOOR = 12.0


def around(centre, shape):
    """Steady concentration around one vessel of strength 1 far from it, as a line source."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    distance = np.maximum(np.hypot(y - centre[0], x - centre[1]), RADIUS)
    return k0(distance / LAMBDA_UM) * RADIUS**2 / (2 * LAMBDA_UM**2)


@pytest.fixture(scope="module")
def fitted():
    shape = (320, 320)
    mask = discs(shape, CENTRES, RADIUS)
    settings = WhatIfSettings(threshold=90.0)
    window = drive(vessel_window(slide_of(mask * np.uint8(200)), 0, 0, (160.0, 160.0), None, settings))
    probe = FLOOR + sum(s * 100 * around(c, shape) for s, c in zip(STRENGTHS, CENTRES, strict=True))
    probe += np.random.default_rng(0).normal(0, 1.0, shape)
    return window, probe, drive(fit_vessel_transport(window, probe))


def test_length_floor_and_strengths_are_found(fitted):
    window, _, fit = fitted
    assert fit.length_um == pytest.approx(LAMBDA_UM, rel=0.06)
    assert fit.interval_um[0] < fit.length_um < fit.interval_um[1]
    assert fit.floor == pytest.approx(FLOOR, abs=1.0)
    assert fit.r2 > 0.9
    found = [fit.strengths[window.labels[tuple(centre)]] for centre in CENTRES]
    np.testing.assert_allclose(found / found[0], STRENGTHS / STRENGTHS[0], rtol=0.15)


def test_without_a_vessel_its_share_of_the_probe_is_gone(fitted):
    window, _, fit = fitted
    for strength, centre in zip(STRENGTHS, CENTRES, strict=True):
        vessel = window.vessel_at(tuple(map(float, centre)))
        change = -fit.change(fit.strengths[window.labels] * vessel)
        truth = -strength * 100 * around(centre, window.labels.shape)
        near = np.abs(truth) > 0.5
        assert (change[near] @ truth[near]) / (truth[near] @ truth[near]) == pytest.approx(1, abs=0.15)


def test_without_all_vessels_the_floor_is_left(fitted):
    window, probe, fit = fitted
    left = probe - fit.change(fit.strengths[window.labels])
    assert np.median(left) == pytest.approx(FLOOR, abs=1.5)


def test_a_window_without_vessels_gets_a_sentence(fitted):
    window, probe, _ = fitted
    empty = type(window)(**{**vars(window), "labels": np.zeros_like(window.labels)})
    with pytest.raises(AnalysisError, match="no vessel or no contrast"):
        drive(fit_vessel_transport(empty, probe))


def test_a_probe_that_is_still_in_its_vessels_gives_no_length(fitted):
    window, _, fit = fitted
    noise = np.random.default_rng(0).normal(0, 0.1, window.labels.shape)
    inside = drive(fit_vessel_transport(window, 50.0 * (window.labels > 0) + noise))
    assert "is not known" in inside.length_words
    assert "is not known" not in fit.length_words

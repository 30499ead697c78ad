"""The probe's spread against solutions known from elsewhere."""

import numpy as np
import pytest
from scipy.special import i0, k0

from napari_hrpn.phantom.sampling import SampleGrid
from napari_hrpn.phantom.tissue import Vessels, leak_source, steady_concentration

STEP_UM = 8 * 0.2744
LAMBDA_UM = 30.0


def round_vessel(y_um: float, x_um: float, radius_um: float) -> Vessels:
    return Vessels(
        np.array([[y_um, x_um]]),
        np.array([[0.0, 1.0]]),
        np.array([radius_um]),
        np.zeros(1),
        np.zeros(1),
        np.ones(1),
        np.ones(1),
        np.ones(1),
    )


def test_one_vessel_gives_the_bessel_solution():
    window = SampleGrid(0, 360, 0, 360, STEP_UM)
    y_um, x_um, radius_um = 395.3, 394.4, 5.0
    source = leak_source(round_vessel(y_um, x_um, radius_um), window)
    concentration = steady_concentration(source, np.ones(window.shape), LAMBDA_UM, STEP_UM)
    distance = np.hypot(window.y_um[:, None] - y_um, window.x_um[None, :] - x_um)
    strength = 2 * np.pi * radius_um / (2 * np.pi * LAMBDA_UM**2)
    expected = strength * i0(radius_um / LAMBDA_UM) * k0(distance / LAMBDA_UM)
    around = (distance > 12) & (distance < 150)
    np.testing.assert_allclose(concentration[around], expected[around], rtol=0.01)


def test_source_of_a_vessel_is_its_perimeter():
    window = SampleGrid(-20, 60, 10, 90, STEP_UM)
    vessels = round_vessel(50.0, 120.0, 5.0)
    assert leak_source(vessels, window).sum() * STEP_UM**2 == pytest.approx(2 * np.pi * 5)


def test_what_leaks_is_taken_up():
    random = np.random.default_rng(0)
    uptake = random.uniform(0.3, 2.5, (96, 80))
    source = random.exponential(size=uptake.shape)
    concentration = steady_concentration(source, uptake, LAMBDA_UM, STEP_UM)
    assert (uptake * concentration).sum() == pytest.approx(source.sum(), rel=1e-5)


def test_varying_uptake_solves_the_equation():
    waves = np.cos(2 * np.pi * (np.arange(64)[:, None] + 2 * np.arange(64)[None, :]) / 64)
    uptake, source = 1 + 0.6 * waves, 1 + 0.5 * np.roll(waves, 9, axis=1)
    concentration = steady_concentration(source, uptake, LAMBDA_UM, STEP_UM, tolerance=1e-12)
    # all of it has the wave number of `waves` and its multiples: a sixth-order difference is nearly exact
    weights = np.array([2, -27, 270, -490, 270, -27, 2]) / 180 / STEP_UM**2
    laplacian = sum(
        weight * np.roll(concentration, offset, axis)
        for axis in (0, 1)
        for weight, offset in zip(weights, range(-3, 4), strict=True)
    )
    residual = LAMBDA_UM**2 * laplacian - uptake * concentration + source
    assert np.abs(residual).max() < 1e-4 * source.max()

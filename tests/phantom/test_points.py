"""Point patterns: their density, their distances, and that nobody can tell who asked."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from napari_hrpn.phantom import PHANTOM_PRESETS, PhantomSettings
from napari_hrpn.phantom.sampling import Bounds, HardCore, Purpose, RandomField
from napari_hrpn.phantom.tissue import TissueShape, vessels_within

POISSON = replace(PHANTOM_PRESETS["tiny"], vessel_distance_um=0.0, vessel_clustering=0.0, vessel_density_per_mm2=150.0)


def hard_core(distance_um: float, density: float) -> HardCore:
    return HardCore(3, Purpose.NUCLEI, distance_um, density, lambda points: np.full(len(points), density))


def everywhere(settings: PhantomSettings) -> TissueShape:
    return TissueShape(settings, (1e6, 1e6), 5)


def test_nearest_poisson_vessel_is_40_8_um_away():
    bounds = Bounds(0, 0, 6000, 6000)
    centres = vessels_within(bounds.grown(300), POISSON, everywhere(POISSON)).centre_um
    places = np.random.default_rng(0).uniform(0, 6000, (40_000, 2))
    mean = cKDTree(centres).query(places)[0].mean()
    assert mean == pytest.approx(1000 / (2 * np.sqrt(150)), rel=0.02)


@pytest.mark.parametrize(("distance_um", "density"), [(6.5, 4000.0), (20.0, 150.0), (0.0, 900.0)])
def test_density_is_the_one_asked_for(distance_um, density):
    points = hard_core(distance_um, density).within(Bounds(-900, -900, 900, 900))
    expected = density * 1.8**2
    assert len(points.positions_um) == pytest.approx(expected, abs=4 * np.sqrt(expected))


def test_points_keep_their_distance():
    points = hard_core(20.0, 300.0).within(Bounds(0, 0, 1500, 1500))
    assert len(points.positions_um) > 400
    assert pdist(points.positions_um).min() >= 20.0


def test_clustering_keeps_the_mean_density_and_makes_it_uneven():
    settings = replace(PHANTOM_PRESETS["tiny"], vessel_clustering=0.4, vessel_clustering_um=80.0)
    centres = vessels_within(Bounds(0, 0, 6000, 6000), settings, everywhere(settings)).centre_um
    counts = np.histogram2d(*centres.T, bins=40, range=[(0, 6000)] * 2)[0]
    assert counts.sum() / 36 == pytest.approx(150, rel=0.1)
    regular = vessels_within(
        Bounds(0, 0, 6000, 6000), replace(settings, vessel_clustering=0.0), everywhere(settings)
    ).centre_um
    assert counts.var() > 1.3 * np.histogram2d(*regular.T, bins=40, range=[(0, 6000)] * 2)[0].var()


def test_a_window_shows_the_same_points_whatever_its_size():
    pattern, small = hard_core(6.5, 4000.0), Bounds(-50.0, 100.0, 90.0, 333.0)
    alone, among = pattern.within(small), pattern.within(Bounds(-700, -300, 800, 900))
    among = among.where(small.holds(among.positions_um))
    np.testing.assert_array_equal(alone.positions_um, among.positions_um)
    np.testing.assert_array_equal(alone.marks, among.marks)


def test_field_has_unit_variance_and_its_length():
    offset = np.array([[0.0, 0.0], [0.0, 50.0], [0.0, 200.0]])
    values = np.array([RandomField(seed, Purpose.OUTLINE, 50.0).at(offset) for seed in range(1500)])
    correlation = (values[:, :1] * values).mean(axis=0)
    np.testing.assert_allclose(correlation, np.exp(-(offset[:, 1] ** 2) / (2 * 50.0**2)), atol=0.1)


def test_field_on_a_grid_is_the_field_at_its_points():
    field = RandomField(1, Purpose.CHROMATIN, 7.0)
    y_um, x_um = np.linspace(-40, 900, 5), np.linspace(300, 4000, 4)
    points = np.stack(np.meshgrid(y_um, x_um, indexing="ij"), -1).reshape(-1, 2)
    np.testing.assert_allclose(field.on_grid(y_um, x_um).ravel(), field.at(points), atol=2e-5)

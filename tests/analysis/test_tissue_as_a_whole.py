"""Distances, shells and vessels against computations over the whole image by SciPy, scikit-image and pandas."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage import draw
from skimage.measure import label, regionprops_table

from napari_hrpn.analysis import PenetrationSettings, cell_density, measure_vessels, penetration
from napari_hrpn.analysis.tissue.distance import longest_distance, nearest_in, no_shell_sums, update_shells
from napari_hrpn.analysis.tissue.penetration import compute_penetration
from napari_hrpn.core import Box, drive
from support.steady import steady
from support.vessel_slides import discs, drawn_mask, edge_distance, slide_of

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.sampled_from([(1.0, 1.0), (0.5, 0.7), (2.0, 0.6)])
SHAPE = 70, 90


def scattered(random: np.random.Generator, number: int = 5, radius: float = 3.0) -> np.ndarray:
    return discs(SHAPE, random.integers((0, 0), SHAPE, (number, 2)), radius)


def any_box(random: np.random.Generator) -> Box:
    (y0, y1), (x0, x1) = (np.sort(random.choice(size + 1, 2, replace=False)).tolist() for size in SHAPE)
    return Box(y0, y1, x0, x1)


@steady()
@given(SEEDS, SIZES, st.floats(1, 120))
def test_distances_in_any_rectangle_are_those_of_scipy_over_the_whole_image(seed, pixel_um, furthest_um):
    random = np.random.default_rng(seed)
    mask, box = scattered(random), any_box(random)
    whole = ndimage.distance_transform_edt(~mask, pixel_um)
    found = nearest_in(mask, box, pixel_um, furthest_um)
    expected = np.where(whole <= furthest_um, whole, np.inf)[box.slices]
    near = np.isclose(whole[box.slices], furthest_um, rtol=1e-12)
    np.testing.assert_allclose(found.distance_um[~near], expected[~near], rtol=1e-12)
    reached = np.isfinite(found.distance_um)
    assert mask[found.row[reached] + found.around.y0, found.column[reached] + found.around.x0].all()


@steady()
@given(SEEDS, SIZES)
def test_distances_from_the_edge_are_shorter_by_half_a_pixel_on_the_way(seed, pixel_um):
    random = np.random.default_rng(seed)
    mask = scattered(random)
    found = nearest_in(mask, Box(0, SHAPE[0], 0, SHAPE[1]), pixel_um, math.inf)
    np.testing.assert_allclose(found.edge_um, edge_distance(mask, pixel_um), rtol=1e-9, atol=1e-9)
    shorter = found.distance_um - found.edge_um
    assert (shorter[mask] == 0).all()
    assert (shorter[~mask] >= min(pixel_um) / 2 / math.sqrt(2) - 1e-9).all()
    assert (shorter <= max(pixel_um) / 2 + 1e-9).all()


@steady()
@given(SEEDS, SIZES)
def test_the_margin_of_a_rectangle_holds_the_nearest_vessel_of_each_pixel(seed, pixel_um):
    random = np.random.default_rng(seed)
    mask, box = scattered(random), any_box(random)
    inside = random.random((box.height, box.width)) < 0.5
    whole = ndimage.distance_transform_edt(~mask, pixel_um)[box.slices]
    margin = longest_distance(mask, box, inside, pixel_um, 1000.0)
    assert margin >= whole[inside].max(initial=0.0)
    found = nearest_in(mask, box, pixel_um, margin)
    np.testing.assert_allclose(found.distance_um[inside], whole[inside], rtol=1e-12)


@steady(15)
@given(SEEDS, st.sampled_from([(5.0, 50.0), (2.5, 20.0), (1.0, 7.0)]), st.floats(0, 30))
def test_shells_of_an_image_are_those_of_pandas(seed, shells, background):
    random = np.random.default_rng(seed)
    settings = PenetrationSettings(
        shell_um=shells[0], furthest_um=shells[1], beyond_um=(shells[1],), band_edges_um=(shells[0],), near_um=(1.0,)
    )
    distance, inside = edge_distance(scattered(random)), random.random(SHAPE) < 0.8
    image = random.integers(0, 200, SHAPE).astype(np.uint8)
    (found,) = penetration(distance, {"probe": image}, inside, settings, {"probe": background})
    edges = [0.0, *(np.arange(1, settings.shells + 1) * shells[0]), math.inf]
    pixels = pd.DataFrame({"distance": distance[inside], "grey": image[inside].astype(float) - background})
    pixels = pixels[pixels["distance"] > 0]
    table = pixels.groupby(pd.cut(pixels["distance"], edges, right=True), observed=False)["grey"].agg(
        ["count", "mean", "sum"]
    )
    assert [shell.to_um for shell in found.shells] == edges[1:]
    assert [shell.n for shell in found.shells] == table["count"].tolist()
    np.testing.assert_allclose([shell.mean for shell in found.shells], table["mean"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose([shell.share for shell in found.shells], table["sum"] / table["sum"].sum(), atol=1e-9)
    assert found.beyond[0].share == pytest.approx(found.shells[-1].share, abs=1e-9)
    assert found.vessel_mean == pytest.approx(image[inside & (distance == 0)].mean() - background)


@steady(15)
@given(SEEDS)
def test_areas_measured_together_have_the_numbers_that_each_has_alone(seed):
    random = np.random.default_rng(seed)
    settings = PenetrationSettings(furthest_um=60.0, beyond_um=(10.0,))
    distance, area = edge_distance(scattered(random)), random.integers(-1, 2, SHAPE)
    images = {"real": random.integers(0, 99, SHAPE), "predicted": random.integers(0, 99, SHAPE)}
    nothing = no_shell_sums(tuple(images), settings, ("left", "right"))
    for rows in (slice(0, 31), slice(31, None)):
        part = [image[rows] for image in images.values()]
        nothing = update_shells(nothing, distance[rows], part, settings, area=area[rows])
    together = {(row.image, row.area): row for row in compute_penetration(nothing, settings)}
    for index, name in enumerate(("left", "right")):
        for alone in penetration(distance, images, area == index, settings):
            found = together[alone.image, name]
            assert (found.shells, found.bands, found.beyond) == (alone.shells, alone.bands, alone.beyond)
            assert (found.d50_um, found.d90_um, found.n) == pytest.approx(
                (alone.d50_um, alone.d90_um, alone.n), nan_ok=True
            )


@steady(15)
@given(SEEDS, SIZES)
def test_vessels_have_the_areas_places_and_stain_of_scikit_image(seed, pixel_um):
    random = np.random.default_rng(seed)
    mask, stain = scattered(random, 8), random.integers(0, 255, SHAPE).astype(np.uint8)
    table = drive(measure_vessels(slide_of(stain, pixel_um), 0, drawn_mask(mask, pixel_um)))
    names = ("area", "centroid", "intensity_mean")
    # corners of a mask join its parts, as its edges do
    expected = pd.DataFrame(regionprops_table(label(mask, connectivity=2), stain, properties=names))
    found = pd.DataFrame([vars(row) for row in table.vessels])
    area = pixel_um[0] * pixel_um[1]
    assert table.n == len(expected)
    np.testing.assert_allclose(found["area_um2"], expected["area"] * area)
    np.testing.assert_allclose(found["centroid_y_px"], expected["centroid-0"])
    np.testing.assert_allclose(found["centroid_x_px"], expected["centroid-1"])
    np.testing.assert_allclose(found["stain_mean"], expected["intensity_mean"])
    np.testing.assert_allclose(math.pi / 4 * found["equivalent_diameter_um"] ** 2, found["area_um2"])
    assert table.area_fraction == mask.mean()


@pytest.mark.parametrize("radius", [20, 35, 60])
def test_a_vessel_around_a_circle_is_as_long_as_the_circle(radius: int) -> None:
    outer, inner = (discs((150, 150), np.array([[75, 75]]), radius + part) for part in (2, -2))
    table = drive(measure_vessels(slide_of(np.zeros((150, 150), np.uint8)), 0, drawn_mask(outer & ~inner)))
    (vessel,) = table.vessels
    assert vessel.length_um == pytest.approx(2 * math.pi * radius, rel=0.03)
    assert vessel.mean_diameter_um == pytest.approx(4, abs=0.7)
    assert vessel.area_um2 == pytest.approx(vessel.length_um * 4, rel=0.1)
    assert table.length_density_mm_per_mm2 == pytest.approx(vessel.length_um / 1e3 / (150 * 150 / 1e6))


@steady(15)
@given(st.tuples(st.integers(20, 100), st.integers(20, 100)), st.tuples(st.integers(20, 100), st.integers(20, 100)))
def test_a_line_of_single_pixels_is_as_long_as_its_steps(start, end):
    mask = np.zeros((120, 120), bool)
    mask[draw.line(*start, *end)] = True
    if mask.sum() < 2:
        return
    table = drive(measure_vessels(slide_of(np.zeros(mask.shape, np.uint8)), 0, drawn_mask(mask)))
    (vessel,) = table.vessels
    shorter, longer = sorted(abs(a - b) for a, b in zip(start, end, strict=True))
    # Kulpa's factor, which makes lines of all directions right on average
    expected = 0.948 * (longer - shorter + shorter * math.sqrt(2))
    assert vessel.length_um == pytest.approx(expected, rel=1e-3)
    assert vessel.length_um == pytest.approx(math.dist(start, end), rel=0.06)


@steady(10)
@given(SEEDS, st.integers(1, 12))
def test_cells_that_lie_apart_are_counted_in_any_orientation(seed, number):
    random = np.random.default_rng(seed)
    places = random.permutation(25)[:number]
    image = np.zeros((150, 150))
    image[
        15 + places // 5 * 30 + random.integers(-4, 5, number), 15 + places % 5 * 30 + random.integers(-4, 5, number)
    ] = 1
    image = ndimage.gaussian_filter(image, 3)
    image = (20 + 180 * image / image.max()).astype(np.uint8)
    for turned in (image, np.rot90(image), image.T):
        assert drive(cell_density(slide_of(np.ascontiguousarray(turned)), 0)).n == number

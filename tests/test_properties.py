"""Properties that hold for any input: tiles, regions, histograms and round trips, searched by hypothesis."""

from pathlib import Path

import dask.array as da
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from napari_hrpn.analysis.counts.intensity_histogram import bins_of_types, value_counts
from napari_hrpn.analysis.counts.joint_histogram import PairBins, pair_counts
from napari_hrpn.analysis.counts.moments import AgreementSums, update
from napari_hrpn.core import Box, TileGrid, covering, reflected
from napari_hrpn.core.plain_text import csv_cell, text_of_cell
from napari_hrpn.slides import Annotation, Slide, open_slide, read_geojson, write_geojson
from napari_hrpn.slides.writers.ome_zarr_writer import write_ome_zarr

settings.register_profile(
    "steady", derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")

SIDES = st.integers(1, 300)
IMAGES = npst.arrays(
    st.sampled_from([np.uint8, np.uint16, np.float32]),
    npst.array_shapes(min_dims=2, max_dims=2, max_side=40),
    elements={"min_value": 0, "max_value": 200},
)


@given(SIDES, SIDES, st.integers(1, 6), st.integers(0, 4), st.sampled_from([1, 4, 16]))
def test_tiles_cover_each_pixel_once_and_lie_on_the_stride(height, width, core, halo, stride):
    grid = TileGrid(height, width, core * stride, halo * stride, stride)
    covered = np.zeros((height, width), int)
    for tile in grid:
        covered[tile.core.y0 : tile.core.y1, tile.core.x0 : tile.core.x1] += 1
        padded = tile.padded
        assert all(value % stride == 0 for value in (padded.y0, padded.x0, padded.height, padded.width))
        assert padded.intersection(tile.core.grown(halo * stride)) == tile.core.grown(halo * stride)
    assert (covered == 1).all()


@given(SIDES, SIDES, st.integers(1, 6), st.tuples(SIDES, SIDES, SIDES, SIDES))
def test_tiles_within_a_box_are_those_that_meet_it(height, width, core, ends):
    grid, box = TileGrid(height, width, 16 * core, 0, 16), Box(*sorted(ends[:2]), *sorted(ends[2:]))
    assert grid.within(box) == tuple(tile for tile in grid if tile.core.intersection(box).area)


@given(npst.arrays(bool, npst.array_shapes(min_dims=2, max_dims=2, max_side=12)), st.floats(0, 3))
def test_rectangles_cover_what_is_wanted_and_do_not_overlap(wanted, halo):
    covered = np.zeros(wanted.shape, int)
    for box in covering(wanted, halo):
        covered[box.y0 : box.y1, box.x0 : box.x1] += 1
    assert covered.max(initial=0) <= 1
    assert covered[wanted].all()


@given(st.integers(2, 30), st.integers(0, 29))
def test_border_is_mirrored_as_numpy_does(size, reach):
    reach = min(reach, size - 1)
    np.testing.assert_array_equal(reflected(-reach, size + reach, size), np.pad(np.arange(size), reach, "reflect"))


@given(IMAGES, st.data())
def test_a_histogram_does_not_depend_on_tiles(image, data):
    cut = data.draw(st.integers(0, image.shape[0]))
    whole = value_counts(image)
    upper, lower = (value_counts(part, bins=whole.bins) for part in (image[:cut], image[cut:]))
    assert upper + lower == whole
    assert whole.n == image.size
    if image.dtype.kind == "u":
        assert whole.percentile(50, interpolated=True) == np.percentile(image, 50)
        assert whole.mean == image.mean(dtype=np.float64)


@given(npst.arrays(np.uint8, (30, 20)), npst.arrays(np.uint16, (30, 20)), npst.arrays(bool, (30, 20)), st.data())
def test_pixel_pairs_do_not_depend_on_tiles_or_their_order(real, predicted, mask, data):
    bins = PairBins(bins_of_types(real.dtype, predicted.dtype), (0.0, 65_536.0))
    cut = data.draw(st.integers(0, 30))
    whole = pair_counts(real, predicted, mask, bins)
    first, second = (
        pair_counts(real[rows], predicted[rows], mask[rows], bins) for rows in (slice(cut), slice(cut, None))
    )
    assert first + second == second + first == whole
    assert whole.n == mask.sum()
    assert whole.density.sum() == whole.n


@given(npst.arrays(np.float64, (2, 50), elements={"min_value": -1e6, "max_value": 1e6}))
def test_sums_of_floating_point_are_those_of_numpy(pair):
    sums = update(AgreementSums(), *pair)
    np.testing.assert_allclose(float(sums.squared_error), ((pair[1] - pair[0]) ** 2).sum(), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(float(sums.product), (pair[0] * pair[1]).sum(), rtol=1e-9, atol=1e-3)


POINTS = st.tuples(st.integers(-20, 60), st.integers(-20, 60))
RINGS = st.lists(POINTS, min_size=3, max_size=7, unique=True).map(lambda points: np.array(points, float))


@given(st.lists(RINGS, min_size=1, max_size=3), st.integers(1, 39), st.integers(1, 39))
def test_a_region_is_the_same_in_pieces(rings, row, column):
    region = Annotation("a", "include", tuple((ring,) for ring in rings))
    whole = region.within(slice(0, 40), slice(0, 40))
    for rows in (slice(0, row), slice(row, 40)):
        for columns in (slice(0, column), slice(column, 40)):
            np.testing.assert_array_equal(region.within(rows, columns), whole[rows, columns])


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(NAMES, st.lists(RINGS, min_size=1, max_size=2))
def test_regions_come_back_from_geojson(tmp_path_factory, name, rings):
    path = tmp_path_factory.mktemp("regions") / "a.geojson"
    region = Annotation("region", "include", tuple((ring,) for ring in rings), {"r": 0.5, name or "n": 2.0})
    write_geojson([region], path)
    # polygons of no area too, which are left out otherwise
    (found,) = read_geojson(path, everything=True)
    assert (found.name, found.kind) == ("region", "include")
    for (before,), (after,) in zip(region.rings, found.rings, strict=True):
        np.testing.assert_array_equal(before, after)


@given(st.text(st.characters(exclude_characters="\r"), max_size=20))
def test_a_cell_of_a_table_is_never_a_formula_and_comes_back(text):
    cell = csv_cell(text)
    assert cell[:1] not in tuple("=+-@\t\r")
    assert text_of_cell(cell) == text


@settings(max_examples=8)
@given(
    npst.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 70)),
    ),
    st.tuples(st.floats(0.5, 5), st.floats(0.5, 5)),
)
def test_a_slide_comes_back_from_ome_zarr(tmp_path_factory, pixels, size):
    folder = tmp_path_factory.mktemp("slide")
    names = tuple(f"stain {index}" for index in range(len(pixels)))
    slide = Slide((da.from_array(pixels, chunks=(1, 32, 32)),), names, size, Path("made-up"))
    for _ in write_ome_zarr(slide, folder / "a.ome.zarr"):
        pass
    found = open_slide(folder / "a.ome.zarr")
    np.testing.assert_array_equal(found.levels[0].compute(), pixels)
    assert found.channel_names == names
    np.testing.assert_allclose(found.pixel_size_um, size, rtol=1e-12)

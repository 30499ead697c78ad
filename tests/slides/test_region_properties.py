"""Pixels of a region: the same for any piece, level, outline and file, and those of another implementation."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from napari_hrpn.core import Box
from napari_hrpn.slides import Annotation, LabelRegion, RegionMask, read_geojson, region_mask, write_geojson
from napari_hrpn.slides.polygons import one_stroke
from napari_hrpn.slides.region import Region, included
from support.steady import steady

SEEDS = st.integers(0, 2**32 - 1)
SHAPE = 48, 56
WHOLE = slice(0, SHAPE[0]), slice(0, SHAPE[1])
CUTS = st.tuples(st.integers(1, SHAPE[0] - 1), st.integers(1, SHAPE[1] - 1))


def star(centre: np.ndarray, radii: tuple[float, float], random: np.random.Generator) -> np.ndarray:
    """A ring that does not cross itself: points at rising angles, each at its own distance between two radii."""
    angles = (np.arange(9) + random.uniform(0, 0.9, 9)) * 2 * np.pi / 9
    distance = random.uniform(*radii, (9, 1))
    return centre + distance * np.column_stack([np.sin(angles), np.cos(angles)])


def holed(seed: int) -> Annotation:
    """Two polygons with a hole each; they may overlap, and may reach beyond the slide."""
    random = np.random.default_rng(seed)
    centres = random.uniform((0, 0), SHAPE, (2, 2))
    rings = tuple((star(centre, (9, 20), random), star(centre, (2, 6), random)) for centre in centres)
    return Annotation("holed", "include", rings)


def inside_by_matplotlib(region: Annotation, downsample: tuple[float, float], shape: tuple[int, int]) -> np.ndarray:
    centres = (np.argwhere(np.ones(shape, bool)) + 0.5) * downsample
    polygons = [
        Outline(outline).contains_points(centres) & ~Outline(hole).contains_points(centres)
        for outline, hole in region.rings
    ]
    return np.any(polygons, axis=0).reshape(shape)


def assert_same_in_pieces(region: Region, cut: tuple[int, int]) -> None:
    whole = region.within(*WHOLE)
    for rows in (slice(0, cut[0]), slice(cut[0], SHAPE[0])):
        for columns in (slice(0, cut[1]), slice(cut[1], SHAPE[1])):
            np.testing.assert_array_equal(region.within(rows, columns), whole[rows, columns])


def assert_bounds_hold_it(region: Region) -> None:
    box, whole = region.bounds(SHAPE), region.within(*WHOLE)
    assert Box(0, SHAPE[0], 0, SHAPE[1]).intersection(box) == box or not box.area
    if box.area:
        assert region.within(*box.slices).sum() == whole.sum()
    else:
        assert not whole.any()


@steady(40)
@given(SEEDS, st.sampled_from([(1.0, 1.0), (2.0, 2.0), (1.7, 3.1)]))
def test_polygons_with_holes_have_the_pixels_that_matplotlib_finds_at_any_level(seed, downsample):
    region = holed(seed)
    shape = tuple(int(size / factor) for size, factor in zip(SHAPE, downsample, strict=True))
    found = region.at_level(slice(0, shape[0]), slice(0, shape[1]), downsample)
    np.testing.assert_array_equal(found, inside_by_matplotlib(region, downsample, shape))


@steady(40)
@given(SEEDS, CUTS)
def test_polygons_with_holes_are_the_same_in_pieces_and_within_their_bounds(seed, cut):
    region = holed(seed)
    assert_same_in_pieces(region, cut)
    assert_bounds_hold_it(region)
    assert region.reaches_beyond(SHAPE) == bool(
        any((ring.min() < -0.5) or (ring > np.add(SHAPE, 0.5)).any() for ring, _ in region.rings)
    )


@steady(40)
@given(SEEDS)
def test_a_polygon_with_a_hole_keeps_its_pixels_in_one_stroke_and_in_a_file(tmp_path_factory, seed):
    region = Annotation("holed", "include", holed(seed).rings[:1])
    expected = region.within(*WHOLE)
    stroke = Annotation("holed", "include", ((one_stroke(region.rings),),))
    np.testing.assert_array_equal(stroke.within(*WHOLE), expected)
    np.testing.assert_array_equal(stroke.outlined().within(*WHOLE), expected)
    assert [len(polygon) for polygon in stroke.outlined().rings] == [2]
    path = tmp_path_factory.mktemp("regions") / "a.geojson"
    write_geojson([region], path)
    (found,) = read_geojson(path)
    np.testing.assert_array_equal(found.within(*WHOLE), expected)
    assert found.digest == region.digest


@steady(40)
@given(SEEDS, SEEDS)
def test_the_pixels_of_included_regions_are_those_of_the_mask_of_all(first, second):
    random = np.random.default_rng(second)
    centres = random.uniform((8, 8), np.subtract(SHAPE, 8), (2, 2))
    excluding = [
        Annotation(f"not {i}", "exclude", ((star(centre, (3, 8), random),),)) for i, centre in enumerate(centres)
    ]
    regions = [Annotation("a", "include", ((star(np.array([24.0, 28.0]), (12, 20), random),),)), *excluding]
    regions.append(Annotation("b", "include", holed(first).rings[:1]))
    mask = region_mask(regions[:3], SHAPE)
    (alone,) = included(regions[:3])
    np.testing.assert_array_equal(alone.within(*WHOLE), mask.within(*WHOLE))
    pixels = [region.within(*WHOLE) for region in included(regions)]
    both = [inside_by_matplotlib(regions[-1], (1, 1), SHAPE), regions[0].within(*WHOLE)]
    gone = np.any([region.within(*WHOLE) for region in excluding], axis=0)
    np.testing.assert_array_equal(np.any(pixels, axis=0), np.any(both, axis=0) & ~gone)


@steady(40)
@given(SEEDS, CUTS)
def test_labels_under_any_affine_map_have_the_nearest_label_of_each_pixel(seed, cut):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, (20, 25))
    angle, scale = random.uniform(0, 2 * np.pi), random.uniform(0.3, 2, (2, 1))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = scale * turn
    offset = np.array([10, 12]) - matrix @ random.uniform((0, 0), SHAPE)
    region = LabelRegion("labels", labels, matrix, offset)
    place = np.rint(np.argwhere(np.ones(SHAPE, bool)) @ matrix.T + offset).astype(int)
    known = ((place >= 0) & (place < labels.shape)).all(axis=1)
    expected = np.zeros(len(place), bool)
    expected[known] = labels[tuple(place[known].T)] > 0
    np.testing.assert_array_equal(region.within(*WHOLE).ravel(), expected)
    assert_same_in_pieces(region, cut)
    assert_bounds_hold_it(region)


@steady(30)
@given(SEEDS, st.integers(1, 3), st.tuples(st.integers(-9, 9), st.integers(-9, 9)))
def test_the_outline_of_labels_no_larger_than_pixels_has_their_pixels(seed, finer, offset):
    labels = np.random.default_rng(seed).random((30, 40)) < 0.6
    region = LabelRegion("labels", labels, finer * np.eye(2), np.array(offset, float))
    np.testing.assert_array_equal(region.outlined().within(*WHOLE), region.within(*WHOLE))


@steady(12)
@given(SEEDS, st.sampled_from([1, 2, 4]), CUTS)
def test_a_coarse_mask_is_its_pixels_repeated(seed, factor, cut):
    shape = SHAPE[0] // factor, SHAPE[1] // factor
    mask = np.random.default_rng(seed).random(shape) < 0.4
    region = RegionMask(mask, (float(factor), float(factor)))
    expected = np.kron(mask, np.ones((factor, factor), bool))
    np.testing.assert_array_equal(region.within(*WHOLE), expected)
    np.testing.assert_array_equal(region.at_level(*WHOLE, (1.0, 1.0)), expected)
    np.testing.assert_array_equal(
        region.outlined().at_level(slice(0, shape[0]), slice(0, shape[1]), region.downsample), mask
    )
    assert_same_in_pieces(region, cut)
    assert_bounds_hold_it(region)
    assert region.share(Box(0, *SHAPE[:1], 0, SHAPE[1])) == expected.mean() == region.fraction


@steady(30)
@given(SEEDS, st.tuples(st.integers(-3, 3), st.integers(-3, 3)))
def test_a_digest_changes_with_the_place_and_with_nothing_else(seed, shift):
    region = holed(seed)
    moved = Annotation("moved", "exclude", tuple(tuple(ring + shift for ring in polygon) for polygon in region.rings))
    assert (moved.digest == region.digest) == (shift == (0, 0))
    labels = np.random.default_rng(seed).random((9, 9)) < 0.5
    first, second = (
        LabelRegion(name, labels, np.eye(2), np.array(at, float)) for name, at in (("a", (0, 0)), ("b", shift))
    )
    assert (first.digest == second.digest) == (shift == (0, 0))
    assert (
        RegionMask(labels, (1.0, 1.0)).digest
        != RegionMask(labels, (2.0, 1.0)).digest
        != RegionMask(~labels, (2.0, 1.0)).digest
    )

"""Counts and sums: exact, and the same for any partition of an image into rectangles, in any order."""

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from napari_hrpn.analysis.counts.area_binning import WorkingGrid
from napari_hrpn.analysis.counts.blocks import BlockSums, update_blocks
from napari_hrpn.analysis.counts.intensity_histogram import value_counts
from napari_hrpn.analysis.counts.joint_histogram import DENSITY_CELLS, PairBins, pair_counts
from napari_hrpn.analysis.counts.moments import AgreementSums, exact_root, update
from napari_hrpn.analysis.counts.patch_sums import no_patch_sums, update_patches
from napari_hrpn.analysis.statistics.agreement import deviations
from support.steady import steady

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
SHAPES = npst.array_shapes(min_dims=2, max_dims=2, max_side=24)
SEEDS = st.integers(0, 2**32 - 1)


def rectangles(shape: tuple[int, int], random: np.random.Generator) -> list[tuple[slice, slice]]:
    """A partition of an image: strips of random heights, each cut at its own columns, in random order."""
    found = []
    for rows in cuts(shape[0], random):
        found += [(rows, columns) for columns in cuts(shape[1], random)]
    return [found[index] for index in random.permutation(len(found))]


def cuts(length: int, random: np.random.Generator) -> Iterator[slice]:
    inner = np.unique(random.integers(0, length + 1, random.integers(0, 5)))
    edges = [0, *(int(edge) for edge in inner if 0 < edge < length), length]
    return map(slice, edges[:-1], edges[1:])


def images(dtype: str, shape: tuple[int, int], random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two images over the whole range of a type, with zeros and both ends in them."""
    ends = np.iinfo(dtype)
    pair = random.integers(ends.min, ends.max, (2, *shape), dtype, endpoint=True)
    pair[random.random(pair.shape) < 0.3] = 0
    pair[random.random(pair.shape) < 0.1] = ends.max
    pair[random.random(pair.shape) < 0.1] = ends.min
    return pair[0], pair[1]


def exact_deviations(values: np.ndarray) -> np.ndarray:
    """Deviations from the mean, subtracted as fractions."""
    numbers = [Fraction(value) for value in values.ravel().tolist()]
    mean = sum(numbers, Fraction()) / len(numbers)
    return np.array([float(number - mean) for number in numbers])


@steady()
@given(st.sampled_from(INTEGERS[:-1]), SHAPES, SEEDS)
def test_moments_of_integers_are_those_of_python_in_any_pieces(dtype, shape, seed):
    random = np.random.default_rng(seed)
    real, predicted = images(dtype, shape, random)
    y, p = real.ravel().tolist(), predicted.ravel().tolist()
    expected = AgreementSums(
        n=len(y),
        real=sum(y),
        predicted=sum(p),
        real_squared=sum(a * a for a in y),
        predicted_squared=sum(b * b for b in p),
        product=sum(a * b for a, b in zip(y, p, strict=True)),
        squared_error=sum((a - b) ** 2 for a, b in zip(y, p, strict=True)),
    )
    pooled = AgreementSums()
    for piece in rectangles(shape, random):
        pooled = update(pooled, real[piece], predicted[piece])
    assert pooled == update(AgreementSums(), real, predicted) == expected


@steady()
@given(SHAPES, st.floats(-1e6, 1e6), st.sampled_from([1e-9, 1.0, 1e5]), SEEDS)
def test_moments_of_floating_point_lose_no_digits_to_an_offset_or_to_pieces(shape, offset, spread, seed):
    random = np.random.default_rng(seed)
    real, predicted = offset + spread * random.random((2, *shape))
    pooled = AgreementSums()
    for piece in rectangles(shape, random):
        pooled = update(pooled, real[piece], predicted[piece])
    y, p = map(exact_deviations, (real, predicted))
    expected = [float((a * b).sum()) for a, b in ((y, y), (p, p), (y, p))]
    found = [float(number) for number in deviations(pooled)]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * max(expected))
    np.testing.assert_allclose(float(pooled.squared_error), ((real - predicted) ** 2).sum(), rtol=1e-9)


@steady()
@given(st.floats(-1e140, 1e140), SHAPES, SEEDS)
def test_a_constant_image_has_no_spread_however_it_is_cut(value, shape, seed):
    random, image = np.random.default_rng(seed), np.full(shape, value)
    pooled = AgreementSums()
    for piece in rectangles(shape, random):
        pooled = update(pooled, image[piece], image[piece])
    assert deviations(pooled) == (0, 0, 0)
    assert pooled.squared_error == 0


@steady(60)
@given(st.integers(1, 2**1000), st.integers(1, 2**500))
def test_the_root_of_a_square_is_right_where_the_square_is_too_large_or_small_for_floating_point(first, second):
    assert exact_root(first * first) == pytest.approx(float(first), rel=1e-15)
    ratio = Fraction(second, first)
    assert exact_root(ratio * ratio) == pytest.approx(float(ratio), rel=1e-15, abs=5e-324)


@steady()
@given(st.sampled_from(INTEGERS[:4]), st.sampled_from(INTEGERS[:4]), SHAPES, SEEDS)
def test_pixel_pairs_are_counted_as_numpy_counts_them(first, second, shape, seed):
    random = np.random.default_rng(seed)
    real, predicted = images(first, shape, random)[0], images(second, shape, random)[1]
    mask = random.random(shape) < 0.7
    y, p = real[mask].astype(np.int64), predicted[mask].astype(np.int64)
    low = min(np.iinfo(first).min, np.iinfo(second).min)
    number = max(np.iinfo(first).max, np.iinfo(second).max) - low + 1
    found = pair_counts(real, predicted, mask)
    for counts, values in ((found.real, y), (found.predicted, p), (found.smaller, np.minimum(y, p))):
        np.testing.assert_array_equal(counts.counts, np.bincount(values - low, minlength=number))
    signal_y, signal_p = np.maximum(y, 0), np.maximum(p, 0)
    assert found.both_zero == np.count_nonzero((y == 0) & (p == 0))
    assert found.negative == np.count_nonzero(y < 0) + np.count_nonzero(p < 0)
    assert found.real_where_predicted == signal_y[p > 0].sum()
    assert found.predicted_where_real == signal_p[y > 0].sum()
    assert (found.signal.product, found.sums.product) == (signal_y @ signal_p, y @ p)


@steady(20)
@given(st.sampled_from(["uint8", "uint16", "int16"]), SHAPES, SEEDS)
def test_pixel_pairs_and_their_density_are_the_same_in_any_pieces(dtype, shape, seed):
    random = np.random.default_rng(seed)
    real, predicted = random.integers(0, 200, (2, *shape)).astype(dtype)
    mask = random.random(shape) < 0.8
    values = pair_counts(real, predicted).real.bins
    bins = PairBins(values, (10.0, 138.0))
    whole = pair_counts(real, predicted, mask, bins)
    pooled = None
    for piece in rectangles(shape, random):
        part = pair_counts(real[piece], predicted[piece], mask[piece], bins)
        pooled = part if pooled is None else pooled + part
    assert pooled == whole
    edges = np.linspace(10, 138, DENSITY_CELLS + 1)
    inside = [np.clip(image[mask], 10, 137.75) for image in (real, predicted)]
    np.testing.assert_array_equal(whole.density, np.histogram2d(*inside, bins=[edges, edges])[0])


@steady()
@given(SHAPES, SEEDS)
def test_eight_bits_are_counted_as_the_same_numbers_in_sixteen(shape, seed):
    narrow = np.random.default_rng(seed).integers(0, 4, (2, *shape)).astype(np.uint8)
    eight, sixteen = pair_counts(*narrow), pair_counts(*narrow.astype(np.uint16))
    assert eight.sums == sixteen.sums
    assert eight.both_zero == sixteen.both_zero
    assert eight.real_where_predicted == sixteen.real_where_predicted
    for name in ("real", "predicted", "smaller"):
        np.testing.assert_array_equal(getattr(eight, name).counts, getattr(sixteen, name).counts[:256])


@steady()
@given(npst.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e4, 1e4)), st.floats(-1e4, 1e4))
def test_pixels_at_a_level_or_brighter_are_all_but_the_darker_ones_to_within_a_bin(pixels, level):
    counts = value_counts(pixels)
    step = counts.step if len(counts.counts) > 1 else 0.0
    assert (pixels >= level + step).sum() <= counts.at_least(level) <= (pixels >= level - step).sum()
    shares = counts.percentile([0, 25, 50, 100])
    expected = np.percentile(pixels, [0, 25, 50, 100], method="inverted_cdf")
    np.testing.assert_allclose(shares, expected, atol=max(step, 1e-9))


@steady()
@given(st.integers(1, 9), SHAPES, SEEDS)
def test_blocks_of_any_side_hold_the_sums_of_their_pixels(side, shape, seed):
    random = np.random.default_rng(seed)
    real, predicted = images("uint16", shape, random)
    mask = random.random(shape) < 0.5
    pooled = BlockSums(side)
    for piece in rectangles(shape, random):
        origin = piece[0].start, piece[1].start
        pooled = update_blocks(pooled, real[piece], predicted[piece], mask[piece], origin)
    expected = {}
    for y in range(0, shape[0], side):
        for x in range(0, shape[1], side):
            block = slice(y, y + side), slice(x, x + side)
            if mask[block].any():
                expected[y // side, x // side] = update(
                    AgreementSums(), real[block][mask[block]], predicted[block][mask[block]]
                )
    assert dict(pooled.blocks) == expected
    assert pooled.ordered == [expected[place] for place in sorted(expected)]
    assert sum(pooled.ordered, AgreementSums()) == update(AgreementSums(), real, predicted, mask)
    if expected:
        assert 1 <= pooled.effective <= len(expected) * (1 + 1e-12)


@steady()
@given(st.integers(1, 9), st.sampled_from(["uint8", "uint16", "int32", "float32"]), SHAPES, SEEDS)
def test_patches_of_any_side_hold_the_sums_of_their_pixels(side, dtype, shape, seed):
    random = np.random.default_rng(seed)
    channels = random.integers(0, 200, (2, *shape)).astype(dtype)
    mask = random.random(shape) < 0.6
    thresholds = (99.5, 100.0)
    pooled = no_patch_sums(shape, 2, channels.dtype, side, thresholds)
    for piece in rectangles(shape, random):
        origin = piece[0].start, piece[1].start
        pooled = update_patches(pooled, channels[(slice(None), *piece)], origin, mask[piece])
    patch = np.add.outer(np.arange(shape[0]) // side * pooled.pixels.shape[1], np.arange(shape[1]) // side)[mask]
    size = pooled.pixels.size
    np.testing.assert_array_equal(pooled.pixels.ravel(), np.bincount(patch, minlength=size))
    for index, threshold in enumerate(thresholds):
        values = channels[index][mask].astype(np.float64)
        np.testing.assert_array_equal(pooled.totals[index].ravel(), np.bincount(patch, values, size))
        np.testing.assert_array_equal(pooled.positive[index].ravel(), np.bincount(patch, values >= threshold, size))


@steady()
@given(SHAPES, st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)), SEEDS)
def test_a_coarser_grid_holds_each_pixel_once_for_any_proportions(fine, shares, seed):
    random = np.random.default_rng(seed)
    coarse = tuple(max(1, math.ceil(size * share)) for size, share in zip(fine, shares, strict=True))
    grid, image = WorkingGrid(fine, coarse), random.integers(0, 1000, fine).astype(np.uint16)
    sums, counts = np.zeros(coarse, np.int64), np.zeros(coarse, np.int64)
    for rows, columns in rectangles(fine, random):
        box = grid.cells(rows, columns)
        place = slice(box.y0, box.y1), slice(box.x0, box.x1)
        sums[place] += grid.sums_within(image[rows, columns], rows, columns)
        counts[place] += grid.counts_within(rows, columns)
    assert (sums.sum(), counts.sum()) == (image.sum(), image.size)
    assert counts.min() >= 1
    largest = math.prod(math.ceil(f / c) for f, c in zip(fine, coarse, strict=True))
    assert counts.max() <= largest

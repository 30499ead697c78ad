"""Coarser levels are exact means, whatever the size, the type, and the block in which they are asked for."""

from fractions import Fraction
from math import floor

import dask.array as da
import numpy as np
import pytest

from napari_hrpn.slides import coarser_levels, halve


def mean_of_pixels_there_are(image, row, column):
    values = [Fraction(int(value)) for value in image[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].ravel()]
    return sum(values) / len(values)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int8, np.int16, np.int32])
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (7, 1), (6, 8), (7, 9)])
def test_integers_are_rounded_half_up_exactly(dtype, shape):
    info = np.iinfo(dtype)
    image = np.random.default_rng(1).integers(info.min, info.max, shape, dtype, endpoint=True)
    image.flat[:4] = info.max
    halved = halve(image)
    assert halved.dtype == dtype
    assert halved.shape == (-(-shape[0] // 2), -(-shape[1] // 2))
    for (row, column), value in np.ndenumerate(halved):
        assert value == floor(mean_of_pixels_there_are(image, row, column) + Fraction(1, 2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_are_averaged_in_double(dtype):
    image = np.random.default_rng(2).normal(size=(2, 9, 7)).astype(dtype)
    halved = halve(image)
    assert halved.dtype == dtype
    assert halved[1, 1, 2] == pytest.approx(image[1, 2:4, 4:6].astype(float).mean(), rel=1e-6)
    assert halved[1, 4, 3] == image[1, 8, 6]
    assert halved[0, 4, 0] == pytest.approx(image[0, 8, :2].astype(float).mean(), rel=1e-6)


@pytest.mark.parametrize("chunks", [(1, 512, 512), (3, 301, 97), (3, 1301, 1733)])
def test_levels_are_the_same_in_whatever_blocks(chunks):
    image = np.random.default_rng(3).integers(0, 65535, (3, 1301, 1733), np.uint16)
    levels = coarser_levels(da.from_array(image, chunks=chunks), smallest=300)
    assert [level.shape for level in levels] == [(3, 651, 867), (3, 326, 434), (3, 163, 217)]
    expected = image
    for level in levels:
        expected = halve(expected)
        assert np.array_equal(level.compute(scheduler="synchronous"), expected)
        assert np.array_equal(level[1, 101:150, 33:200:2].compute(), expected[1, 101:150, 33:200:2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_no_grey_level_is_left_out_of_the_mean(dtype):
    image = np.arange(1, 31, dtype=dtype).reshape(1, 5, 6)
    image[0, 0, 0], image[0, 1, 3], image[0, 4, 5] = np.nan, np.inf, -1e30
    image[0, 2:4, :2] = np.nan
    known = np.where(np.abs(image) <= 1e12, image, np.nan)
    expected = [
        [np.nanmean(known[0, y : y + 2, x : x + 2]) if (y, x) != (2, 0) else np.nan for x in (0, 2, 4)]
        for y in (0, 2, 4)
    ]
    np.testing.assert_allclose(halve(image)[0], expected, rtol=1e-6)


def test_small_level_needs_no_coarser_one():
    assert coarser_levels(da.zeros((1, 512, 400))) == ()


def test_making_levels_reads_nothing_and_a_block_reads_only_what_lies_under_it():
    read = []

    class Watched:
        shape, dtype, ndim = (1, 65536, 65536), np.dtype(np.uint8), 3

        def __getitem__(self, key):
            read.append(key)
            return np.zeros([part.stop - part.start for part in key], np.uint8)

    watched = da.from_array(
        Watched(), chunks=(1, 512, 512), asarray=False, fancy=False, name="watched", meta=np.empty((0, 0, 0), np.uint8)
    )
    levels = coarser_levels(watched)
    assert len(levels) == 7
    assert not read
    levels[1][0, 512:1024, :512].compute(scheduler="synchronous")
    assert len(read) == 16
    assert {(key[1].start, key[2].start) for key in read} == {
        (row, column) for row in range(2048, 4096, 512) for column in range(0, 2048, 512)
    }

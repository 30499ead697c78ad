import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import linregress, pearsonr, t

from napari_hrpn.analysis import (
    AgreementError,
    BlockSums,
    agreement,
    block_bootstrap,
    block_side_px,
    tumour_bootstrap,
    update_blocks,
)
from napari_hrpn.analysis.counts.blocks import correlation_length_px


def smooth_field(generator: np.random.Generator, sigma: float, size: int = 256) -> np.ndarray:
    """Its autocorrelation is exp(-d² / 4 sigma²): 1/e at 2 sigma."""
    margin = math.ceil(4 * sigma)
    field = gaussian_filter(generator.normal(size=(size + 2 * margin,) * 2), sigma)
    return field[margin:-margin, margin:-margin] * sigma


def images(seed: int = 0, shape: tuple[int, int] = (203, 310)) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    real = generator.integers(0, 60_000, shape, np.uint16)
    return real, (real // 2 + generator.integers(0, 30_000, shape, np.uint16)).astype(np.uint16)


def test_interval_of_independent_smooth_fields_holds_zero_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    trials, held, held_slope, naive = 160, 0, 0, 0
    for trial in range(trials):
        real, predicted = (smooth_field(generator, 3, 216) for _ in range(2))
        result = block_bootstrap(update_blocks(BlockSums(36), real, predicted), resamples=500, seed=trial)
        held += result.pearson_r.low <= 0 <= result.pearson_r.high
        held_slope += result.slope.low <= 0 <= result.slope.high
        low, high = pearsonr(real.ravel(), predicted.ravel()).confidence_interval()
        naive += low <= 0 <= high
    assert 0.90 <= held / trials <= 0.97
    assert 0.90 <= held_slope / trials <= 0.97
    assert naive / trials < 0.3
    assert result.blocks == 36


def test_interval_of_white_noise_is_that_of_the_textbook() -> None:
    generator = np.random.default_rng(1)
    real = generator.normal(50, 5, (300, 300))
    predicted = 0.4 * real + generator.normal(0, 3, real.shape)
    result = block_bootstrap(update_blocks(BlockSums(10), real, predicted), resamples=5000)
    line, low_high = (
        linregress(real.ravel(), predicted.ravel()),
        pearsonr(real.ravel(), predicted.ravel()).confidence_interval(),
    )
    reach = t.ppf(0.975, real.size - 2) * line.stderr
    assert (result.pearson_r.estimate, result.slope.estimate) == pytest.approx((line.rvalue, line.slope), rel=1e-9)
    assert (result.pearson_r.low, result.pearson_r.high) == pytest.approx(tuple(low_high), abs=0.1 * np.ptp(low_high))
    ends = line.slope - reach, line.slope + reach
    assert (result.slope.low, result.slope.high) == pytest.approx(ends, abs=0.2 * reach)


def test_resamples_are_those_of_drawn_pixels() -> None:
    generator = np.random.default_rng(2)
    real, predicted = (smooth_field(generator, 3, 120) for _ in range(2))
    result = block_bootstrap(update_blocks(BlockSums(20), real, predicted), resamples=2000, confidence=0.5)
    y, p = (image.reshape(6, 20, 6, 20).swapaxes(1, 2).reshape(36, -1) for image in (real, predicted))
    drawn = generator.integers(36, size=(2000, 36))
    expected = np.quantile([np.corrcoef(y[rows].ravel(), p[rows].ravel())[0, 1] for rows in drawn], [0.25, 0.75])
    assert (result.pearson_r.low, result.pearson_r.high) == pytest.approx(tuple(expected), abs=0.1 * np.ptp(expected))


@pytest.mark.parametrize("masked", [False, True])
def test_any_tiling_gives_the_same_interval_to_the_last_bit(*, masked: bool) -> None:
    real, predicted = images()
    mask = np.random.default_rng(3).random(real.shape) < 0.6 if masked else None
    whole = update_blocks(BlockSums(32), real, predicted, mask)
    generator = np.random.default_rng(4)
    for _ in range(3):
        rows = [0, *sorted(generator.choice(np.arange(1, 203), 3, replace=False)), 203]
        columns = [0, *sorted(generator.choice(np.arange(1, 310), 4, replace=False)), 310]
        boxes = [(slice(*row), slice(*column)) for row in pairwise(rows) for column in pairwise(columns)]
        tiled, rest = BlockSums(32), BlockSums(32)
        for count, index in enumerate(generator.permutation(len(boxes))):
            box = boxes[index]
            tile = real[box], predicted[box], None if mask is None else mask[box], (box[0].start, box[1].start)
            if count % 2:
                tiled = update_blocks(tiled, *tile)
            else:
                rest = update_blocks(rest, *tile)
        assert (rest + tiled).blocks == whole.blocks
        assert block_bootstrap(rest + tiled) == block_bootstrap(whole)
    total = agreement(real, predicted, mask)
    result = block_bootstrap(whole)
    assert (result.n, result.pearson_r.estimate, result.blocks) == (total.n, total.pearson_r, 7 * 10)


def test_a_large_offset_leaves_the_interval_as_it_is() -> None:
    generator = np.random.default_rng(5)
    real, predicted = np.round(generator.normal(size=(2, 128, 128)) * 2**20) / 2**20
    plain = block_bootstrap(update_blocks(BlockSums(16), real, predicted))
    moved = block_bootstrap(update_blocks(BlockSums(16), real + 2.0**24, predicted - 2.0**24))
    ends = [(result.pearson_r.low, result.pearson_r.high, result.slope.low) for result in (plain, moved)]
    assert ends[0] == pytest.approx(ends[1], rel=1e-6)


def test_only_the_seed_changes_the_interval() -> None:
    blocks = update_blocks(BlockSums(20), *images())
    first, again, other = (block_bootstrap(blocks, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.pearson_r.low != other.pearson_r.low
    assert first.pearson_r.estimate == other.pearson_r.estimate


def test_wider_confidence_gives_a_wider_interval() -> None:
    blocks = update_blocks(BlockSums(20), *images())
    narrow, wide = (block_bootstrap(blocks, confidence=confidence).slope for confidence in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.estimate < narrow.high < wide.high


def test_unequal_blocks_count_for_fewer() -> None:
    real, predicted = images(shape=(100, 100))
    mask = np.zeros(real.shape, bool)
    mask[:50] = True
    mask[50:, ::50] = True
    blocks = update_blocks(BlockSums(50), real, predicted, mask)
    sizes = [2500, 2500, 50, 50]
    assert [sums.n for sums in blocks.ordered] == sizes
    assert blocks.effective == pytest.approx(sum(sizes) ** 2 / sum(size**2 for size in sizes))


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        (BlockSums(10), "no pixel"),
        (update_blocks(BlockSums(100), *images()), "holds 6.6 independent blocks of 100 px"),
        (update_blocks(BlockSums(20), np.ones((200, 200)), images(shape=(200, 200))[0]), "constant"),
    ],
)
def test_what_does_not_exist_is_nan_with_a_reason(blocks: BlockSums, words: str) -> None:
    result = block_bootstrap(blocks)
    for interval in (result.pearson_r, result.slope):
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)
        assert words in interval.reason


def test_signal_in_one_block_alone_has_no_interval() -> None:
    real = np.zeros((200, 200), np.uint8)
    real[:20, :20] = np.random.default_rng(6).integers(0, 255, (20, 20))
    result = block_bootstrap(update_blocks(BlockSums(20), real, real))
    assert math.isnan(result.pearson_r.low)
    assert "too few blocks" in result.pearson_r.reason
    assert result.pearson_r.estimate == 1


@pytest.mark.parametrize("sigma", [1.5, 3.0, 6.0])
def test_correlation_length_of_a_smooth_field_is_the_known_one(sigma: float) -> None:
    generator = np.random.default_rng(7)
    field = smooth_field(generator, sigma, 512)
    # exp(-d² / 4 sigma²) is 1/e of its value at 1 px at this distance
    expected = math.sqrt(4 * sigma**2 + 1)
    assert correlation_length_px(field) == pytest.approx(expected, rel=0.12)
    assert correlation_length_px(field + generator.normal(size=field.shape)) == pytest.approx(expected, rel=0.15)


def test_correlation_length_looks_inside_the_mask_only() -> None:
    generator = np.random.default_rng(8)
    image, mask = smooth_field(generator, 4), np.zeros((256, 256), bool)
    mask[:, :200] = True
    alone = correlation_length_px(image[:, :200])
    image[~mask] = np.nan
    assert correlation_length_px(image, mask) == pytest.approx(alone, rel=1e-9)


def test_block_side_is_six_lengths_of_the_smoother_image() -> None:
    generator = np.random.default_rng(9)
    rough, smooth = smooth_field(generator, 1), smooth_field(generator, 5)
    assert block_side_px(rough, smooth) == math.ceil(6 * correlation_length_px(smooth))
    # white noise would need only 4 px: about a thousand blocks are enough
    assert block_side_px(*generator.normal(size=(2, 256, 256))) == math.ceil(256 / math.sqrt(1000))
    assert block_side_px(*np.ones((2, 3, 3))) == 1


def test_correlation_length_of_a_trend_is_no_longer_than_half_the_image() -> None:
    ramp = np.add.outer(np.arange(40.0), np.arange(30.0))
    assert 5 < correlation_length_px(ramp) <= 20


@pytest.mark.parametrize(("n", "least"), [(5, 0.90), (8, 0.92)])
def test_tumour_interval_holds_the_mean_as_often_as_it_says(n: int, least: float) -> None:
    generator = np.random.default_rng(10)
    intervals = [tumour_bootstrap(generator.normal(3, 1, n), resamples=2000, seed=trial) for trial in range(500)]
    held = np.mean([interval.low <= 3 <= interval.high for interval in intervals])
    assert least <= held <= 0.98


def test_tumour_interval_of_many_is_a_t_interval() -> None:
    values = np.random.default_rng(11).normal(0.7, 0.1, 60)
    interval = tumour_bootstrap(values)
    expected = t.interval(0.95, 59, values.mean(), values.std(ddof=1) / math.sqrt(60))
    assert interval.estimate == pytest.approx(values.mean())
    assert (interval.low, interval.high) == pytest.approx(expected, abs=0.1 * np.ptp(expected))
    assert interval.units == 60


def test_few_tumours_have_no_interval_but_a_mean() -> None:
    interval = tumour_bootstrap([1.0, 2.0, 6.0])
    assert interval.estimate == 3
    assert math.isnan(interval.low)
    assert "3 tumours" in interval.reason
    assert math.isnan(tumour_bootstrap([]).estimate)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: tumour_bootstrap([1.0, math.nan]), "finite"),
        (lambda: tumour_bootstrap([[1.0], [2.0]]), "one finite number"),
        (lambda: tumour_bootstrap([1.0] * 5, confidence=95), "between 0 and 1"),
        (lambda: block_bootstrap(BlockSums(10), resamples=10), "100 or more"),
        (lambda: BlockSums(0), "side of 0 px"),
        (lambda: BlockSums(10) + BlockSums(20), "one side"),
        (lambda: update_blocks(BlockSums(10), np.ones((3, 4)), np.ones((4, 3))), "one size"),
        (lambda: update_blocks(BlockSums(10), np.ones(4), np.ones(4)), "two, y and x"),
        (lambda: update_blocks(BlockSums(10), np.ones((3, 4)), np.ones((3, 4)), np.ones((4, 3), bool)), "mask"),
        (lambda: correlation_length_px(np.full((4, 4), np.nan)), "not finite"),
    ],
)
def test_senseless_input_is_refused(call: object, words: str) -> None:
    with pytest.raises(AgreementError, match=words):
        call()

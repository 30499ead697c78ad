import math

import numpy as np
import pytest

from napari_hrpn.analysis import AgreementError, AgreementSums, icc
from napari_hrpn.analysis.counts.moments import update
from napari_hrpn.analysis.statistics.icc import compute_icc, rater_sums

RAMP = np.arange(10)
# six subjects, four judges: Shrout & Fleiss 1979, table 2
JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])


@pytest.mark.parametrize(
    ("table", "icc_a1", "icc_c1"),
    [
        (np.stack([RAMP, RAMP + 5], 1), 0.423077, 1.0),
        (np.stack([RAMP, RAMP / 2], 1), 0.562660, 0.8),
        (JUDGES, 0.289764, 0.714841),
    ],
)
def test_known_numbers(table: np.ndarray, icc_a1: float, icc_c1: float) -> None:
    result = icc(table)
    assert (result.icc_a1, result.icc_c1) == pytest.approx((icc_a1, icc_c1), abs=5e-7)
    assert (result.n, result.raters, result.reason) == (*table.shape, "")


def test_intervals_of_the_judges_are_the_published_ones() -> None:
    result = icc(JUDGES)
    # R's psych::ICC prints these for the table
    assert (result.icc_a1_low, result.icc_a1_high) == pytest.approx((0.019, 0.761), abs=5e-4)
    assert (result.icc_c1_low, result.icc_c1_high) == pytest.approx((0.342, 0.946), abs=5e-4)


def test_mean_squares_are_those_of_an_analysis_of_variance() -> None:
    table = np.random.default_rng(0).normal(size=(40, 3)) + np.array([0.0, 1.0, 3.0])
    rows, columns, mean = table.mean(1, keepdims=True), table.mean(0), table.mean()
    result = icc(table)
    assert result.mean_square_subjects == pytest.approx(3 * np.sum((rows - mean) ** 2) / 39, rel=1e-12)
    assert result.mean_square_raters == pytest.approx(40 * np.sum((columns - mean) ** 2) / 2, rel=1e-12)
    assert result.mean_square_error == pytest.approx(np.sum((table - rows - columns + mean) ** 2) / 78, rel=1e-12)


def test_bias_lowers_agreement_and_leaves_consistency() -> None:
    table = np.random.default_rng(1).normal(size=(50, 1)) + 0.2 * np.random.default_rng(2).normal(size=(50, 2))
    plain, biased = icc(table), icc(table + np.array([0.0, 2.0]))
    assert biased.icc_c1 == pytest.approx(plain.icc_c1, rel=1e-12)
    assert biased.icc_a1 < 0.6 < plain.icc_a1
    assert biased.icc_a1_low < biased.icc_a1 < biased.icc_a1_high


def test_sums_of_patches_pool_in_any_order_to_the_last_bit() -> None:
    table = np.random.default_rng(3).integers(0, 65536, (600, 3))
    whole = icc(table)
    cut = [rater_sums(part) for part in np.split(np.random.default_rng(4).permutation(table), [5, 6, 300])]
    assert compute_icc(cut[3] + cut[0] + cut[2] + cut[1]) == whole


def test_pooled_sums_of_two_images_are_enough() -> None:
    real, predicted = np.random.default_rng(5).integers(0, 256, (2, 64, 64), np.uint8)
    sums = AgreementSums()
    for row in range(64):
        sums = update(sums, real[row], predicted[row])
    assert compute_icc(sums) == icc(np.stack([real.ravel(), predicted.ravel()], 1))


def test_a_large_offset_costs_no_digits() -> None:
    table = np.random.default_rng(6).normal(size=(30, 1)) + 1e-4 * np.random.default_rng(7).normal(size=(30, 2))
    plain, moved = icc(table), icc(table + 2.0**20)
    assert 1 - moved.icc_c1 == pytest.approx(1 - plain.icc_c1, rel=1e-5)


@pytest.mark.parametrize("bias", [0.0, 1.0])
def test_intervals_hold_the_truth_as_often_as_they_say(bias: float) -> None:
    generator = np.random.default_rng(8)
    held = np.zeros(2)
    for _ in range(400):
        raters = bias * generator.normal(size=(1, 6))
        result = icc(generator.normal(size=(25, 1)) + raters + generator.normal(size=(25, 6)))
        held += [
            result.icc_a1_low <= 1 / (2 + bias) <= result.icc_a1_high,
            result.icc_c1_low <= 0.5 <= result.icc_c1_high,
        ]
    # of 3,000 trials 94.5 to 95.8 %; the standard error of 400 is 1.1 %
    assert np.all((held / 400 > 0.91) & (held / 400 < 0.985)), held


def test_equal_raters_agree_fully() -> None:
    result = icc(np.stack([RAMP, RAMP], 1))
    assert (result.icc_a1, result.icc_a1_low, result.icc_c1, result.icc_c1_high) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("table", "words"),
    [(np.ones((5, 2)), "same numbers"), (np.array([[1.0, 2.0]]), "1 subjects"), (np.empty((0, 2)), "0 subjects")],
)
def test_what_does_not_exist_is_nan_with_a_reason(table: np.ndarray, words: str) -> None:
    result = icc(table)
    assert math.isnan(result.icc_a1)
    assert math.isnan(result.icc_c1)
    assert words in result.reason


def test_opposite_raters_have_a_negative_icc_and_no_interval() -> None:
    result = icc(np.stack([RAMP, RAMP[::-1]], 1))
    assert (result.icc_a1, result.icc_c1) == (-1.25, -1)
    assert math.isnan(result.icc_a1_low)
    assert "do not differ" in result.reason


@pytest.mark.parametrize(
    ("table", "confidence", "words"),
    [
        (RAMP, 0.95, "two or more raters"),
        (RAMP[:, None], 0.95, "two or more raters"),
        (np.array([[1, np.nan], [2, 3]]), 0.95, "not finite"),
        (JUDGES, 95, "between 0 and 1"),
    ],
)
def test_senseless_input_is_refused(table: np.ndarray, confidence: float, words: str) -> None:
    with pytest.raises(AgreementError, match=words):
        icc(table, confidence)

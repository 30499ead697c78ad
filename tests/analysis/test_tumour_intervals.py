"""Intervals for a new tumour: the level that K tumours allow, the factor, and its coverage of simulated tumours."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from napari_hrpn.analysis import AnalysisError, tumour_factor


def test_five_tumours_allow_83_per_cent_and_90_needs_nine() -> None:
    ones = [np.ones(1)] * 9
    assert tumour_factor(ones[:5], ones[:5], 0.8).highest == pytest.approx(0.8333, abs=1e-4)
    assert tumour_factor(ones, ones, 0.9).highest == pytest.approx(0.9)
    with pytest.raises(
        AnalysisError, match=r"5 held-out tumours allow .* at most 83.3 % .* 90 % needs 9; ask for a lower"
    ):
        tumour_factor(ones[:5], ones[:5], 0.9)
    with pytest.raises(AnalysisError, match="90 % needs 9"):
        tumour_factor(ones[:8], ones[:8], 0.9)


@pytest.mark.parametrize("level", [0.5, 0.6, 0.8, 0.9])
def test_one_number_per_tumour_takes_the_order_statistic_of_split_conformal(level: float) -> None:
    random = np.random.default_rng(0)
    errors, sds = random.normal(0, 3, 11), random.uniform(0.5, 2, 11)
    ratios = sorted(np.abs(errors) / sds)
    rank = math.ceil(Fraction(str(level)) * 12)
    found = tumour_factor(errors, sds, level)
    assert found.factor * stats.norm.ppf(0.5 + level / 2) == pytest.approx(ratios[rank - 1], rel=1e-12)


def test_every_tumour_counts_equally_whatever_its_size() -> None:
    # three tumours of ratio 1, 2 and 3; the second has a thousand values
    errors = [np.ones(10), np.full(1000, 2.0), np.full(3, 3.0)]
    sds = [np.ones(part.size) for part in errors]
    reached = [
        tumour_factor(errors, sds, level).factor * stats.norm.ppf(0.5 + level / 2) for level in (0.25, 0.5, 0.75)
    ]
    np.testing.assert_allclose(reached, [1, 2, 3])


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_new_tumours_are_covered_where_pixels_of_one_tumour_err_together(level: float) -> None:
    random, covered, naive = np.random.default_rng(1), [], []
    z = stats.norm.ppf(0.5 + level / 2)
    for _ in range(400):
        # a gain of the error per tumour and an error that all its pixels share: none of it is in the deviation
        scale, shift = np.exp(random.normal(0, 0.6, 11)), random.normal(0, 1.5, 11)
        errors = [scale[k] * (random.normal(0, 1, 60) + shift[k]) for k in range(11)]
        sds = [random.uniform(0.8, 1.2, 60) for _ in range(11)]
        factor = tumour_factor(errors[:10], sds[:10], level).factor
        covered.append(np.mean(np.abs(errors[10]) <= z * factor * sds[10]))
        naive.append(np.mean(np.abs(errors[10]) <= z * sds[10]))
    assert level - 0.03 <= np.mean(covered) <= level + 0.1
    assert np.mean(naive) < level - 0.2


def test_right_deviations_have_a_factor_near_one() -> None:
    random = np.random.default_rng(2)
    sds = [random.uniform(1, 5, 4000) for _ in range(19)]
    found = tumour_factor([random.normal(0, sd) for sd in sds], sds, 0.8)
    # the new tumour counts as not covered, so that the intervals of the others cover 0.8 * 20 / 19
    expected = stats.norm.ppf(0.5 + 0.8 * 20 / 19 / 2) / stats.norm.ppf(0.9)
    assert found.factor == pytest.approx(expected, rel=0.01)


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(AnalysisError, match="no standard deviation"):
        tumour_factor([[1.0], [1.0]], [[0.0], [1.0]], 0.6)
    assert tumour_factor([[0.0], [1.0]], [[0.0], [1.0]], 0.6).tumours == 2
    with pytest.raises(AnalysisError, match="between 0 and 1"):
        tumour_factor([[1.0]], [[1.0]], 80)
    for errors, sds in (([[1.0, 2.0]], [[1.0]]), ([[]], [[]]), ([[math.nan]], [[1.0]])):
        with pytest.raises(AnalysisError, match="as many of each"):
            tumour_factor(errors, sds, 0.4)

"""Statistics of pixels and patches against other implementations of their definitions, on small images."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats
from skimage.metrics import peak_signal_noise_ratio
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.metrics import jaccard_score, mean_squared_error, r2_score, roc_auc_score

from napari_hrpn.analysis import agreement, auroc, colocalization, gini, icc, iou_at, iou_curve, mean_and_sd, morans_i
from napari_hrpn.analysis.counts.intensity_histogram import value_counts
from napari_hrpn.analysis.counts.joint_histogram import pair_counts
from napari_hrpn.analysis.counts.moments import AgreementSums, update
from napari_hrpn.analysis.statistics.anderson_darling import anderson_darling
from napari_hrpn.analysis.statistics.bootstrap import tumour_bootstrap
from napari_hrpn.analysis.statistics.colocalization import manders
from napari_hrpn.analysis.statistics.distributions import histogram, kolmogorov_smirnov, quantile_pairs, wasserstein
from napari_hrpn.analysis.statistics.regression import regression
from support.steady import steady

SEEDS = st.integers(0, 2**32 - 1)
PIXELS = npst.arrays(np.uint8, st.integers(3, 80))


def related(seed: int, size: int = 400, top: int = 255) -> tuple[np.ndarray, np.ndarray]:
    """Real and predicted pixels that are correlated, with some zeros in both."""
    random = np.random.default_rng(seed)
    real = random.gamma(2, top / 12, size).clip(0, top)
    predicted = (random.uniform(0.4, 1.5) * real + random.normal(0, top / 15, size)).clip(0, top)
    dark = random.random(size) < 0.2
    return tuple(np.where(dark, 0, image).astype(np.uint8 if top < 256 else np.uint16) for image in (real, predicted))


@steady()
@given(SEEDS, st.sampled_from([255, 4095]))
def test_agreement_is_that_of_scikit_learn_and_scikit_image(seed, top):
    real, predicted = related(seed, top=top)
    found = agreement(real, predicted, data_range=float(top))
    y, p = real.astype(float), predicted.astype(float)
    assert found.mse == pytest.approx(mean_squared_error(y, p), rel=1e-13)
    assert found.r2 == pytest.approx(r2_score(y, p), rel=1e-11, abs=1e-12)
    assert found.psnr_db == pytest.approx(peak_signal_noise_ratio(y, p, data_range=top), rel=1e-13)
    assert found.pearson_r == pytest.approx(stats.pearsonr(y, p).statistic, rel=1e-12)


@steady()
@given(SEEDS, st.sampled_from([255, 4095]))
def test_lines_are_those_of_scikit_learn(seed, top):
    real, predicted = related(seed, top=top)
    both_zero = int(((real == 0) & (predicted == 0)).sum())
    found = regression(update(AgreementSums(), real, predicted), both_zero)
    y, p = real.astype(float)[:, None], predicted.astype(float)
    line = LinearRegression().fit(y, p)
    assert (found.slope, found.intercept) == pytest.approx((line.coef_[0], line.intercept_), rel=1e-10)
    assert found.r2 == pytest.approx(line.score(y, p), rel=1e-10)
    assert found.residual_sd == pytest.approx(math.sqrt(((p - line.predict(y)) ** 2).sum() / (len(p) - 2)), rel=1e-10)
    axis = PCA(1).fit(np.column_stack([y[:, 0], p])).components_[0]
    assert found.orthogonal_slope == pytest.approx(axis[1] / axis[0], rel=1e-8)
    assert found.orthogonal_intercept == pytest.approx(p.mean() - axis[1] / axis[0] * y.mean(), rel=1e-6, abs=1e-6)
    signal = (real > 0) | (predicted > 0)
    assert found.r_total == pytest.approx(np.corrcoef(y[signal, 0], p[signal])[0, 1], rel=1e-10)


@steady()
@given(SEEDS, st.floats(0.1, 10), st.floats(-50, 50))
def test_gain_and_offset_of_a_prediction_move_the_line_and_leave_r(seed, gain, offset):
    real, predicted = (image.astype(float) for image in related(seed))
    first, second = (
        regression(update(AgreementSums(), real, image)) for image in (predicted, gain * predicted + offset)
    )
    assert second.pearson_r == pytest.approx(first.pearson_r, rel=1e-10)
    assert second.slope == pytest.approx(gain * first.slope, rel=1e-10)
    assert second.intercept == pytest.approx(gain * first.intercept + offset, rel=1e-8, abs=1e-8)
    swapped = regression(update(AgreementSums(), predicted, real))
    assert swapped.orthogonal_slope == pytest.approx(1 / first.orthogonal_slope, rel=1e-9)


@steady(20)
@given(SEEDS, st.integers(3, 12), st.integers(2, 4))
def test_mean_squares_of_an_icc_are_those_of_sums_over_a_long_table(seed, subjects, raters):
    random = np.random.default_rng(seed)
    table = (
        random.normal(0, 3, (subjects, 1)) + random.normal(0, 1, (1, raters)) + random.normal(0, 1, (subjects, raters))
    )
    long = pd.DataFrame(table).melt(var_name="rater", ignore_index=False).reset_index(names="subject")
    grand = long["value"].mean()
    by_subject, by_rater = (long.groupby(name)["value"].transform("mean") for name in ("subject", "rater"))
    r = ((by_subject - grand) ** 2).sum() / (subjects - 1)
    c = ((by_rater - grand) ** 2).sum() / (raters - 1)
    e = ((long["value"] - by_subject - by_rater + grand) ** 2).sum() / ((subjects - 1) * (raters - 1))
    found = icc(table)
    squares = found.mean_square_subjects, found.mean_square_raters, found.mean_square_error
    assert squares == pytest.approx((r, c, e), rel=1e-9)
    assert found.icc_c1 == pytest.approx((r - e) / (r + (raters - 1) * e), rel=1e-9)
    assert found.icc_a1 == pytest.approx((r - e) / (r + (raters - 1) * e + raters * (c - e) / subjects), rel=1e-9)
    assert found.icc_c1_low <= found.icc_c1 <= found.icc_c1_high


@steady(20)
@given(SEEDS, st.floats(0.01, 100), st.floats(-1000, 1000))
def test_an_icc_does_not_depend_on_the_unit_nor_on_the_order_of_raters(seed, gain, offset):
    random = np.random.default_rng(seed)
    table = random.normal(0, 3, (15, 1)) + random.normal(0, 1, (15, 3))
    first = icc(table)
    for other in (gain * table + offset, table[:, ::-1], table[::-1]):
        second = icc(other)
        for name in ("icc_a1", "icc_c1", "icc_a1_low", "icc_a1_high", "icc_c1_low", "icc_c1_high"):
            assert getattr(second, name) == pytest.approx(getattr(first, name), rel=1e-7, abs=1e-9), name


@steady()
@given(SEEDS, st.sampled_from(["rook", "queen"]))
def test_morans_i_is_the_double_sum_over_patches(seed, neighbours):
    random = np.random.default_rng(seed)
    values, mask = random.normal(size=(6, 7)), random.random((6, 7)) < 0.8
    places = np.argwhere(mask)
    z = values[mask] - values[mask].mean()
    reach = np.abs(places[:, None] - places[None]).max(axis=2) == 1
    weights = reach if neighbours == "queen" else reach & (np.abs(places[:, None] - places[None]).sum(axis=2) == 1)
    found = morans_i(values, mask, neighbours, permutations=0)
    assert found.i == pytest.approx(len(z) / weights.sum() * (z @ weights @ z) / (z @ z), rel=1e-10)
    assert (found.n, found.pairs, found.expected) == (len(z), weights.sum() // 2, -1 / (len(z) - 1))
    turned = morans_i(np.rot90(3 * values - 7), np.rot90(mask), neighbours, permutations=0)
    assert turned.i == pytest.approx(found.i, rel=1e-9)


@steady()
@given(PIXELS, PIXELS)
def test_distances_of_distributions_are_those_of_scipy(first, second):
    counts = value_counts(first), value_counts(second)
    a, b = first.astype(float), second.astype(float)
    assert wasserstein(*counts) == pytest.approx(stats.wasserstein_distance(a, b), abs=1e-10)
    assert kolmogorov_smirnov(*counts) == pytest.approx(stats.ks_2samp(a, b, method="asymp").statistic, abs=1e-12)
    assert wasserstein(*counts) >= abs(a.mean() - b.mean()) - 1e-9


@steady()
@given(PIXELS, PIXELS, PIXELS)
def test_distances_of_distributions_keep_the_triangle(first, second, third):
    a, b, c = map(value_counts, (first, second, third))
    for distance in (wasserstein, kolmogorov_smirnov):
        assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-9
        assert distance(a, b) == distance(b, a)
        assert distance(a, a) == 0


@steady(15)
@given(SEEDS, st.integers(2, 4))
@pytest.mark.filterwarnings("ignore:p-value")
def test_anderson_darling_of_tied_samples_is_that_of_scipy(seed, number):
    random = np.random.default_rng(seed)
    samples = [random.integers(0, 12, random.integers(8, 40)).astype(float) for _ in range(number)]
    expected = stats.anderson_ksamp(samples, variant="midrank")
    found = anderson_darling(samples)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
    assert found.p_value == pytest.approx(float(np.clip(expected.pvalue, 0.001, 0.25)), rel=1e-6)
    shuffled = anderson_darling([random.permutation(sample) for sample in reversed(samples)])
    assert shuffled.statistic == pytest.approx(found.statistic, rel=1e-9, abs=1e-9)


@steady(20)
@given(PIXELS, st.integers(1, 20), st.integers(-20, 20))
def test_the_line_of_quantiles_is_the_one_that_made_the_prediction(pixels, gain, offset):
    predicted = gain * pixels.astype(np.int32) + offset
    pairs = quantile_pairs(value_counts(pixels), value_counts(predicted))
    expected = np.percentile(pixels, pairs.percentiles, method="inverted_cdf").astype(int)
    np.testing.assert_array_equal(pairs.real, expected)
    np.testing.assert_array_equal(pairs.predicted, gain * expected + offset)
    if not pairs.reason:
        assert (pairs.slope, pairs.intercept) == pytest.approx((gain, offset), rel=1e-9, abs=1e-9)


@steady(20)
@given(PIXELS, PIXELS, st.integers(1, 300))
def test_a_shared_histogram_is_that_of_numpy_over_its_edges(first, second, bins):
    found = histogram([value_counts(first), value_counts(second)], bins)
    assert len(found.edges) - 1 <= bins
    for row, pixels in zip(found.counts, (first, second), strict=True):
        np.testing.assert_array_equal(row, np.histogram(pixels, found.edges)[0])
    np.testing.assert_allclose(found.shares.sum(axis=1), 1)


@steady()
@given(SEEDS, st.integers(0, 256))
def test_overlap_of_masks_is_that_of_scikit_learn(seed, threshold):
    real, predicted = related(seed, 120)
    point = iou_at(pair_counts(real, predicted), threshold)
    a, b = real >= threshold, predicted >= threshold
    if (a | b).any():
        assert point.iou == pytest.approx(jaccard_score(a, b), rel=1e-12)
    else:
        assert math.isnan(point.iou)
    if (a | b).any() and not (a & b).all():
        assert point.mean_iou == pytest.approx(jaccard_score(a, b, average="macro", labels=[False, True]), rel=1e-12)
    assert (point.real_fraction, point.predicted_fraction) == (a.mean(), b.mean())


@steady(20)
@given(SEEDS)
def test_overlap_over_percentiles_falls_from_all_pixels_and_is_one_for_equal_images(seed):
    real, predicted = related(seed, 150)
    curve = iou_curve(pair_counts(real, predicted))
    np.testing.assert_array_equal([point.threshold for point in curve], np.percentile(real, range(101)))
    assert (np.diff([point.real_fraction for point in curve]) <= 0).all()
    assert curve[0].iou == 1.0 or predicted.min() < real.min()
    assert {point.iou for point in iou_curve(pair_counts(real, real))} == {1.0}


@steady()
@given(SEEDS)
def test_colocalization_is_that_of_the_definitions(seed):
    real, predicted = related(seed, 300)
    y, p = real.astype(float), predicted.astype(float)
    found, whole = colocalization(real, predicted), manders(pair_counts(real, predicted))
    expected = y[p > 0].sum() / y.sum(), p[y > 0].sum() / p.sum(), (y @ p) / math.sqrt((y @ y) * (p @ p))
    assert (whole.m1, whole.m2, whole.overlap) == pytest.approx(expected, rel=1e-12)
    assert (found.manders_m1, found.manders_m2, found.overlap) == (whole.m1, whole.m2, whole.overlap)
    opposite = (y - y.mean()) * (p - p.mean()) < 0
    assert found.icq == pytest.approx(0.5 - opposite.mean(), abs=1e-12)
    first, second = found.costes_threshold_real, found.costes_threshold_predicted
    if not math.isnan(first):
        assert found.thresholded_m1 == pytest.approx(y[(p >= second) & (p > 0)].sum() / y.sum(), rel=1e-12)
        assert found.thresholded_m2 == pytest.approx(p[(y >= first) & (y > 0)].sum() / p.sum(), rel=1e-12)
        below = (y < first) | (p < second)
        assert np.corrcoef(y[below], p[below])[0, 1] < 0.0001 + 1e-9


@steady(20)
@given(SEEDS)
def test_colocalization_of_exchanged_images_is_exchanged(seed):
    real, predicted = related(seed, 200)
    first, second = manders(pair_counts(real, predicted)), manders(pair_counts(predicted, real))
    assert (first.m1, first.m2, first.overlap) == (second.m2, second.m1, second.overlap)
    assert colocalization(real, predicted).icq == colocalization(predicted, real).icq


@steady()
@given(SEEDS, st.floats(0.1, 50))
def test_inequality_and_auroc_do_not_depend_on_the_unit(seed, gain):
    random = np.random.default_rng(seed)
    values = random.gamma(1, 4, 25)
    differences = np.abs(values[:, None] - values[None]).sum() / (2 * len(values) ** 2 * values.mean())
    assert gini(values) == pytest.approx(differences, rel=1e-10)
    assert gini(gain * values) == pytest.approx(gini(values), rel=1e-10)
    positive = np.arange(25) % 3 == 0
    scores = np.round(values)
    found = auroc(scores, positive, resamples=2)
    assert found.auroc == pytest.approx(roc_auc_score(positive, scores), rel=1e-12)
    assert auroc(-gain * scores, positive, resamples=2).auroc == pytest.approx(1 - found.auroc, abs=1e-12)


@steady()
@given(st.lists(st.floats(-1e9, 1e9) | st.just(math.nan), max_size=20))
def test_mean_and_sd_are_those_of_pandas(values):
    found, column = mean_and_sd(values), pd.Series(values, dtype=float)
    assert found.n == column.count()
    np.testing.assert_allclose(found.mean, column.mean(), rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(found.sd, column.std(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("tumours", "confidence"), [(6, 0.9), (12, 0.95)])
def test_intervals_over_tumours_hold_the_mean_of_even_numbers_as_often_as_they_say(
    tumours: int, confidence: float
) -> None:
    random, trials = np.random.default_rng(tumours), 400
    held = 0
    for trial in range(trials):
        interval = tumour_bootstrap(random.random(tumours), resamples=200, confidence=confidence, seed=trial)
        assert interval.low <= interval.estimate <= interval.high
        held += interval.low <= 0.5 <= interval.high
    # four standard errors of the share, and two per cent for so few tumours
    slack = 4 * math.sqrt(confidence * (1 - confidence) / trials) + 0.02
    assert abs(held / trials - confidence) <= slack

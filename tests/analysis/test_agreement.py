import math
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from scipy.stats import pearsonr
from skimage.metrics import peak_signal_noise_ratio
from sklearn.metrics import mean_squared_error, r2_score
from threadpoolctl import threadpool_limits

from napari_hrpn.analysis import AgreementError, AgreementSums, agreement, slide_agreement
from napari_hrpn.analysis.counts.moments import update
from napari_hrpn.analysis.statistics.agreement import compute
from napari_hrpn.core import drive
from napari_hrpn.slides import RegionMask, Slide

RAMP = np.arange(10, dtype=np.int16)


def images(dtype: type, seed: int = 0, size: int = 300) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    real = generator.integers(0, top, (size, size), dtype, endpoint=True)
    predicted = (real // 3 + generator.integers(0, top // 2, (size, size), dtype)).astype(dtype)
    return real, predicted


@pytest.mark.parametrize(
    ("predicted", "r2"), [(RAMP + 5, -2.030303), (RAMP / 2, 0.136364), (RAMP, 1.0), (np.full(10, 4.5), 0.0)]
)
def test_r2_of_a_ramp_is_the_known_number(predicted: np.ndarray, r2: float) -> None:
    assert agreement(RAMP, predicted).r2 == pytest.approx(r2, abs=5e-7)


@pytest.mark.parametrize(("data_range", "psnr_db"), [(255, 48.130804), (202, 46.107027)])
def test_psnr_of_unit_error_is_the_known_number(data_range: float, psnr_db: float) -> None:
    assert agreement(RAMP, RAMP + 1, data_range=data_range).psnr_db == pytest.approx(psnr_db, abs=5e-7)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.uint32])
def test_all_numbers_are_those_of_other_libraries(dtype: type) -> None:
    real, predicted = images(dtype)
    result = agreement(real, predicted)
    y, p = real.ravel().astype(np.float64), predicted.ravel().astype(np.float64)
    assert result.mse == pytest.approx(mean_squared_error(y, p), rel=1e-12)
    assert result.rmse == pytest.approx(math.sqrt(result.mse), rel=1e-15)
    assert result.r2 == pytest.approx(r2_score(y, p), rel=1e-12)
    assert result.pearson_r == pytest.approx(pearsonr(y, p).statistic, rel=1e-12)
    top = np.iinfo(dtype).max
    assert result.psnr_db == pytest.approx(peak_signal_noise_ratio(y, p, data_range=top), rel=1e-12)
    assert (result.n, result.data_range, result.reason) == (real.size, top, "")


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e9])
@pytest.mark.parametrize("spread", [1.0, 1e-4])
def test_a_large_offset_costs_no_digits(offset: float, spread: float) -> None:
    generator = np.random.default_rng(1)
    real = offset + spread * generator.normal(size=20_000)
    predicted = offset + 0.7 * (real - offset) + 0.1 * spread * generator.normal(size=20_000)
    y, p = ([Fraction(value) for value in values] for values in (real, predicted))
    mean = sum(y) / len(y)
    errors = sum((a - b) ** 2 for a, b in zip(y, p, strict=True))
    expected = float(1 - errors / sum((a - mean) ** 2 for a in y))
    assert agreement(real, predicted).r2 == pytest.approx(expected, rel=1e-9)


def test_mean_pixel_by_pixel_error_survives_an_almost_perfect_prediction() -> None:
    real = np.random.default_rng(2).uniform(0, 1e5, 10_000)
    assert agreement(real, real + 2.0**-20).mse == pytest.approx(2.0**-40, rel=1e-9)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.uint32, np.int64])
def test_any_tiling_gives_the_same_numbers_to_the_last_bit(dtype: type) -> None:
    real, predicted = images(dtype)
    whole = agreement(real, predicted)
    generator = np.random.default_rng(3)
    for _ in range(5):
        rows = [0, *sorted(generator.integers(1, 300, 3)), 300]
        columns = [0, *sorted(generator.integers(1, 300, 4)), 300]
        boxes = [(slice(*row), slice(*column)) for row in pairwise(rows) for column in pairwise(columns)]
        sums = AgreementSums()
        for index in generator.permutation(len(boxes)):
            sums = update(sums, real[boxes[index]], predicted[boxes[index]])
        assert compute(sums, whole.data_range) == whole


def test_floating_point_tiles_pool_to_the_whole() -> None:
    real, predicted = (1e7 + image.astype(np.float64) for image in images(np.uint8))
    sums = AgreementSums()
    for row in range(0, 300, 7):
        sums = update(sums, real[row : row + 7], predicted[row : row + 7])
    whole, tiled = agreement(real, predicted), compute(sums, None)
    assert (tiled.r2, tiled.mse, tiled.pearson_r) == pytest.approx((whole.r2, whole.mse, whole.pearson_r), rel=1e-12)


def test_floating_point_sums_do_not_depend_on_how_many_threads_there_are() -> None:
    real, predicted = np.random.default_rng(0).normal(size=(2, 512, 512))
    found = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads, "blas"):
            found.append(update(AgreementSums(), real, predicted))
    assert found[0] == found[1] == found[2]


def test_whole_numbers_in_floating_point_agree_with_integers() -> None:
    real, predicted = images(np.uint16)
    assert agreement(real, predicted.astype(np.float32)).r2 == pytest.approx(agreement(real, predicted).r2, rel=1e-12)


def test_sums_of_ten_billion_bright_pixels_are_exact() -> None:
    tile = np.full((1000, 1000), 65535, np.uint16)
    sums = update(AgreementSums(), tile, tile - np.uint16(1))
    for _ in range(14):
        sums = sums + sums
    n = 10**6 * 2**14
    assert (sums.n, sums.real, sums.real_squared) == (n, n * 65535, n * 65535**2)
    assert (sums.product, sums.squared_error) == (n * 65535 * 65534, n)


def test_extreme_integers_are_summed_exactly() -> None:
    low, high = np.iinfo(np.int64).min + 1, np.iinfo(np.int64).max
    sums = update(AgreementSums(), np.array([low, high, -1]), np.array([high, low, 65536]))
    assert sums.product == 2 * low * high - 65536
    assert sums.real_squared == low**2 + high**2 + 1
    assert sums.squared_error == 2 * (high - low) ** 2 + 65537**2


def test_only_pixels_of_the_mask_count() -> None:
    real, predicted = images(np.uint8)
    mask = np.random.default_rng(4).random(real.shape) < 0.3
    assert agreement(real, predicted, mask) == agreement(real[mask], predicted[mask])


def test_differences_of_unsigned_pixels_do_not_wrap() -> None:
    assert agreement(np.zeros(4, np.uint8), np.full(4, 255, np.uint8)).mse == 255**2


def test_equal_images_have_infinite_psnr() -> None:
    real, _ = images(np.uint8)
    result = agreement(real, real)
    assert (result.mse, result.r2, result.psnr_db, result.pearson_r) == (0, 1, math.inf, 1)


@pytest.mark.parametrize("value", [0, 0.1, 1e9 + 0.3])
def test_constant_real_image_has_no_r2_and_says_why(value: float) -> None:
    result = agreement(np.full((50, 70), value), np.random.default_rng(5).random((50, 70)), data_range=255)
    assert math.isnan(result.r2)
    assert math.isnan(result.pearson_r)
    assert "real image is constant" in result.reason
    assert math.isfinite(result.psnr_db)


def test_constant_prediction_has_r2_but_no_correlation() -> None:
    result = agreement(RAMP, np.full(10, 3.3))
    assert result.r2 < 0
    assert math.isnan(result.pearson_r)
    assert "predicted image is constant" in result.reason


def test_empty_mask_says_so() -> None:
    result = agreement(RAMP, RAMP, np.zeros(10, bool))
    assert result.n == 0
    assert math.isnan(result.mse)
    assert "no pixel" in result.reason


def test_floating_point_without_a_range_says_that_the_psnr_needs_one() -> None:
    result = agreement(RAMP.astype(np.float32), RAMP)
    assert math.isnan(result.psnr_db)
    assert "data range" in result.reason


@pytest.mark.parametrize(
    ("real", "predicted", "mask", "words"),
    [
        (RAMP, RAMP[1:], None, "one size"),
        (RAMP, np.where(RAMP == 3, np.nan, 1.0), None, "not finite"),
        (RAMP, np.where(RAMP == 3, np.inf, 1.0), None, "not finite"),
        (RAMP * 1e200, RAMP, None, "too large"),
        (RAMP + 1j, RAMP, None, "type complex"),
        (RAMP, RAMP, np.ones(9, bool), "mask"),
        (RAMP, RAMP, np.ones(10, np.uint8), "mask"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    real: np.ndarray, predicted: np.ndarray, mask: np.ndarray | None, words: str
) -> None:
    with pytest.raises(AgreementError, match=words):
        agreement(real, predicted, mask)


@pytest.mark.parametrize("data_range", [0, -1, math.nan, math.inf])
def test_senseless_data_range_is_refused(data_range: float) -> None:
    with pytest.raises(AgreementError, match="data range"):
        compute(AgreementSums(1, 1, 1, 1, 1, 1, 0), data_range)


def test_not_finite_pixels_outside_the_mask_do_no_harm() -> None:
    predicted = np.where(RAMP == 3, np.nan, RAMP)
    assert agreement(RAMP, predicted, RAMP != 3).mse == 0


def slide(pixels: np.ndarray) -> Slide:
    return Slide((da.from_array(pixels[None], chunks=(1, 512, 512)),), ("QD",), None, Path("made-up"))


def test_slides_agree_as_their_arrays_do() -> None:
    real, predicted = images(np.uint8, size=2500)
    coarse = np.zeros((40, 40), bool)
    coarse[5:20, 10:] = True
    tissue = RegionMask(coarse, (62.5, 62.5))
    steps = slide_agreement(slide(real), 0, slide(predicted), tissue=tissue)
    reports = []
    result = drive(steps, reports.append)
    full = coarse[np.ix_((np.arange(2500) / 62.5).astype(int), (np.arange(2500) / 62.5).astype(int))]
    assert result.frame == agreement(real, predicted)
    assert result.tissue == agreement(real, predicted, full)
    assert [report.done for report in reports] == [1, 2, 3, 4]


def test_slides_of_different_size_are_refused() -> None:
    with pytest.raises(AgreementError, match="one size"):
        next(slide_agreement(slide(np.zeros((4, 4), np.uint8)), 0, slide(np.zeros((4, 5), np.uint8))))


def test_a_constant_prediction_of_a_dark_image_has_a_high_psnr_and_an_r2_of_zero() -> None:
    real = np.random.default_rng(9).normal(40, 3.65, 200_000)
    result = agreement(real, np.full(real.shape, real.mean()), data_range=255)
    assert result.psnr_db == pytest.approx(20 * math.log10(255 / real.std()), rel=1e-9)
    assert result.psnr_db == pytest.approx(36.9, abs=0.05)
    assert result.r2 == pytest.approx(0, abs=1e-9)

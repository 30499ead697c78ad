"""SSIM is that of scikit-image, pixel by pixel, in a whole image and in a region."""

import math
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from napari_hrpn.analysis import ProbeImage, SlideComparison, evaluate_slide
from napari_hrpn.analysis.metrics import METRICS
from napari_hrpn.analysis.windows.ssim import SSIM
from napari_hrpn.core import drive
from napari_hrpn.settings import EvaluationSettings
from napari_hrpn.slides import Annotation, Slide

SIZE = (150, 210)
(METRIC,) = (metric for metric in METRICS if metric.key == "ssim")
CORNERS = np.array([[-3, 20], [-3, 140], [70, 170], [90, 20]], float)


def images(dtype: str, top: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    y = np.minimum(generator.gamma(1, top / 6, SIZE), top)
    return y.astype(dtype), np.clip(0.8 * y + generator.normal(top / 20, top / 30, SIZE), 0, top).astype(dtype)


def map_of_scikit_image(y: np.ndarray, p: np.ndarray, top: float) -> np.ndarray:
    y, p = y.astype(float), p.astype(float)
    return structural_similarity(
        y, p, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=top, full=True
    )[1]


def probe(name: str, pixels: np.ndarray) -> ProbeImage:
    return ProbeImage(name, Slide((da.from_array(pixels[None], chunks=(1, 64, 64)),), ("QD",), None, Path("x")), 0)


@pytest.mark.parametrize(("dtype", "top"), [("uint8", 255), ("uint16", 65535), ("float32", 1)])
def test_values_of_pixels_are_those_of_scikit_image(dtype: str, top: float) -> None:
    y, p = images(dtype, top)
    found = SSIM.values(y.astype(float), p.astype(float), top)
    np.testing.assert_allclose(found, map_of_scikit_image(y, p, top), rtol=0, atol=1e-12)
    assert 0.3 < found.mean() < 0.97


@pytest.mark.parametrize(
    ("dtype", "top", "settings"),
    [
        ("uint8", 255, EvaluationSettings()),
        ("uint16", 4095, EvaluationSettings(psnr_max=4095.0)),
        ("float32", 1, EvaluationSettings(psnr_max=1.0)),
    ],
)
def test_frame_and_region_have_the_mean_of_their_pixels(dtype: str, top: float, settings: EvaluationSettings) -> None:
    y, p = images(dtype, top)
    region = Annotation("a", "include", ((CORNERS,),))
    comparison = SlideComparison(probe("real", y), (probe("p", p),), rois=(region,))
    (part,) = drive(evaluate_slide(comparison, settings, skip=("quality", "patches")))
    whole, inside = map_of_scikit_image(y, p, top), region.within(*(slice(0, size) for size in SIZE))
    assert METRIC.value(part.findings.frame) == pytest.approx(whole.mean(), rel=1e-12)
    assert METRIC.value(part.findings.rois[0]) == pytest.approx(whole[inside].mean(), rel=1e-12)


def test_equal_images_have_one_and_floating_point_without_a_range_none() -> None:
    y, _ = images("float32", 1)
    assert SSIM.values(y.astype(float), y.astype(float), 1.0) == pytest.approx(1, abs=1e-12)
    (part,) = drive(evaluate_slide(SlideComparison(probe("real", y), (probe("p", y),)), skip=("quality", "patches")))
    assert math.isnan(METRIC.value(part.findings.frame))

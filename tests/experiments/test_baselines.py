"""Baselines from sums: the same as if every pixel had been fitted, predicted and compared."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.linear_model import LinearRegression

from napari_hrpn.analysis import agreement
from napari_hrpn.core import drive
from napari_hrpn.experiments import baselines
from napari_hrpn.experiments.baselines import SIGMAS_UM, BlurMoments, baseline_fits, blur_moments, fit_agreement
from napari_hrpn.experiments.evaluation import measured_tissue
from napari_hrpn.slides import RegionMask
from napari_hrpn.training import SlideEntry, TrainingSettings, TrainingSlide, open_entry
from support.studies import PIXEL_UM, write_tumour

SIGMAS = (0.0, 1.0, 4.0)
ROLES = ("nuclei", "vessels")
SETTINGS = TrainingSettings()


def moments(slide: TrainingSlide, tissue: RegionMask, sigmas: tuple[float, ...] = SIGMAS) -> BlurMoments:
    return drive(blur_moments(slide, tissue, sigmas))


def half(slide: TrainingSlide) -> RegionMask:
    mask = np.ones(slide.slide.shape, bool)
    mask[:, : mask.shape[1] // 3] = False
    return RegionMask(mask, (1.0, 1.0))


def features(slide: TrainingSlide) -> NDArray[np.float64]:
    """Each pixel's blurred inputs, by SciPy over the whole image."""
    pixels = np.asarray(slide.slide.levels[0].compute(), np.float64)
    blurred = [
        ndimage.gaussian_filter(pixels[channel], sigma / PIXEL_UM, mode="mirror") if sigma else pixels[channel]
        for channel in slide.inputs
        for sigma in SIGMAS
    ]
    return np.stack(blurred, axis=-1)


def target(slide: TrainingSlide) -> NDArray[np.uint8]:
    return np.asarray(slide.slide.levels[0][slide.target].compute())


@pytest.fixture(scope="module")
def tumours(tmp_path_factory: pytest.TempPathFactory) -> list[TrainingSlide]:
    folder = tmp_path_factory.mktemp("tumours")
    entries = [SlideEntry(write_tumour(folder / f"T{seed}.ome.tif", seed)) for seed in range(3)]
    return [open_entry(entry, SETTINGS) for entry in entries]


def test_least_squares_are_those_of_scikit_learn_on_scipys_blur(tumours: list[TrainingSlide]) -> None:
    learnt_from, held_out = tumours[:2], tumours[2]
    mean, blurred, *raw = baseline_fits([moments(slide, half(slide)) for slide in learnt_from], ROLES, SIGMAS)
    inside = half(held_out).mask
    x = np.concatenate([features(slide)[inside] for slide in learnt_from])
    y = np.concatenate([target(slide)[inside] for slide in learnt_from])
    reference = LinearRegression().fit(x, y)
    np.testing.assert_allclose(blurred.weights, [reference.intercept_, *reference.coef_], rtol=1e-3, atol=1e-3)
    assert mean.weights[0] == pytest.approx(y.mean(), rel=1e-12)
    assert [fit.name for fit in raw] == ["raw nuclei", "raw vessels"]


@pytest.mark.parametrize("region", ["tissue", "frame"])
def test_agreement_is_that_of_the_predicted_pixels(tumours: list[TrainingSlide], region: str) -> None:
    held_out = tumours[2]
    fits = baseline_fits([moments(slide, half(slide)) for slide in tumours[:2]], ROLES, SIGMAS)
    found = moments(held_out, half(held_out))
    y = target(held_out)
    mask = half(held_out).mask if region == "tissue" else np.ones(y.shape, bool)
    for fit in fits:
        predicted = fit.weights[0] + features(held_out) @ np.array(fit.weights[1:])
        expected = asdict(agreement(y, predicted, mask))
        got = asdict(fit_agreement(fit, getattr(found, region), 255.0))
        if not fit.is_prediction:
            assert np.isnan([got.pop(name) for name in ("mse", "rmse", "r2", "psnr_db")]).all()
            assert "raw stain" in got["reason"]
        del got["reason"]
        assert got == pytest.approx({name: expected[name] for name in got}, rel=1e-4, nan_ok=True), fit.name


def test_sums_do_not_depend_on_the_tiles(tumours: list[TrainingSlide], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = moments(tumours[0], half(tumours[0]))
    monkeypatch.setattr(baselines, "TILE_PX", 40)
    tiled = moments(tumours[0], half(tumours[0]))
    np.testing.assert_allclose(tiled.tissue, whole.tissue, rtol=1e-5)
    np.testing.assert_allclose(tiled.frame, whole.frame, rtol=1e-5)
    assert tiled.frame[0, 0] == target(tumours[0]).size
    assert tiled.tissue[0, 0] == half(tumours[0]).mask.sum()


def test_a_constant_input_gets_no_weight() -> None:
    pixels = np.concatenate([np.ones((1, 1000)), np.full((1, 1000), 7.0), np.arange(2000.0).reshape(2, 1000) % 13])
    sums = pixels @ pixels.T
    fit = baseline_fits([BlurMoments(sums, sums)], ("nuclei", "vessels"), (0.0,))[1]
    assert fit.weights[1] == 0
    assert np.isfinite(fit.weights).all()


def test_regions_that_were_drawn_bound_the_tissue(tumours: list[TrainingSlide]) -> None:
    slide = TrainingSlide(
        tumours[0].entry, tumours[0].slide, tumours[0].inputs, tumours[0].target, regions=half(tumours[0])
    )
    inside = measured_tissue(slide, SETTINGS)
    assert not inside.within(slice(0, 96), slice(0, 128 // 3)).any()
    assert inside.within(slice(0, 96), slice(128 // 3 + 1, 128)).any()


def test_blurred_vessels_on_real_tissue(shared_data: Path) -> None:
    fields = [open_entry(SlideEntry(path), SETTINGS) for path in sorted((shared_data / "dextran").glob("*.tif"))]
    sums = [moments(slide, measured_tissue(slide, SETTINGS), SIGMAS_UM) for slide in fields]
    fits = {fit.name: fit for fit in baseline_fits(sums[2:], ROLES, SIGMAS_UM)}
    reached = {
        name: np.mean([fit_agreement(fit, s.frame, 255).pearson_r for s in sums[:2]]) for name, fit in fits.items()
    }
    raw = [np.corrcoef(np.asarray(f.slide.levels[0][1:3].compute()).reshape(2, -1))[0, 1] for f in fields[:2]]
    assert reached["raw vessels"] == pytest.approx(np.mean(raw), abs=1e-9)
    assert reached["blurred"] == pytest.approx(0.696, abs=0.003)
    assert reached["blurred"] > reached["raw vessels"] > 0.6

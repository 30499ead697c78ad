"""Where a slide is unlike the training: block by block as computed apart, and however it is tiled or resumed."""

import re
from dataclasses import replace
from itertools import islice
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

from napari_hrpn.analysis import tissue_mask
from napari_hrpn.core import Box, drive
from napari_hrpn.inference import PredictionError, PredictionSettings, predict_slide
from napari_hrpn.inference.fit import fit_of
from napari_hrpn.inference.unlike import fit_of_blocks
from napari_hrpn.models import GANDA, Checkpoint, GANDASettings, ModelCard
from napari_hrpn.models.training_features import TrainingFeatures, compared_features
from napari_hrpn.phantom import PHANTOM_PRESETS, phantom_slide
from napari_hrpn.slides import Slide, SlideWarning, coarser_levels, open_slide
from napari_hrpn.training import SlideEntry, TrainingSlide, with_training_features
from napari_hrpn.training.training_features import distribution
from support.predictions import lively_checkpoint, make_slide

PLAIN = PredictionSettings(device="cpu", core=512, unlike=True)


def with_random_features(checkpoint: Checkpoint, seed: int = 0) -> Checkpoint:
    random, count = np.random.default_rng(seed), compared_features(checkpoint.settings)
    matrix = np.tril(random.normal(0, 1, (count, count))).astype(np.float32)
    return replace(checkpoint, features=TrainingFeatures(np.full(count, 0.5, np.float32), matrix))


@pytest.fixture
def checkpoint() -> Checkpoint:
    return with_random_features(lively_checkpoint(2))


def run(slide, checkpoint, path, settings=PLAIN, **options) -> np.ndarray:
    drive(predict_slide(slide, checkpoint, path, settings, **options))
    return np.asarray(open_slide(path).levels[0])


def test_each_block_has_the_distance_of_its_mean_features_over_the_tissue(source, tmp_path):
    checkpoint = with_random_features(lively_checkpoint(2, pixel_size_um=1.0))
    slide = make_slide(320, 448, source, pixel_size_um=(1.0, 1.0), blank=150)
    found = run(slide, checkpoint, tmp_path / "out")[1]
    pixels = np.pad(slide.levels[0][:2].compute(), ((0, 0), (64, 64), (64, 64)), mode="reflect").astype(np.float32)
    with torch.no_grad():
        branches = checkpoint.network().features(torch.from_numpy((pixels - 10) / 50)[None])
    tissue = tissue_mask(slide, 0).within(slice(0, 320), slice(0, 448))
    assert 0.1 < tissue.mean() < 0.9
    compared = 0
    for y in range(0, 320, 64):
        for x in range(0, 448, 64):
            inside = tissue[y + 2 : y + 64 : 4, x + 2 : x + 64 : 4]
            features = []
            for branch, px in zip(branches, (4, 8), strict=True):
                of_block = branch[0, :, (64 + y) // px : (128 + y) // px, (64 + x) // px : (128 + x) // px].double()
                fine = of_block.numpy().repeat(px // 4, axis=1).repeat(px // 4, axis=2)
                features.append(fine[:, inside].mean(axis=1) if inside.any() else np.zeros(len(fine)))
            deviation = np.concatenate(features) - checkpoint.features.mean
            distance = np.sqrt(np.sum((checkpoint.features.to_distance.astype(float) @ deviation) ** 2))
            expected = np.where(tissue[y : y + 64, x : x + 64], distance if inside.mean() >= 0.5 else 0, 0)
            np.testing.assert_allclose(found[y : y + 64, x : x + 64], expected, rtol=1e-5)
            compared += inside.mean() >= 0.5
    assert 5 < compared < 30


@pytest.mark.parametrize("size", [(0.5, 0.5), (0.37, 0.31), (0.7, 0.6)], ids=["plain", "finer", "coarser"])
def test_tiles_of_any_size_agree_and_the_prediction_stays_as_it_is(size, checkpoint, source, tmp_path):
    slide = make_slide(530, 600, source, pixel_size_um=size, blank=100)
    settings = replace(PLAIN, resample=size != (0.5, 0.5))
    tiled = run(slide, checkpoint, tmp_path / "tiled", settings)
    whole = run(slide, checkpoint, tmp_path / "whole", replace(settings, core=1536))
    plain = run(slide, checkpoint, tmp_path / "plain", replace(settings, unlike=False))
    assert plain.shape[0] == 1
    assert np.abs(tiled[0] - plain[0]).max() <= 1e-5 * np.ptp(plain)
    np.testing.assert_array_equal(tiled[1] > 0, whole[1] > 0)
    assert len(np.unique(whole[1])) > 10
    assert np.abs(tiled[1] - whole[1]).max() <= 1e-5 * whole[1].max()


def test_a_resumed_prediction_has_the_same_files_and_other_features_are_another_prediction(
    checkpoint, source, tmp_path
):
    def files(path):
        return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}

    slide = make_slide(700, 600, source)
    run(slide, checkpoint, tmp_path / "a" / "out")
    stopped = predict_slide(slide, checkpoint, tmp_path / "b" / "out", PLAIN)
    assert len(list(islice(stopped, 2))) == 2
    stopped.close()
    run(slide, checkpoint, tmp_path / "b" / "out")
    assert files(tmp_path / "a" / "out") == files(tmp_path / "b" / "out")
    for other in (with_random_features(checkpoint, seed=1), replace(checkpoint, features=None)):
        settings = replace(PLAIN, unlike=other.features is not None)
        with pytest.raises(PredictionError, match="holds a prediction made with unlike"):
            run(slide, other, tmp_path / "a" / "out", settings)


def test_of_an_ensemble_the_largest_distance_counts_and_the_deviation_is_beside_it(checkpoint, source, tmp_path):
    slide, other = make_slide(300, 300, source), with_random_features(checkpoint, seed=1)
    first, second = (run(slide, one, tmp_path / str(number))[1] for number, one in enumerate((checkpoint, other)))
    # so that each is the larger one in half of the blocks
    known = first > 0
    ratio = np.float32(np.median(first[known] / second[known]))
    features = replace(other.features, to_distance=other.features.to_distance * ratio)
    found = run(slide, [checkpoint, replace(other, features=features)], tmp_path / "both")
    assert open_slide(tmp_path / "both").channel_names == ("predicted probe", "sd", "unlike")
    np.testing.assert_allclose(found[2], np.maximum(first, second * ratio), rtol=1e-5)
    assert 0.2 < np.mean(first[known] > second[known] * ratio) < 0.8


def test_networks_without_features_and_whole_numbers_are_refused(checkpoint, source, tmp_path):
    slide = make_slide(100, 100, source)
    for lacking in (replace(checkpoint, features=None), [checkpoint, replace(checkpoint, features=None)]):
        with pytest.raises(PredictionError, match="does not say which features it saw"):
            run(slide, lacking, tmp_path / "out")
    with pytest.raises(PredictionError, match="expected 32 bit floating point"):
        run(slide, checkpoint, tmp_path / "out", replace(PLAIN, output="probe"))
    assert not (tmp_path / "out").exists()


def test_distances_are_those_of_ledoit_and_wolf_and_1_is_the_left_out_slide_that_is_furthest():
    random = np.random.default_rng(0)
    slides = [random.normal(shift, 1, (40, 6)).astype(np.float32) * [1, 1, 2, 2, 3, 0.1] for shift in (0, 0.2, 1)]
    found, units = distribution(slides), []
    for index in range(3):
        rest = LedoitWolf().fit(np.concatenate(slides[:index] + slides[index + 1 :]))
        units.append(np.percentile(np.sqrt(rest.mahalanobis(slides[index])), 95))
    new = random.normal(0, 2, (10, 6)).astype(np.float32)
    expected = np.sqrt(LedoitWolf().fit(np.concatenate(slides)).mahalanobis(new)) / max(units)
    np.testing.assert_allclose(found.distances(new), expected, rtol=1e-4)
    half = distribution([np.concatenate(slides)])
    assert 0 < np.percentile(half.distances(slides[0]), 95) < 2


@pytest.mark.parametrize("blocks", [[], [np.ones((3, 4))], [np.ones((9, 4)), np.ones((9, 4))]])
def test_too_few_blocks_and_equal_ones_have_no_distances(blocks):
    assert distribution([part.astype(np.float32) for part in blocks]) is None


@pytest.mark.parametrize(("distance", "level"), [(0.9, "fits"), (1.5, "note"), (2.5, "warning")])
def test_the_slide_has_the_three_levels_of_the_fit(distance, level):
    fit = fit_of_blocks(np.array([0.5] * 93 + [distance] * 7), ModelCard(), "a.tif")
    assert (fit.level, fit.distance) == (level, pytest.approx(distance))
    assert f"{7 if distance > 1 else 0} % of the compared tissue of a.tif" in fit.sentence


@pytest.mark.parametrize(
    ("distance", "words"),
    [
        (1.04, "and a part of it a little further from it than its own slides."),
        (1.06, "and a part of it 1.1 times as far from it as its own slides."),
        (3e30, "and a part of it more than 1,000 times as far from it as its own slides; expect"),
    ],
)
def test_distances_at_the_limit_and_huge_ones_read_well(distance, words):
    assert words in fit_of_blocks(np.full(9, distance), ModelCard(), "a.tif").sentence
    # the fit of the grey levels has the same words
    quantiles = np.add.outer([0.0, 1.0], np.zeros((2, 7)))
    card = ModelCard(input_quantiles=tuple(tuple(map(tuple, one)) for one in quantiles.tolist()))
    sentence = fit_of(card, np.full((2, 7), 1 + distance), "a.tif").sentence
    assert re.search(r"\b(a little more than|1\.1 times as much as|more than 1,000 times their own)\b", sentence)
    assert not re.search(r"\d{7}", sentence)


def test_huge_grey_levels_are_as_far_as_any_and_a_part_of_a_slide_is_called_so(checkpoint, source, tmp_path):
    slide = make_slide(512, 1024, source)
    levels = tuple(level.astype(np.float32) * np.float32(1e9) for level in slide.levels)
    settings = replace(PLAIN, region=Box(0, 512, 0, 512))
    report = drive(predict_slide(replace(slide, levels=levels), checkpoint, tmp_path / "out", settings))
    assert not report.complete
    assert report.unlike.level == "warning"
    assert report.unlike.distance == 1e6
    assert "of the compared tissue of the predicted part of " in report.unlike.sentence
    with pytest.warns(SlideWarning, match="not finished"):
        distances = np.asarray(open_slide(tmp_path / "out").levels[0][1])
    assert set(np.unique(distances)) <= {0.0, 1e6}


def test_one_training_slide_and_no_tissue_are_said():
    one = fit_of_blocks(np.full(9, 0.5), ModelCard(input_quantiles=(((0.0,) * 7,) * 2,)), "a.tif")
    assert one.level == "note"
    assert "one slide" in one.sentence
    assert fit_of_blocks(np.zeros(0), ModelCard(), "a.tif").level == "unknown"


def test_ganda_is_left_as_it_is():
    ganda = GANDA(GANDASettings(channels=(3, 4, 5), patch_px=64))
    checkpoint = Checkpoint(ganda.settings, ganda.state_dict())
    assert with_training_features(checkpoint, []) is checkpoint


COARSE = replace(PHANTOM_PRESETS["tumour"], pixel_size_um=1.1)


def phantom(seed: int) -> Slide:
    return phantom_slide(COARSE, size=384, seed=seed).slide


def changed(slide: Slide, change) -> Slide:
    pixels = np.clip(np.rint(change(slide.levels[0].compute().astype(float))), 0, 255).astype(np.uint8)
    finest = da.from_array(pixels, chunks=(1, 512, 512), name=False)
    return replace(slide, levels=(finest, *coarser_levels(finest)), stored_levels=1)


@pytest.fixture(scope="module")
def trained() -> Checkpoint:
    """A random network with the features of four phantoms."""
    checkpoint = lively_checkpoint(1, pixel_size_um=1.1)
    slides = [TrainingSlide(SlideEntry(Path(str(seed))), phantom(seed), (0, 1), 2) for seed in range(4)]
    return with_training_features(checkpoint, slides)


@pytest.fixture(scope="module")
def held_out(trained, tmp_path_factory) -> tuple[Slide, np.ndarray]:
    slide = phantom(9)
    return slide, run(slide, trained, tmp_path_factory.mktemp("held") / "out")[1][32::64, 32::64]


CHANGES = {
    "blur": (lambda pixels: ndimage.gaussian_filter(pixels, (0, 3, 3)), 0.7),
    "gain": (lambda pixels: 3 * pixels, 0.95),
    "swapped": (lambda pixels: pixels[[1, 0, 2]], 0.7),
}


@pytest.mark.parametrize("name", CHANGES)
def test_blocks_of_a_changed_phantom_are_further_than_those_of_it_as_it_is(name, trained, held_out, tmp_path):
    (slide, before), (change, least) = held_out, CHANGES[name]
    after = run(changed(slide, change), trained, tmp_path / "out")[1][32::64, 32::64]
    known = (before > 0) & (after > 0)
    values = np.concatenate([before[known], after[known]])
    assert roc_auc_score(np.repeat([0, 1], known.sum()), values) >= least

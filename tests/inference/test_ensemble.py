"""Ensembles: mean and standard deviation are those of single predictions, however the slide is tiled or resumed."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from napari_hrpn.analysis import ErrorModel
from napari_hrpn.core import drive
from napari_hrpn.inference import (
    PredictionError,
    PredictionSettings,
    PredictionStore,
    PredictionWarning,
    predict_slide,
    slide_fit,
)
from napari_hrpn.inference.ensemble import checked_members, mean_and_sd
from napari_hrpn.models import GANDA, Checkpoint, GANDASettings, IntensityScaling, halo_of
from napari_hrpn.settings.vessel_distance import VesselDistance
from napari_hrpn.slides import ChunkCache, open_slide, prediction_record
from support.predictions import lively_checkpoint, make_slide

PLAIN = PredictionSettings(device="cpu", skip_blank=False, core=512)


def member(seed: int, **card: object) -> Checkpoint:
    """A network that differs from that of another seed by about a tenth of its weights."""
    checkpoint = lively_checkpoint(1, **card)
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: weight * (1 + 0.1 * torch.randn(weight.shape, generator=generator))
        if weight.is_floating_point()
        else weight
        for name, weight in checkpoint.weights.items()
        if not name.endswith("running_var")
    }
    return replace(checkpoint, weights={**checkpoint.weights, **weights})


PERCENTILES = IntensityScaling("percentile", target_scale=15.0)


@pytest.fixture(scope="module")
def members() -> list[Checkpoint]:
    """Three networks, of which one scales its inputs by percentiles."""
    return [member(0), member(1), member(2, scaling=PERCENTILES)]


def run(slide, checkpoint, path, settings=PLAIN, **options) -> np.ndarray:
    for _ in predict_slide(slide, checkpoint, path, settings, **options):
        pass
    return np.asarray(open_slide(path).levels[0])


def files(path):
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.mark.parametrize("change", [{}, {"resample": True}], ids=["plain", "resampled"])
def test_the_channels_are_mean_and_deviation_of_single_predictions(change, members, source, tmp_path):
    size = (0.4, 0.45) if change else (0.5, 0.5)
    slide, settings = make_slide(600, 300, source, pixel_size_um=size), replace(PLAIN, **change)
    found = run(slide, members, tmp_path / "ensemble", settings)
    single = np.array([run(slide, one, tmp_path / str(n), settings)[0] for n, one in enumerate(members)], np.float64)
    span = np.ptp(single)
    np.testing.assert_allclose(found[0], single.mean(axis=0), atol=1e-5 * span)
    np.testing.assert_allclose(found[1], single.std(axis=0, ddof=1), atol=1e-5 * span)
    assert found[1].mean() > 1e-3 * span


def test_networks_of_different_kind_and_reach_see_the_same_halo_the_larger_one(source, tmp_path):
    torch.manual_seed(7)
    ganda = GANDA(GANDASettings(channels=(6, 8, 10, 12, 14)))
    mixed = [lively_checkpoint(3), Checkpoint(ganda.settings, ganda.state_dict(), lively_checkpoint(3).card)]
    slide, halos = make_slide(97, 61, source), [halo_of(one.settings) for one in mixed]
    assert halos[0] != halos[1]
    found = run(slide, mixed, tmp_path / "ensemble")
    assert prediction_record(tmp_path / "ensemble").request["halo"] == max(halos)
    single = np.array([run(slide, one, tmp_path / str(n))[0] for n, one in enumerate(mixed)], np.float64)
    np.testing.assert_allclose(found[0], single.mean(axis=0), atol=1e-5 * np.ptp(single))
    np.testing.assert_allclose(found[1], single.std(axis=0, ddof=1), atol=1e-5 * np.ptp(single))


def test_a_slide_is_read_once_for_all_members(members, source, tmp_path, monkeypatch):
    read, reads = ChunkCache.read, []
    monkeypatch.setattr(ChunkCache, "read", lambda *arguments: reads.append(1) or read(*arguments))
    slide = make_slide(600, 300, source)
    run(slide, members[0], tmp_path / "single")
    single = len(reads)
    run(slide, members, tmp_path / "ensemble")
    assert len(reads) == 2 * single > 0


def test_identical_members_have_no_deviation_and_the_prediction_of_one(source, tmp_path):
    slide, settings = make_slide(530, 300, source, blank=200), replace(PLAIN, skip_blank=True)
    (single,) = run(slide, member(0), tmp_path / "single", settings)
    mean, deviation = run(slide, [member(0)] * 3, tmp_path / "ensemble", settings)
    np.testing.assert_array_equal(mean, single)
    assert not deviation.any()


def test_one_checkpoint_in_a_list_makes_the_files_of_a_single_one(source, tmp_path):
    slide = make_slide(530, 300, source)
    run(slide, member(0), tmp_path / "a" / "out")
    run(slide, [member(0)], tmp_path / "b" / "out")
    assert files(tmp_path / "a" / "out") == files(tmp_path / "b" / "out")


def test_tiles_of_any_size_agree_and_a_resumed_run_makes_the_same_files(members, source, tmp_path):
    slide = make_slide(1030, 530, source)
    whole = run(slide, members, tmp_path / "large", replace(PLAIN, core=1536))
    tiled = run(slide, members, tmp_path / "whole" / "out")
    assert np.abs(tiled - whole).max() <= 1e-5 * np.ptp(whole)
    stopped = predict_slide(slide, members, tmp_path / "resumed" / "out", PLAIN)
    assert len(list(islice(stopped, 2))) == 2
    stopped.close()
    run(slide, members, tmp_path / "resumed" / "out")
    assert files(tmp_path / "resumed" / "out") == files(tmp_path / "whole" / "out")


def test_a_piece_that_does_not_fit_into_memory_is_predicted_in_quarters(members, source, tmp_path, monkeypatch):
    from napari_hrpn.inference.predictor import Predictor

    slide, predict = make_slide(512, 512, source), Predictor.run
    expected = run(slide, members, tmp_path / "whole")

    def scarce(self, pixels, crop, scale):
        if pixels.shape[-1] > 512:
            raise MemoryError
        return predict(self, pixels, crop, scale)

    monkeypatch.setattr(Predictor, "run", scarce)
    found = run(slide, members, tmp_path / "quarters")
    assert np.abs(found - expected).max() <= 1e-5 * np.ptp(expected)


def test_glass_has_mean_and_deviation_of_the_answers_and_integers_are_rounded(members, source, tmp_path):
    slide = make_slide(530, 1100, source, blank=700)
    settings = replace(PLAIN, skip_blank=True)
    found = run(slide, members, tmp_path / "ensemble", settings)
    glass = [run(slide, one, tmp_path / str(n), settings)[0, 0, 0] for n, one in enumerate(members)]
    np.testing.assert_allclose(found[:, 0, 0], (np.mean(glass), np.std(glass, ddof=1)), rtol=1e-5)
    integers = run(slide, members, tmp_path / "integers", replace(settings, output="probe"))
    assert integers.dtype == np.uint8
    np.testing.assert_array_equal(integers, np.clip(np.rint(found), 0, 255))


def test_the_store_names_both_channels_and_both_have_a_pyramid_and_a_contrast(members, source, tmp_path):
    run(make_slide(1030, 530, source), members, tmp_path / "out.ome.zarr")
    slide = open_slide(tmp_path / "out.ome.zarr")
    assert slide.channel_names == ("predicted probe", "sd")
    assert [level.shape for level in slide.levels] == [(2, 1030, 530), (2, 515, 265), (2, 258, 133)]
    store = PredictionStore(tmp_path / "out.ome.zarr")
    windows = [channel["window"] for channel in store._ome["omero"]["channels"]]
    limits = [(window["start"], window["end"]) for window in windows]
    assert limits[0] != limits[1]
    assert all(0 <= low < high for low, high in limits[1:])
    record = prediction_record(tmp_path / "out.ome.zarr")
    assert record is not None
    assert record.title == "untitled and 2 more"
    assert record.request["members"] == [one.digest for one in members]
    assert len(record.checkpoint) == 16


def test_a_damaged_chunk_of_the_deviation_is_predicted_again(members, source, tmp_path):
    slide, path = make_slide(600, 300, source), tmp_path / "out.ome.zarr"
    run(slide, members, path)
    before = files(path)
    (path / "0/c/1/0/0").unlink()
    (path / "1/c/1/0/0").write_bytes(b"")
    run(slide, members, path)
    assert files(path) == before


def test_another_ensemble_is_refused_and_so_is_a_single_checkpoint(members, source, tmp_path):
    slide = make_slide(200, 200, source)
    run(slide, members, tmp_path / "out")
    for other in (members[:2], members[0]):
        with pytest.raises(PredictionError, match="holds a prediction made with checkpoint"):
            run(slide, other, tmp_path / "out")


DIFFERENT = {
    "inputs vessels, nuclei in": {"input_roles": ("vessels", "nuclei")},
    "target other in": {"target": "other"},
    "pixel type uint16": {"dtype": "uint16"},
    "resampling on": {"resamples": True},
    "pixel size 0.6 µm in": {"pixel_size_um": 0.6},
    "pixel size unknown in": {"pixel_size_um": None},
}


@pytest.mark.parametrize("sentence", DIFFERENT)
def test_members_that_differ_are_refused_with_what_differs(sentence):
    with pytest.raises(PredictionError, match=f"no ensemble: {sentence}.*checkpoint 2.*in the first one"):
        checked_members([member(0), member(1, **DIFFERENT[sentence])])


def test_distances_that_differ_are_refused_and_pixel_sizes_that_differ_a_little_are_not():
    card = {
        "input_roles": ("nuclei", "vessels", "distance"),
        "scaling": IntensityScaling(offsets=(0,) * 3, scales=(1,) * 3),
    }
    near, far = (lively_checkpoint(1, **card, distance=VesselDistance(reach_um=reach)) for reach in (50.0, 40.0))
    with pytest.raises(PredictionError, match="no ensemble: distance to vessels up to 40 µm in steps"):
        checked_members([near, far])
    assert len(checked_members([member(0), member(1, pixel_size_um=0.505)])) == 2
    with pytest.raises(PredictionError, match="there is no checkpoint"):
        checked_members([])


def test_mean_and_deviation_of_large_values_keep_their_digits():
    images = np.random.default_rng(0).normal(60_000, 3, (7, 20, 30)).astype(np.float32)
    exact = images.astype(np.float64)
    mean, deviation = mean_and_sd(image.copy() for image in images)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=3e-7)
    np.testing.assert_allclose(deviation, exact.std(axis=0, ddof=1), rtol=5e-3)


def test_the_fit_is_that_of_the_member_whose_training_the_slide_is_least_like(source, tmp_path):
    slide = make_slide(300, 300, source, pixel_size_um=(2.0, 2.0))
    near, far = (
        member(0, pixel_size_um=2.0, input_quantiles=tuple(((level + step,) * 7,) * 2 for step in (0.0, 0.1)))
        for level in (0.5, 40.0)
    )
    fits = [slide_fit(slide, one) for one in (near, far)]
    assert fits[0].distance < fits[1].distance
    assert slide_fit(slide, [far, near]) == slide_fit(slide, [near, far]) == fits[1]
    steps = predict_slide(slide, [near, far], tmp_path / "out", PLAIN)
    with pytest.warns(PredictionWarning, match="is unlike the slides trained on"):
        report = drive(steps)
    assert report.fit == fits[1]


ERRORS = ErrorModel(3, (-40.0, 10.0, 25.0, 60.0), (0.5, 0.1, 4.0, 1.0))


def test_the_deviation_is_nowhere_smaller_than_the_errors_at_the_predicted_level(members, source, tmp_path):
    slide = make_slide(1030, 530, source, blank=300)
    settings = replace(PLAIN, skip_blank=True)
    plain = run(slide, members, tmp_path / "plain", settings)
    levels, usual = np.quantile(plain[0, :, 300:], (0.1, 0.5, 0.9)).tolist(), float(np.median(plain[1, :, 300:]))
    errors = ErrorModel(3, tuple(levels), (0.2 * usual, 3 * usual, 0.2 * usual))
    found = run(slide, members, tmp_path / "found", settings, errors=errors)
    np.testing.assert_array_equal(found[0], plain[0])
    expected = np.maximum(plain[1], np.interp(plain[0], errors.predicted, errors.sd))
    np.testing.assert_allclose(found[1], expected, rtol=1e-6)
    assert 0.05 < (found[1] > plain[1])[:, 300:].mean() < 0.95
    whole = run(slide, members, tmp_path / "large", replace(settings, core=1536), errors=errors)
    assert np.abs(found - whole).max() <= 1e-5 * np.ptp(whole)
    record = prediction_record(tmp_path / "found")
    assert record is not None
    assert record.request["error_model"] == errors.facts
    with pytest.raises(PredictionError, match="holds a prediction"):
        run(slide, members, tmp_path / "found", settings)


def test_one_network_with_known_errors_has_a_deviation_in_quarters_too(source, tmp_path, monkeypatch):
    from napari_hrpn.inference.predictor import Predictor

    slide, predict = make_slide(512, 512, source), Predictor.run
    (single,) = run(slide, member(0), tmp_path / "single")

    def scarce(self, pixels, crop, scale):
        if pixels.shape[-1] > 512:
            raise MemoryError
        return predict(self, pixels, crop, scale)

    monkeypatch.setattr(Predictor, "run", scarce)
    mean, sd = run(slide, member(0), tmp_path / "quarters", errors=ERRORS)
    assert np.abs(mean - single).max() <= 1e-5 * np.ptp(single)
    np.testing.assert_allclose(sd, np.interp(mean, ERRORS.predicted, ERRORS.sd), rtol=1e-6)

"""Fit of a slide to a checkpoint: quantiles of the tissue, the unit of the training, three levels."""

import json
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

from napari_hrpn.cli import run
from napari_hrpn.inference import PredictionError, PredictionSettings, PredictionWarning, predict_slide, slide_fit
from napari_hrpn.inference.fit import QUANTILES, fit_of, input_quantiles, kept_quantiles
from napari_hrpn.models import IntensityScaling, ModelCard, save_checkpoint
from napari_hrpn.settings.vessel_distance import VesselDistance
from napari_hrpn.slides import RegionMask, coarser_levels
from support.predictions import lively_checkpoint, make_slide, save_slide


def brighter(slide, gain, offset=0.0):
    """The same slide at another exposure."""
    finest = da.from_array((np.asarray(slide.levels[0]) * gain + offset).astype(np.uint16), chunks=(1, 512, 512))
    return replace(slide, levels=(finest, *coarser_levels(finest)))


def quantiles_of(slide, scaling=None, distance=None, roles=("nuclei", "vessels")):
    scaling = scaling or IntensityScaling(offsets=(10, 10), scales=(50, 50))
    stains = replace(slide, levels=tuple(level[:2] for level in slide.levels), channel_names=slide.channel_names[:2])
    return input_quantiles(stains, roles, RegionMask.whole(slide.shape), scaling, distance)


def card_of(*slides):
    return ModelCard(
        scaling=IntensityScaling(offsets=(10, 10), scales=(50, 50)),
        input_quantiles=kept_quantiles([quantiles_of(slide) for slide in slides]),
    )


@pytest.fixture
def slides(source):
    slide = make_slide(512, 512, source, pixel_size_um=(2.0, 2.0))
    return [brighter(slide, gain) for gain in (0.9, 1.0, 1.1)]


def test_quantiles_are_those_of_the_pixels_in_the_networks_numbers(slides):
    pixels = np.asarray(slides[0].levels[0][:2], float).reshape(2, -1)
    expected = (np.percentile(pixels, QUANTILES, axis=1).T - 10) / 50
    assert np.allclose(quantiles_of(slides[0]), expected)


def test_quantiles_of_the_distance_are_in_its_place(slides):
    scaling = IntensityScaling(offsets=(10, 10, 0), scales=(50, 50, 125))
    found = quantiles_of(slides[0], scaling, VesselDistance(), ("nuclei", "vessels", "distance"))
    assert np.allclose(found[:2], quantiles_of(slides[0]))
    assert found[2].min() == 0
    assert 0 < found[2].max() <= 1


def test_the_unit_is_the_largest_distance_of_a_training_slide_to_the_nearest_other(slides):
    trained = np.array([quantiles_of(slide) for slide in slides])
    new = quantiles_of(brighter(slides[1], 1.4))
    root = [[np.sqrt(((one - other) ** 2).mean()) for other in trained] for one in (*trained, new)]
    unit = max(sorted(row)[1] for row in root[:3])
    assert fit_of(card_of(*slides), new, "s").distance == pytest.approx(min(root[3]) / unit, rel=1e-3)


@pytest.mark.parametrize(("gain", "level"), [(1.05, "fits"), (1.26, "note"), (2.0, "warning"), (0.4, "warning")])
def test_three_levels(slides, gain, level):
    fit = fit_of(card_of(*slides), quantiles_of(brighter(slides[1], gain)), "new.tif")
    assert fit.level == level
    assert "new.tif" in fit.sentence


def test_the_reason_names_the_stain(slides):
    pixels = np.asarray(slides[1].levels[0]).copy()
    pixels[1] *= 3
    other = replace(slides[1], levels=(da.from_array(pixels),))
    fit = fit_of(card_of(*slides), quantiles_of(other), "s")
    assert "of vessels is" in fit.sentence


def test_one_slide_and_no_slide_are_said(slides):
    one = fit_of(card_of(slides[0]), quantiles_of(slides[1]), "s")
    assert (one.level, one.distance) == ("note", None)
    assert "one slide" in one.sentence
    none = fit_of(ModelCard(), quantiles_of(slides[1]), "s")
    assert (none.level, none.distance) == ("unknown", None)


def test_a_percentile_scaling_sees_the_shape_and_not_the_exposure(slides, source):
    checkpoint = lively_checkpoint(1)
    scaling = replace(checkpoint.card.scaling, kind="percentile")
    trained = []
    for slide in slides:
        pixels = np.asarray(slide.levels[0][:2], float)
        low, high = np.percentile(pixels.reshape(2, -1), (1, 99.5), axis=1)
        trained.append(quantiles_of(slide, scaling.fixed_to(tuple(low), tuple(high))))
    card = replace(checkpoint.card, scaling=scaling, input_quantiles=kept_quantiles(trained))
    checkpoint = replace(checkpoint, card=card)
    assert slide_fit(brighter(slides[1], 5.0), checkpoint).level == "fits"
    sparse = np.asarray(slides[1].levels[0], float)
    sparse = (255 * ((sparse - sparse.min()) / np.ptp(sparse)) ** 6).astype(np.uint16)
    assert slide_fit(replace(slides[1], levels=(da.from_array(sparse),)), checkpoint).level == "warning"


def test_a_prediction_warns_and_reports(slides, tmp_path):
    checkpoint = lively_checkpoint(1)
    card = replace(card_of(*slides), scaling=replace(checkpoint.card.scaling), pixel_size_um=2.0)
    checkpoint, settings = replace(checkpoint, card=card), PredictionSettings(device="cpu", core=512)

    def predicted(slide, name):
        steps = predict_slide(slide, checkpoint, tmp_path / name, settings)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value

    with pytest.warns(PredictionWarning, match="unlike the slides trained on"):
        assert predicted(brighter(slides[1], 2.5), "far.ome.zarr").fit.level == "warning"
    assert predicted(slides[1], "near.ome.zarr").fit.level == "fits"


@pytest.mark.parametrize("quantiles", [((1.0,),), (((1.0, 2.0),),), (((0.0,) * 7,),), (((0.0,) * 7,) * 3,)])
def test_a_card_with_other_quantiles_is_refused(quantiles):
    with pytest.raises(ValueError, match="quantiles"):
        ModelCard(input_quantiles=quantiles)


def test_no_checkpoint_at_all_gets_a_sentence(slides):
    with pytest.raises(PredictionError, match="there is no checkpoint"):
        slide_fit(slides[0], [])


def test_info_says_how_far_a_slide_is(tmp_path, source, capsys):
    slide = save_slide(make_slide(300, 280, source), tmp_path / "slide.zarr")
    checkpoint = lively_checkpoint(1)
    pixels = np.asarray(slide.levels[0][:2], float).reshape(2, -1)
    near = (np.percentile(pixels, QUANTILES, axis=1).T - 10) / 50
    card = replace(checkpoint.card, input_quantiles=kept_quantiles([near, near + 0.5]))
    save_checkpoint(replace(checkpoint, card=card), tmp_path / "c.safetensors")
    words = ["info", str(slide.source), "--checkpoint", str(tmp_path / "c.safetensors")]
    assert run(words) == 0
    assert "Fit:         slide.zarr is like the slides trained on" in capsys.readouterr().out
    assert run([*words, "--json"]) == 0
    fit = json.loads(capsys.readouterr().out)["fit"]
    assert fit["level"] == "fits"
    assert 0 <= fit["distance"] <= 1

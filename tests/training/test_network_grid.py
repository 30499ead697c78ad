"""Training at a pixel size of the network's own, with the distance to vessels as an input, and its checkpoint."""

from dataclasses import replace

import numpy as np
import pytest

from napari_hrpn.core import drive
from napari_hrpn.inference import PredictionSettings, predict_slide, slide_fit
from napari_hrpn.models import load_checkpoint
from napari_hrpn.settings.vessel_distance import VesselDistance
from napari_hrpn.slides import open_slide
from napari_hrpn.training import SlideEntry, TrainingError, check_training, recipe_settings, train_model
from support.evaluated_slides import write_slide

pytestmark = pytest.mark.filterwarnings("ignore::napari_hrpn.training.TrainingWarning")
SETTINGS = recipe_settings(
    "fast",
    channels=("nuclei", "vessels", "distance"),
    branches=1,
    patch_px=32,
    batch=2,
    steps_per_epoch=2,
    epochs=1,
    precision="fp32",
    scaling="percentile",
    minimum_overlap=0.0,
)


@pytest.fixture(scope="module")
def trained(tumours, tmp_path_factory):
    """Entries of slides at 0.5 µm, settings for twice that, and the checkpoint that a training makes."""
    entries = tuple(SlideEntry(path) for path in tumours)
    own_um = open_slide(entries[0].path).pixel_size_um[0]
    settings = replace(SETTINGS, pixel_um=2 * own_um)
    run = tmp_path_factory.mktemp("grid") / "run"
    drive(train_model(entries, run, settings), lambda report: None)
    return entries, settings, load_checkpoint(run / "checkpoint.safetensors")


def test_the_card_says_what_the_network_sees(trained):
    _, settings, checkpoint = trained
    card = checkpoint.card
    assert (card.resamples, card.pixel_size_um, card.distance) == (True, settings.pixel_um, VesselDistance())
    assert card.scaling.offsets[2] == 0
    assert card.scaling.scales[2] == VesselDistance().steps
    assert np.shape(card.input_quantiles)[1:] == (3, 7)
    assert card.n_sections == len(card.input_quantiles)
    assert "distance" in card.summary()


def test_a_slide_of_the_training_fits_and_is_predicted_on_its_own_pixels(trained, tmp_path):
    entries, _, checkpoint = trained
    slide = open_slide(entries[0].path)
    fit = slide_fit(slide, checkpoint)
    assert fit.level in ("fits", "note")
    settings = PredictionSettings(device="cpu", core=512, skip_blank=False)
    for _ in predict_slide(slide, checkpoint, tmp_path / "p.ome.zarr", settings):
        pass
    assert open_slide(tmp_path / "p.ome.zarr").shape == slide.shape


def test_slides_of_different_pixel_sizes_are_brought_to_one(trained, tmp_path):
    entries, settings, _ = trained
    plain = replace(settings, pixel_um=None, channels=("nuclei", "vessels"))
    checked = check_training(entries, settings, tmp_path / "run")
    sizes = {
        np.round(part.slide.pixel_size_um, 3).tolist()[0] for part in (*checked.split.train, *checked.split.validation)
    }
    assert sizes == {round(settings.pixel_um, 3)}
    fine = check_training(entries, plain, tmp_path / "run")
    assert fine.split.train[0].slide.shape == tuple(2 * side for side in checked.split.train[0].slide.shape)


@pytest.mark.parametrize("channels", [("nuclei", "distance"), ("distance", "vessels")])
def test_the_distance_needs_the_vessels_before_it(channels):
    with pytest.raises(TrainingError, match="expected vessels before distance"):
        replace(SETTINGS, channels=channels)


@pytest.mark.parametrize(
    ("changes", "words"), [({"pixel_um": 0.55}, "resampled to 0.55 µm"), ({}, "distance to vessels")]
)
def test_a_slide_without_pixel_size_is_refused_with_what_a_training_can_do(changes, words, tmp_path):
    """A training has no option for the pixel size of a slide, as a prediction has."""
    path = write_slide(np.full((3, 96, 96), 7, np.uint8), ("DAPI", "AF488", "QD"), tmp_path / "s.ome.tif", None)
    with pytest.raises(TrainingError, match=f"no pixel size, expected one, as .*{words}.*save the slide") as error:
        check_training([SlideEntry(path)], replace(SETTINGS, **changes), tmp_path / "run")
    assert "--pixel-size" not in str(error.value)


def test_a_derived_input_is_no_target():
    with pytest.raises(TrainingError, match="target is distance, which is derived"):
        recipe_settings("fast", target="distance")

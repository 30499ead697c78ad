from dataclasses import replace

import pytest

from napari_hrpn.sample_data import PHANTOM_PRESETS, phantom_slide
from napari_hrpn.training import SlideEntry, TrainingSlide, check_training, recipe_settings
from napari_hrpn.training.swapped_channels import swapped_channels


@pytest.fixture(scope="module")
def slides():
    """Four tumours with the channels nuclei, vessels, probe."""
    settings = replace(PHANTOM_PRESETS["tiny"], has_outline=False)
    made = [phantom_slide(settings, size=512, seed=seed).slide for seed in (1, 2, 3, 4)]
    return [TrainingSlide(SlideEntry(slide.source), slide, (0, 1), 2) for slide in made]


def test_slides_that_are_alike_are_not_told_of(slides):
    assert swapped_channels(slides) == ()


@pytest.mark.parametrize(("inputs", "target"), [((1, 0), 2), ((2, 1), 0)])
def test_a_slide_with_exchanged_channels_is_told_of(slides, inputs, target):
    (sentence,) = swapped_channels([slides[0], replace(slides[1], inputs=inputs, target=target), *slides[2:]])
    assert "look as if they were exchanged" in sentence
    assert "DAPI" in sentence


def test_two_slides_cannot_say_which_of_them_is_wrong(slides):
    assert swapped_channels([slides[0], replace(slides[1], inputs=(1, 0))]) == ()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_one_name_with_two_roles_is_told_of(tumours, tmp_path):
    entries = [SlideEntry(tumours[0], roles={"nuclei": 1, "vessels": 0}), *map(SlideEntry, tumours[1:])]
    warnings = check_training(entries, recipe_settings(branches=1, patch_px=64), tmp_path / "run").warnings
    assert any("the channel AF488 is taken for nuclei in tumour1.ome.tif but vessels in tumour2" in w for w in warnings)

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

from napari_hrpn.phantom import PHANTOM_PRESETS, phantom_slide
from napari_hrpn.training import SlideEntry, TrainingSlide, check_training, recipe_settings
from napari_hrpn.training.pixel_checks import swapped_channels


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
    assert "seem to be exchanged" in sentence
    assert "DAPI" in sentence


@pytest.mark.parametrize("is_flat", [(False, True, False), (True, False, True)])
def test_slides_with_and_without_a_pyramid_are_looked_at_alike(slides, is_flat):
    def stored(each, flat):
        finest = each.slide.levels[0]
        coarser = da.coarsen(np.mean, finest, {1: 8, 2: 8}).astype(finest.dtype)
        return replace(each, slide=replace(each.slide, levels=(finest, coarser), stored_levels=1 if flat else 2))

    alike = [stored(slide, flat) for slide, flat in zip(slides, is_flat, strict=False)]
    assert swapped_channels(alike) == ()
    assert len(swapped_channels([alike[0], replace(alike[1], inputs=(1, 0)), alike[2]])) == 1


def test_two_slides_cannot_say_which_of_them_is_wrong(slides):
    assert swapped_channels([slides[0], replace(slides[1], inputs=(1, 0))]) == ()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_one_name_with_two_roles_is_warned_of(tumours, tmp_path):
    entries = [SlideEntry(tumours[0], roles={"nuclei": 1, "vessels": 0}), *map(SlideEntry, tumours[1:])]
    warnings = check_training(entries, recipe_settings(branches=1, patch_px=64), tmp_path / "run").warnings
    assert any("AF488 is used as nuclei in tumour1.ome.tif but as vessels in tumour2" in w for w in warnings)

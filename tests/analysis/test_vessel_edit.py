"""Edits of the vessel stain: texture in place of a vessel, a copied vessel, and sham edits."""

import re

import numpy as np
import pytest
from scipy import ndimage

from napari_hrpn.analysis import AnalysisError
from napari_hrpn.analysis.tissue.vessel_edit import vessel_window
from napari_hrpn.core import drive
from napari_hrpn.settings.what_if import WhatIfSettings
from napari_hrpn.slides import Annotation
from support.vessel_slides import discs, slide_of

CENTRES = np.array([[60, 60], [60, 150], [150, 70], [170, 170], [110, 220]])


def stain(mask):
    noise = np.random.default_rng(1).normal(30, 4, mask.shape)
    return np.rint(ndimage.gaussian_filter(mask * 150.0, 0.7) + noise).astype(np.uint8)


@pytest.fixture(scope="module")
def slide():
    return slide_of(stain(discs((260, 280), CENTRES, 6)))


@pytest.fixture
def window(slide):
    return drive(vessel_window(slide, 0, 0, (130.0, 130.0), None, WhatIfSettings(threshold=90.0)))


def test_a_removed_vessel_leaves_the_texture_of_vessel_free_tissue(slide, window):
    before = slide.levels[0].compute()
    vessel = window.vessel_at((64.0, 151.0))
    edit = window.removed(vessel, np.random.default_rng(0))
    assert (edit.box.y0 + edit.box.y1) / 2 == pytest.approx(60.5, abs=1)
    filled = edit.pixels[edit.region].astype(float)
    assert abs(filled.mean() - 30) < 2
    assert 3 < filled.std() < 5
    # beyond the rim nothing has changed, and the slide nowhere
    far = ndimage.distance_transform_edt(~edit.region) > 4.5
    assert far.any()
    np.testing.assert_array_equal(edit.pixels[far], before[0][edit.box.slices][far])
    np.testing.assert_array_equal(slide.levels[0].compute(), before)
    np.testing.assert_array_equal(window.removed(vessel, np.random.default_rng(0)).pixels, edit.pixels)


def test_a_vessel_is_copied_to_a_place_as_it_is(window):
    edit = window.added((110.0, 130.0))
    inside = ndimage.distance_transform_edt(edit.region) > 2
    assert edit.pixels[inside].mean() > 150
    assert ndimage.center_of_mass(edit.region) + np.array([edit.box.y0, edit.box.x0]) == pytest.approx(
        (110, 130), abs=1.5
    )


def test_sham_edits_touch_no_vessel_and_are_as_large(slide, window):
    edit = window.removed(window.vessel_at((150.0, 70.0)), np.random.default_rng(0))
    shams = window.shams(edit, 6, np.random.default_rng(3))
    assert len(shams) == 6
    for sham in shams:
        assert sham.region.sum() == edit.region.sum()
        changed = sham.pixels != slide.levels[0][0][sham.box.slices].compute()
        assert changed.any()
        assert not (changed & ~window.free[sham.box.slices]).any()


def test_sham_edits_in_crowded_tissue_change_no_vessel_and_say_how_large_they_are():
    centres = np.stack(np.meshgrid(np.arange(12, 200, 18), np.arange(12, 200, 18)), axis=-1).reshape(-1, 2)
    slide = slide_of(stain(discs((200, 200), centres, 6)))
    window = drive(vessel_window(slide, 0, 0, (100.0, 100.0), None, WhatIfSettings(threshold=90.0)))
    edit = window.removed(window.labels == window.labels[102, 102], np.random.default_rng(0))
    shams = window.shams(edit, 8, np.random.default_rng(3))
    share = sum(sham.region.sum() for sham in shams) / 8 / edit.region.sum()
    (sentence,) = window.doubts(edit, shams, slide.shape)
    assert sentence.startswith(f"the sham edits have {share:.0%} of the edit's area")
    for sham in shams:
        changed = sham.pixels != slide.levels[0][0][sham.box.slices].compute()
        assert not (changed & (window.labels[sham.box.slices] > 0)).any()
        assert 0 < sham.region.sum() < edit.region.sum()
        assert not (sham.region & ~window.free[sham.box.slices]).any()


def test_a_place_is_refused_where_an_edit_would_change_a_vessel(window):
    with pytest.raises(AnalysisError, match=r"place 60, 60 µm lies in a vessel, and an edit there would change"):
        window.added((60.0, 60.0))
    walls = np.argwhere(window.labels > 0)
    with pytest.raises(AnalysisError, match="µm from the nearest vessel wall") as refused:
        window.added((60.0, 71.0))
    said, wanted = (float(number) for number in re.findall(r"([\d.]+) µm (?=from)", str(refused.value)))
    assert said == round(np.hypot(*(walls - (60, 71)).T).min())
    accepted = 0
    for place in np.random.default_rng(0).uniform(15, 245, (40, 2)):
        away = np.hypot(*(walls - np.floor(place)).T).min()
        try:
            edit = window.added(tuple(place))
        except AnalysisError:
            assert away < wanted
            continue
        accepted += 1
        changed = np.argwhere(edit.pixels != window.stain[edit.box.slices]) + np.array([edit.box.y0, edit.box.x0])
        assert min(np.hypot(*(walls - pixel).T).min() for pixel in changed) > 2.5
    assert 0 < accepted < 40


def test_a_vessel_that_the_window_cuts_gets_a_sentence():
    mask = np.zeros((200, 240), bool)
    mask[:, 118:124] = mask[97:103, 60:66] = True
    slide = slide_of(stain(mask))
    for window_um, place, cut in (
        (50.0, (100.0, 120.0), True),
        (50.0, (100.0, 63.0), False),
        (120.0, (100.0, 120.0), False),
    ):
        settings = WhatIfSettings(threshold=90.0, window_um=window_um)
        window = drive(vessel_window(slide, 0, 0, (100.0, 100.0), None, settings))
        edit = window.removed(window.vessel_at(place), np.random.default_rng(0))
        # no sham edit is smaller than the edit
        assert [words[:28] for words in window.doubts(edit, [edit], slide.shape)] == [
            "the vessel goes on beyond th"
        ] * cut


def test_texture_comes_in_pieces_where_vessels_leave_no_place_as_large():
    mask = np.zeros((200, 200), bool)
    mask[:, ::16] = mask[:, 1::16] = mask[:, 2::16] = True
    window = drive(vessel_window(slide_of(stain(mask)), 0, 0, (100.0, 100.0), None, WhatIfSettings(threshold=90.0)))
    edit = window.removed(window.vessel_at((100.0, 97.0)), np.random.default_rng(0))
    assert edit.region.sum() > 500
    assert edit.pixels[edit.region].mean() < 45


def test_the_vessels_in_an_outline_are_removed_together(window):
    drawn = Annotation("two", "include", ((np.array([[40, 40], [40, 170], [80, 170], [80, 40]], float),),))
    vessels = window.vessels_in([drawn], (1.0, 1.0))
    assert ndimage.label(vessels)[1] == 2


def test_a_place_without_a_vessel_gets_a_sentence(slide, window):
    with pytest.raises(AnalysisError, match="no vessel within 10 µm of 110, 130 µm, the nearest is 48 µm away"):
        window.vessel_at((110.0, 130.0))
    bare = drive(vessel_window(slide, 0, 0, (2.0, 2.0), None, WhatIfSettings(threshold=254.0)))
    with pytest.raises(AnalysisError, match="no vessel within 10 µm of 2, 2 µm, the window has none"):
        bare.vessel_at((2.0, 2.0))
    with pytest.raises(AnalysisError, match="over the slide's border"):
        window.added((2.0, 100.0))
    with pytest.raises(AnalysisError, match="outside of"):
        drive(vessel_window(slide, 0, 0, (300.0, 10.0), None, WhatIfSettings()))

"""Every role finds its channel, by name, number or guess; what cannot be cut is refused in one sentence."""

import json
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

from napari_hrpn.slides import Slide, SlideError, write_ome_tiff
from napari_hrpn.training import SlideEntry, TrainingError, TrainingSettings, open_entry
from napari_hrpn.training.entries import _role_channels
from support.predictions import make_slide

SETTINGS = TrainingSettings()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("slide") / "slide.ome.tif"
    for _ in write_ome_tiff(make_slide(96, 130, path), path):
        pass
    return path


def named(tmp_path, *names):
    finest = da.zeros((len(names), 96, 96), np.uint8)
    return Slide((finest,), names, None, tmp_path / "slide.tif")


def test_roles_are_guessed_from_names(path):
    opened = open_entry(SlideEntry(path), SETTINGS)
    assert (opened.inputs, opened.target, opened.regions) == ((0, 1), 2, None)
    assert opened.slide.shape == (96, 130)


@pytest.mark.parametrize("probe", [0, "0", "dapi"])
def test_a_chosen_channel_wins_and_is_guessed_for_no_other_role(path, probe):
    settings = replace(SETTINGS, channels=("vessels",))
    opened = open_entry(SlideEntry(path, roles={"probe": probe}), settings)
    assert (opened.inputs, opened.target) == ((1,), 0)
    with pytest.raises(TrainingError, match="none is known to show nuclei; say which one does"):
        open_entry(SlideEntry(path, roles={"probe": probe}), SETTINGS)


def test_inputs_come_in_the_order_of_the_settings_and_spare_roles_are_left_alone(path):
    settings = replace(SETTINGS, channels=("vessels", "nuclei"))
    assert open_entry(SlideEntry(path, roles={"fap": "nowhere"}), settings).inputs == (1, 0)


def test_a_third_stain_is_known_by_the_name_of_its_channel(tmp_path):
    slide = named(tmp_path, "QD", "Fap", "CD31", "DAPI")
    roles = ("nuclei", "vessels", "fap", "probe")
    assert _role_channels(slide, roles, {}) == {"nuclei": 3, "vessels": 2, "fap": 1, "probe": 0}
    assert _role_channels(slide, roles, {"fap": "QD"}) == {"nuclei": 3, "vessels": 2, "fap": 0}


def test_all_missing_channels_are_named_at_once_with_how_to_say_them(tmp_path):
    slide = named(tmp_path, "A", "B")
    path = tmp_path / "slide.ome.tif"
    for _ in write_ome_tiff(slide, path):
        pass
    with pytest.raises(TrainingError) as caught:
        open_entry(SlideEntry(path), replace(SETTINGS, channels=("nuclei", "fap")))
    told = str(caught.value)
    assert "0 = A, 1 = B" in told
    assert "nuclei or fap or probe" in told
    assert "--nuclei CHANNEL, --role fap=CHANNEL, --probe CHANNEL" in told


def test_two_roles_never_share_a_channel(path):
    with pytest.raises(TrainingError, match="channel 2 = QD to both vessels and probe"):
        open_entry(SlideEntry(path, roles={"vessels": "QD", "probe": 2}), SETTINGS)


@pytest.mark.parametrize("channel", ["Cy5", 3, -1])
def test_a_channel_that_is_not_there_is_refused(path, channel):
    with pytest.raises(SlideError, match="expected one of 0 = DAPI, 1 = AF488, 2 = QD"):
        open_entry(SlideEntry(path, roles={"probe": channel}), SETTINGS)


def test_regions_are_read_on_the_grid_of_the_slide(path, tmp_path):
    corners = [[10, 20], [60, 20], [60, 50], [10, 50], [10, 20]]
    regions = tmp_path / "slide.geojson"
    regions.write_text(json.dumps([{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [corners]}}]))
    opened = open_entry(SlideEntry(path, regions=regions), SETTINGS)
    inside = opened.regions.within(slice(0, 96), slice(0, 130))
    expected = np.zeros((96, 130), bool)
    expected[20:50, 10:60] = True
    np.testing.assert_array_equal(inside, expected)


@pytest.mark.filterwarnings("ignore:.*brightfield:napari_hrpn.slides.SlideWarning")
def test_brightfield_is_refused(shared_data):
    slide = shared_data / "formats" / "CMU-1-Small-Region.svs"
    with pytest.raises(TrainingError, match="brightfield photograph, expected fluorescence"):
        open_entry(SlideEntry(slide, roles={"nuclei": 0, "vessels": 1, "probe": 2}), SETTINGS)

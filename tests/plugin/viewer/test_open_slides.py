"""Slides and predictions that are opened beside others, through napari."""

import numpy as np
import pytest

from napari_hrpn.core import Box
from napari_hrpn.inference import PredictionStore
from napari_hrpn.plugin.viewer import (
    add_hatch,
    bring_up,
    hatch_of,
    is_prediction,
    layer_colour,
    prediction_facts,
    remove_hatch,
    slide_of,
)
from napari_hrpn.plugin.viewer.predictions import finished_part
from napari_hrpn.plugin.viewer.views import Difference, compared_view
from napari_hrpn.slides import RegionMask, open_slide, slide_identity
from support.predictions import make_slide, save_slide
from support.settling import WAIT_MS

SHAPE = (600, 700)


@pytest.fixture
def slide_file(tmp_path):
    save_slide(make_slide(*SHAPE, tmp_path / "none"), tmp_path / "tumour.ome.zarr")
    return tmp_path / "tumour.ome.zarr"


@pytest.fixture
def predict(slide_file):
    """Writes a prediction of the slide, of which the first square of 512 px is finished."""

    def run(name="tumour.predicted.ome.zarr", *, checkpoint="0", slide=None):
        slide = open_slide(slide_file) if slide is None else slide
        request = {"slide": slide_identity(slide), "checkpoint": checkpoint, "core": 512}
        place = slide_file.parent / name
        dtype = np.dtype(np.float32)
        store = PredictionStore.open(place, slide, request, dtype=dtype, name="predicted QD", title="HRPN")
        box = Box(0, 512, 0, 512)
        store.record(box, store.write(box, np.full((512, 512), 7, np.float32)))
        store.close()
        return place

    return run


def test_the_newest_slide_is_visible_and_the_others_are_hidden_with_a_word(
    make_napari_viewer, stained_file, slide_file, notifications, qtbot
):
    viewer = make_napari_viewer()
    assert not viewer.canvas.overlays.scale_bar.visible
    foreign = viewer.add_image(np.zeros((8, 8)), name="of somebody else", units=("um", "um"))
    first = viewer.open(str(stained_file), plugin="napari-hrpn")
    assert viewer.canvas.overlays.scale_bar.visible
    assert notifications == []
    viewer.canvas.overlays.scale_bar.visible = False
    second = viewer.open(str(slide_file), plugin="napari-hrpn")
    assert [layer.visible for layer in (foreign, *first, *second)] == [True, *[False] * 3, *[True] * 3]
    assert "the layers of tumour 3 are hidden" in notifications[-1]
    middle = second[0].extent.world.mean(axis=0)
    qtbot.waitUntil(lambda: np.allclose(viewer.scene.camera.center[-2:], middle, atol=1), timeout=WAIT_MS)
    assert not viewer.canvas.overlays.scale_bar.visible
    # what somebody works on is seen instead of what lies on it, unless it was hidden for nothing else to be seen
    bring_up(viewer, slide_of(first[0]))
    assert [layer.visible for layer in (foreign, *first, *second)] == [*[True] * 4, *[False] * 3]
    for layer in first:
        layer.visible = False
    bring_up(viewer, slide_of(first[0]))
    assert not any(layer.visible for layer in (*first, *second))


@pytest.mark.filterwarnings("ignore::napari_hrpn.slides.SlideWarning")
def test_a_prediction_that_is_opened_is_one_and_lies_on_its_slide(
    make_napari_viewer, qtbot, slide_file, predict, notifications
):
    viewer = make_napari_viewer()
    shown = viewer.open(str(slide_file), plugin="napari-hrpn")
    for layer in shown:
        layer.translate = (3, 4)
    shown[2].contrast_limits = (10, 90)
    (layer,) = viewer.open(str(predict()), plugin="napari-hrpn")
    assert is_prediction(layer)
    assert layer.name == "predicted QD (HRPN) · tumour"
    assert layer_colour(layer) == prediction_facts(layer)["colour"]
    assert all(other.visible for other in shown)
    qtbot.waitUntil(lambda: hatch_of(viewer, layer) is not None, timeout=WAIT_MS)
    assert tuple(layer.translate) == (3, 4)
    assert tuple(layer.contrast_limits) == (10, 90)
    shown[2].contrast_limits = (20, 80)
    assert tuple(layer.contrast_limits) == (20, 80)
    hatch = hatch_of(viewer, layer)
    # one pixel of the hatch is 32 px of the slide
    assert not hatch.data[:16, :16, 3].any()
    assert hatch.data[16:, :, 3].all()
    assert hatch.data[:, 16:, 3].all()
    assert hatch.data.shape[:2] == (19, 22)
    # one that the user has removed stays away when something else is opened
    viewer.layers.remove(hatch)
    (other,) = viewer.open(str(predict("other.predicted.ome.zarr", checkpoint="1")), plugin="napari-hrpn")
    qtbot.waitUntil(lambda: hatch_of(viewer, other) is not None, timeout=WAIT_MS)
    assert hatch_of(viewer, layer) is None
    add_hatch(viewer, layer, finished_part(layer))
    assert hatch_of(viewer, layer) is None
    # removed by the program, it may come back, as when the prediction is made again
    remove_hatch(viewer, layer)
    add_hatch(viewer, layer, finished_part(layer))
    assert hatch_of(viewer, layer) is not None


@pytest.mark.filterwarnings("ignore::napari_hrpn.slides.SlideWarning")
def test_the_difference_is_not_a_number_where_nothing_is_predicted(make_napari_viewer, qtbot, slide_file, predict):
    viewer = make_napari_viewer()
    real = viewer.open(str(slide_file), plugin="napari-hrpn")[2]
    (predicted,) = viewer.open(str(predict()), plugin="napari-hrpn")
    view = compared_view(viewer)
    view.show("difference", real, predicted)
    (difference,) = [layer for layer in viewer.layers if layer.visible and not layer.rgb]
    finest = difference.data[0] if difference.multiscale else difference.data
    pixels = np.asarray(finest)
    expected = 7 - np.asarray(real.data[0] if real.multiscale else real.data).astype(np.float32)
    np.testing.assert_array_equal(pixels[:512, :512], expected[:512, :512])
    assert np.isnan(pixels[512:]).all()
    assert np.isnan(pixels[:, 512:]).all()
    viewer.layers.remove(predicted)
    assert view.shown is None
    assert difference not in viewer.layers
    assert real.visible
    view.leave()


def test_a_difference_of_a_coarse_level_knows_its_squares():
    finished = RegionMask(np.array([[True, False], [False, True]]), (512.0, 512.0))
    one = np.ones((250, 240), np.uint8)
    pixels = Difference(one, one * 3, finished, (4.0, 4.0))[100:200, 50:]
    expected = np.full((250, 240), 2, np.float32)
    expected[:128, 128:] = expected[128:, :128] = np.nan
    np.testing.assert_array_equal(pixels, expected[100:200, 50:])
    assert Difference(one, one * 3)[5, 6] == 2

"""Real channels and their predictions among the layers of a viewer: guesses, choices and colours."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image

from napari_hrpn.plugin.parts.selection import (
    compared_channel,
    guess_predictions,
    in_common,
    is_single_channel,
    looks_predicted,
    shared_choice,
    stained_slide,
    stands_for_real,
)
from napari_hrpn.slides import FinishedTiles
from support.compared import compared_slides, show

SHAPE = (60, 80)
LAYER = np.zeros(SHAPE, np.uint8)


@pytest.fixture
def viewer():
    return ViewerModel()


def loose(name, shape=SHAPE):
    return Image(np.zeros(shape, np.uint8), name=name)


@pytest.mark.parametrize(
    ("name", "is_predicted"),
    [
        ("tumour HRPN", True),
        ("tumour hrpn", True),
        ("Predicted QD", True),
        ("prediction 2", True),
        ("GANDA result", True),
        ("QD · tumour", False),
        ("DAPI", False),
        ("", False),
    ],
)
def test_a_loose_image_looks_predicted_by_its_name(name, is_predicted):
    assert looks_predicted(loose(name)) == is_predicted


def test_channels_of_a_stained_slide_are_not_predicted_whatever_its_name(viewer):
    slide, _ = compared_slides("HRPN predicted everything", SHAPE)
    show(viewer, slide)
    assert [looks_predicted(layer) for layer in viewer.layers] == [False] * 3


@pytest.mark.parametrize(
    ("layer", "is_single"),
    [
        (Image(LAYER), True),
        (Image(np.zeros((3, *SHAPE))), False),
        (Image(np.zeros((*SHAPE, 3), np.uint8), rgb=True), False),
    ],
)
def test_only_flat_images_of_one_channel_are_compared(layer, is_single):
    assert is_single_channel(layer) == is_single


def test_predictions_are_those_of_the_same_size_and_of_this_slide_first():
    real = loose("tumour 1")
    own, other, large = loose("tumour 1 HRPN"), loose("tumour 2 HRPN"), loose("tumour 1 GANDA", (9, 9))
    assert guess_predictions(real, [real, own, other, large]) == [own]
    assert guess_predictions(real, [other, large]) == [other]
    assert guess_predictions(real, [large]) == []
    # of two images of one size the other one is the prediction, of three none is
    one, two = loose("a"), loose("b")
    assert guess_predictions(real, [one]) == [one]
    assert guess_predictions(real, [one, two]) == []


def test_a_slide_without_a_probe_is_stood_for_by_its_stain_or_its_prediction():
    nuclei, small, predicted = loose("DAPI · tumour"), loose("other", (9, 9)), loose("tumour HRPN")
    assert stands_for_real([small, nuclei], [predicted]) is nuclei
    assert stands_for_real([small], [predicted]) is predicted
    assert stands_for_real([nuclei], []) is None


def test_the_channel_of_a_layer_is_that_of_its_slide(viewer):
    slide, _ = compared_slides(shape=SHAPE)
    show(viewer, slide)
    for index, layer in enumerate(viewer.layers):
        found = compared_channel(layer)
        assert (found.channel, found.name, found.tiles) == (index, layer.name, None)
        np.testing.assert_array_equal(found.slide.levels[0][index], slide.levels[0][index])
    image = viewer.add_image(np.arange(12, dtype=np.uint8).reshape(3, 4), name="loose")
    found = compared_channel(image)
    assert found.slide.channel_names[found.channel] == "loose"
    np.testing.assert_array_equal(found.slide.levels[0][found.channel], image.data)


def test_a_key_of_a_channel_does_not_keep_its_slide(viewer):
    slide, _ = compared_slides(shape=SHAPE)
    show(viewer, slide)
    first, second = (compared_channel(viewer.layers[0]) for _ in range(2))
    assert first.key == second.key != compared_channel(viewer.layers[1]).key
    found = replace(first, slide=replace(first.slide))
    key, gone = found.key, weakref.ref(found.slide)
    assert key != first.key
    del found
    gc.collect()
    assert gone() is None


def test_unfinished_predictions_are_compared_where_all_are_finished(viewer):
    _, predicted = compared_slides(shape=(600, 1100))
    done = [np.array([[True, True, False], [False, True, True]]), np.array([[True, False, False], [True, True, False]])]
    channels = []
    for number, cells in enumerate(done):
        show(
            viewer, replace(predicted, read_finished=lambda cells=cells: FinishedTiles(cells.copy())), name=f"{number}"
        )
        channels.append(compared_channel(viewer.layers[-1]))
    for channel in in_common(channels):
        np.testing.assert_array_equal(channel.slide.finished.cells, done[0] & done[1])
    whole = replace(channels[0], tiles=None)
    assert in_common([whole]) == [whole]


def test_the_stains_of_loose_layers_are_one_slide_if_they_are_of_one_size(viewer):
    real = viewer.add_image(LAYER + 1, name="QD")
    viewer.add_image(LAYER + 2, name="DAPI")
    viewer.add_image(LAYER + 3, name="HRPN predicted")
    viewer.add_image(np.zeros((9, 9)), name="CD31")
    slide, channel = stained_slide(compared_channel(real), viewer)
    assert (slide.channel_names, channel) == (("QD", "DAPI"), 0)
    assert [int(np.asarray(plane).max()) for plane in slide.levels[0]] == [1, 2]


def test_choices_are_shared_in_a_viewer_and_by_no_other(viewer):
    choice, heard = shared_choice(viewer), []
    assert shared_choice(viewer) is choice
    assert shared_choice(ViewerModel()) is not choice
    choice.changed.connect(lambda: heard.append((choice.real, choice.region)))
    layer = loose("tumour")
    assert (choice.is_real_chosen, choice.real) == (False, None)
    choice.choose_real(layer)
    choice.choose_region("frame")
    choice.choose_real(None)
    assert heard == [(layer, None), (layer, "frame"), (None, "frame")]
    assert choice.is_real_chosen
    choice.choose_real(layer)
    choice.choose_region(layer)
    choice.tick({layer: False})
    assert (choice.region, dict(choice.ticks)) == (layer, {layer: False})
    # a choice keeps no layer alive
    heard.clear()
    del layer
    gc.collect()
    assert (choice.real, choice.region, len(choice.ticks)) == (None, None, 0)


@settings(derandomize=True, deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["HRPN", "GANDA", "other"]), min_size=1, max_size=6))
def test_predictions_have_different_colours_that_stay(names):
    choice = shared_choice(ViewerModel())
    layers = [loose(name) for name in names]
    colours = [choice.colour_of(layer) for layer in layers]
    assert len(set(colours)) == len(layers)
    assert [choice.colour_of(layer) for layer in reversed(layers)] == colours[::-1]
    if "GANDA" in names:
        first = names.index("GANDA")
        # its own colour, unless more predictions came before than there are other colours
        assert (colours[first] == "#e69f00") == ("#e69f00" not in colours[:first])

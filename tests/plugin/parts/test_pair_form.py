from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from napari_hrpn.plugin.parts.pair_form import PairForm
from napari_hrpn.plugin.parts.selection import guess_predictions, guess_real, shared_choice
from napari_hrpn.plugin.viewer import KEY, slide_of
from napari_hrpn.slides import FinishedTiles
from support.compared import compared_slides, show, slide_of_pixels
from support.settling import WAIT_MS


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def form(viewer, qtbot):
    form = PairForm(viewer)
    qtbot.addWidget(form)
    yield form
    form.shut_down()


@pytest.fixture
def until(qtbot):
    def run(is_so):
        qtbot.waitUntil(is_so, timeout=WAIT_MS)

    return run


def names(form):
    return [form.predicted_list.item(row).text() for row in range(form.predicted_list.count())]


def tick(form, name, *, on=True):
    item = form.predicted_list.findItems(name, Qt.MatchFlag.MatchExactly)[0]
    item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)


def test_an_empty_viewer_has_a_problem_and_no_pair(form):
    assert form.pair is None
    assert "open a slide" in form.problem


def test_the_probe_and_what_was_predicted_are_found(viewer, form, qtbot):
    real, predicted = compared_slides()
    with qtbot.waitSignal(form.changed, timeout=WAIT_MS):
        show(viewer, real)
    assert "is ticked" in form.problem
    with qtbot.waitSignal(form.changed, timeout=WAIT_MS):
        show(viewer, predicted)
    assert form.problem is None
    assert form.pair.real.slide is real
    assert real.channel_names[form.pair.real.channel] == "QD"
    assert [one.slide for one in form.pair.predictions] == [predicted]
    assert names(form)[0] == "QD · tumour.predicted"


def test_a_pair_stays_the_same_object_while_nothing_that_it_says_changes(viewer, form, until):
    for slide in compared_slides():
        show(viewer, slide)
    form.refresh()
    pair = form.pair
    viewer.add_points(np.zeros((1, 2)))
    viewer.layers[0].visible = False
    until(lambda: form.is_settled)
    assert form.pair is pair


def test_ticks_of_the_user_outlast_layers_that_come(viewer, form, until):
    real, predicted = compared_slides()
    show(viewer, real)
    show(viewer, predicted)
    form.refresh()
    tick(form, "QD · tumour.predicted", on=False)
    tick(form, "DAPI · tumour")
    until(lambda: form.pair.predictions[0].name == "DAPI · tumour")
    viewer.add_image(np.zeros(real.shape, np.uint8), name="tumour HRPN")
    until(lambda: form.is_settled)
    assert [one.name for one in form.pair.predictions] == ["DAPI · tumour", "tumour HRPN"]


def test_any_two_images_of_one_size_are_a_pair(viewer, form, until):
    pixels = np.arange(48, dtype=np.uint16).reshape(6, 8)
    first = viewer.add_image(pixels, name="a", scale=(2, 3))
    second = viewer.add_image(pixels.astype(np.float32), name="b")
    until(lambda: form.pair is not None)
    assert (form.pair.real.layer, form.pair.predictions[0].layer) == (first, second)
    assert form.pair.real.slide.levels[0].compute()[0].tolist() == pixels.tolist()


def test_other_pixels_in_a_layer_are_another_pair(viewer, form, until):
    layers = [viewer.add_image(np.zeros((6, 8)), name=name) for name in "ab"]
    until(lambda: form.pair is not None)
    before = form.pair
    layers[1].data = np.ones((6, 8))
    until(lambda: form.pair is not before)
    assert form.pair.predictions[0].slide.levels[0].compute().min() == 1


@pytest.mark.parametrize(
    ("shape", "rgb", "word"),
    [((6, 8, 3), True, "colour"), ((4, 6, 8), False, "3 dimensions")],
)
def test_what_cannot_be_compared_is_told_in_a_sentence(viewer, form, until, shape, rgb, word):
    viewer.add_image(np.zeros(shape, np.uint8), rgb=rgb)
    until(lambda: word in form.problem)
    assert form.pair is None


def test_a_layer_of_another_size_is_listed_and_cannot_be_ticked(viewer, form, until):
    viewer.add_image(np.zeros((6, 8)), name="a")
    viewer.add_image(np.zeros((6, 9)), name="b predicted")
    until(lambda: form.predicted_list.count() == 1)
    form.choose(viewer.layers["a"], [])
    item = form.predicted_list.item(0)
    assert not item.flags() & Qt.ItemFlag.ItemIsEnabled
    assert "9 x 6 px" in item.toolTip()
    assert "No other layer has the 8 x 6 px" in form.problem


def test_a_prediction_that_is_not_complete_is_noted(viewer, form, until):
    viewer.add_image(np.zeros((6, 8)), name="a")
    metadata = {KEY: {"prediction": {"complete": False}}}
    layer = viewer.add_image(np.zeros((6, 8)), name="b", metadata=metadata)
    until(lambda: form.pair is not None)
    assert "not complete" in form.note_label.text()
    layer.metadata = {KEY: {"prediction": {"complete": True}}}
    until(lambda: form.note_label.text() == "")


def test_colours_stay_with_their_layers_and_ganda_has_its_own(viewer, form, until):
    for name in ("real", "HRPN", "GANDA"):
        viewer.add_image(np.zeros((6, 8)), name=name)
    until(lambda: form.pair is not None)
    hrpn, ganda = form.pair.predictions
    colours = [form.colour_of(one) for one in (hrpn, ganda)]
    assert colours == ["#56b4e9", "#e69f00"]
    tick(form, "HRPN", on=False)
    until(lambda: len(form.pair.predictions) == 1)
    assert form.colour_of(form.pair.predictions[0]) == colours[1]


def test_the_prediction_of_another_slide_is_not_ticked(viewer):
    for title in ("one", "two"):
        for slide in compared_slides(title):
            show(viewer, slide)
    layers = list(viewer.layers)
    real = next(layer for layer in layers if layer.name == "QD · two")
    assert slide_of(guess_real(layers)).source.name == "one.ome.tif"
    assert [layer.name for layer in guess_predictions(real, layers)] == ["QD · two.predicted"]


def stained(names, source="tumour.ome.tif", shape=(60, 80)):
    return slide_of_pixels(np.zeros((len(names), *shape), np.uint8), source, names)


@pytest.mark.parametrize(
    ("names", "real"),
    [
        (("DAPI", "CD31"), None),
        (("DAPI", "CD31", "Ki67"), None),
        (("Channel 0", "Channel 1", "Channel 2"), None),
        (("DAPI", "CD31", "Dextran"), "Dextran · tumour"),
        (("Dextran",), "Dextran · tumour"),
        (("DAPI",), None),
    ],
)
def test_what_is_no_probe_by_its_name_is_never_taken_for_it(viewer, names, real):
    show(viewer, stained(names))
    show(viewer, stained(("QD",), "tumour.predicted.ome.zarr"))
    found = guess_real(list(viewer.layers))
    assert (None if found is None else found.name) == real


def test_loose_stains_are_not_taken_for_the_probe_either(viewer):
    for name in ("dapi", "CD31", "slide 3", "slide 3 HRPN"):
        viewer.add_image(np.zeros((6, 8)), name=name)
    assert guess_real(list(viewer.layers)).name == "slide 3"
    viewer.layers.remove("slide 3")
    assert guess_real(list(viewer.layers)) is None


def test_a_prediction_stands_alone_where_no_probe_was_imaged_until_one_is_chosen(viewer, form, until):
    show(viewer, stained(("DAPI", "CD31")))
    show(viewer, stained(("QD",), "tumour.predicted.ome.zarr"))
    until(lambda: len(form.predictions) == 1)
    assert (form.real, form.pair) == (None, None)
    assert form.predictions[0].name == "QD · tumour.predicted"
    assert form.place.name == "DAPI · tumour"
    assert "imaged probe" in form.note_label.text()
    # by hand, any layer may be real
    form.real_box.value = viewer.layers["DAPI · tumour"]
    until(lambda: form.pair is not None)
    assert form.pair.real.layer == viewer.layers["DAPI · tumour"]
    form.real_box.value = None
    until(lambda: form.pair is None)
    show(viewer, stained(("Dextran",), "other.ome.tif"))
    until(lambda: form.is_settled)
    assert form.real is None


def test_panels_of_one_viewer_share_their_choice_and_a_new_one_remembers_it(viewer, form, until, qtbot):
    for name in ("a", "b", "c HRPN", "d GANDA"):
        viewer.add_image(np.zeros((6, 8)), name=name)
    until(lambda: form.pair is not None)
    other = PairForm(viewer)
    qtbot.addWidget(other)
    other.real_box.value = viewer.layers["b"]
    tick(other, "d GANDA", on=False)
    until(lambda: form.is_settled and form.pair is not None and len(form.pair.predictions) == 1)
    other.shut_down()
    new = PairForm(viewer)
    qtbot.addWidget(new)
    for one in (form, new):
        assert (one.pair.real.name, [each.name for each in one.pair.predictions]) == ("b", ["c HRPN"])
    new.shut_down()
    stranger = ViewerModel()
    stranger.add_image(np.zeros((6, 8)), name="e")
    assert not shared_choice(stranger).is_real_chosen


def test_of_an_unfinished_prediction_the_tiles_that_are_there_are_told_and_looked_at_again(viewer, form, until):
    real, predicted = compared_slides()
    cells = np.array([[True, False], [False, False]])
    show(viewer, real)
    show(viewer, replace(predicted, read_finished=lambda: FinishedTiles(cells.copy())))
    until(lambda: form.pair is not None)
    before = form.pair
    assert "1 of 4 tiles is predicted" in form.note_label.text()
    form.look_again()
    assert form.pair is before
    cells[0, 1] = True
    assert before.predictions[0].slide.finished.number == 1
    form.look_again()
    assert "2 of 4 tiles are predicted" in form.note_label.text()
    assert form.pair.predictions[0].slide is not before.predictions[0].slide
    assert form.pair.predictions[0].slide.finished.number == 2


def test_predictions_that_are_compared_count_the_tiles_that_all_of_them_have(viewer, form, until):
    real, predicted = compared_slides()
    cells = np.array([[True, False], [False, False]])
    show(viewer, real)
    show(viewer, predicted)
    show(viewer, replace(predicted, read_finished=lambda: None if cells.all() else FinishedTiles(cells.copy())))
    until(lambda: form.pair is not None and len(form.pair.predictions) == 2)
    before = form.pair
    assert [one.slide.finished.number for one in before.predictions] == [1, 1]
    assert form.note_label.text().count("1 of 4 tiles") == 1
    form.refresh()
    assert form.pair is before
    # it has been finished since, whatever its layer says
    cells[:] = True
    before.predictions[1].layer.metadata[KEY]["prediction"] = {"complete": False}
    form.look_again()
    assert [one.slide.finished for one in form.pair.predictions] == [None, None]
    assert not form.note_label.text()


def test_a_prediction_has_the_colour_of_its_record(viewer, form, until):
    viewer.add_image(np.zeros((6, 8)), name="a")
    viewer.add_image(
        np.zeros((6, 8)), name="b", metadata={KEY: {"prediction": {"complete": True, "colour": "#cc00ff"}}}
    )
    until(lambda: form.pair is not None)
    assert form.colour_of(form.pair.predictions[0]) == "#cc00ff"


def test_the_real_channel_is_there_without_a_prediction(viewer, form, until):
    layer = viewer.add_image(np.zeros((6, 8)), name="a")
    until(lambda: form.real is not None)
    assert form.real.layer is layer
    assert form.pair is None
    layer.name = "b"
    until(lambda: form.real.name == "b")
    viewer.layers.clear()
    until(lambda: form.real is None)


def test_nothing_listens_after_the_end(viewer, form):
    viewer.add_image(np.zeros((6, 8)), name="a")
    form.refresh()
    form.shut_down()
    form.shut_down()
    viewer.add_image(np.zeros((6, 8)), name="b")
    viewer.layers["a"].metadata = {"other": 1}
    assert not form._soon.isActive()

"""Regions that follow their layers, the form that chooses the layers, and new regions; in a viewer without a window."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel

from napari_hrpn.analysis import RandomRois
from napari_hrpn.plugin.parts.measure_bar import MeasureBar
from napari_hrpn.plugin.parts.selection import compared_channel
from napari_hrpn.plugin.parts.tissue_mask import Tissue
from napari_hrpn.plugin.roi_correlation.new_regions import RoiMaker, new_layer, read_rois
from napari_hrpn.plugin.roi_correlation.region_form import ALL, RoiForm, fitting_size
from napari_hrpn.plugin.roi_correlation.regions import FollowedRegions, ListedRoi, shape_rois
from napari_hrpn.plugin.viewer import KEY
from napari_hrpn.slides import Annotation, SlideError, write_geojson
from support.compared import compared_slides, show
from support.roi_shapes import box
from support.settling import WAIT_MS

SHAPE = (300, 400)
PLACE = {"scale": (0.5, 0.5), "units": ("um", "um")}


@pytest.fixture(scope="module")
def slide():
    return compared_slides(shape=SHAPE)[0]


@pytest.fixture
def viewer(slide):
    viewer = ViewerModel()
    show(viewer, slide)
    return viewer


@pytest.fixture
def form(viewer, qtbot):
    made = RoiForm(viewer)
    qtbot.addWidget(made)
    yield made
    made.shut_down()


@pytest.fixture
def real(viewer):
    return compared_channel(viewer.layers["QD · tumour"])


@pytest.fixture
def followed(viewer, form, qtbot):
    made = FollowedRegions(viewer, form.region_layers)
    made.picks, made.deletions = [], []
    made.picked.connect(made.picks.append)
    made.deleted.connect(made.deletions.append)
    yield made
    made.leave()


@pytest.fixture
def wait(followed, form, qtbot):
    """Waits until the list of regions is up to date."""

    def run(names):
        def is_listed():
            return form.is_settled and not followed.is_busy and [one.name for one in followed.rois] == names

        qtbot.waitUntil(is_listed, timeout=WAIT_MS)

    return run


@pytest.fixture
def shapes(viewer, followed, wait, real):
    layer = new_layer(
        viewer,
        real.layer,
        SHAPE,
        "mine",
        [box(10, 60, 20, 90) + 0.5, box(100, 150, 30, 80) + 0.5],
        names=["core", "rim"],
    )
    followed.follow([layer], real.layer)
    wait(["core", "rim"])
    return layer


def boxes(followed):
    found = [one.roi.bounds(SHAPE) for one in followed.rois]
    return [(one.y0, one.y1, one.x0, one.x1) for one in found]


def test_regions_are_those_that_were_drawn_in_pixels_of_the_slide(followed, shapes):
    assert boxes(followed) == [(10, 60, 20, 90), (100, 150, 30, 80)]
    assert followed.note == ""


def test_a_new_shape_is_listed_last_with_the_next_number(followed, shapes, wait):
    shapes.add(box(200, 220, 10, 30), shape_type="rectangle")
    wait(["core", "rim", "ROI 3"])
    assert boxes(followed)[2] == (200, 220, 10, 30)


def test_a_renamed_region_keeps_its_numbers(followed, shapes, wait):
    digests = [one.digest for one in followed.rois]
    shapes.features = {"name": ["heart", "rim"]}
    wait(["heart", "rim"])
    assert [one.digest for one in followed.rois] == digests


def test_a_moved_region_changes_alone_and_comes_back(followed, shapes, wait, qtbot):
    before = [one.digest for one in followed.rois]
    data = [vertices.copy() for vertices in shapes.data]
    shapes.data = [data[0] + 5, data[1]]
    qtbot.waitUntil(lambda: boxes(followed)[0] == (15, 65, 25, 95), timeout=WAIT_MS)
    moved = [one.digest for one in followed.rois]
    assert moved[0] != before[0]
    assert moved[1] == before[1]
    shapes.data = data
    qtbot.waitUntil(lambda: [one.digest for one in followed.rois] == before, timeout=WAIT_MS)


@pytest.mark.parametrize("index", [0, 1])
def test_a_deleted_region_comes_back_as_it_was(followed, shapes, wait, index):
    names, before = ["core", "rim"], dict(zip(["core", "rim"], boxes(followed), strict=True))
    colours = shapes.edge_color.copy()
    colours[index] = [1, 0, 0, 1]
    shapes.edge_color = colours
    shapes.selected_data = {index}
    shapes.remove_selected()
    wait([name for name in names if name != names[index]])
    assert followed.deletions[-1] == 1
    followed.restore()
    wait([names[1 - index], names[index]])
    assert dict(zip([one.name for one in followed.rois], boxes(followed), strict=True)) == before
    np.testing.assert_array_equal(shapes.edge_color[-1], [1, 0, 0, 1])
    assert followed.deletions[-1] == 0
    followed.restore()
    assert len(shapes.data) == 2


def test_a_deleted_layer_comes_back_with_all_its_regions(followed, shapes, viewer, real):
    viewer.layers.remove(shapes)
    followed.follow([], real.layer)
    assert (followed.rois, followed.deletions[-1]) == ((), 2)
    followed.restore()
    assert shapes in viewer.layers
    assert [one.name for one in shape_rois(shapes, real.layer, viewer).rois] == ["core", "rim"]


def test_a_shape_that_the_user_selects_is_picked_and_one_that_the_program_selects_is_not(followed, shapes):
    followed.pick(followed.rois[1])
    assert (shapes.selected_data, followed.picks) == ({1}, [])
    shapes.selected_data = {0}
    assert followed.picks[-1].name == "core"
    assert followed.picks[-1].is_at(followed.rois[0])
    assert not followed.picks[-1].is_at(followed.rois[1])
    assert not followed.picks[-1].is_at(None)


def test_excluded_shapes_and_lines_are_left_out_and_counted(followed, shapes, wait):
    shapes.add(np.array([[5, 5], [50, 60]]), shape_type="line")
    wait(["core", "rim"])
    assert followed.note == "Left out: 1 path or line has no area."
    shapes.add(box(20, 40, 30, 50), shape_type="rectangle")
    shapes.features = {"name": ["core", "rim", "", "exclude lumen"]}
    wait(["core", "rim"])
    assert "1 shape is excluded" in followed.note
    inside = followed.rois[0].roi.within(slice(0, SHAPE[0]), slice(0, SHAPE[1]))
    assert inside.sum() == 50 * 70 - 20 * 20


def test_regions_of_several_layers_have_the_names_of_their_layers(followed, shapes, viewer, wait, real):
    labels = np.zeros(SHAPE, int)
    labels[200:250, 100:180] = 4
    other = viewer.add_labels(labels, name="cells", **PLACE)
    followed.follow([shapes, other], real.layer)
    wait(["mine: core", "mine: rim", "cells: label 4"])
    assert boxes(followed)[2] == (200, 250, 100, 180)
    followed.pick(followed.rois[2])
    assert other.selected_label == 4
    other.data[:, :150] = 0
    other.refresh()
    other.data_setitem((np.array([210]), np.array([160])), 9)
    wait(["mine: core", "mine: rim", "cells: label 4", "cells: label 9"])


def test_without_an_image_there_are_no_regions(followed, shapes):
    followed.follow([shapes], None)
    assert followed.rois == ()


def titles(form):
    return [form.layer_box.native.itemText(index) for index in range(form.layer_box.native.count())]


def test_the_newest_shapes_are_chosen_until_the_user_chooses_others(form, viewer, qtbot):
    assert (form.value, form.layer, form.layers) == (None, None, [])
    changes = []
    form.changed.connect(lambda: changes.append(form.value))
    first = viewer.add_shapes([box(1, 5, 1, 5)], name="first")
    qtbot.waitUntil(lambda: form.value is first, timeout=WAIT_MS)
    second = viewer.add_shapes([box(1, 5, 1, 5)], name="second")
    qtbot.waitUntil(lambda: len(titles(form)) == 4, timeout=WAIT_MS)
    assert form.value is first
    assert titles(form)[-1] == "All 2 layers of regions"
    form.layer_box.value = ALL
    assert form.layers == [first, second]
    # new regions go to the newest of them
    assert form.layer is second
    viewer.layers.remove(second)
    qtbot.waitUntil(lambda: form.value is first, timeout=WAIT_MS)
    assert changes == [first, ALL, first]


def test_results_of_the_plugin_do_not_count_as_regions_of_all_layers(form, viewer, qtbot):
    drawn = [viewer.add_shapes([box(1, 5, 1, 5)], name=name) for name in ("a", "b")]
    viewer.add_labels(np.ones(SHAPE, int), name="vessels", metadata={KEY: {"of": "us"}})
    qtbot.waitUntil(lambda: "All 2 layers of regions" in titles(form), timeout=WAIT_MS)
    form.layer_box.value = ALL
    assert form.layers == drawn


def test_restore_is_offered_with_the_number_of_regions(form):
    for count, words in ((1, "Restore the region deleted last"), (3, "Restore the 3 regions deleted last")):
        form.offer_restore(count)
        assert form.restore_button.tooltip == words
        assert not form.restore_button.native.isHidden()
    form.offer_restore(0)
    assert form.restore_button.native.isHidden()


def test_random_regions_have_the_same_pixels_in_either_unit(form, slide):
    random = form.random_form
    wide = replace(slide, pixel_size_um=(0.5, 0.25))
    random.use_slide(wide)
    random.height_box.value, random.width_box.value = 80, 120
    assert random.settings() == RandomRois(80, 120, 3, 0, 0.5)
    random.unit_box.value = "µm"
    assert (random.height_box.value, random.width_box.value) == (40, 30)
    assert random.settings() == RandomRois(80, 120, 3, 0, 0.5)
    random.height_box.value = 10
    random.seed_box.value, random.number_box.value, random.tissue_box.value = 7, 5, 20
    assert random.settings() == RandomRois(20, 120, 5, 7, 0.2)
    # a size that the user chose stays on another slide, without a pixel size too
    random.use_slide(replace(slide, pixel_size_um=None))
    assert random.unit_box.value == "px"
    assert not random.unit_box.enabled
    assert random.settings() == RandomRois(20, 120, 5, 7, 0.2)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(1, 5000), st.integers(1, 5000))
def test_proposed_regions_fit_the_slide_and_have_the_proportions_of_the_paper(height, width):
    tall, wide = fitting_size((height, width))
    assert 1 <= tall <= height
    assert 1 <= wide <= width
    if height >= 864 and width >= 960:
        assert (tall, wide) == (864, 960)
    elif min(tall, wide) > 20:
        assert wide / tall == pytest.approx(960 / 864, rel=0.06)
        # several of them fit
        assert (height // tall) * (width // wide) >= 2


@pytest.fixture
def maker(viewer, form, real, qtbot):
    tissue, bar = Tissue(viewer), MeasureBar("")
    qtbot.addWidget(bar)

    def existing():
        shapes = [layer for layer in form.layers if layer is not None]
        return [one.roi for layer in shapes for one in shape_rois(layer, real.layer, viewer).rois]

    made = RoiMaker(viewer, form, tissue, bar, existing)
    made.set_real(real)
    made.bar, made.tissue, made.existing = bar, tissue, existing
    form.random_form.height_box.value, form.random_form.width_box.value = 40, 50
    yield made
    made.abandon()
    tissue.shut_down()


@pytest.fixture
def add(maker, qtbot):
    """Adds random regions and waits for them."""

    def run():
        number = len(maker.existing())
        maker.add_random()
        qtbot.waitUntil(lambda: not maker.is_busy, timeout=WAIT_MS)
        return maker.existing()[number:]

    return run


def test_random_regions_lie_on_the_tissue_apart_with_names_of_their_seed(maker, add, form, real):
    form.random_form.seed_box.value = 5
    first = add()
    assert [roi.name for roi in first] == ["random 5-1", "random 5-2", "random 5-3"]
    covered = np.zeros(SHAPE, int)
    for roi in first:
        inside = roi.within(slice(0, SHAPE[0]), slice(0, SHAPE[1]))
        assert inside.sum() == 40 * 50
        assert maker.tissue.mask.within(slice(0, SHAPE[0]), slice(0, SHAPE[1]))[inside].mean() >= 0.5
        covered += inside
    assert maker.bar.message == "3 of 3 regions added."
    # more of them get other names and places in the same layer
    second = add()
    assert [roi.name for roi in second] == ["random 5-4", "random 5-5", "random 5-6"]
    for roi in second:
        covered += roi.within(slice(0, SHAPE[0]), slice(0, SHAPE[1]))
    assert covered.max() == 1
    listed = shape_rois(form.layer, real.layer, maker._viewer).rois
    assert {maker.origin(one, SHAPE).random for one in listed} == {form.random_form.settings()}
    assert maker.origin(ListedRoi(0, listed[0].roi), SHAPE).random is None


def test_equal_seeds_give_equal_regions_and_others_do_not(maker, add, form, viewer):
    form.random_form.tissue_box.value = 0
    found = []
    for seed in (3, 3, 4):
        form.random_form.seed_box.value = seed
        found.append([tuple(roi.rings[0][0].ravel()) for roi in add()])
        viewer.layers.remove(form.layer)
        form.refresh()
    assert found[0] == found[1] != found[2]


def test_without_a_slide_nothing_is_made_and_the_reason_is_said(maker, viewer, tmp_path):
    maker.set_real(None)
    number = len(viewer.layers)
    for make in (maker.draw, maker.add_random, lambda: maker.import_regions(tmp_path / "a.geojson")):
        maker.bar.say("")
        make()
        assert maker.bar.message.startswith("There is no real layer to put regions on")
    assert len(viewer.layers) == number


def test_imported_regions_have_their_names_and_file(maker, form, real, viewer, qtbot, tmp_path):
    path = tmp_path / "from QuPath.geojson"
    rings = [box(10, 60, 20, 90) + 0.5, box(100, 150, 30, 80) + 0.5]
    write_geojson(
        [Annotation(name, "include", ((ring,),)) for name, ring in zip(("core", ""), rings, strict=True)], path
    )
    maker.import_regions(path)
    qtbot.waitUntil(lambda: not maker.is_busy, timeout=WAIT_MS)
    assert form.layer.name == "from QuPath"
    assert maker.bar.message.startswith("2 regions imported.")
    listed = shape_rois(form.layer, real.layer, viewer).rois
    assert listed[0].name == "core"
    assert [maker.origin(one, SHAPE).file for one in listed] == [path.name] * 2
    bounds = [one.roi.bounds(SHAPE) for one in listed]
    assert [(one.y0, one.y1, one.x0, one.x1) for one in bounds] == [(10, 60, 20, 90), (100, 150, 30, 80)]


def test_a_file_without_a_region_on_the_slide_is_refused(tmp_path, maker, qtbot):
    path = tmp_path / "far.geojson"
    write_geojson([Annotation("far", "include", ((box(1000, 1100, 1000, 1100),),))], path)
    with pytest.raises(SlideError, match=r"far.geojson has no region on this slide of 400 x 300 px"):
        read_rois(path, SHAPE)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    maker.import_regions(path)
    qtbot.waitUntil(lambda: not maker.is_busy, timeout=WAIT_MS)
    assert "far.geojson" in maker.bar.message
    assert maker.existing() == []

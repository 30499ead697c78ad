"""The one form that asks where is measured."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_hrpn.plugin.parts.region_form import FRAME, TISSUE, RegionForm
from napari_hrpn.plugin.parts.selection import compared_channel
from napari_hrpn.plugin.parts.tissue_mask import Tissue
from napari_hrpn.plugin.viewer import KEY
from support.compared import compared_slides, show
from support.settling import WAIT_MS


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def tissue(viewer):
    tissue = Tissue(viewer)
    yield tissue
    tissue.shut_down()


@pytest.fixture
def form(viewer, tissue, qtbot):
    form = RegionForm(viewer, tissue, "where", has_drawn=True)
    qtbot.addWidget(form)
    yield form
    form.shut_down()


@pytest.fixture
def look(viewer, tissue):
    """Opens a slide and looks for its tissue."""

    def run():
        slide, _ = compared_slides(shape=(300, 400))
        show(viewer, slide)
        real = compared_channel(viewer.layers["QD · tumour"])
        tissue.look_at(real)
        return real

    return run


def offered(form):
    return [form.box.native.itemText(index) for index in range(len(form.box))]


def test_the_tissue_is_chosen_as_soon_as_there_is_one_unless_somebody_chose_otherwise(form, tissue, look, qtbot):
    assert offered(form) == ["Whole frame"]
    real = look()
    assert form.value == TISSUE
    assert form.is_waiting
    assert not form.edit_button.enabled
    qtbot.waitUntil(lambda: not tissue.is_busy, timeout=WAIT_MS)
    assert not form.is_waiting
    assert form.wanted(real) is tissue.mask
    assert form.edit_button.enabled
    tissue.look_at(None)
    assert form.value == FRAME
    # as a user does
    form.box.native.activated.emit(0)
    tissue.look_at(real)
    assert form.value == FRAME
    assert form.wanted(real) is None


def test_results_are_no_regions_and_drawings_are(form, viewer, look, qtbot):
    real = look()
    drawn = viewer.add_shapes([np.array([(10, 20), (10, 90), (60, 90), (60, 20)]) * 0.5], name="a")
    viewer.add_labels(np.ones((300, 400), int), name="b", metadata={KEY: {"of": "us"}})
    qtbot.waitUntil(lambda: form.is_settled, timeout=WAIT_MS)
    assert offered(form) == ["Tissue", "Whole frame", "ROI: a"]
    form.box.value = drawn
    (annotation,) = form.wanted(real).annotations
    assert annotation.rings[0][0].min(axis=0) == pytest.approx([10.5, 20.5])


def test_the_key_tells_regions_apart_and_changes_with_them(form, viewer, tissue, look, qtbot):
    look()
    qtbot.waitUntil(lambda: not tissue.is_busy, timeout=WAIT_MS)
    drawn = viewer.add_shapes([np.array([(10, 20), (10, 90), (60, 90), (60, 20)])], name="a")
    qtbot.waitUntil(lambda: form.is_settled, timeout=WAIT_MS)
    keys = []
    for value in (TISSUE, FRAME, drawn):
        form.box.value = value
        keys.append(form.key)
        assert form.key == keys[-1]
    with qtbot.waitSignal(form.changed, timeout=WAIT_MS):
        drawn.data = [drawn.data[0] + 1]
    keys.append(form.key)
    form.box.value = TISSUE
    layer = tissue.show_layer()
    layer.data = np.zeros_like(layer.data)
    keys.append(form.key)
    assert len(set(keys)) == 5

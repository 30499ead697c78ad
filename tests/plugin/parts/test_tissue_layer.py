import numpy as np
import pytest
from napari.components import ViewerModel

from napari_hrpn.analysis import tissue_mask
from napari_hrpn.plugin.parts.selection import compared_channel
from napari_hrpn.plugin.parts.tissue_mask import Tissue
from napari_hrpn.plugin.viewer import coarse_placement
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
def real(viewer):
    slide, _ = compared_slides()
    show(viewer, slide)
    return compared_channel(viewer.layers["QD · tumour"])


@pytest.mark.parametrize(
    "placed",
    [
        {"scale": (0.5, 0.25), "translate": (7, -3)},
        {"rotate": 30, "shear": [0.3], "scale": (2, 3), "affine": [[0, 1, 5], [-1, 0.2, 8], [0, 0, 1]]},
    ],
)
def test_a_coarse_layer_lies_on_the_layer_corner_on_corner(viewer, placed):
    fine = viewer.add_image(np.zeros((60, 80)), **placed)
    coarse = viewer.add_image(np.zeros((15, 10)), **coarse_placement(fine, (4, 8)))
    for corner in ((0, 0), (60, 0), (0, 80), (60, 80)):
        on_fine = fine.data_to_world(np.subtract(corner, 0.5))
        on_coarse = coarse.data_to_world(np.divide(corner, (4, 8)) - 0.5)
        np.testing.assert_allclose(on_coarse, on_fine, atol=1e-9)


def test_the_tissue_is_that_of_the_analysis(tissue, real, qtbot):
    with qtbot.waitSignal(tissue.changed, timeout=WAIT_MS):
        tissue.look_at(real)
    qtbot.waitUntil(lambda: not tissue.is_busy, timeout=WAIT_MS)
    assert tissue.problem is None
    assert tissue.mask.digest == tissue_mask(real.slide, 0).digest


def test_what_is_painted_in_the_layer_is_the_tissue_also_for_others(viewer, tissue, real, qtbot):
    tissue.look_at(real)
    qtbot.waitUntil(lambda: not tissue.is_busy, timeout=WAIT_MS)
    layer = tissue.show_layer()
    assert tissue.show_layer() is layer
    before = tissue.mask.fraction
    with qtbot.waitSignal(tissue.changed, timeout=WAIT_MS):
        layer.data = np.zeros_like(layer.data)
    assert before > 0
    assert tissue.mask.fraction == 0
    other = Tissue(viewer)
    other.look_at(real)
    assert other.layer is layer
    assert other.mask.fraction == 0
    other.shut_down()
    viewer.layers.remove(layer)
    assert tissue.mask.fraction == before


def test_undo_and_redo_are_edits_of_the_tissue(tissue, real, qtbot):
    tissue.look_at(real)
    qtbot.waitUntil(lambda: not tissue.is_busy, timeout=WAIT_MS)
    layer = tissue.show_layer()
    found = tissue.mask.digest
    layer.fill((0, 0), 1)
    painted = tissue.mask.digest
    layer.undo()
    undone = tissue.mask.digest
    layer.redo()
    assert painted != found
    assert (undone, tissue.mask.digest) == (found, painted)
    changes = []
    tissue.changed.connect(lambda: changes.append(1))
    layer.refresh()
    layer.contour = 2
    assert changes == []


def test_without_nuclei_there_is_no_tissue(viewer, tissue, qtbot):
    layer = viewer.add_image(np.zeros((6, 8)), name="probe")
    tissue.look_at(compared_channel(layer))
    assert tissue.mask is None
    assert "nuclei stain" in tissue.problem
    viewer.add_image(np.zeros((6, 8)), name="DAPI")
    tissue.look_at(compared_channel(layer))
    qtbot.waitUntil(lambda: tissue.mask is not None, timeout=WAIT_MS)


def test_without_a_slide_nothing_changes_however_often_it_is_looked_at(tissue, real, qtbot):
    tissue.look_at(real)
    qtbot.waitUntil(lambda: not tissue.is_busy, timeout=WAIT_MS)
    emitted = []
    tissue.changed.connect(lambda: emitted.append(tissue.mask))
    for _ in range(3):
        tissue.look_at(None)
    assert emitted == [None]

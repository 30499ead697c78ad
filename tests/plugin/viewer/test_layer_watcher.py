"""What tells that regions are others now: every way to change pixels, and nothing else."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_hrpn.plugin.viewer import layer_watcher as region_layers
from napari_hrpn.plugin.viewer.layer_watcher import RegionLayers
from support.settling import WAIT_MS


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def followed(viewer, qtbot):
    """Adds labels and gives how often an edit of them is told after something was done."""
    layers = RegionLayers(viewer)

    def follow(pixels):
        labels = viewer.add_labels(pixels)
        qtbot.waitUntil(lambda: layers.is_settled, timeout=WAIT_MS)
        told = []
        layers.edited.connect(told.append)

        def edits(act):
            told.clear()
            act()
            qtbot.waitUntil(lambda: layers.is_settled, timeout=WAIT_MS)
            assert all(one is labels for one in told)
            return len(told)

        return labels, edits

    yield follow
    layers.stop()


def change_in_place(layer):
    layer.data[3, 4] = 9
    layer.refresh()


def stroke(layer):
    with layer.block_history():
        layer.paint((5, 5), 3)
        layer.paint((9, 9), 3)


EDITS = {
    "brush": lambda layer: layer.paint((20, 20), 1),
    "a whole stroke": stroke,
    "fill": lambda layer: layer.fill((30, 30), 2),
    "undo": lambda layer: layer.undo(),
    "redo": lambda layer: layer.redo(),
    "eraser": lambda layer: layer.paint((20, 20), 0),
    "polygon": lambda layer: layer.paint_polygon([[3, 3], [3, 20], [20, 20]], 4),
    "pixels": lambda layer: layer.data_setitem((np.array([1]), np.array([2])), 7),
    "in place": change_in_place,
    "other data": lambda layer: setattr(layer, "data", np.asarray(layer.data) + 1),
}
LOOKS = {
    "refresh": lambda layer: layer.refresh(),
    "hidden and shown": lambda layer: [setattr(layer, "visible", on) for on in (False, True)],
    "contour": lambda layer: setattr(layer, "contour", 2),
    "opacity": lambda layer: setattr(layer, "opacity", 0.3),
    "colours": lambda layer: layer.new_colormap(),
    "label": lambda layer: setattr(layer, "selected_label", 4),
    "the same colour": lambda layer: layer.paint((38, 45), int(layer.data[38, 45])),
    "the same data": lambda layer: setattr(layer, "data", layer.data.copy()),
}


def test_each_way_to_change_pixels_is_one_edit_and_what_only_looks_different_is_none(followed):
    labels, edits = followed(np.zeros((40, 50), np.uint8))
    assert {name: edits(lambda act=act: act(labels)) for name, act in EDITS.items()} == dict.fromkeys(EDITS, 1)
    assert {name: edits(lambda act=act: act(labels)) for name, act in LOOKS.items()} == dict.fromkeys(LOOKS, 0)
    edits(lambda: labels.paint((20, 20), 5))
    assert edits(lambda: (labels.undo(), labels.redo())) == 0


def test_undo_counts_where_the_pixels_are_too_many_to_be_compared(followed, monkeypatch):
    monkeypatch.setattr(region_layers, "MOST_COMPARED_BYTES", 0)
    labels, edits = followed(np.zeros((40, 50), np.uint8))
    known = ("brush", "a whole stroke", "fill", "undo", "redo", "eraser", "other data")
    assert {name: edits(lambda act=EDITS[name]: act(labels)) for name in known} == dict.fromkeys(known, 1)
    assert [edits(lambda act=LOOKS[name]: act(labels)) for name in ("refresh", "hidden and shown", "contour")] == [
        0
    ] * 3


def test_pixels_that_the_package_itself_has_changed_are_no_edit(viewer, qtbot):
    layers = RegionLayers(viewer)
    labels = viewer.add_labels(np.zeros((40, 50), np.uint8))
    qtbot.waitUntil(lambda: layers.is_settled, timeout=WAIT_MS)
    told = []
    layers.edited.connect(told.append)
    labels.data = np.ones((40, 50), np.uint8)
    layers.accept(labels)
    qtbot.wait(2 * region_layers.PAINTING_MS)
    assert told == []
    layers.stop()
    labels.data = np.zeros((40, 50), np.uint8)
    qtbot.wait(2 * region_layers.PAINTING_MS)
    assert told == []

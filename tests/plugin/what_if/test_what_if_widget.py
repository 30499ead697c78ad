"""The widget "What if" in a viewer: click, remove, add, the layers and numbers of the result, refusals, saving."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QFileDialog

from napari_hrpn.models import save_checkpoint
from napari_hrpn.phantom import PHANTOM_PRESETS, phantom_slide
from napari_hrpn.phantom.sampling import Bounds
from napari_hrpn.phantom.tissue import TissueShape, vessels_within
from napari_hrpn.plugin.viewer import give_pixel_size
from napari_hrpn.plugin.what_if.widget import WhatIfWidget
from napari_hrpn.reports.what_if import figure
from napari_hrpn.settings.what_if import EDITS
from support.compared import show
from support.predictions import lively_checkpoint

SETTINGS = replace(PHANTOM_PRESETS["tiny"], pixel_size_um=1.0)
SIZE = 260


@pytest.fixture
def widget(tmp_path, settle):
    save_checkpoint(lively_checkpoint(pixel_size_um=1.0), tmp_path / "network.safetensors")
    viewer = ViewerModel()
    show(viewer, phantom_slide(SETTINGS, size=SIZE, seed=1).slide)
    widget = WhatIfWidget(viewer)
    widget.use_checkpoint(str(tmp_path / "network.safetensors"))
    widget.options.value = replace(widget.options.value, shams=2, window_um=100.0)
    widget.show()
    settle(widget)
    yield widget
    widget.shut_down()
    widget.close()


def centre():
    vessels = vessels_within(Bounds(0, 0, SIZE, SIZE), SETTINGS, TissueShape(SETTINGS, (SIZE, SIZE), 1))
    return vessels.centre_um[np.argmin(np.abs(vessels.centre_um - SIZE / 2).max(axis=1))]


def click(widget, y_um, x_um):
    """As the viewer does when the mouse is released where it was pressed."""
    layer = next(iter(widget._viewer.layers))
    widget._mouse.clicked.emit(np.asarray(layer.data_to_world((int(y_um), int(x_um)))))


def test_a_vessel_that_is_clicked_is_removed(widget, settle, tmp_path, monkeypatch):
    y, x = centre()
    assert not widget.buttons["remove"].isEnabled()
    click(widget, y, x)
    assert widget.place == pytest.approx((y, x), abs=1)
    slide_layer = next(iter(widget._viewer.layers))
    before = slide_layer.data.compute()
    widget.buttons["remove"].click()
    settle(widget)
    result = widget.result
    assert result.action == "remove"
    network, physics = (widget._viewer.layers[f"{name}: {EDITS['remove']}"] for name in ("network", "physics"))
    np.testing.assert_array_equal(network.data != 0, result.significant & (result.network != 0))
    np.testing.assert_array_equal(physics.data, result.physics)
    assert network.contrast_limits == physics.contrast_limits
    assert sum(network.contrast_limits) == 0
    # the network's map lies on the slide, physics beside it
    box = result.box
    np.testing.assert_allclose(network.data_to_world((0, 0)), slide_layer.data_to_world((box.y0, box.x0)))
    beside = slide_layer.data_to_world((box.y0, box.x0 + 1.05 * box.width))
    np.testing.assert_allclose(physics.data_to_world((0, 0)), beside)
    np.testing.assert_array_equal(slide_layer.data.compute(), before)
    lines = widget.result_label.text().replace("\u200b", "").split("\n")
    assert lines[0].startswith(f"The network associates the {EDITS['remove']} with")
    assert EDITS["remove"] in figure(result, widget._compared).axes[1].get_title()
    assert "fitted to the imaged probe" in lines[1]
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "numbers.csv"), "CSV (*.csv)"))
    widget.save_button.menu().actions()[0].trigger()
    rows = list(csv.DictReader((tmp_path / "numbers.csv").read_text(encoding="utf-8").splitlines()))
    assert [float(row["physics"]) for row in rows] == [s["physics"] for s in result.numbers()["shells"]]


def test_a_place_without_a_vessel_is_refused_in_a_sentence_and_may_get_one(widget, settle):
    free = np.argwhere(np.hypot(*(np.indices((SIZE, SIZE)) - np.reshape(centre(), (2, 1, 1)))) > 60)
    widget.options.value = replace(widget.options.value, threshold=254.0)
    click(widget, *free[len(free) // 2])
    widget.buttons["remove"].click()
    settle(widget)
    assert widget.result is None
    assert "no vessel" in widget.message
    assert widget.buttons["remove"].isEnabled()


def test_the_channel_of_vessels_is_asked_for(widget):
    click(widget, *centre())
    widget.role_boxes["vessels"].value = None
    widget.buttons["add"].click()
    assert widget.message == "Choose the channel that shows the vessels."


def test_cancel_ends_the_comparison(widget, settle):
    click(widget, *centre())
    widget.options.value = replace(widget.options.value, shams=1000)
    widget.buttons["remove"].click()
    assert widget.cancel_button.isEnabled()
    widget.cancel_button.click()
    settle(widget)
    assert widget.message == "Stopped."
    assert widget.result is None


def test_the_result_belongs_to_its_slide_though_another_is_chosen_or_it_is_closed_meanwhile(widget, settle):
    viewer = widget._viewer
    other = phantom_slide(SETTINGS, size=SIZE, seed=2).slide
    show(viewer, replace(other, source=other.source.with_name("other.ome.tif")), translate=(1000, 1000))
    settle(widget)
    first = next(iter(viewer.layers))
    click(widget, *centre())
    widget.buttons["remove"].click()
    widget.slide_box.value = widget.slide_box.choices[1]
    assert widget.place is None
    settle(widget)
    corner = (widget.result.box.y0, widget.result.box.x0)
    network = viewer.layers["network: missing vessel"]
    np.testing.assert_allclose(network.data_to_world((0, 0)), first.data_to_world(corner))
    assert widget.result_label.text().replace("\u200b", "").split("\n")[2].startswith(f"{first.name.split()[-1]}")
    widget.slide_box.value = widget.slide_box.choices[0]
    click(widget, *centre())
    widget.buttons["remove"].click()
    viewer.layers.clear()
    settle(widget)
    assert not viewer.layers
    assert widget.message.startswith("The slide was closed")


def test_a_pixel_size_that_another_widget_gives_is_asked_for_and_used(widget, settle):
    viewer = widget._viewer
    viewer.layers.clear()
    slide = replace(phantom_slide(SETTINGS, size=SIZE, seed=1).slide, pixel_size_um=None)
    show(viewer, slide)
    settle(widget)
    click(widget, *centre())
    assert "px" in widget.place_label.text()
    widget.buttons["remove"].click()
    assert widget.message.endswith("has no pixel size: enter it in the widget Predict QD.")
    give_pixel_size(viewer, slide, (2.0, 2.0))
    widget.buttons["remove"].click()
    assert widget.message == "Click the place in the viewer first."
    click(widget, 10, 20)
    assert widget.place == pytest.approx((21, 41))

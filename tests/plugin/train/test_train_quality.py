"""How slides were imaged, in the widget "Train HRPN": a mark in the row, and sentences below."""

import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt

from napari_hrpn.analysis import slide_quality
from napari_hrpn.plugin.train.slide_cells import SLIDE, SlidesModel
from napari_hrpn.plugin.train.slide_rows import TrainingRow
from napari_hrpn.slides import open_slide
from napari_hrpn.training import SlideEntry


@pytest.fixture
def spoilt_file(tmp_path):
    """A slide of which a tenth is clipped, without a pixel size."""
    pixels = np.random.default_rng(4).normal(225, 20, (3, 300, 320)).clip(0, 255).astype(np.uint8)
    path = tmp_path / "tumour 3.ome.tif"
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "CD31", "QD"]}}
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=metadata)
    return path


def test_a_row_is_marked_and_the_reason_told(
    training, make_napari_viewer_proxy, open_widget, slide_files, spoilt_file, until, monkeypatch, text_of
):
    monkeypatch.setattr("napari_hrpn.analysis.slide_quality", slide_quality)
    widget = open_widget(make_napari_viewer_proxy(), slide_files)
    table, label = widget.setup.slides_table, widget.progress.quality_label
    until(lambda: not widget.setup._quality.is_looking)
    assert label.isHidden()
    table.add_files([spoilt_file])
    until(lambda: not label.isHidden())
    items = [table.model.index(row, SLIDE) for row in range(3)]
    assert [item.data() for item in items] == ["tumour 1", "tumour 2", "⚠ tumour 3"]
    tooltips = [item.data(Qt.ItemDataRole.ToolTipRole) for item in items]
    assert ["⚠" in tooltip for tooltip in tooltips] == [False, False, True]
    tooltip = " ".join(tooltips[2].split())
    assert tooltip.startswith(str(spoilt_file))
    for channel in ("DAPI", "CD31", "QD"):
        assert f"⚠ {channel}:" in tooltip
    # the check of the training says so of all slides together
    assert "⚠ The file has no pixel size" in tooltip
    told = text_of(label)
    assert [line.split(":")[:2] for line in told.splitlines()] == [
        ["⚠ tumour 3", f" {channel}"] for channel in ("DAPI", "CD31", "QD")
    ]
    # what is to be expected of the training is told beside it
    until(lambda: "look alike" in text_of(widget.progress.warning_label))
    table.cells.selectRow(2)
    table.remove_selected()
    assert label.isHidden()


def test_a_training_does_not_wait_for_it(
    training, make_napari_viewer_proxy, open_widget, slide_files, until, monkeypatch, wait_for
):
    asked, closed = threading.Event(), threading.Event()

    def endless(slide, roles):
        asked.set()
        try:
            while True:
                # as slow as reading is: the window is told of each step
                time.sleep(0.02)
                yield
        finally:
            closed.set()

    monkeypatch.setattr("napari_hrpn.analysis.slide_quality", endless)
    widget = open_widget(make_napari_viewer_proxy(), slide_files)
    until(asked.is_set)
    training.let()
    widget.train()
    wait_for(widget, running=False)
    assert widget.message.startswith("Done")
    assert widget.setup._quality.is_looking
    widget._viewer.window.remove_dock_widget(widget)
    until(closed.is_set)


def test_a_row_loads_nothing_that_is_slow_to_load(qtbot, slide_files, monkeypatch):
    slide = open_slide(slide_files[0])
    entry = SlideEntry(slide.source)
    # whoever imports it now fails
    monkeypatch.setitem(sys.modules, "napari_hrpn.training", None)
    model = SlidesModel()
    model.set_rows([TrainingRow(slide, entry)])
    assert model.index(0, SLIDE).data() == "tumour 1"
    assert model.rows[0].channels(model.roles) == {"nuclei": 0, "vessels": 1, "probe": 2}


def test_open_slides_are_added_without_loading_torch_in_the_gui_thread(
    training, make_napari_viewer_proxy, slide_files, until, monkeypatch
):
    from napari_hrpn.plugin.train.slides_table import SlidesTable

    threads = []

    def entry(*arguments, **fields):
        threads.append(threading.get_ident())
        return SlideEntry(*arguments, **fields)

    viewer = make_napari_viewer_proxy()
    table = SlidesTable(viewer)
    for path in slide_files:
        viewer.open(path, plugin="napari-hrpn")
    with monkeypatch.context() as patches:
        patches.setitem(sys.modules, "napari_hrpn.training", SimpleNamespace(SlideEntry=entry))
        table.add_open_slides()
        until(lambda: len(table.rows) == 2)
    assert len(threads) == 2
    assert threading.get_ident() not in threads
    table.shut_down()

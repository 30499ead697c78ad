"""ROIs that are saved by themselves: offered again, and no file of anybody else is replaced."""

import json
import os

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_hrpn.plugin.parts.measure_bar import MeasureBar
from napari_hrpn.plugin.parts.selection import compared_channel
from napari_hrpn.plugin.parts.tissue_mask import Tissue
from napari_hrpn.plugin.roi_correlation import autosave as room
from napari_hrpn.plugin.roi_correlation.new_regions import RoiMaker
from napari_hrpn.plugin.roi_correlation.region_form import RoiForm
from napari_hrpn.slides import open_slide, read_geojson
from support.compared import show
from support.roi_shapes import box
from support.settling import WAIT_MS

PLACE = {"scale": (0.5, 0.25), "units": ("um", "um")}


@pytest.fixture(autouse=True)
def said(monkeypatch):
    monkeypatch.setattr(room, "_said", set())
    monkeypatch.setattr(room, "_SAVE_MS", 10)


@pytest.fixture
def session(qtbot, stained_file):
    """Starts napari, opens the slide and the widget's form."""
    opened = []

    def run():
        viewer = ViewerModel()
        show(viewer, open_slide(stained_file))
        form, bar, tissue = RoiForm(viewer), MeasureBar(""), Tissue(viewer)
        for widget in (form, bar):
            qtbot.addWidget(widget)
        maker = RoiMaker(viewer, form, tissue, bar, list)
        maker.set_real(compared_channel(viewer.layers[2]))
        opened.append((maker, form, tissue))
        return viewer, form, maker

    yield run
    for maker, form, tissue in opened:
        maker.abandon()
        form.shut_down()
        tissue.shut_down()


def wait_for(qtbot, path, boxes):
    def is_saved():
        try:
            found = [region.bounds((96, 130)) for region in read_geojson(path)]
            return sorted((one.y0, one.y1, one.x0, one.x1) for one in found) == sorted(boxes)
        except (OSError, ValueError):
            return False

    qtbot.waitUntil(is_saved, timeout=WAIT_MS)


def test_regions_are_saved_and_offered_again_and_the_earlier_ones_stay(session, qtbot, tmp_path):
    first, second = tmp_path / "tumour 3 ROIs.autosaved.geojson", tmp_path / "tumour 3 ROIs.autosaved-2.geojson"
    viewer, form, _ = session()
    assert form.autosaved is None
    viewer.add_shapes([box(10, 40, 20, 60)], name="mine", **PLACE)
    other = viewer.add_shapes([box(50, 60, 0, 30)], name="of another layer", **PLACE)
    wait_for(qtbot, first, [(10, 40, 20, 60), (50, 60, 0, 30)])
    other.data = [box(50, 70, 0, 30)]
    wait_for(qtbot, first, [(10, 40, 20, 60), (50, 70, 0, 30)])
    kept = first.read_bytes()

    viewer, form, maker = session()
    assert (form.autosaved, form.autosaved_button.tooltip.endswith(str(first))) == (first, True)
    # a region that is drawn before the others are imported does not replace them
    viewer.add_shapes([box(80, 90, 80, 90)], name="new", **PLACE)
    wait_for(qtbot, second, [(80, 90, 80, 90)])
    assert first.read_bytes() == kept
    form.autosaved_button.native.click()
    everything = [(10, 40, 20, 60), (50, 70, 0, 30), (80, 90, 80, 90)]
    wait_for(qtbot, first, everything)
    assert form.autosaved is None
    assert not maker.is_busy


def test_regions_that_were_all_deleted_stay_in_their_file(session, qtbot, tmp_path):
    first, second = tmp_path / "tumour 3 ROIs.autosaved.geojson", tmp_path / "tumour 3 ROIs.autosaved-2.geojson"
    viewer, _, maker = session()
    layer = viewer.add_shapes([box(10, 40, 20, 60)], **PLACE)
    wait_for(qtbot, first, [(10, 40, 20, 60)])
    kept = first.read_bytes()
    viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: maker.autosave._own == {}, timeout=WAIT_MS)
    viewer.add_shapes([box(0, 5, 0, 5)], **PLACE)
    wait_for(qtbot, second, [(0, 5, 0, 5)])
    assert first.read_bytes() == kept


@pytest.mark.parametrize("content", ["mine", '{"type": "FeatureCollection", "features": []}', ""])
def test_a_file_of_somebody_else_is_neither_offered_nor_replaced(session, qtbot, tmp_path, content):
    taken, own = tmp_path / "tumour 3 ROIs.autosaved.geojson", tmp_path / "tumour 3 ROIs.autosaved-2.geojson"
    taken.write_text(content, encoding="utf-8")
    viewer, form, _ = session()
    assert form.autosaved is None
    layer = viewer.add_shapes([box(10, 40, 20, 60)], **PLACE)
    wait_for(qtbot, own, [(10, 40, 20, 60)])
    # another program takes the place of the file meanwhile
    own.write_text("not ours any more", encoding="utf-8")
    layer.data = [box(10, 50, 20, 60)]
    qtbot.waitUntil(lambda: bool(room._said), timeout=WAIT_MS)
    assert (taken.read_text("utf-8"), own.read_text("utf-8")) == (content, "not ours any more")


def test_another_slide_under_the_same_name_is_not_offered_the_regions(session, qtbot, tmp_path, stained_file):
    first = tmp_path / "tumour 3 ROIs.autosaved.geojson"
    viewer, *_ = session()
    viewer.add_shapes([box(10, 40, 20, 60)], **PLACE)
    wait_for(qtbot, first, [(10, 40, 20, 60)])
    os.utime(stained_file, (0, 0))
    _, form, _ = session()
    assert form.autosaved is None


def test_a_place_that_cannot_be_written_is_told_once(session, qtbot, notifications, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", "folder")

    monkeypatch.setattr("napari_hrpn.plugin.roi_correlation.autosave.feature_texts", refuse)
    viewer, _, maker = session()
    layer = viewer.add_shapes([box(10, 40, 20, 60)], **PLACE)
    qtbot.waitUntil(lambda: len(notifications) == 1, timeout=WAIT_MS)
    assert notifications[0].startswith("ROIs are not saved by themselves: ")
    assert "tumour 3 ROIs.autosaved.geojson" in notifications[0]
    layer.data = [box(10, 50, 20, 60)]
    qtbot.waitUntil(lambda: not maker.autosave._soon.isActive() and not maker.autosave._task.is_busy, timeout=WAIT_MS)
    assert len(notifications) == 1


def test_a_slide_that_is_no_file_is_not_saved(session, stained_file):
    _, _, maker = session()
    stained_file.unlink()
    maker.set_real(maker._real)
    assert maker.autosave._real is None


def test_the_file_is_plain_geojson(session, qtbot, tmp_path):
    path = tmp_path / "tumour 3 ROIs.autosaved.geojson"
    viewer, *_ = session()
    viewer.add_shapes([box(10, 40, 20, 60)], features={"name": ["rim"]}, **PLACE)
    wait_for(qtbot, path, [(10, 40, 20, 60)])
    content = json.loads(path.read_text("utf-8"))
    (feature,) = content["features"]
    assert (content["type"], feature["properties"]["name"]) == ("FeatureCollection", "rim")
    np.testing.assert_array_equal(np.min(feature["geometry"]["coordinates"][0], axis=0), [20, 10])

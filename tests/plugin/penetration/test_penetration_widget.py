"""The whole widget in a real viewer, on drawn vessels; numbers against arrays cut by hand and SciPy."""

import csv
import threading
from pathlib import Path
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QPushButton
from scipy import ndimage

from napari_hrpn.analysis import EvaluationSettings, ProbeImage, penetration
from napari_hrpn.analysis.tissue.strip_filter import region_on_grid
from napari_hrpn.plugin.parts.region_form import FRAME
from napari_hrpn.plugin.parts.report_button import Reported, report_request
from napari_hrpn.plugin.penetration.measurement import EDGE
from napari_hrpn.plugin.penetration.vessel_form import LEVEL, NONE, STATED
from napari_hrpn.plugin.penetration.widget import PenetrationWidget
from napari_hrpn.reports import number
from napari_hrpn.slides import RegionMask, Slide, coarser_levels
from support.compared import show
from support.vessel_slides import discs, edge_distance

SHAPE = (400, 520)
PIXEL_UM = 0.5
CENTRES = np.array([(90, 250), (200, 420), (310, 270), (180, 180)])


def slide_of_pixels(pixels, source, names):
    finest = da.from_array(pixels, chunks=(1, 256, 256), name=False)
    return Slide((finest, *coarser_levels(finest, 64)), names, (PIXEL_UM, PIXEL_UM), Path(source))


@pytest.fixture
def slides():
    """Round vessels; a probe that falls with 25 µm and one with 12 µm; the left fifth is glass."""
    random = np.random.default_rng(1)
    vessels = discs(SHAPE, CENTRES, 10)
    distance_um = ndimage.distance_transform_edt(~vessels) * PIXEL_UM
    tissue = np.ones(SHAPE, bool)
    tissue[:, : SHAPE[1] // 5] = False
    nuclei = np.where(tissue, 100 + random.integers(0, 50, SHAPE), 0)
    probe, wrong = (np.where(tissue, 20_000 * np.exp(-distance_um / length), 0) + 100 for length in (25, 12))
    real = np.stack([nuclei, 20 + 1000 * vessels, probe]).astype(np.uint16)
    return (
        slide_of_pixels(real, "tumour.ome.tif", ("DAPI", "CD31", "QD")),
        slide_of_pixels(wrong[None].astype(np.uint16), "tumour.predicted.ome.zarr", ("QD",)),
    )


@pytest.fixture
def viewer(slides):
    """A viewer without a window, which opens in no time; the last test has one."""
    viewer = ViewerModel()
    for slide in slides:
        show(viewer, slide, rotate=10, translate=(7, -3))
    return viewer


@pytest.fixture
def widget(viewer, settle):
    widget = PenetrationWidget(viewer)
    # each test says when
    widget.is_measured_unasked = False
    widget.show()
    settle(widget)
    yield widget
    widget.shut_down()
    widget.close()


def images(slides):
    return {
        "QD · tumour": np.asarray(slides[0].levels[0][2]),
        "QD · tumour.predicted": np.asarray(slides[1].levels[0][0]),
    }


def on_the_grid(image, factor):
    """Sums over squares of pixels."""
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    return image.astype(np.int64).reshape(rows, factor, columns, factor).sum(axis=(1, 3))


def test_profiles_are_those_of_the_mask_that_is_shown(widget, viewer, slides, measure):
    widget.vessel_form.background_box.value = NONE
    widget.region_form.box.value = FRAME
    measure(widget)
    assert widget.message == ""
    labels = viewer.layers["vessels · QD · tumour"]
    factor = SHAPE[0] // labels.data.shape[0]
    assert factor == 2
    _, found = ndimage.label(labels.data, np.ones((3, 3)))
    assert found == len(CENTRES) == widget.known["table"].n
    distance_um = edge_distance(labels.data != 0) * PIXEL_UM * factor
    grids = {name: on_the_grid(image, factor) / factor**2 for name, image in images(slides).items()}
    expected = penetration(distance_um, grids, pixel_um=(1.0, 1.0))
    for own, one in zip(widget.profiles, expected, strict=True):
        assert (own.image, own.area) == (one.image, "tissue")
        assert own.n == one.n * factor**2
        np.testing.assert_allclose([s.mean for s in own.shells], [s.mean for s in one.shells], rtol=1e-9)
        np.testing.assert_allclose((own.d50_um, own.d90_um, own.decay_um), (one.d50_um, one.d90_um, one.decay_um))
    assert widget.profiles[0].d50_um > widget.profiles[1].d50_um
    row = widget.profile_table.texts()[0]
    assert row[3] == number(expected[0].d50_um, 2)
    assert row[2] == f"{expected[0].n * factor**2:,}"


def test_blank_glass_is_taken_off_and_core_and_periphery_are_told_apart(widget, viewer, slides, measure):
    measure(widget)
    assert {one.area for one in widget.profiles} == {"tissue", "core", "periphery"}
    assert {one.background for one in widget.profiles} == {100.0}
    tissue, core, periphery = widget.profiles[:3]
    assert tissue.n == core.n + periphery.n
    vessels = viewer.layers["vessels · QD · tumour"].data > 0
    inside = region_on_grid(widget.tissue.mask, (2, 2), slice(0, SHAPE[0] // 2), slice(0, SHAPE[1] // 2))
    assert 0.5 < inside.mean() < 0.98
    probe = on_the_grid(images(slides)["QD · tumour"], 2) / 4
    distance_um = edge_distance(vessels) * PIXEL_UM * 2
    (expected,) = penetration(distance_um, {"probe": probe}, inside, background={"probe": 100.0}, pixel_um=(1.0, 1.0))
    assert tissue.n == 4 * expected.n
    np.testing.assert_allclose((tissue.d50_um, tissue.decay_um), (expected.d50_um, expected.decay_um))
    widget.vessel_form.background_box.value = LEVEL
    widget.vessel_form.background_level.value = 40
    measure(widget)
    assert {one.background for one in widget.profiles} == {40.0}


def test_a_length_that_does_not_exist_is_told_with_its_reason(widget, viewer, settle, measure):
    vessels = discs(SHAPE, CENTRES, 10)
    slow = 60_000 * np.exp(-ndimage.distance_transform_edt(~vessels) * PIXEL_UM / 2665)
    for title, pixels in (("flat", np.full(SHAPE, 9)), ("slow", slow)):
        show(viewer, slide_of_pixels(pixels[None].astype(np.uint16), f"tumour.{title}.predicted.ome.zarr", ("QD",)))
    settle(widget)
    predicted = [viewer.layers[f"QD · tumour.{title}.predicted"] for title in ("flat", "slow")]
    widget.pair_form.choose(viewer.layers["QD · tumour"], predicted)
    widget.vessel_form.background_box.value = NONE
    widget.region_form.box.value = FRAME
    measure(widget)
    lengths = {row[0]: row[5] for row in widget.profile_table.texts()}
    assert lengths == {"QD · tumour": lengths["QD · tumour"], predicted[0].name: "–", predicted[1].name: "–"}
    told = widget.reason_label.text().replace("\u200b", "")
    assert "QD · tumour.flat.predicted, tissue: the signal does not fall with the distance" in told
    assert "QD · tumour.slow.predicted, tissue: the signal falls too little to have a decay length" in told
    saved = {row["image"]: row for row in widget.known["tables"]["penetration"]}
    assert saved[predicted[1].name]["decay_um"] is None
    assert "falls too little" in saved[predicted[1].name]["reason"]


def test_what_the_floor_decides_is_told(widget, measure):
    widget.vessel_form.background_box.value = NONE
    widget.region_form.box.value = FRAME
    measure(widget)
    real = widget.profiles[0]
    assert real.d50_low_um < real.d50_um
    assert widget.profile_table.texts()[0][-2] == f"{number(real.d50_low_um, 2)} to {number(real.d50_high_um, 2)}"
    assert widget.known["tables"]["penetration"][0]["d50_low_um"] == real.d50_low_um


def test_the_report_is_of_the_vessels_and_the_background_that_are_chosen(widget, viewer, slides, measure, settle):
    form = widget.vessel_form
    chosen = widget.report_choices(slides[0])
    assert (chosen.settings, chosen.vessels_channel, chosen.vessels) == (EvaluationSettings(), 1, None)
    form.threshold_box.value = STATED
    form.level_box.value = 480
    form.area_box.value = 33
    form.background_box.value = LEVEL
    form.background_level.value = 40
    chosen = widget.report_choices(slides[0])
    assert (chosen.settings.vessels, chosen.settings.background) == (form.settings, 40)
    assert (form.settings.threshold, form.settings.smallest_um2) == (480, 33)
    drawn = discs(SHAPE, CENTRES[:2], 10)
    layer = viewer.add_labels(drawn.astype(np.uint8), **place_of(viewer.layers["QD · tumour"]))
    settle(widget)
    form.mask_box.value = layer
    images = [ProbeImage(name, slide) for name, slide in zip(("real", "predicted"), slides, strict=True)]
    tissue = RegionMask(np.ones((1, 1), bool), SHAPE)
    real = ProbeImage("real", slides[0], 2)
    order = report_request(
        Reported(real, (images[1],), "tumour", tissue, None, "", (), True, widget.report_choices(slides[0]))
    )
    assert order.settings.background == 40
    np.testing.assert_array_equal(order.comparison.vessels.mask, drawn)


def place_of(layer):
    """Where a layer lies, to lie there too."""
    return {name: getattr(layer, name) for name in ("scale", "translate", "rotate")}


def test_the_glass_beside_the_tissue_is_the_background_of_the_frame_too(widget, measure):
    widget.region_form.box.value = FRAME
    measure(widget)
    assert {(one.area, one.background) for one in widget.profiles} == {("tissue", 100.0)}
    assert "no background is subtracted" not in widget.reason_label.text()


def test_without_glass_it_is_said_that_no_background_is_taken_off(widget, viewer, measure, settle, slides):
    viewer.layers.clear()
    right = SHAPE[1] // 3
    pixels = np.asarray(slides[0].levels[0])[:, :, right:]
    show(viewer, slide_of_pixels(pixels, "inside.ome.tif", slides[0].channel_names))
    settle(widget)
    measure(widget)
    assert {one.background for one in widget.profiles} == {0.0}
    assert "There is no blank glass around the tissue, so no background is subtracted." in widget.reason_label.text()


def test_a_drawn_mask_needs_no_stain(widget, viewer, measure, settle, slides):
    viewer.layers.clear()
    probe = np.asarray(slides[0].levels[0])[2:]
    show(viewer, slide_of_pixels(probe, "probe.ome.tif", ("QD",)))
    layer = viewer.add_labels(discs(SHAPE, CENTRES, 10).astype(np.int32), scale=(PIXEL_UM, PIXEL_UM), name="drawn")
    settle(widget)
    measure(widget)
    assert "No layer has the name of a vessel stain" in widget.message
    widget.vessel_form.mask_box.value = layer
    widget.region_form.box.value = FRAME
    measure(widget)
    assert widget.known["table"].n == len(CENTRES)
    assert [row["stain_mean"] for row in widget.known["tables"]["vessels"]] == [None] * len(CENTRES)
    assert widget.vessel_table.vessels.rowCount() == len(CENTRES)


def test_the_mask_lies_on_the_vessels_under_any_transform(widget, viewer, settle):
    widget.vessel_form.find_button.native.click()
    settle(widget)
    assert "probe" not in widget.known
    labels, stain = viewer.layers["vessels · QD · tumour"], viewer.layers["CD31 · tumour"]
    for centre in CENTRES:
        place = labels.world_to_data(stain.data_to_world(centre))
        assert labels.data[tuple(np.round(place).astype(int))] == 1
    own = ndimage.center_of_mass(labels.data)
    np.testing.assert_allclose(stain.world_to_data(labels.data_to_world(own)), CENTRES.mean(axis=0), atol=0.3)


def test_threshold_and_least_area_are_those_of_the_form(widget, viewer, settle):
    widget.vessel_form.threshold_box.value = STATED
    widget.vessel_form.level_box.value = 5000
    widget.find_vessels()
    settle(widget)
    assert not viewer.layers["vessels · QD · tumour"].data.any()
    widget.vessel_form.level_box.value = 500
    widget.vessel_form.area_box.value = 50
    widget.find_vessels()
    settle(widget)
    layer = viewer.layers["vessels · QD · tumour"]
    assert ndimage.label(layer.data)[1] == len(CENTRES)
    widget.vessel_form.area_box.value = 5000
    widget.find_vessels()
    settle(widget)
    assert not layer.data.any()
    assert widget.report_choices(widget.real.slide).settings.vessels == widget.vessel_form.settings


def test_an_edited_mask_is_used_from_then_on(widget, viewer, measure, settle):
    widget.region_form.box.value = FRAME
    measure(widget)
    layer = viewer.layers["vessels · QD · tumour"]
    # a vessel is rubbed out
    layer.brush_size = 40
    layer.paint(CENTRES[0] / 2, 0)
    settle(widget)
    assert widget.vessel_form.mask is layer
    assert "probe" not in widget.known
    measure(widget)
    assert widget.known["table"].n == len(CENTRES) - 1
    expected = edge_distance(layer.data != 0) * PIXEL_UM * 2
    inside = (expected > 0) & (expected <= 5)
    assert widget.profiles[0].shells[0].n == 4 * inside.sum()
    # a new mask does not take the place of the edited one
    widget.vessel_form.mask_box.value = None
    widget.vessel_form.area_box.value = 21
    widget.find_vessels()
    settle(widget)
    assert layer in viewer.layers
    assert len([one for one in viewer.layers if isinstance(one, Labels)]) == 2


def test_other_labels_that_somebody_paints_are_no_vessels(widget, viewer, measure, settle):
    other = viewer.add_labels(np.zeros(SHAPE, np.uint8), name="of something else")
    measure(widget)
    before = widget.known["probe"]
    other.paint((30, 30), 1)
    settle(widget)
    assert widget.vessel_form.mask is None
    assert widget.known["probe"] is before
    widget.vessel_form.mask_box.value = other
    settle(widget)
    assert "probe" not in widget.known


def test_a_mask_of_a_slide_that_is_no_longer_chosen_is_not_shown_on_another(widget, viewer, settle, slides):
    widget.find_vessels()
    viewer.layers.clear()
    show(viewer, slide_of_pixels(np.asarray(slides[0].levels[0]), "other.ome.tif", slides[0].channel_names))
    settle(widget)
    assert not [layer for layer in viewer.layers if isinstance(layer, Labels)]


def test_areas_are_those_that_the_tissue_has(widget, measure):
    measure(widget)
    assert len(widget.area_box) == 3
    widget.area_box.value = "core"
    widget.vessel_form.area_box.value = 30
    measure(widget)
    assert widget.area_box.value == "core"
    widget.region_form.box.value = FRAME
    measure(widget)
    assert (len(widget.area_box), widget.area_box.value) == (1, "tissue")


def test_labels_that_lie_elsewhere_are_refused(widget, viewer, settle):
    layer = viewer.add_labels(np.ones((50, 50), np.uint8), name="elsewhere")
    settle(widget)
    widget.vessel_form.mask_box.value = layer
    widget.measure()
    assert "do not cover" in widget.message
    assert not widget.bar.is_running


def test_the_table_is_linked_both_ways_to_the_viewer(widget, viewer, measure, settle):
    measure(widget)
    widget.tabs.setCurrentIndex(1)
    settle(widget)
    table, stain = widget.vessel_table, viewer.layers["CD31 · tumour"]
    for centre, vessel in zip(CENTRES[np.argsort(CENTRES[:, 0])], widget.known["table"].vessels, strict=True):
        np.testing.assert_allclose((vessel.centroid_y_px, vessel.centroid_x_px), centre, atol=1)
        widget.mouse.clicked.emit(np.asarray(stain.data_to_world(centre + 3)))
        assert table.selected == vessel.label
    before = viewer.scene.camera.center
    widget.mouse.clicked.emit(np.asarray(stain.data_to_world((5, 500))))
    assert table.selected == widget.known["table"].vessels[-1].label
    assert viewer.scene.camera.center == before
    table.selectRow(table.vessels.row_of(2))
    vessel = widget.known["table"].vessels[1]
    centre = stain.data_to_world((vessel.centroid_y_px, vessel.centroid_x_px))
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], centre, atol=1)
    frame = viewer.layers["vessel"]
    middle = frame.data[:, 0].mean(axis=0)
    np.testing.assert_allclose(middle, (vessel.centroid_y_px, vessel.centroid_x_px), atol=1.5)


def test_vessels_are_sorted_by_any_column(widget, measure):
    measure(widget)
    table = widget.vessel_table
    column = table.vessels.columns.index("QD · tumour within 20 µm")
    table.sortByColumn(column, Qt.SortOrder.DescendingOrder)
    by_label = {
        one.label: one.mean
        for one in widget.known["probe"].vessels
        if one.image == "QD · tumour" and one.within_um == 20
    }
    assert [table.vessels.label_at(row) for row in range(4)] == sorted(by_label, key=by_label.get, reverse=True)


def test_the_probe_around_a_vessel_is_the_mean_of_its_pixels(widget, viewer, slides, measure):
    widget.region_form.box.value = FRAME
    measure(widget)
    mask = viewer.layers["vessels · QD · tumour"].data > 0
    nearest = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    distance = edge_distance(mask) * PIXEL_UM * 2
    labels = ndimage.label(mask, np.ones((3, 3)))[0][tuple(nearest)]
    sums = on_the_grid(images(slides)["QD · tumour"], 2)
    for one in widget.known["probe"].vessels:
        if one.image == "QD · tumour":
            near = (labels == one.label) & (distance > 0) & (distance <= one.within_um)
            assert one.n == 4 * near.sum()
            np.testing.assert_allclose(one.mean, sums[near].sum() / one.n)


def test_densities_are_counts_per_area(widget, measure, viewer):
    widget.region_form.box.value = FRAME
    measure(widget)
    mm2 = SHAPE[0] * SHAPE[1] * PIXEL_UM**2 / 1e6
    rows = {row[0]: row for row in widget.density_table.texts()}
    assert rows["Vessels"][1:3] == [f"{number(4 / mm2)} per mm²", "4"]
    mask = viewer.layers["vessels · QD · tumour"].data > 0
    assert rows["Vessel area"][1] == f"{mask.mean():.2%}"
    assert rows["Nuclei"][2] == f"{widget.known['nuclei'].n:,}"
    np.testing.assert_allclose(widget.known["nuclei"].tissue_mm2, mm2)


def test_subareas_hold_the_pixels_of_their_bands(widget, viewer, settle, measure):
    measure(widget)
    widget.subarea_button.native.click()
    settle(widget)
    layer = viewer.layers["subareas · QD · tumour"]
    tissue = widget.profiles[0]
    assert [4 * int((layer.data == label).sum()) for label in range(1, 5)] == [band.n for band in tissue.bands]
    assert list(layer.features["subarea"][1:]) == ["0 to 10 µm", "10 to 30 µm", "30 to 60 µm", "more than 60 µm"]
    assert viewer.layers.selection.active is not layer
    widget.subarea_box.value = EDGE
    widget.subarea_button.native.click()
    settle(widget)
    assert layer is viewer.layers["subareas · QD · tumour"]
    assert list(layer.features["subarea"]) == ["none", "core", "periphery, 200 µm"]
    corner = layer.data_to_world(np.array(layer.data.shape) - 0.5)
    expected = viewer.layers["QD · tumour"].data_to_world(np.array(SHAPE) - 0.5)
    np.testing.assert_allclose(corner, expected, atol=PIXEL_UM * SHAPE[0] / layer.data.shape[0])
    shares = [(layer.data == label).sum() for label in (1, 2)]
    core, periphery = widget.profiles[1:3]
    np.testing.assert_allclose(shares[0] / sum(shares), core.n / (core.n + periphery.n), atol=0.03)
    assert len(widget.vessel_form.mask_box) == 2


def test_tissue_without_an_edge_is_told_in_a_sentence(widget, settle):
    widget.region_form.box.value = FRAME
    widget.subarea_box.value = EDGE
    widget.show_subareas()
    settle(widget)
    assert "no core and no periphery" in widget.message


def test_tables_are_saved(widget, measure, tmp_path, monkeypatch):
    measure(widget)
    saved = {}
    for button in widget.findChildren(QPushButton, options=Qt.FindChildOption.FindChildrenRecursively):
        for entry in button.menu().actions() if button.menu() is not None else ():
            if entry.text() != "Figure …":
                path = tmp_path / f"{entry.text().split()[0]}.csv"
                monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, path=path: (str(path), "CSV (*.csv)"))
                entry.trigger()
                with path.open(encoding="utf-8") as file:
                    saved[path.stem] = list(csv.DictReader(file))
    assert set(saved) == {"Lengths", "Shells", "Bands", "Vessels", "Densities"}
    assert [int(row["label"]) for row in saved["Vessels"]] == [1, 2, 3, 4]
    assert float(saved["Vessels"][0]["area_um2"]) == widget.known["table"].vessels[0].area_um2
    assert int(saved["Vessels"][0]["n within 10 µm"]) > 0
    assert float(saved["Lengths"][0]["decay_um"]) == widget.profiles[0].decay_um
    assert float(saved["Densities"][0]["vessels_per_mm2"]) == widget.known["table"].density_per_mm2
    assert sum(int(row["n"]) for row in saved["Bands"]) == sum(one.n for one in widget.profiles)
    assert len(saved["Shells"]) > len(saved["Bands"])


def test_nothing_is_measured_twice_and_former_choices_come_back(widget, viewer, measure, settle):
    measure(widget)
    before = widget.known["probe"]
    data = viewer.layers["vessels · QD · tumour"].data
    widget.vessel_form.area_box.value = 5000
    measure(widget)
    assert not viewer.layers["vessels · QD · tumour"].data.any()
    widget.vessel_form.area_box.value = 20
    settle(widget)
    assert widget.known["probe"] is before
    np.testing.assert_array_equal(viewer.layers["vessels · QD · tumour"].data, data)
    measure(widget)
    assert "Nothing has changed" in widget.message


def test_the_real_channel_alone_is_enough(widget, viewer, measure, settle):
    del viewer.layers["QD · tumour.predicted"]
    settle(widget)
    measure(widget)
    assert {one.image for one in widget.profiles} == {"QD · tumour"}


def test_a_slide_without_a_pixel_size_is_refused_in_a_sentence(widget, viewer, measure, settle, slides):
    viewer.layers.clear()
    real = slides[0]
    show(viewer, Slide(real.levels, real.channel_names, None, real.source))
    settle(widget)
    measure(widget)
    assert "has no pixel size" in widget.message


def click(viewer, position):
    """Press and release the mouse at a point of the world, as napari tells its callbacks."""
    event = SimpleNamespace(type="mouse_press", button=1, pos=(50, 50), position=tuple(position))
    steps = viewer.mouse_drag_callbacks[-1](viewer, event)
    next(steps)
    event.type = "mouse_release"
    with pytest.raises(StopIteration):
        next(steps)


def test_in_a_window_a_click_selects_a_vessel_and_closing_it_ends_all(
    make_napari_viewer_proxy, slides, measure, close_and_go_on, qtbot
):
    viewer = make_napari_viewer_proxy()
    for slide in slides:
        show(viewer, slide)
    widget = PenetrationWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Penetration")
    measure(widget)
    assert "vessels · QD · tumour" in [layer.name for layer in viewer.layers]
    widget.tabs.setCurrentIndex(1)
    widget.vessel_table.isVisible = lambda: True
    click(viewer, CENTRES[1] * PIXEL_UM)
    assert widget.vessel_table.selected == 3
    layer = next(layer for layer in viewer.layers if isinstance(layer, Labels))
    viewer.layers.selection.active = layer
    layer.mode = "paint"
    click(viewer, CENTRES[0] * PIXEL_UM)
    assert widget.vessel_table.selected == 3
    widget.vessel_form.area_box.value = 30
    widget.measure()
    close_and_go_on(viewer)
    for thread in [thread for thread in threading.enumerate() if thread.name == "napari-hrpn"]:
        thread.join(10)
        assert not thread.is_alive()

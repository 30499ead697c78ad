from dataclasses import replace

import numpy as np
import pytest
import tifffile
from napari.layers import Image
from qtpy.QtWidgets import QApplication

from napari_hrpn.core import Box
from napari_hrpn.inference import PredictionError, PredictionSettings
from napari_hrpn.plugin.parts.messages import ON_DARK, PROBLEM
from napari_hrpn.plugin.predict.job import IN_SHAPES, IN_VIEW
from napari_hrpn.plugin.predict.widget import PredictWidget
from napari_hrpn.plugin.viewer import slide_of
from napari_hrpn.slides import open_slide
from support.settling import WAIT_MS

SHAPE = (1100, 1300)
TILES = 9


def test_the_form_guesses_and_shows_what_there_is(widget, slide_file):
    roles = {role: box.current_choice for role, box in widget.slide_form.role_boxes.items()}
    assert roles == {"nuclei": "DAPI", "vessels": "CD31", "probe": "QD"}
    assert widget.slide_form.slide_box.current_choice == "tumour 7"
    devices = [widget.settings_form.fields["device"].native.itemText(i) for i in range(3)]
    assert devices == ["Automatic: Fast GPU", "Fast GPU: 7.0 GB free", "CPU, 2 threads: 3.0 GB free"]
    assert widget.output_form.shown == slide_file.parent
    assert widget.settings_form.settings() == PredictionSettings()


def test_the_rows_follow_the_checkpoint(widget, qtbot, tmp_path, write_checkpoint):
    path = write_checkpoint(tmp_path / "three.safetensors", input_roles=("nuclei", "macrophages", "vessels"))
    widget.use_checkpoint(path)
    qtbot.waitUntil(lambda: len(widget.slide_form.role_boxes) == 4, timeout=WAIT_MS)
    assert list(widget.slide_form.role_boxes) == ["nuclei", "macrophages", "vessels", "probe"]
    qtbot.waitUntil(lambda: widget.predict_button.enabled, timeout=WAIT_MS)
    widget.predict()
    assert widget.message == "Choose the channel that shows the macrophages."
    assert not widget.is_running


def test_a_file_that_is_no_checkpoint_is_told_in_a_sentence(widget, qtbot, tmp_path):
    (tmp_path / "evil.safetensors").write_bytes(b"\x80\x04pickle")
    widget.use_checkpoint(tmp_path / "evil.safetensors")
    qtbot.waitUntil(lambda: "pickle" in widget.message, timeout=WAIT_MS)
    assert not widget.predict_button.enabled


def test_resampling_is_on_where_pixel_sizes_differ_until_the_user_says_otherwise(
    widget, qtbot, tmp_path, write_checkpoint
):
    form = widget.settings_form
    assert not form.fields["resample"].enabled
    assert not form.fields["resample"].value
    widget.use_checkpoint(write_checkpoint(tmp_path / "coarse.safetensors", pixel_size_um=0.7))
    qtbot.waitUntil(form.fields["resample"].native.isEnabled, timeout=WAIT_MS)
    assert form.settings().resample
    assert form.warning_label.isHidden()
    form.fields["resample"].value = False
    assert "0.5 µm" in form.warning_label.text().replace("\u200b", "")
    widget.slide_form.changed.emit()
    assert not form.settings().resample
    # within 5 % nothing is to be resampled
    widget.use_checkpoint(write_checkpoint(tmp_path / "near.safetensors", pixel_size_um=0.51))
    qtbot.waitUntil(lambda: not form.fields["resample"].enabled, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: widget.predict_button.enabled, timeout=WAIT_MS)
    assert not form.settings().resample


def test_a_slide_in_a_folder_that_cannot_be_written_goes_to_the_documents(widget, monkeypatch, tmp_path):
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr("platformdirs.user_documents_path", lambda: tmp_path / "documents")
    widget.slide_form.changed.emit()
    assert widget.output_form.shown == tmp_path / "documents"
    widget.output_form.choose(tmp_path)
    assert widget.output_form.shown == tmp_path


def test_the_form_follows_the_layer_that_is_selected(widget, viewer, qtbot, slide_file, tmp_path, show):
    other = tmp_path / "other.ome.tif"
    other.write_bytes(slide_file.read_bytes())
    first = viewer.layers[0]
    widget.slide_form.role_boxes["probe"].value = None
    box = widget.slide_form.slide_box

    def shows(title):
        qtbot.waitUntil(lambda: box.current_choice == title, timeout=WAIT_MS)

    # a slide that is opened is selected by napari
    show(viewer, open_slide(other))
    shows("other")
    assert len(box) == 3
    assert widget.slide_form.role_boxes["probe"].current_choice == "QD"
    # what is chosen in the form stays, whatever comes and goes that is of no slide
    box.native.setCurrentIndex(0)
    viewer.add_shapes(name="mine")
    viewer.layers.selection.clear()
    QApplication.processEvents()
    assert box.current_choice == "tumour 7"
    viewer.layers.selection.active = viewer.layers[4]
    shows("other")
    viewer.layers.selection.active = first
    shows("tumour 7")


def test_other_channels_of_the_chosen_slide_are_selected_and_roles_stay(widget, viewer, qtbot):
    probe = widget.slide_form.role_boxes["probe"]
    probe.value = None
    for layer in viewer.layers:
        viewer.layers.selection.active = layer
        QApplication.processEvents()
    assert probe.value is None


def test_what_was_set_is_what_the_engine_gets(widget, engine, run_to_end):
    advanced = widget.settings_form.fields
    advanced["precision"].value = "bf16"
    advanced["core"].native.setValue(1100)
    advanced["halo"].native.setValue(64)
    advanced["memory_gb"].value = 1.5
    advanced["output"].value = "probe"
    widget.settings_form.fields["device"].value = "cpu"
    engine.fails_with = PredictionError("enough")
    run_to_end(widget)
    expected = PredictionSettings(precision="bf16", core=1024, halo=64, memory_gb=1.5, output="probe", device="cpu")
    assert engine.calls[0]["settings"] == expected
    assert engine.calls[0]["roles"] == {"nuclei": 0, "vessels": 1}


def test_regions_become_boxes_of_slide_pixels(widget, viewer, engine, run_to_end):
    widget.settings_form.region_box.value = IN_SHAPES
    widget.predict()
    assert widget.message.startswith("There is no shapes layer")
    shapes = viewer.add_shapes([[[10, 20], [10, 50], [60, 50], [60, 20]]], scale=(0.5, 0.5), units=("um", "um"))
    assert shapes.name
    run_to_end(widget)
    box = engine.calls[-1]["settings"].region
    assert (box.y0, box.x0) == (10, 20)
    assert engine.order == [Box(0, 512, 0, 512)]
    assert widget.message.startswith("Done")

    widget.settings_form.region_box.value = IN_VIEW
    viewer.scene.camera.center = (5000, 5000)
    widget.predict()
    assert widget.message.startswith("The slide is not in view")
    viewer.scene.camera.zoom = 20
    viewer.scene.camera.center = (1060 * 0.5, 1200 * 0.5)
    run_to_end(widget)
    box = engine.calls[-1]["settings"].region
    assert box.y0 < 1060 < box.y1
    assert box.x0 < 1200 < box.x1
    assert all(core.intersection(box).area for core in engine.order[1:])


def test_a_small_view_is_predicted_in_small_tiles(widget, viewer, engine, run_to_end):
    widget.settings_form.region_box.value = IN_VIEW
    viewer.scene.camera.zoom = 20
    viewer.scene.camera.center = (100, 100)
    engine.fails_with = PredictionError("enough")
    run_to_end(widget)
    widget.settings_form.region_box.value = "whole"
    run_to_end(widget)
    assert [call["settings"].largest_core for call in engine.calls] == [512, None]


def test_a_pixel_size_that_is_given_reaches_the_prediction_and_stays_with_it(
    make_napari_viewer_proxy, engine, open_widget, slide_file, show, run_to_end
):
    viewer = make_napari_viewer_proxy()
    show(viewer, replace(open_slide(slide_file), pixel_size_um=None))
    widget = open_widget(viewer)
    edit = widget.slide_form.size_field.native
    assert edit.text() == ""
    assert "pixel size" in widget.settings_form.warning_label.text()
    edit.setText("a few")
    edit.editingFinished.emit()
    assert widget.message.startswith("The pixel size is 'a few'")
    for text in ("0,7", "few", "0.7"):
        edit.setText(text)
        edit.editingFinished.emit()
        # the same size again takes back what was said of the few
        assert (widget.message == "") == (text != "few")
    assert edit.text() == "0.7 µm"
    assert widget.settings_form.settings().resample
    run_to_end(widget)
    assert engine.calls[0]["slide"].pixel_size_um == (0.7, 0.7)
    assert open_slide(slide_file.parent / "tumour 7.predicted.ome.zarr").pixel_size_um == (0.7, 0.7)
    # whoever works on the slide knows it now
    assert slide_of(viewer.layers[0]).pixel_size_um == (0.7, 0.7)
    edit.setText("3000 x 3")
    edit.editingFinished.emit()
    assert "expected" in widget.message


def test_the_scale_of_a_layer_is_its_pixel_size_where_it_is_a_length(
    make_napari_viewer_proxy, engine, open_widget, slide_file, show, tmp_path, run_to_end
):
    viewer = make_napari_viewer_proxy()
    show(viewer, replace(open_slide(slide_file), pixel_size_um=None), scale=(0.0004, 0.0005), units=("mm", "mm"))
    widget = open_widget(viewer)
    assert widget.slide_form.size_field.value == "0.4 x 0.5 µm"
    engine.fails_with = PredictionError("enough")
    run_to_end(widget)
    assert engine.calls[0]["slide"].pixel_size_um == pytest.approx((0.4, 0.5))


def test_a_plane_that_is_given_is_shown_and_predicted(
    make_napari_viewer_proxy, qtbot, engine, open_widget, tmp_path, show, run_to_end
):
    pixels = np.random.default_rng(0).integers(5, 90, (5, 2, 60, 70)).astype(np.uint8)
    metadata = {"axes": "ZCYX", "Channel": {"Name": ["DAPI", "CD31"]}, "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.5}
    tifffile.imwrite(tmp_path / "stack.ome.tif", pixels, photometric="minisblack", metadata=metadata)
    viewer = make_napari_viewer_proxy()
    show(viewer, open_slide(tmp_path / "stack.ome.tif", z=2))
    widget = open_widget(viewer)
    box = widget.slide_form.plane.boxes["z"]
    qtbot.waitUntil(lambda: box.max == 4, timeout=WAIT_MS)
    assert box.value == 2
    box.value = 4
    np.testing.assert_array_equal(np.asarray(viewer.layers[1].data), pixels[4, 1])
    assert widget.slide_form.slide_box.current_choice == "stack (z 4)"
    engine.fails_with = PredictionError("enough")
    run_to_end(widget)
    assert engine.calls[0]["slide"].z == 4


def test_another_image_and_the_maximum_are_shown_in_layers_of_their_own(
    make_napari_viewer_proxy, qtbot, engine, open_widget, tmp_path, show
):
    path, random = tmp_path / "two.ome.tif", np.random.default_rng(0)
    pixels = [random.integers(5, 90, shape).astype(np.uint8) for shape in ((5, 2, 60, 70), (3, 40, 50))]
    with tifffile.TiffWriter(path, ome=True) as file:
        for image, axes, names in zip(pixels, ("ZCYX", "CYX"), (["DAPI", "CD31"], ["DAPI", "CD31", "QD"]), strict=True):
            file.write(image, photometric="minisblack", metadata={"axes": axes, "Channel": {"Name": names}})
    viewer = make_napari_viewer_proxy()
    show(viewer, open_slide(path, series=0, z=2))
    form = open_widget(viewer).slide_form
    qtbot.waitUntil(lambda: form.plane.boxes["series"].max == 1, timeout=WAIT_MS)
    form.plane.maximum_box.value = True
    assert form.slide_box.current_choice == "two (z max)"
    np.testing.assert_array_equal(viewer.layers["CD31 · two (z max)"].data, pixels[0].max(axis=0)[1])
    assert not form.plane.boxes["z"].enabled
    form.plane.maximum_box.value = False
    assert form.slide_box.current_choice == "two (z 2)"
    assert [layer.visible for layer in viewer.layers] == [True, True, False, False]
    form.plane.boxes["series"].value = 1
    assert form.slide_box.current_choice == "two (image 1)"
    assert len(viewer.layers) == 7
    np.testing.assert_array_equal(viewer.layers["QD · two (image 1)"].data, pixels[1][2])
    form.plane.boxes["series"].value = 0
    assert form.current_slide().shape == (60, 70)


def test_what_is_folded_away_does_not_get_the_tab_key(widget):
    fold = widget.settings_form.fold
    box = widget.settings_form.fields["core"].native
    assert not box.isEnabled()
    fold.expand(animate=False)
    assert box.isEnabled()


def test_layers_that_others_opened_are_predicted_by_role(
    make_napari_viewer_proxy, engine, open_widget, tmp_path, run_to_end
):
    viewer = make_napari_viewer_proxy()
    random = np.random.default_rng(0)
    for name in ("vessels", "nuclei", "something"):
        viewer.add_image(random.integers(0, 99, (600, 700)).astype(np.uint8), name=name)
    viewer.add_image(np.zeros((600, 700, 3), np.uint8), name="colour")
    widget = open_widget(viewer)
    widget.output_form.choose(tmp_path)
    boxes = widget.slide_form.role_boxes
    assert [boxes[role].current_choice for role in ("nuclei", "vessels", "probe")] == ["nuclei", "vessels", "–"]
    assert boxes["nuclei"].get_choice("colour") is None
    boxes["vessels"].native.setCurrentText("nuclei")
    widget.predict()
    assert widget.message == "Choose a different channel for each of nuclei, vessels."
    boxes["vessels"].native.setCurrentText("something")
    run_to_end(widget)
    call = engine.calls[0]
    assert call["slide"].channel_names == ("nuclei", "something")
    assert call["roles"] == {"nuclei": 0, "vessels": 1}
    np.testing.assert_array_equal(call["slide"].levels[0][1].compute(), viewer.layers[2].data)
    assert np.all(np.asarray(widget.layer.data[0][:, :]) > 0)


def test_without_a_slide_the_widget_says_what_to_do_in_red(make_napari_viewer_proxy, engine, open_widget):
    widget = open_widget(make_napari_viewer_proxy())
    widget.predict()
    assert widget.message.startswith("There is no slide")
    assert ON_DARK[PROBLEM] in widget.progress_panel.message_label.styleSheet()


@pytest.mark.parametrize("left_open", [(), ("my own",)])
def test_a_slide_that_is_closed_leaves_a_form_that_goes_on(widget, viewer, qtbot, left_open):
    viewer.add_image(np.zeros((50, 60), np.uint8), name="my own")
    viewer.layers.selection = {layer for layer in viewer.layers if layer.name not in left_open}
    viewer.layers.remove_selected()
    qtbot.waitUntil(lambda: widget.slide_form.current_slide() is None, timeout=WAIT_MS)
    assert [box.value for box in widget.slide_form.role_boxes.values()] == [None] * 3
    widget.predict()
    assert widget.message.startswith("There is no slide")


def test_napari_offers_the_widget(make_napari_viewer_proxy, qtbot, engine, made):
    viewer = make_napari_viewer_proxy()
    viewer.add_image(np.zeros((8, 8)), name="a")
    _, widget = viewer.window.add_plugin_dock_widget("napari-hrpn", "Predict QD")
    made.append(widget)
    assert isinstance(widget, PredictWidget)
    assert isinstance(viewer.layers[0], Image)
    # the form scrolls, and what is pressed stays in sight
    assert widget.minimumSizeHint().height() < 400
    dock, other = viewer.window.add_plugin_dock_widget("napari-hrpn", "ROI correlation")
    made.append(other)
    qtbot.waitUntil(lambda: bool(dock.window().tabifiedDockWidgets(dock)), timeout=WAIT_MS)
    qtbot.waitUntil(lambda: widget.settings_form.settings() is not None, timeout=WAIT_MS)

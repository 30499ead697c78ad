"""The table of slides of "Train HRPN", in a window."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QComboBox, QFileDialog

from napari_hrpn.plugin.train.slide_cells import FIRST_ROLE, PART, REGIONS, SLIDE, TUMOUR
from napari_hrpn.plugin.train.slide_rows import EVERYWHERE, FROM_FILE
from napari_hrpn.plugin.train.slides_table import SlidesTable
from napari_hrpn.plugin.viewer import slide_layers
from napari_hrpn.slides import open_slide, read_geojson, write_ome_zarr
from napari_hrpn.training import SlideEntry
from support.settling import WAIT_MS

SQUARE = [[10, 20], [10, 50], [40, 50], [40, 20]]
ALL_ROLES = {"nuclei": "DAPI", "vessels": "CD31", "probe": "QD"}


@pytest.fixture
def write_slide(tmp_path, stained_pixels):
    """Writes a slide of 96 x 130 px with channels of these names."""

    def write(name, channels=("DAPI", "CD31", "QD")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        metadata = {
            "axes": "CYX",
            "Channel": {"Name": list(channels)},
            "PhysicalSizeY": 0.5,
            "PhysicalSizeX": 0.25,
        }
        pixels = np.resize(stained_pixels, (len(channels), *stained_pixels.shape[1:]))
        tifffile.imwrite(path, pixels, photometric="minisblack", metadata=metadata)
        return path

    return write


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy(show=True)


@pytest.fixture
def show(viewer):
    """Opens a slide in the viewer."""

    def shown(path):
        return [viewer.add_image(data, **attributes) for data, attributes, _ in slide_layers(open_slide(path))]

    return shown


@pytest.fixture
def table(viewer, qtbot):
    made = SlidesTable(viewer)
    made.sentences = []
    made.said.connect(made.sentences.append)
    viewer.window.add_dock_widget(made, name="Slides")
    made.window().activateWindow()
    qtbot.waitUntil(made.window().isActiveWindow, timeout=WAIT_MS)
    yield made
    made.shut_down()


@pytest.fixture
def add(table, qtbot):
    """Adds files and waits until they are opened."""

    def added(*paths):
        table.add_files(paths)
        qtbot.waitUntil(lambda: not table.is_reading, timeout=WAIT_MS)

    return added


def texts(table, column):
    return [cell(table, row, column).data() for row in range(len(table.rows))]


def cell(table, row, column):
    return table.model.index(row, column)


def choose(table, row, column, value):
    table.model.setData(cell(table, row, column), value)


def titles(table, row, column):
    return [title for title, _ in table.model.choices(cell(table, row, column))]


def headers(table, role=Qt.ItemDataRole.DisplayRole):
    columns = range(table.model.columnCount())
    return [table.model.headerData(column, Qt.Orientation.Horizontal, role) for column in columns]


def drop(table, *paths):
    """Through the window, which finds out itself who takes what is dropped."""
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    window = table.window().windowHandle()
    where = QPointF(table.cells.viewport().mapTo(table.window(), table.cells.viewport().rect().center()))
    what = (Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(window, QDragEnterEvent(where.toPoint(), *what))
    QApplication.sendEvent(window, QDropEvent(where, *what))


def test_open_slides_become_rows_once(table, show, qtbot, write_slide, tmp_path):
    paths = [write_slide("fov 1.ome.tif"), write_slide("fov 2.ome.tif", ("Hoechst", "QD", "endomucin"))]
    for path in paths:
        show(path)
    changes = []
    table.changed.connect(lambda: changes.append(True))
    table.add_open_button.click()
    qtbot.waitUntil(lambda: not table.is_reading, timeout=WAIT_MS)
    assert changes
    assert texts(table, SLIDE) == ["fov 1", "fov 2"]
    assert texts(table, TUMOUR) == ["fov 1", "fov 2"]
    assert cell(table, 0, SLIDE).data(Qt.ItemDataRole.ToolTipRole).startswith(str(paths[0]))
    assert headers(table) == ["Slide", "Tumour", "Part", "Regions", "Nuclei", "Vessels", "Probe", "Patches"]
    channels = [cell(table, 1, column).data() for column in range(FIRST_ROLE, FIRST_ROLE + 3)]
    assert channels == ["Hoechst", "endomucin", "QD"]
    table.add_open_button.click()
    assert not table.is_reading
    assert len(table.rows) == 2
    assert table.entries() == (
        SlideEntry(paths[0], roles=ALL_ROLES, series=0),
        SlideEntry(paths[1], roles={"nuclei": "Hoechst", "vessels": "endomucin", "probe": "QD"}, series=0),
    )
    assert table.drawn() == (None, None)
    assert table.sentences == []


def test_dropped_files_and_folders_become_rows_and_bad_ones_a_sentence(
    table, viewer, qtbot, write_slide, tmp_path, stained_file
):
    several = [write_slide("many/a.ome.tif"), write_slide("many/b.ome.tif")]
    (tmp_path / "bad.tif").write_bytes(b"II*\0 and then nothing")
    zarr = tmp_path / "stored.ome.zarr"
    for _ in write_ome_zarr(open_slide(stained_file), zarr):
        pass
    drop(table, stained_file, tmp_path / "bad.tif", zarr, tmp_path / "many")
    assert table.is_reading
    with pytest.raises(ValueError, match="still being opened"):
        table.entries()
    qtbot.waitUntil(lambda: not table.is_reading, timeout=WAIT_MS)
    assert texts(table, SLIDE) == ["tumour 3", "stored", "a", "b"]
    assert [entry.path for entry in table.entries()] == [stained_file, zarr, *several]
    (sentence,) = table.sentences
    assert sentence.startswith("bad.tif")
    # napari was kept from opening them as layers
    assert len(viewer.layers) == 0
    drop(table, stained_file)
    qtbot.waitUntil(lambda: not table.is_reading, timeout=WAIT_MS)
    assert len(table.rows) == 4
    assert table.sentences[1:] == ["tumour 3 is in the table already."]


def test_files_are_chosen_in_a_dialog(table, qtbot, monkeypatch, write_slide):
    path = write_slide("fov.ome.tif")
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: ([str(path)], ""))
    table.add_files_button.click()
    qtbot.waitUntil(lambda: bool(table.rows), timeout=WAIT_MS)
    assert texts(table, SLIDE) == ["fov"]


def test_layers_of_others_are_taken_from_their_file_or_refused(table, viewer, qtbot, write_slide, tmp_path):
    path = write_slide("theirs.ome.tif")
    viewer.open(path, plugin="napari")
    viewer.add_image(np.zeros((20, 30)), name="loose")
    table.add_open_button.click()
    qtbot.waitUntil(lambda: bool(table.rows), timeout=WAIT_MS)
    (sentence,) = table.sentences
    assert sentence.startswith("loose: not in a file")
    # their layer has the dimensions c, y, x and no pixel size, and regions lie on it all the same
    viewer.add_shapes([SQUARE], name="drawn")
    qtbot.waitUntil(lambda: len(titles(table, 0, REGIONS)) == 3, timeout=WAIT_MS)
    choose(table, 0, REGIONS, viewer.layers["drawn"])
    (drawn,) = table.drawn()
    (region,) = read_geojson(drawn.write(tmp_path / "regions"))
    np.testing.assert_allclose(region.rings[0][0], np.add(SQUARE, 0.5))


def test_nothing_open_is_told(table):
    table.add_open_button.click()
    assert table.sentences == ["No slide is open: drop files on the table, or press Add files…."]


def test_rows_are_removed_by_button_and_by_key(table, add, qtbot, viewer, write_slide):
    viewer.add_image(np.zeros((20, 30)))
    add(*(write_slide(f"fov {number}.ome.tif") for number in range(4)))
    assert not table.remove_button.isEnabled()
    qtbot.mouseClick(
        table.cells.viewport(), Qt.MouseButton.LeftButton, pos=table.cells.visualRect(cell(table, 1, SLIDE)).center()
    )
    assert table.cells.selected_rows() == [1]
    table.remove_button.click()
    assert texts(table, SLIDE) == ["fov 0", "fov 2", "fov 3"]
    table.cells.setFocus()
    table.cells.selectRow(0)
    qtbot.keyClick(table.cells, Qt.Key.Key_Delete)
    assert texts(table, SLIDE) == ["fov 2", "fov 3"]
    assert len(viewer.layers) == 1
    table.clear()
    assert not table.rows
    assert len(table.rows) == 0


def test_what_is_said_of_a_slide_is_in_its_entry_and_comes_back(table, add, qtbot, write_slide, tmp_path):
    paths = [write_slide("mouse 1.ome.tif"), write_slide("mouse 2.ome.tif", ("DAPI", "FAP", "FAP", "CD31"))]
    add(*paths)
    regions = tmp_path / "own.geojson"
    with pytest.raises(ValueError, match="mouse 2 has no channel chosen for the probe"):
        table.entries()
    choose(table, 1, FIRST_ROLE + 2, 2)
    choose(table, 1, TUMOUR, "mouse 1")
    choose(table, 1, PART, "test")
    choose(table, 1, REGIONS, regions)
    entries = table.entries()
    # a name that two channels have says nothing
    roles = {"nuclei": "DAPI", "vessels": "CD31", "probe": 2}
    assert entries == (
        SlideEntry(paths[0], roles=ALL_ROLES, series=0),
        SlideEntry(paths[1], tumour="mouse 1", part="test", roles=roles, regions=regions, series=0),
    )
    table.set_entries(entries)
    assert not table.rows
    qtbot.waitUntil(lambda: not table.is_reading, timeout=WAIT_MS)
    assert table.entries() == entries
    assert texts(table, TUMOUR) == ["mouse 1", "mouse 1"]
    assert cell(table, 1, REGIONS).data() == "own.geojson"


def test_entries_that_say_less_come_back_as_they_were(table, qtbot, write_slide, tmp_path):
    entries = (
        SlideEntry(write_slide("one.ome.tif"), tumour="one"),
        SlideEntry(write_slide("two.ome.tif"), part="validation", roles={"nuclei": 0, "probe": "2"}),
        SlideEntry(tmp_path / "gone.ome.tif"),
    )
    table.set_entries(entries)
    qtbot.waitUntil(lambda: not table.is_reading, timeout=WAIT_MS)
    assert table.entries() == entries[:2]
    (sentence,) = table.sentences
    assert "gone.ome.tif" in sentence
    choose(table, 0, FIRST_ROLE, 1)
    choose(table, 0, FIRST_ROLE + 1, 0)
    assert table.entries()[0] == replace(entries[0], roles={"nuclei": "CD31", "vessels": "DAPI"})


def test_one_channel_for_two_roles_is_refused(table, add, write_slide, tmp_path):
    add(write_slide("fov.ome.tif"))
    choose(table, 0, FIRST_ROLE, 1)
    with pytest.raises(ValueError, match="fov has one channel for two of nuclei, vessels, probe"):
        table.entries()


def test_columns_follow_the_roles_and_choices_stay(table, add, write_slide, tmp_path):
    path = write_slide("fov.ome.tif", ("DAPI", "CD31", "anti-FAP", "QD", "more"))
    add(path)
    choose(table, 0, FIRST_ROLE, 4)
    choose(table, 0, PART, "train")
    table.set_roles(("nuclei", "vessels", "fap"), "probe")
    assert headers(table)[FIRST_ROLE:] == ["Nuclei", "Vessels", "Fap", "Probe", "Patches"]
    roles = {"nuclei": "more", "vessels": "CD31", "fap": "anti-FAP", "probe": "QD"}
    assert table.entries() == (SlideEntry(path, part="train", roles=roles, series=0),)
    table.set_roles(("vessels",), "fap")
    assert headers(table)[FIRST_ROLE:] == ["Vessels", "Fap", "Patches"]
    assert table.entries()[0].roles == {"vessels": "CD31", "fap": "anti-FAP"}
    table.set_roles(("nuclei", "vessels"), "probe")
    assert table.entries()[0].roles == {"nuclei": "more", "vessels": "CD31", "probe": "QD"}


def test_regions_follow_the_layers(table, viewer, show, qtbot, write_slide, tmp_path):
    layers = show(write_slide("fov.ome.tif"))
    table.add_open_slides()
    qtbot.waitUntil(lambda: bool(table.rows), timeout=WAIT_MS)
    assert titles(table, 0, REGIONS) == ["everywhere", "from file …"]
    shapes = viewer.add_shapes([SQUARE], scale=layers[0].scale, units=layers[0].units, name="drawn")
    qtbot.waitUntil(lambda: len(titles(table, 0, REGIONS)) == 3, timeout=WAIT_MS)
    assert texts(table, REGIONS) == ["everywhere"]
    choose(table, 0, REGIONS, shapes)
    shapes.name = "renamed"
    qtbot.waitUntil(lambda: texts(table, REGIONS) == ["renamed"], timeout=WAIT_MS)
    (drawn,) = table.drawn()
    (region,) = drawn.annotations
    np.testing.assert_allclose(region.rings[0][0], np.add(SQUARE, 0.5))

    with qtbot.waitSignal(table.changed):
        shapes.data = [np.add(SQUARE, 3)]
    assert not np.array_equal(table.drawn()[0].annotations[0].rings[0][0], region.rings[0][0])
    table.set_patch_counts([1234])
    assert texts(table, FIRST_ROLE + 3) == ["1,234"]
    with qtbot.waitSignal(table.changed):
        layers[0].translate = (1, 1)
    assert texts(table, FIRST_ROLE + 3) == ["…"]
    table.set_patch_counts([])
    assert texts(table, FIRST_ROLE + 3) == ["–"]

    for layer in layers:
        viewer.layers.remove(layer)
    with pytest.raises(ValueError, match="fov is not open in the viewer"):
        table.drawn()
    viewer.layers.remove(shapes)
    qtbot.waitUntil(lambda: bool(table.sentences), timeout=WAIT_MS)
    assert table.sentences == ["The layer 'renamed' was removed: patches of fov are taken from everywhere."]
    assert table.rows[0].regions == EVERYWHERE
    assert table.drawn() == (None,)


def test_a_file_of_regions_is_chosen_in_a_dialog_that_can_be_left(table, add, monkeypatch, write_slide, tmp_path):
    add(write_slide("fov.ome.tif"))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "qupath.geojson"), ""))
    choose(table, 0, REGIONS, FROM_FILE)
    assert cell(table, 0, REGIONS).data() == "qupath.geojson"
    assert table.entries()[0].regions == Path(tmp_path / "qupath.geojson")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("", ""))
    choose(table, 0, REGIONS, FROM_FILE)
    assert cell(table, 0, REGIONS).data() == "qupath.geojson"
    choose(table, 0, REGIONS, EVERYWHERE)
    choose(table, 0, REGIONS, FROM_FILE)
    assert table.rows[0].regions == EVERYWHERE


def test_it_is_used_with_the_keyboard_and_told_by_tooltips(table, add, qtbot, write_slide, tmp_path):
    add(write_slide("fov.ome.tif"), write_slide("fov 2.ome.tif"))
    cells = table.cells
    assert all(headers(table, Qt.ItemDataRole.ToolTipRole))
    cells.setFocus()
    cells.setCurrentIndex(cell(table, 1, TUMOUR))
    qtbot.keyClick(cells, Qt.Key.Key_F2)
    editor = QApplication.focusWidget()
    qtbot.keyClicks(editor, "mouse B")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: texts(table, TUMOUR) == ["fov", "mouse B"], timeout=WAIT_MS)
    qtbot.keyClick(cells, Qt.Key.Key_Right)
    assert cells.currentIndex() == cell(table, 1, PART)
    qtbot.keyClick(cells, Qt.Key.Key_F2)
    part_box = cells.findChild(QComboBox)
    qtbot.waitUntil(part_box.view().isVisible, timeout=WAIT_MS)
    qtbot.keyClick(part_box.view(), Qt.Key.Key_Down)
    qtbot.keyClick(part_box.view(), Qt.Key.Key_Return)
    assert [entry.part for entry in table.entries()] == ["auto", "train"]
    assert texts(table, PART) == ["automatic", "train"]
    qtbot.waitUntil(cells.hasFocus, timeout=WAIT_MS)


def test_a_click_opens_a_list_and_escape_leaves_the_choice(table, add, qtbot, write_slide):
    add(write_slide("fov.ome.tif"))
    cells = table.cells
    qtbot.mouseClick(
        cells.viewport(), Qt.MouseButton.LeftButton, pos=cells.visualRect(cell(table, 0, FIRST_ROLE)).center()
    )
    channel_box = cells.findChild(QComboBox)
    assert channel_box.currentText() == "DAPI"
    qtbot.waitUntil(channel_box.view().isVisible, timeout=WAIT_MS)
    qtbot.keyClick(channel_box.view(), Qt.Key.Key_Down)
    qtbot.keyClick(channel_box.view(), Qt.Key.Key_Escape)
    assert texts(table, FIRST_ROLE) == ["DAPI"]


def test_closing_while_slides_are_opened_ends_cleanly(table, write_slide):
    table.add_files([write_slide(f"fov {number}.ome.tif") for number in range(3)])
    table.shut_down()
    assert not table.is_reading


def test_regions_are_drawn_on_the_selected_slide(table, add, viewer, qtbot, stained_file, write_slide, tmp_path):
    add(write_slide("one.ome.tif"), write_slide("two.ome.tif"))
    table.draw_button.click()
    assert table.sentences == ["Select one slide in the table to draw its regions."]
    table.cells.selectRow(1)
    table.draw_button.click()
    # the slide was not open
    assert next(layer.name for layer in viewer.layers if hasattr(layer, "multiscale")).endswith("two")
    drawn = viewer.layers.selection.active
    assert drawn.name == "regions of two"
    assert drawn.mode == "add_polygon"
    assert cell(table, 1, REGIONS).data() == "regions of two"
    drawn.add_polygons([SQUARE])
    _, region = table.drawn()
    (written,) = read_geojson(region.write(tmp_path / "regions"))
    np.testing.assert_allclose(written.rings[0][0], np.add(SQUARE, 0.5))
    count = len(viewer.layers)
    # drawing goes on where it can be seen
    other = viewer.open(str(stained_file), plugin="napari-hrpn")
    own = [layer for layer in viewer.layers if layer.name.endswith("· two")]
    assert not any(layer.visible for layer in own)
    table.draw_button.click()
    assert [layer.visible for layer in (*own, *other)] == [True] * 3 + [False] * 3
    assert len(viewer.layers) == count + 3

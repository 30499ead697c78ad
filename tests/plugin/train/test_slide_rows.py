"""Rows of the slides of a training without a window: entries, channels, files and folders, and cells of the table."""

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_hrpn.plugin.train.slide_cells import FIRST_ROLE, PART, REGIONS, SLIDE, TUMOUR, SlideCells, SlidesModel
from napari_hrpn.plugin.train.slide_rows import (
    EVERYWHERE,
    FROM_FILE,
    TrainingRow,
    open_rows,
    row_of_entry,
    row_of_slide,
    rows_of_path,
)
from napari_hrpn.slides import SlideError, find_channel, open_slide
from napari_hrpn.training import SlideEntry
from support.compared import slide_of_pixels

ROLES = ("nuclei", "vessels", "probe")
FEW = settings(derandomize=True, deadline=None, max_examples=60)
NAMES = st.lists(st.sampled_from(["DAPI", "CD31", "QD", "FAP", "Hoechst", "x"]), min_size=3, max_size=5)
Role = Qt.ItemDataRole


def slide_named(names, source="/slides/mouse 1.ome.tif"):
    return slide_of_pixels(np.zeros((len(names), 8, 9), np.uint8), source, names)


def row_named(names=("DAPI", "CD31", "QD"), **entry):
    row = TrainingRow(slide_named(names), SlideEntry(Path("/slides/mouse 1.ome.tif"), **entry))
    row.ask_for(ROLES)
    return row


@FEW
@given(NAMES, st.data())
def test_an_entry_names_the_channels_that_the_user_chose(names, data):
    row = row_named(names)
    chosen = data.draw(st.lists(st.sampled_from(range(len(names))), min_size=3, max_size=3, unique=True))
    row.channel_of.update(zip(ROLES, chosen, strict=True))
    assert row.channels(ROLES) == dict(zip(ROLES, chosen, strict=True))
    roles = row.entry(ROLES).roles
    # an independent reader of the entry finds the same channels
    found = [roles[role] if isinstance(roles[role], int) else find_channel(row.slide, roles[role]) for role in ROLES]
    assert found == chosen
    # and a row of this entry shows them again
    again = TrainingRow(row.slide, row.entry(ROLES), is_loaded=True)
    again.ask_for(ROLES)
    assert again.channels(ROLES) == row.channels(ROLES)
    assert again.entry(ROLES) == row.entry(ROLES)


@FEW
@given(NAMES)
def test_a_loaded_entry_that_is_not_changed_comes_back_as_it_was(names):
    entry = SlideEntry(
        Path("/slides/a.tif"), tumour="mouse", part="test", roles={"nuclei": 0, "vessels": 1, "probe": 2}
    )
    row = TrainingRow(slide_named(names), entry, is_loaded=True)
    row.ask_for(ROLES)
    assert row.entry(ROLES) == entry


def test_a_channel_that_is_gone_is_not_chosen_and_asked_for():
    row = row_named(roles={"nuclei": 7, "vessels": "FAP", "probe": "QD"})
    assert row.channels(ROLES) == {"probe": 2}
    with pytest.raises(ValueError, match="has no channel chosen for the nuclei"):
        row.entry(ROLES)
    row.channel_of["nuclei"] = 2
    row.channel_of["vessels"] = 1
    with pytest.raises(ValueError, match="has one channel for two of nuclei, vessels, probe"):
        row.entry(ROLES)


@pytest.mark.parametrize(("typed", "tumour"), [("  mouse 7 ", "mouse 7"), ("", ""), ("   ", ""), ("mouse 1", "")])
def test_a_tumour_without_a_name_of_its_own_is_that_of_the_file(typed, tumour):
    row = row_named()
    assert row.tumour == "mouse 1"
    row.tumour = typed
    entry = row.entry(ROLES)
    assert entry.tumour == tumour
    assert entry.tumour_id == (tumour or "mouse 1")


def test_facts_of_a_slide_are_its_path_size_and_channels():
    path, size = row_named().facts.split("\n")
    assert path == "/slides/mouse 1.ome.tif"
    assert size == "9 x 8 px of 0.5 µm, uint8: DAPI, CD31, QD"


@pytest.fixture
def folder(tmp_path):
    """Two slides, one single stain, a text and a file that is broken."""
    inside = tmp_path / "slides"
    inside.mkdir()
    for name, channels in (("b.ome.tif", "DAPI CD31 QD"), ("a.ome.tif", "DAPI CD31 QD"), ("one.ome.tif", "DAPI")):
        names = channels.split()
        pixels = np.zeros((len(names), 40, 50), np.uint8)
        metadata = {"axes": "CYX", "Channel": {"Name": names}}
        tifffile.imwrite(inside / name, pixels, photometric="minisblack", metadata=metadata)
    (inside / "notes.txt").write_text("mine")
    return inside


def test_a_file_is_one_row_whose_entry_opens_the_same_slide(folder):
    (row,) = rows_of_path(folder / "a.ome.tif")
    row.ask_for(ROLES)
    entry = row.entry(ROLES)
    assert entry.path == folder / "a.ome.tif"
    (again,) = row_of_entry(entry)
    assert (again.slide.shape, again.slide.channel_names) == ((40, 50), ("DAPI", "CD31", "QD"))
    (shown,) = row_of_slide(open_slide(folder / "a.ome.tif"))
    shown.ask_for(ROLES)
    assert shown.entry(ROLES) == entry


def test_bad_files_of_a_folder_are_sentences_between_its_slides(folder):
    (folder / "broken.ome.tif").write_bytes(b"II*\0 no slide")
    found = list(open_rows([lambda: [*row_of_slide(open_slide(folder / "b.ome.tif"))]], threading.Event()))
    assert [row.title for row in found] == ["b"]
    openings = [lambda path=path: rows_of_path(path) for path in (folder / "broken.ome.tif", folder / "a.ome.tif")]
    sentence, row = open_rows(openings, threading.Event())
    assert "broken.ome.tif" in sentence
    assert row.title == "a"


def test_opening_stops_between_two_slides(folder):
    stop, came = threading.Event(), []
    for row in open_rows([lambda: rows_of_path(folder / "a.ome.tif")] * 3, stop):
        came.append(row)
        stop.set()
    assert len(came) == 1


def test_a_folder_without_a_slide_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SlideError):
        list(rows_of_path(tmp_path))
    shutil.rmtree(tmp_path)
    with pytest.raises(SlideError):
        list(rows_of_path(tmp_path))


@pytest.fixture
def model(qtmodeltester):
    made = SlidesModel()
    rows = [
        TrainingRow(slide_named(("DAPI", "CD31", "QD"), f"/slides/{n}.tif"), SlideEntry(Path(f"/{n}.tif")))
        for n in "ab"
    ]
    made.set_rows(rows)
    made.edits = []
    made.edited.connect(made.edits.append)
    # Qt's own check of a model
    qtmodeltester.check(made)
    return made


def texts(model, row):
    return [model.index(row, column).data() for column in range(model.columnCount())]


def test_cells_show_titles_of_choices_and_keep_their_values(model):
    assert texts(model, 0) == ["a", "a", "automatic", "everywhere", "DAPI", "CD31", "QD", ""]
    for column in range(model.columnCount()):
        index = model.index(0, column)
        choices = model.choices(index)
        for title, value in choices:
            if value == FROM_FILE:
                continue
            model.setData(index, value)
            assert (model.value(index), index.data()) == (value, title)
    assert set(model.edits) == {model.rows[0]}
    assert texts(model, 1)[1:] == ["b", "automatic", "everywhere", "DAPI", "CD31", "QD", ""]


def test_only_a_change_is_reported(model):
    changed = []
    model.dataChanged.connect(lambda *_: changed.append(True))
    assert not model.setData(model.index(0, PART), "auto")
    assert not model.setData(model.index(0, TUMOUR), "a")
    assert (model.edits, changed) == ([], [])
    assert model.setData(model.index(1, PART), "test")
    assert (model.edits, changed) == ([model.rows[1]], [True])


def test_what_can_be_edited_is_what_is_chosen_or_typed(model):
    editable = [bool(model.flags(model.index(0, column)) & Qt.ItemFlag.ItemIsEditable) for column in range(8)]
    assert editable == [False, *[True] * 6, False]
    lists = [bool(model.choices(model.index(0, column))) for column in range(8)]
    assert [column for column in range(8) if lists[column]] == [PART, REGIONS, *range(FIRST_ROLE, FIRST_ROLE + 3)]


def test_headings_follow_the_roles_and_say_which_is_learnt(model):
    model.set_roles(("vessels", "fap", "nuclei"))
    columns = range(FIRST_ROLE, model.columnCount())
    headings = [model.headerData(column, Qt.Orientation.Horizontal) for column in columns]
    assert headings == ["Vessels", "Fap", "Nuclei", "Patches"]
    tips = [model.headerData(column, Qt.Orientation.Horizontal, Role.ToolTipRole) for column in columns]
    assert ["learns to predict" in tip for tip in tips] == [False, False, True, False]
    assert model.headerData(0, Qt.Orientation.Vertical) is None
    # a channel that was never asked for is guessed, or not chosen
    assert texts(model, 0)[FIRST_ROLE:] == ["CD31", "–", "DAPI", ""]


def test_a_file_of_regions_is_kept_as_a_choice_and_a_cancelled_dialog_changes_nothing(model, monkeypatch, tmp_path):
    index, answers = model.index(0, REGIONS), []
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (answers.pop(), ""))
    layer = object()
    model.offer_layers([("drawn", layer)])
    answers.append("")
    assert not model.setData(index, FROM_FILE)
    assert model.value(index) == EVERYWHERE
    answers.append(str(tmp_path / "mine.geojson"))
    assert model.setData(index, FROM_FILE)
    assert (index.data(), model.value(index)) == ("mine.geojson", tmp_path / "mine.geojson")
    model.setData(index, layer)
    assert [title for title, _ in model.choices(index)] == ["everywhere", "drawn", "mine.geojson", "from file …"]
    # a layer is no file: its regions are written when the training begins
    assert model.rows[0].entry(ROLES).regions is None
    model.setData(index, tmp_path / "mine.geojson")
    assert model.rows[0].entry(ROLES).regions == tmp_path / "mine.geojson"
    assert [title for title, _ in model.choices(model.index(1, REGIONS))] == ["everywhere", "drawn", "from file …"]


def test_patch_counts_stand_right_and_columns_fit_until_the_user_widens_one(model, qtbot):
    cells = SlideCells(model)
    qtbot.addWidget(cells)
    cells.show()
    for row, patches in zip(model.rows, ("1,234", "7"), strict=True):
        row.patches = patches
    model.refresh()
    last = model.columnCount() - 1
    assert [model.index(row, last).data() for row in range(2)] == ["1,234", "7"]
    assert model.index(0, last).data(Role.TextAlignmentRole) & int(Qt.AlignmentFlag.AlignRight)
    assert model.index(0, SLIDE).data(Role.TextAlignmentRole) is None
    narrow = cells.columnWidth(TUMOUR)
    model.setData(model.index(0, TUMOUR), "a much longer name of a tumour")
    assert cells.columnWidth(TUMOUR) > narrow
    cells.setColumnWidth(TUMOUR, 77)
    model.setData(model.index(0, TUMOUR), "a")
    assert cells.columnWidth(TUMOUR) == 77
    cells.selectRow(1)
    assert cells.selected_rows() == [1]

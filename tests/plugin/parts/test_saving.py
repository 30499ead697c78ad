"""Tables on the screen and in files, and figures as files: read back by csv, pandas and matplotlib."""

import csv
import math

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from qtpy.QtWidgets import QFileDialog

from napari_hrpn.core.plain_text import text_of_cell
from napari_hrpn.plugin.parts.saving import (
    FIGURES,
    TABLES,
    NumbersTable,
    ask_where,
    ending_of,
    folder_beside,
    save_button,
    write_figure,
    write_table,
)
from napari_hrpn.reports import number
from napari_hrpn.slides import SlideError

CELLS = st.one_of(
    st.floats(allow_infinity=False),
    st.integers(-(10**12), 10**12),
    st.booleans(),
    st.none(),
    st.text("a1 =+-@',\"\n;µé", max_size=8),
)


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@settings(derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_a_table_comes_back_from_its_file_with_every_digit(tmp_path, cells):
    path, rows = tmp_path / "table.csv", [{"name": first, "value, µm": second} for first, second in cells]
    write_table(rows, path, overwrite=True)
    for found, row in zip(read(path), rows, strict=True):
        assert list(found) == list(row)
        for name, value in row.items():
            text = found[name]
            if value is None or (isinstance(value, float) and math.isnan(value)):
                assert text == ""
            elif isinstance(value, str):
                assert text_of_cell(text) == value
                # no program takes it for a formula
                assert text[:1] not in tuple("=+-@")
            else:
                assert type(value)(text == "True" if isinstance(value, bool) else text) == value


def test_missing_numbers_are_missing_for_pandas_too(tmp_path):
    path = tmp_path / "out" / "table.csv"
    write_table([{"a": 0.1 + 0.2, "b": None}, {"a": math.nan, "b": 7}], path)
    frame = pd.read_csv(path)
    assert frame["a"].tolist()[0] == pytest.approx(0.3)
    assert frame.isna().to_numpy().tolist() == [[False, True], [True, False]]


def test_a_file_of_the_user_is_replaced_only_when_asked_and_never_half_written(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("mine")
    with pytest.raises(SlideError, match="exists"):
        write_table([{"a": 1}], path)
    with pytest.raises(SlideError, match="exists"):
        write_figure(Figure(), path.rename(tmp_path / "plot.png"))
    assert (tmp_path / "plot.png").read_text() == "mine"
    path.write_text("mine")

    def rows():
        yield "not a row"

    with pytest.raises(TypeError):
        write_table([{"a": 1}, *rows()], path, overwrite=True)
    assert path.read_text() == "mine"
    write_table([{"a": 1}], path, overwrite=True)
    assert path.read_text() == "a\n1\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plot.png", "table.csv"]


def test_figures_are_pixels_or_text_by_their_ending(tmp_path):
    figure = Figure(figsize=(2, 1))
    figure.set_facecolor("#ff0000")
    figure.text(0.5, 0.5, "tumour_$1$")
    write_figure(figure, tmp_path / "plot.PNG")
    pixels = matplotlib.image.imread(tmp_path / "plot.PNG", format="png")
    assert pixels.shape[:2] == (200, 400)
    np.testing.assert_array_equal(pixels[0, 0, :3], [1, 0, 0])
    write_figure(figure, tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text("utf-8")
    assert text.lstrip().startswith("<?xml")
    # a name is no formula
    assert "tumour_$1$" in text or "tumour\\_\\$1\\$" in text


def test_a_table_shows_numbers_rounded_and_texts_as_they_are(qtbot):
    columns = [("Image", "Name of the image"), ("n", "Pixels"), ("r", "Correlation")]
    table = NumbersTable(columns)
    qtbot.addWidget(table)
    rows = [["tumour", 1234567, 0.123456789], ["", 3, math.nan]]
    table.show_rows(rows, ["of the first"])
    assert table.texts() == [[cell if isinstance(cell, str) else number(cell) for cell in row] for row in rows]
    assert table.texts()[0][1:] == ["1,234,567", "0.123"]
    headings = [table.horizontalHeaderItem(column) for column in range(3)]
    assert [(heading.text(), heading.toolTip()) for heading in headings] == columns
    # a row without its own tooltip shows its cells in full
    assert [table.item(row, 1).toolTip() for row in range(2)] == ["of the first", "3"]
    table.show_rows(rows[1:])
    assert table.texts() == [["", "3", number(math.nan)]]


def test_a_table_is_as_high_as_its_rows_up_to_a_limit(qtbot):
    table = NumbersTable([("a", ""), ("b", "")], widest_px=60)
    qtbot.addWidget(table)
    heights = []
    for rows in (0, 1, 2, 7, 8, 100):
        table.show_rows([["x" * 80, 1]] * rows)
        heights.append(table.height())
    assert heights[0] == heights[1] < heights[2] < heights[3] == heights[4] == heights[5]
    assert table.columnWidth(0) == 60


@pytest.mark.parametrize(
    ("chosen", "kind", "kinds", "expected"),
    [
        ("a.csv", TABLES, TABLES, ("a.csv", True)),
        ("a.CSV", TABLES, TABLES, ("a.CSV", True)),
        ("a", TABLES, TABLES, ("a.csv", False)),
        ("a.b", TABLES, TABLES, ("a.b.csv", False)),
        ("plot", "SVG (*.svg)", FIGURES, ("plot.svg", False)),
        ("plot.svg", "PNG (*.png)", FIGURES, ("plot.svg", True)),
        ("plot", "", FIGURES, ("plot.csv", False)),
    ],
)
def test_a_file_gets_the_ending_of_its_kind(monkeypatch, tmp_path, chosen, kind, kinds, expected):
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(tmp_path / chosen), kind))
    path, may_replace = ask_where(None, "Save", tmp_path / "proposed", kinds)
    assert (path.name, may_replace) == expected
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: ("", ""))
    assert ask_where(None, "Save", tmp_path / "proposed", kinds) is None


def test_files_are_proposed_beside_a_slide_that_is_local(tmp_path, monkeypatch):
    documents = tmp_path / "documents"
    monkeypatch.setattr("platformdirs.user_documents_path", lambda: documents)
    assert folder_beside(tmp_path / "slide.tif") == tmp_path
    assert folder_beside(tmp_path / "gone" / "slide.tif") == documents
    assert folder_beside("https://example.org/slide.zarr") == documents
    assert folder_beside(None) == documents


def test_endings_and_entries_of_the_menu(qtbot):
    assert [ending_of(kind) for kind in (*FIGURES.split(";;"), TABLES)] == [".png", ".svg", ".csv"]
    done = []
    button = save_button([(title, f"Save {title}", lambda title=title: done.append(title)) for title in ("one", "two")])
    qtbot.addWidget(button)
    entries = button.menu().actions()
    assert [entry.toolTip() for entry in entries] == ["Save one", "Save two"]
    for entry in reversed(entries):
        entry.trigger()
    assert done == ["two", "one"]


def test_a_value_stands_under_its_name_in_whatever_order_a_row_has_them(tmp_path):
    write_table([{"n": 1, "r": 0.5}, {"r": 0.25, "n": 2}], tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text("utf-8") == "n,r\n1,0.5\n2,0.25\n"

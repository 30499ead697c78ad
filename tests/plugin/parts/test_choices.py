"""Drop-down lists, folded forms, numbers with units, and rows whose titles line up."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from magicgui.widgets import LineEdit
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLabel, QLineEdit, QVBoxLayout, QWidget

from napari_hrpn.plugin.parts.forms import (
    Fold,
    combo_box,
    form_rows,
    number_box,
    offer,
    side_by_side,
    stacked,
    titled_rows,
)
from support.settling import WAIT_MS

TITLES = st.lists(st.sampled_from(["QD", "DAPI", "CD31"]), max_size=6)


@pytest.fixture
def box(qtbot):
    made = combo_box("Which one", [("none", None), ("one", 1), ("two", 2)])
    qtbot.addWidget(made.native)
    return made


def texts(box):
    return [box.native.itemText(index) for index in range(box.native.count())]


def test_a_user_who_chooses_none_is_heard_like_any_other(box):
    heard = []
    box.changed.connect(heard.append)
    for text in ("two", "none", "one"):
        box.native.setCurrentText(text)
    assert heard == [2, None, 1]


@settings(derandomize=True, deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TITLES, TITLES, st.integers(0, 5))
def test_offered_choices_are_all_there_in_order_and_the_former_choice_stays_if_it_is(box, before, after, chosen):
    heard = []
    offer(box, [(title, number) for number, title in enumerate(before)])
    if chosen < len(before):
        box.value = chosen
    kept = box.value
    box.changed.connect(heard.append)
    offer(box, [(title, number) for number, title in enumerate(after)])
    box.changed.disconnect(heard.append)
    assert heard == []
    assert list(box.choices) == list(range(len(after)))
    assert box.value == (kept if kept in range(len(after)) else 0 if after else None)
    assert len(set(texts(box))) == len(after)
    assert all(text.startswith(title) for text, title in zip(texts(box), after, strict=True))
    # the first of several equal titles is as it was given
    assert all(texts(box)[after.index(title)] == title for title in after)


def test_a_choice_that_is_not_offered_cannot_be_made_by_the_program(box):
    offer(box, [("one", 1), ("two", 2)], value=2)
    assert box.value == 2
    offer(box, [("one", 1), ("three", 3)], value=5)
    assert box.value == 1
    with pytest.raises(ValueError, match="5"):
        box.value = 5
    offer(box, [("none", None), ("one", 1)], value=None)
    assert (box.value, box.native.currentText()) == (None, "none")


def test_choices_stay_when_the_list_gets_into_a_form(box, qtbot):
    offer(box, [("one", 1), ("other", 7)], value=7)
    rows = form_rows([box])
    qtbot.addWidget(rows.native)
    assert (box.value, texts(box)) == (7, ["one", "other"])
    box.reset_choices()
    assert (box.value, texts(box)) == (7, ["one", "other"])


def test_a_long_name_does_not_widen_the_list_but_is_whole_when_it_is_open(box, qtbot):
    width = box.native.sizeHint().width()
    name = "a tumour with a very long name, section 12, " * 2
    offer(box, [(name, 1)])
    assert box.native.sizeHint().width() == width
    box.native.show()
    box.native.showPopup()
    qtbot.waitUntil(box.native.view().isVisible, timeout=WAIT_MS)
    assert box.native.view().width() >= box.native.fontMetrics().horizontalAdvance(name)
    box.native.hidePopup()


def test_folded_fields_are_hidden_and_skipped_by_the_tab_key(qtbot):
    whole, first, inside, last = QWidget(), QLineEdit(), QLineEdit(), QLineEdit()
    fold = Fold("Advanced", inside)
    layout = QVBoxLayout(whole)
    for widget in (first, fold, last):
        layout.addWidget(widget)
    qtbot.addWidget(whole)
    whole.show()
    assert not inside.isEnabled()
    for is_open in (True, False, True):
        fold.toggleButton().click()
        assert inside.isEnabled() == fold.isExpanded() == is_open
    assert first.isEnabled()
    assert last.isEnabled()


@pytest.mark.parametrize(("decimals", "typed", "value", "text"), [(0, "12", 12, "12 px"), (2, "1.25", 1.25, "1.25 px")])
def test_a_number_has_its_unit_and_stays_in_its_range(qtbot, decimals, typed, value, text):
    field = number_box(3, 1, 50, "px", "How far", decimals)
    qtbot.addWidget(field.native)
    assert (field.value, field.native.suffix(), field.native.toolTip()) == (3, " px", "How far")
    field.native.selectAll()
    QTest.keyClicks(field.native, typed)
    QTest.keyClick(field.native, Qt.Key.Key_Return)
    assert (field.value, field.native.text()) == (value, text)
    field.native.setValue(1000)
    assert field.value == 50
    field.native.setValue(-1000)
    assert field.value == 1


def test_a_number_without_a_unit_has_no_trailing_space(qtbot):
    field = number_box(3, 1, 50, "", "How many")
    qtbot.addWidget(field.native)
    assert field.native.text() == "3"


def test_titles_of_different_forms_line_up(qtbot):
    forms = [titled_rows({"Real": QLineEdit()}), titled_rows({"Region": LineEdit(tooltip="Where it is")})]
    for form in forms:
        qtbot.addWidget(form)
    labels = [form.findChild(QLabel) for form in forms]
    assert labels[0].minimumWidth() == labels[1].minimumWidth() > 0
    # the title explains the field as the field does
    assert [label.toolTip() for label in labels] == ["", "Where it is"]
    rows = form_rows([LineEdit(label="Seed"), LineEdit(label="Threshold")])
    qtbot.addWidget(rows.native)
    widths = {label.width() for label in rows.native.findChildren(QLabel)}
    assert len(widths) == 1


def test_fields_keep_their_order_below_and_beside_each_other(qtbot):
    first, second = QLineEdit(), LineEdit()
    first.setToolTip("the first")
    line = side_by_side(first, second)
    whole = stacked([line, QLabel("below")])
    qtbot.addWidget(whole)
    whole.resize(400, 300)
    whole.show()
    assert first.geometry().right() < second.native.geometry().left()
    assert line.toolTip() == "the first"
    below = whole.findChild(QLabel)
    assert line.geometry().bottom() < below.geometry().top()
    # what is left of the height stays empty below
    assert below.geometry().bottom() < 150

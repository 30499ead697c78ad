"""A folder that a widget proposes and the user may change."""

import pytest

from napari_hrpn.plugin.parts.forms import FolderField


@pytest.fixture
def field(qtbot):
    made = FolderField("Output", "Written to", "Choose another", unknown="beside the slide")
    qtbot.addWidget(made.native)
    return made


def test_what_is_proposed_is_shown_until_the_user_chooses(field, tmp_path):
    told = []
    field.changed.connect(told.append)
    assert (field.chosen, field.shown) == (None, None)
    assert field.line_edit.native.placeholderText() == "beside the slide"
    field.propose(tmp_path)
    assert (field.chosen, field.shown, told) == (None, tmp_path, [])
    # typed, or picked in the dialog
    field.line_edit.native.setText(str(tmp_path / "mine"))
    assert told == []
    field.line_edit.native.editingFinished.emit()
    field.value = tmp_path / "other"
    assert told == [tmp_path / "mine", tmp_path / "other"]
    field.propose(tmp_path / "later")
    assert field.chosen == field.shown == tmp_path / "other"
    assert str(tmp_path / "other") in field.line_edit.tooltip
    field.line_edit.native.setText("")
    field.line_edit.native.editingFinished.emit()
    assert (field.chosen, field.shown) == (None, tmp_path / "later")

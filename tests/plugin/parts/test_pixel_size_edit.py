import pytest

from napari_hrpn.plugin.parts.pixel_size_edit import PixelSizeEdit
from napari_hrpn.plugin.parts.user_error import UserError


@pytest.fixture
def edit(qtbot):
    field = PixelSizeEdit()
    qtbot.addWidget(field)
    return field


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0.325", (0.325, 0.325)),
        (" 0,5 µm ", (0.5, 0.5)),
        ("0.5 x 0.25", (0.5, 0.25)),
        ("0.5 µm × .25 um", (0.5, 0.25)),
        ("2", (2, 2)),
        ("", None),
    ],
)
def test_one_or_two_numbers_are_a_size(edit, text, size):
    edit.setText(text)
    assert edit.value() == size


@pytest.mark.parametrize("text", ["small", "0.5 0.25", "-1", "1 x 2 x 3", "0.5 nm", "1e3"])
def test_anything_else_is_refused(edit, text):
    edit.setText(text)
    with pytest.raises(UserError, match="expected one or two numbers in µm"):
        edit.value()


def test_what_is_shown_is_not_rounded(edit):
    size = (0.3249999999, 1 / 3)
    edit.show_size(size)
    assert edit.value() == size
    assert edit.text() == "0.325 x 0.333333 µm"

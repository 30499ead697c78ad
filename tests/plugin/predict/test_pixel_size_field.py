import pytest

from napari_hrpn.plugin.parts.messages import UserError
from napari_hrpn.plugin.predict.fields import PixelSizeField


@pytest.fixture
def field(qtbot):
    made = PixelSizeField()
    qtbot.addWidget(made.native)
    return made


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
def test_one_or_two_numbers_are_a_size(field, text, size):
    field.value = text
    assert field.size_um() == size


@pytest.mark.parametrize("text", ["small", "0.5 0.25", "-1", "1 x 2 x 3", "0.5 nm", "1e3"])
def test_anything_else_is_refused(field, text):
    field.value = text
    with pytest.raises(UserError, match="expected one or two numbers in µm"):
        field.size_um()


def test_what_is_shown_is_not_rounded(field):
    size = (0.3249999999, 1 / 3)
    field.show_size(size)
    assert field.size_um() == size
    assert field.value == "0.325 x 0.333333 µm"

import pytest

from napari_hrpn.plugin.viewer import file_title, prediction_name


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("HRPN from a, b", "HRPN from a, b"),
        ('a/b\\c:d*e?f"g<h>i|j', "a_b_c_d_e_f_g_h_i_j"),
        ("  two\nlines.", "two lines"),
        ("...", "untitled"),
        ("", "untitled"),
        ("x" * 99, "x" * 40),
        ("癌" * 40, "癌" * 20),
    ],
)
def test_any_title_is_a_part_of_a_file_name(title, name):
    assert file_title(title) == name


def test_a_layer_is_called_after_target_checkpoint_and_slide():
    assert prediction_name("tumour 3.predicted", "predicted QD", "HRPN") == "predicted QD (HRPN) · tumour 3"
    assert prediction_name("tumour 3.predicted-HRPN", "predicted QD", "HRPN") == "predicted QD (HRPN) · tumour 3"
    assert prediction_name("tumour 3.predicted-HRPN-2", "predicted QD", "HRPN") == "predicted QD (HRPN) 2 · tumour 3"
    assert prediction_name("a.predicted-run-5", "predicted QD", "run-5") == "predicted QD (run-5) · a"
    assert prediction_name("by hand", "QD", "HRPN") == "predicted QD (HRPN) · by hand"
    assert prediction_name("tumour.predicted", "QD", "") == "QD · tumour.predicted"
    assert prediction_name("a.predicted", "QD", "x" * 99) == f"predicted QD ({'x' * 39}…) · a"

"""ND2: the real files against the library's own reading."""

import nd2
import numpy as np
import pytest

from napari_hrpn.slides import SlideError, list_series, open_slide


@pytest.mark.parametrize(
    ("name", "names", "size_um"),
    [
        ("example-cerevisiae.nd2", ("DIC", "FITC BP"), 0.108333),
        ("example-multichannel.nd2", ("Mono", "DAPI", "FITC BP", "TRITC BP"), 0.323390),
    ],
)
def test_real_file_matches_the_library(shared_data, name, names, size_um):
    path = shared_data / "formats" / name
    slide = open_slide(path)
    expected = nd2.imread(path)
    assert np.array_equal(slide.levels[0].compute(), expected)
    assert np.array_equal(slide.levels[0][1, 10:200, 33:77].compute(), expected[1, 10:200, 33:77])
    assert slide.channel_names == names
    assert slide.pixel_size_um == pytest.approx((size_um, size_um), rel=1e-4)
    assert list_series(path)[0].shape == expected.shape


def test_cut_file_gets_one_sentence(shared_data, tmp_path):
    whole = (shared_data / "formats" / "example-cerevisiae.nd2").read_bytes()
    (tmp_path / "cut.nd2").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SlideError, match=r"cut\.nd2 cannot be read as an ND2") as caught:
        open_slide(tmp_path / "cut.nd2")
    assert "\n" not in str(caught.value)


def test_file_that_only_begins_like_one_is_refused(tmp_path):
    (tmp_path / "fake.nd2").write_bytes(b"\xda\xce\xbe\x0a" + bytes(500))
    with pytest.raises(SlideError, match=r"fake\.nd2 cannot be read as an ND2"):
        open_slide(tmp_path / "fake.nd2")

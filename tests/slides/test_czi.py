"""CZI: what the optional package writes comes back; without the package a sentence says how to get it."""

import importlib.util

import numpy as np
import pytest

from napari_hrpn.slides import SlideError, SlideWarning, list_series, open_slide


def test_scene_matches_what_was_written(tmp_path):
    czi = pytest.importorskip("pylibCZIrw.czi")
    pixels = np.random.default_rng(1).integers(0, 60000, (2, 1500, 1200), np.uint16)
    path = tmp_path / "slide.czi"
    with czi.create_czi(str(path)) as file:
        for channel, plane in enumerate(pixels):
            file.write(plane[..., None], plane={"C": channel, "Z": 0, "T": 0}, location=(100, -50), scene=0)
        file.write_metadata("slide", channel_names={0: "DAPI", 1: "CD31"}, scale_x=0.5e-6, scale_y=0.25e-6)
    slide = open_slide(path)
    assert slide.channel_names == ("DAPI", "CD31")
    assert slide.pixel_size_um == pytest.approx((0.25, 0.5))
    assert np.array_equal(slide.levels[0].compute(scheduler="synchronous"), pixels)
    assert np.array_equal(slide.levels[0][1, 1000:1100, 33:90].compute(), pixels[1, 1000:1100, 33:90])
    assert slide.levels[1].compute(scheduler="synchronous").shape == (2, 750, 600)
    assert list_series(path)[0].shape == (2, 1500, 1200)


@pytest.mark.parametrize("first", [0, 1, 5])
def test_planes_are_counted_from_0_wherever_the_file_begins(tmp_path, first):
    czi = pytest.importorskip("pylibCZIrw.czi")
    path = tmp_path / "part.czi"
    with czi.create_czi(str(path)) as file:
        for scene, c, z, t in np.ndindex(2, 2, 3, 2):
            value = 1000 * scene + 100 * c + 10 * z + t
            # of the three planes the second has a gap before it
            plane = {"C": first + c, "Z": first + 2 * z, "T": first + t}
            pixels = np.full((30 + scene, 40, 1), value, np.uint16)
            file.write(pixels, plane=plane, scene=first + 2 * scene, location=(500 * scene - 7, 3))
        file.write_metadata("part", channel_names={first: "DAPI", first + 1: "QD"})
    assert [(info.shape, info.z_planes, info.timepoints) for info in list_series(path)] == [
        ((2, 30, 40), 3, 2),
        ((2, 31, 40), 3, 2),
    ]
    for scene, z, t in np.ndindex(2, 3, 2):
        slide = open_slide(path, series=scene, z=z, t=t)
        assert slide.channel_names == ("DAPI", "QD")
        for c, channel in enumerate(slide.levels[0].compute(scheduler="synchronous")):
            assert np.unique(channel).tolist() == [1000 * scene + 100 * c + 10 * z + t]
    with pytest.raises(SlideError, match="z from 0 to 2 but got 3"):
        open_slide(path, series=0, z=3, t=0)


def test_a_plane_that_is_not_stored_is_told(tmp_path):
    czi = pytest.importorskip("pylibCZIrw.czi")
    path = tmp_path / "sparse.czi"
    with czi.create_czi(str(path)) as file:
        for c, z in ((0, 0), (0, 1), (1, 0)):
            file.write(np.ones((30, 40, 1), np.uint8), plane={"C": c, "Z": z, "T": 0})
    with pytest.warns(SlideWarning, match="no pixels of channel 1"):
        slide = open_slide(path, z=1)
    assert slide.levels[0][:, 0, 0].compute().tolist() == [1, 0]


def test_missing_package_is_told_how_to_install(tmp_path, monkeypatch):
    (tmp_path / "slide.czi").write_bytes(b"ZISRAWFILE" + bytes(100))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SlideError, match=r'pip install "napari-hrpn\[czi\]"'):
        open_slide(tmp_path / "slide.czi")


def test_damaged_file_gets_one_sentence(tmp_path):
    pytest.importorskip("pylibCZIrw.czi")
    (tmp_path / "slide.czi").write_bytes(b"ZISRAWFILE" + bytes(100))
    with pytest.raises(SlideError, match=r"slide\.czi cannot be read as a CZI") as caught:
        open_slide(tmp_path / "slide.czi")
    assert "\n" not in str(caught.value)

"""CZI: what the optional package writes comes back; without the package a sentence says how to get it."""

import importlib.util

import numpy as np
import pytest

from napari_hrpn.slides import SlideError, list_series, open_slide


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

"""Slides of scanners: small ones, made here, against what was written; damaged ones get a sentence, not background."""

import importlib.util
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from napari_hrpn.slides import SlideError, SlideWarning, list_series, open_slide, slide_fingerprint
from napari_hrpn.slides.formats.scanners import _opened
from support.scanners import write_mrxs, write_vsi

pytest.importorskip("fastslide")
NAMES = ("DAPI", "SpGreen", "SpOrange")


@pytest.fixture(autouse=True)
def _opened_anew():
    _opened.cache_clear()


def numbers(*shape, dtype=np.uint8, most=256):
    return np.random.default_rng(1).integers(0, most, shape).astype(dtype)


@pytest.mark.parametrize(("dtype", "bits"), [(np.uint8, 8), (np.uint16, 16)])
@pytest.mark.parametrize("count", [1, 3])
def test_channels_of_an_mrxs_come_back_with_names_pixel_size_and_levels(tmp_path, dtype, bits, count):
    pixels = numbers(count, 256, 384, dtype=dtype, most=2**bits)
    slide = open_slide(write_mrxs(tmp_path / "a.mrxs", pixels, NAMES[:count], bits=bits))
    assert slide.channel_names == NAMES[:count]
    assert slide.pixel_size_um == pytest.approx((0.5, 0.25))
    assert [level.shape for level in slide.levels] == [(count, 256, 384), (count, 128, 192)]
    for number, level in enumerate(slide.levels):
        assert np.array_equal(level.compute(), pixels[:, :: 2**number, :: 2**number])
    assert np.array_equal(slide.levels[0][-1:, 60:70, 100:200].compute(), pixels[-1:, 60:70, 100:200])
    assert [(info.shape, info.z_planes) for info in list_series(tmp_path / "a.mrxs")] == [((count, 256, 384), 1)]


@pytest.mark.parametrize("overlap", [8, 7.5])
def test_photographs_that_overlap_are_joined_alike_at_each_reading(tmp_path, overlap):
    slide = open_slide(write_mrxs(tmp_path / "a.mrxs", numbers(3, 640, 640), NAMES, overlap=overlap))
    level = slide.levels[0]
    assert level.shape[0] == 3
    first, fingerprint = level.compute(), slide_fingerprint(slide)
    with ThreadPoolExecutor(4) as pool:
        for again in pool.map(lambda _: level.compute(scheduler="synchronous"), range(4)):
            assert np.array_equal(again, first)
    _opened.cache_clear()
    again = open_slide(tmp_path / "a.mrxs")
    assert np.array_equal(again.levels[0][:, 480:600, 500:520].compute(), first[:, 480:600, 500:520])
    assert slide_fingerprint(again) == fingerprint


def test_photographs_that_agree_where_they_overlap_give_the_tissue(tmp_path):
    tissue, step = numbers(3, 4 * 56 + 8, 6 * 56 + 8), 56
    photographs = np.zeros((3, 256, 384), np.uint8)
    for row, column in np.ndindex(4, 6):
        photograph = tissue[:, row * step : row * step + 64, column * step : column * step + 64]
        photographs[:, row * 64 : row * 64 + 64, column * 64 : column * 64 + 64] = photograph
    slide = open_slide(write_mrxs(tmp_path / "a.mrxs", photographs, NAMES, overlap=8, levels=1))
    assert np.array_equal(slide.levels[0].compute(), tissue)


def test_channels_of_a_vsi_come_back_and_its_largest_image_is_opened(tmp_path):
    pixels = numbers(4, 90, 140, dtype=np.uint16, most=4000)
    path = write_vsi(tmp_path / "a.vsi", pixels)
    assert np.array_equal(open_slide(path).levels[0].compute()[:, :90, :140], pixels)
    assert np.array_equal(open_slide(path).levels[1].compute()[:, :45, :70], pixels[:, ::2, ::2])
    assert open_slide(path).pixel_size_um is None
    _opened.cache_clear()
    write_vsi(path, pixels[:1, :60, :60], stack="stack1")
    assert [info.shape for info in list_series(path)] == [(1, 64, 64), (4, 128, 192)]
    with pytest.warns(SlideWarning, match="2 images and image 1"):
        assert len(open_slide(path).channel_names) == 4
    assert np.array_equal(open_slide(path, series=0).levels[0].compute()[0, :60, :60], pixels[0, :60, :60])
    with pytest.raises(SlideError, match="series from 0 to 1 but got 2"):
        open_slide(path, series=2)


def test_brightfield_is_red_green_and_blue(tmp_path):
    pixels = numbers(3, 128, 128, most=50) + 200
    path = write_mrxs(tmp_path / "he.mrxs", pixels, ("", "", ""), filters=False)
    with pytest.warns(SlideWarning, match="brightfield"):
        slide = open_slide(path)
    assert slide.channel_names == ("Red", "Green", "Blue")
    assert np.array_equal(slide.levels[0].compute(), pixels)


def cut(path, length):
    path.write_bytes(path.read_bytes()[:length])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (shutil.rmtree, "no pixels in itself, expected them in a folder a beside it"),
        (lambda folder: (folder / "Slidedat.ini").unlink(), "Slidedat.ini does not exist"),
        (lambda folder: cut(folder / "Slidedat.ini", 700), "cannot be read"),
        (lambda folder: cut(folder / "Index.dat", 100), "cannot be read"),
        (lambda folder: (folder / "Index.dat").write_bytes(b"02.00" + bytes(99)), "Unsupported index version: 02.00"),
        (lambda folder: (folder / "Data0000.dat").unlink(), r"Cannot open file: .*Data0000\.dat"),
        (lambda folder: cut(folder / "Data0000.dat", 30_000), "Tile data extends beyond file size"),
        (lambda folder: (folder / "Data0000.dat").write_bytes(bytes(10**6)), "Failed to read/decode tile"),
    ],
)
def test_incomplete_mrxs_gets_one_sentence_and_never_background(tmp_path, capfd, damage, sentence):
    path = write_mrxs(tmp_path / "a.mrxs", numbers(3, 256, 384), NAMES)
    damage(tmp_path / "a")
    with pytest.raises(SlideError, match=sentence) as caught:
        open_slide(path).levels[0].compute()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("a.mrxs")
    assert capfd.readouterr().err == ""


def test_a_depth_that_would_be_cut_off_is_refused(tmp_path):
    path = write_mrxs(tmp_path / "a.mrxs", numbers(1, 64, 64, dtype=np.uint16), NAMES[:1], bits=12, levels=1)
    with pytest.raises(SlideError, match="a depth of 12 bits, expected 8 or 16"):
        open_slide(path)


def test_incomplete_vsi_gets_one_sentence(tmp_path):
    path = write_vsi(tmp_path / "a.vsi", numbers(2, 100, 100, dtype=np.uint16))
    file = tmp_path / "_a_" / "stack10001" / "frame_t.ets"
    whole = file.read_bytes()
    for data in (whole[: len(whole) // 2], whole[:20], whole[:400] + bytes(2000) + whole[2400:]):
        _opened.cache_clear()
        file.write_bytes(data)
        with pytest.raises(SlideError, match=r"a\.vsi.* cannot be read") as caught:
            open_slide(path).levels[0].compute()
        assert "\n" not in str(caught.value)
    _opened.cache_clear()
    shutil.rmtree(tmp_path / "_a_")
    with pytest.raises(SlideError, match="expected them in a folder _a_ beside it"):
        open_slide(path)


def test_planes_that_the_reader_does_not_know_are_told(tmp_path):
    with pytest.raises(SlideError, match="cannot be read"), pytest.warns(SlideWarning, match="are left out"):
        open_slide(write_vsi(tmp_path / "a.vsi", numbers(3, 64, 64)))


def test_what_others_write_meanwhile_is_not_lost(tmp_path, capfd):
    path = write_mrxs(tmp_path / "a.mrxs", numbers(3, 64, 64), NAMES, levels=1)
    slide = open_slide(path)
    with ThreadPoolExecutor(1) as pool:
        others = pool.submit(lambda: [os.write(2, b"another thread\n") for _ in range(200)])
        while not others.done():
            slide.levels[0].compute()
    assert capfd.readouterr().err.count("another thread\n") == 200


def test_isyntax_that_is_none_is_refused(tmp_path):
    path = tmp_path / "a.isyntax"
    path.write_bytes(b'<?xml version="1.0"?><DataObject ObjectType="DPUfsImport">' + bytes(3000))
    with pytest.raises(SlideError, match=r"a\.isyntax cannot be read \(.*header"):
        open_slide(path)


@pytest.mark.parametrize("name", ["a.mrxs", "a.vsi", "a.isyntax"])
def test_missing_package_is_told_how_to_install(tmp_path, monkeypatch, name):
    (tmp_path / name).write_bytes(b"II*\0" if name == "a.vsi" else b"x")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SlideError, match=re.escape('pip install "napari-hrpn[scanners]"')):
        open_slide(tmp_path / name)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("CameraImageDivisionsPerSide", "0"),
        ("OVERLAP_X", "nan"),
        ("OVERLAP_X", "1e9"),
        ("IMAGENUMBER_Y", "2000000000"),
        ("DIGITIZER_HEIGHT", "-1"),
    ],
)
def test_numbers_that_would_end_or_stop_the_program_are_refused(tmp_path, key, value):
    path = write_mrxs(tmp_path / "a.mrxs", numbers(1, 256, 256), NAMES[:1])
    index = tmp_path / "a" / "Slidedat.ini"
    text = index.read_text("utf-8")
    changed = re.sub(rf"(?m)^{key}\s*=.*$", f"{key} = {value}", text)
    index.write_text(changed if changed != text else text.replace("[GENERAL]", f"[GENERAL]\n{key} = {value}"), "utf-8")
    with pytest.raises(SlideError, match=rf"{key} '{value}', expected .* to "):
        open_slide(path)


def test_names_in_another_encoding_are_left_out(tmp_path):
    path = write_mrxs(tmp_path / "a.mrxs", numbers(3, 256, 256), ("DAPI", "Gruen", "QD"))
    index = tmp_path / "a" / "Slidedat.ini"
    index.write_bytes(index.read_bytes().replace(b"Gruen", b"Gr\xfcn"))
    slide = open_slide(path)
    assert len(set(slide.channel_names)) == 3
    assert np.array_equal(slide.levels[0].compute(), numbers(3, 256, 256))

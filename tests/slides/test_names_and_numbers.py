"""Roles, channels, contrast, units and identity: small answers that the rest is built on."""

import os
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile

from napari_hrpn.slides import (
    Slide,
    SlideError,
    contrast_limits,
    find_channel,
    guess_roles,
    open_slide,
    slide_fingerprint,
    slide_identity,
    write_ome_zarr,
)
from napari_hrpn.slides import fingerprint as identity_module
from napari_hrpn.slides.units import micrometres, printed_pixel_size


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        (["DAPI", "AF488", "QD"], (0, 1, 2)),
        (["QD655", "Alexa Fluor 488", "Hoechst 33342"], (2, 1, 0)),
        (["DAPI", "Endomucin", "Dextran"], (0, 1, 2)),
        (["Syto16", "CD31", "Virus"], (0, 1, 2)),
        (["DAPI", "SpGreen", "SpOrange"], (0, 1, 2)),
        (["DAPI", "FITC", "Cy3"], (0, 1, 2)),
        (["Mono", "DAPI", "FITC BP", "TRITC BP"], (1, 2, 3)),
        (["DAPI 2 (387)"], (0, None, None)),
        (["DIC", "FITC BP"], (None, 0 + 1, None)),
        (["HH3", "CD31-Cy5", "QDot 605"], (0, 1, 2)),
        (["CD31 AF647", "QD 525", "nuclei"], (2, 0, 1)),
        (["DRAQ5", "anti-PECAM1", "doxorubicin"], (0, 1, 2)),
        (["DAPI", "CD8 Cy5", "CD34_Cy3", "nanoparticle"], (0, 2, 3)),
        (["DAPI", "CD8 Cy5"], (0, None, None)),
        (["Channel 0", "Channel 1", "Channel 2"], (None, None, None)),
        (["Ch1-T1", "ChS2-T3"], (None, None, None)),
        (["Red", "Green", "Blue"], (None, None, None)),
        (["0", "1", "2"], (None, None, None)),
        (["fitch", "dapifer", "unprobed", "qdx"], (None, None, None)),
        (["DAPI", "Hoechst"], (0, None, None)),
        ([], (None, None, None)),
        (["C1-DAPI_CD31_QD.tif", "C2-DAPI_CD31_QD.tif", "C3-DAPI_CD31_QD.tif"], (None, None, None)),
        (["m3_CD31-QD655_c0", "m3_CD31-QD655_c1", "m3_CD31-QD655_c2"], (None, None, None)),
        (["QD mouse1.nd2 (FITC)", "QD mouse1.nd2 (DAPI)", "QD mouse1.nd2 (Cy5)"], (1, 0, 2)),
        (["Opal 520", "Opal 570", "DAPI Opal"], (2, 0, 1)),
        (["Alexa Fluor 405", "Alexa Fluor 488", "Alexa Fluor 594"], (0, 1, 2)),
        (["nano_c0", "nano_c1"], (None, None, None)),
        (["DNA 1", "DNA 2", "DNA CD31"], (None, 2, None)),
        (["DAPI", "DAPI"], (None, None, None)),
        (["tumour DAPI.tif"], (0, None, None)),
        (["\uff24\uff21\uff30\uff29", "\uff23\uff24\uff13\uff11"], (0, 1, None)),
    ],
)
def test_roles_are_guessed_from_names_that_say_something(names, roles):
    guessed = guess_roles(names)
    assert (guessed.nuclei, guessed.vessels, guessed.probe) == roles
    used = [index for index in roles if index is not None]
    assert len(set(used)) == len(used)


def slide_of(image, names=None, chunks=(1, 512, 512), **more):
    levels = (da.from_array(image, chunks=chunks),)
    names = names or tuple(f"Channel {index}" for index in range(len(image)))
    return Slide(levels, tuple(names), None, Path("made.tif"), **more)


def test_channel_is_found_by_name_or_index():
    slide = slide_of(np.zeros((4, 5, 5)), ("DAPI", "CD31", "CD31", "1"))
    assert find_channel(slide, "dapi") == 0
    assert find_channel(slide, "1") == 3
    assert find_channel(slide, " 2 ") == 2
    for wrong in ("CD31", "QD", "7", "-1", ""):
        with pytest.raises(SlideError, match="0 = DAPI, 1 = CD31, 2 = CD31, 3 = 1"):
            find_channel(slide, wrong)


def test_channel_is_found_however_its_letters_are_encoded():
    slide = slide_of(np.zeros((4, 5, 5)), ("D\u00c4PI", "qd", "QD", "5 \u00b5g"))
    assert find_channel(slide, "DA\u0308PI") == find_channel(slide, "da\u0308pi") == 0
    assert [find_channel(slide, name) for name in ("qd", "QD", "5  \u03bcG")] == [1, 2, 3]
    with pytest.raises(SlideError, match="2 channels called"):
        find_channel(slide, "Qd")
    with pytest.raises(SlideError, match="no channel"):
        find_channel(slide, "9" * 5000)


def test_contrast_is_that_of_percentiles():
    image = np.random.default_rng(1).gamma(2, 300, (2, 700, 900)).astype(np.uint16)
    limits = contrast_limits(slide_of(image))
    assert limits == tuple(tuple(np.percentile(channel, [0.1, 99.8])) for channel in image)


def test_contrast_of_a_big_level_is_taken_from_few_blocks_all_over_it():
    read = []

    class Gradient:
        shape, dtype, ndim = (1, 32768, 32768), np.dtype(np.uint16), 3

        def __getitem__(self, key):
            read.append(key)
            rows = np.arange(key[1].start, key[1].stop, dtype=np.uint16)
            return np.broadcast_to(rows[None, :, None], [part.stop - part.start for part in key])

    level = da.from_array(
        Gradient(),
        chunks=(1, 512, 512),
        asarray=False,
        fancy=False,
        name="gradient",
        meta=np.empty((0, 0, 0), np.uint16),
    )
    ((low, high),) = contrast_limits(Slide((level,), ("a",), None, Path("made.tif")))
    assert len(read) <= 16
    assert low < 6000
    assert high > 26000


def test_contrast_never_reads_a_huge_piece():
    level = da.map_blocks(lambda: 1 / 0, chunks=((1,), (9000,), (9000,)), dtype=np.uint16)
    assert contrast_limits(Slide((level,), ("a",), None, Path("made.tif"))) == ((0, 65535),)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 50, 50), np.uint8),
        np.full((1, 50, 50), 255, np.uint8),
        np.full((1, 50, 50), 1e30, np.float64),
        np.full((1, 50, 50), np.nan, np.float32),
        np.pad(np.full((1, 1, 1), 9, np.uint16), ((0, 0), (0, 99), (0, 99))),
    ],
    ids=["black", "white", "flat float", "nan", "one bright pixel"],
)
def test_contrast_has_a_lower_below_its_upper_limit(image):
    ((low, high),) = contrast_limits(slide_of(image))
    assert low < high


def test_contrast_of_one_bright_pixel_shows_it():
    image = np.zeros((1, 200, 200), np.uint16)
    image[0, 7, 7] = 9
    assert contrast_limits(slide_of(image)) == ((0, 9),)


def test_contrast_of_brightfield_is_the_whole_range():
    assert contrast_limits(slide_of(np.zeros((3, 9, 9), np.uint8), is_brightfield=True)) == ((0, 255),) * 3


@pytest.mark.parametrize(
    ("value", "unit", "size"),
    [
        (0.5, "µm", 0.5),
        (0.5, "μm", 0.5),
        ("0.5", "um", 0.5),
        (0.5, "\\u00B5m", 0.5),
        (250, "nm", 0.25),
        (2, "mm", 2000),
        (3e-7, "m", 0.3),
        (1, "inch", 25400),
        (2, "micrometers", 2),
        (2, "micrometre", 2),
        (5, "Å", 5e-4),
        (1, "pixel", None),
        (1, None, None),
        (1, "", None),
        (0, "µm", 0),
        (-1, "nm", -1e-3),
        ("x", "µm", None),
        (None, "µm", None),
    ],
)
def test_lengths_in_micrometres(value, unit, size):
    found = micrometres(value, unit)
    assert found == (None if size is None else pytest.approx(size))


def test_printed_sizes_count_only_where_a_microscope_has_them():
    assert printed_pixel_size(43826, "cm") == pytest.approx(0.22818, rel=1e-4)
    for resolution, unit in ((72, "inch"), (300, "inch"), (118.11, "cm"), (0, "cm"), (1, None), (float("inf"), "cm")):
        assert printed_pixel_size(resolution, unit) is None


def test_identity_changes_with_the_file_and_with_what_is_taken(tmp_path):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, np.zeros((2, 3, 40, 40), np.uint8), imagej=True, metadata={"axes": "ZCYX"})
    slide = open_slide(path, z=0)
    identity = slide_identity(slide)
    assert len(identity) == 16
    assert int(identity, 16) >= 0
    assert slide_identity(open_slide(path, z=0)) == identity
    assert slide_identity(open_slide(path, z=1)) != identity
    assert slide_identity(replace(slide, series=1)) != identity
    os.utime(path, (1, 1))
    assert slide_identity(open_slide(path, z=0)) != identity


def test_identity_of_a_folder_changes_with_its_files(tmp_path):
    tifffile.imwrite(tmp_path / "DAPI.tif", np.zeros((9, 9), np.uint8))
    slide = open_slide(tmp_path)
    identity = slide_identity(slide)
    assert slide_identity(slide) == identity
    os.utime(tmp_path / "DAPI.tif", (1, 1))
    assert slide_identity(slide) != identity


def test_outputs_in_a_folder_of_stains_do_not_change_its_identity_and_changed_stains_do(tmp_path):
    tifffile.imwrite(tmp_path / "DAPI.tif", np.zeros((9, 9), np.uint8))
    slide = open_slide(tmp_path)
    identity = slide_identity(slide)
    (tmp_path / "out.ome.zarr").mkdir()
    (tmp_path / "out.ome.zarr" / "zarr.json").write_text("{}")
    (tmp_path / "regions.geojson").write_text("{}")
    assert slide_identity(slide) == identity
    os.utime(tmp_path / "DAPI.tif", (1, 1))
    assert slide_identity(slide) != identity


@pytest.mark.parametrize("kind", ["file", "folder", "zarr", "memory"])
def test_the_fingerprint_is_of_pixels_whatever_their_time(kind, tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (1, 600, 700), np.uint8)
    path = tmp_path / "slide"

    def slide() -> Slide:
        if kind == "memory":
            return Slide((da.from_array(image, chunks=(1, 512, 512)),), ("DAPI",), None, path)
        if kind == "zarr":
            list(write_ome_zarr(slide_of(image), path, overwrite=True))
            return open_slide(path)
        path.mkdir(exist_ok=True)
        file = path / "DAPI.tif"
        tifffile.imwrite(file, image[0])
        os.utime(file, (1, 1))
        return open_slide(path if kind == "folder" else file)

    before = slide_fingerprint(slide())
    assert slide_fingerprint(slide()) == before
    image[0, 550:, 650:] ^= 1
    assert slide_fingerprint(slide()) != before


def test_of_a_large_file_little_is_read(tmp_path, monkeypatch):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, np.zeros((2000, 5000), np.uint8), tile=(256, 256))
    monkeypatch.setattr(identity_module, "WHOLE_BYTES", 1 << 20)
    monkeypatch.setattr(identity_module, "PIECES", 4)
    assert len(identity_module._pieces(path)) == 4 * identity_module.PIECE_BYTES


def test_identity_of_a_slide_without_file_is_told_by_its_facts():
    assert slide_identity(slide_of(np.zeros((1, 9, 9)))) != slide_identity(slide_of(np.zeros((1, 9, 8))))


def test_slides_in_memory_are_told_apart_by_their_pixels(tmp_path):
    def identity(value: int) -> str:
        pixels = da.full((1, 300, 200), value, dtype=np.uint8, chunks=(1, 128, 128))
        return slide_identity(Slide((pixels,), ("DAPI",), None, tmp_path / "a layer, not a file"))

    assert identity(1) == identity(1)
    assert identity(1) != identity(2)

"""TIFF dialects: what this test writes, and the real files, come back pixel by pixel."""

import logging
import os
import struct
import threading
import zlib
from pathlib import Path

import dask
import numpy as np
import pytest
import tifffile

from napari_hrpn.slides import SlideError, SlideWarning, list_series, open_slide


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 4000, (3, 300, 430), np.uint16)


def ome(**more):
    return {
        "axes": "CYX",
        "Channel": {"Name": ["DAPI", "CD31", "QD"]},
        "PhysicalSizeX": 500,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.25,
        "PhysicalSizeYUnit": "µm",
    } | more


@pytest.mark.parametrize(
    "storage",
    [
        {},
        {"tile": (64, 96), "compression": "zlib", "predictor": True},
        {"tile": (128, 128)},
        {"rowsperstrip": 17, "compression": "lzw"},
        {"rowsperstrip": 17},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"byteorder": ">", "compression": "zstd", "tile": (64, 64)},
        {"compression": "packbits"},
    ],
    ids=str,
)
def test_every_storage_gives_the_pixels_names_and_micrometres(tmp_path, pixels, storage):
    path = tmp_path / "slide.ome.tif"
    tifffile.imwrite(path, pixels, metadata=ome(), photometric="minisblack", **storage)
    slide = open_slide(path)
    assert np.array_equal(slide.levels[0].compute(), pixels)
    assert np.array_equal(slide.levels[0][1, 33:277, 5:401:3].compute(), pixels[1, 33:277, 5:401:3])
    assert slide.channel_names == ("DAPI", "CD31", "QD")
    assert slide.pixel_size_um == (0.25, 0.5)
    assert (slide.z, slide.t, slide.stored_levels, slide.is_brightfield) == (None, None, 1, False)


def test_pyramid_in_sub_ifds_keeps_all_its_levels(tmp_path, pixels):
    path = tmp_path / "slide.ome.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(pixels, subifds=2, tile=(64, 64), metadata=ome(), photometric="minisblack")
        tif.write(pixels[:, ::2, ::2], subfiletype=1, tile=(64, 64), photometric="minisblack")
        tif.write(pixels[:, ::6, ::6], subfiletype=1, tile=(64, 64), photometric="minisblack")
    slide = open_slide(path)
    assert slide.stored_levels == len(slide.levels) == 3
    for level, step in zip(slide.levels, (1, 2, 6), strict=True):
        assert np.array_equal(level.compute(), pixels[:, ::step, ::step])


def test_flat_file_gets_computed_levels(tmp_path):
    image = np.random.default_rng(2).integers(0, 65535, (1301, 1100), np.uint16)
    tifffile.imwrite(tmp_path / "flat.tif", image)
    slide = open_slide(tmp_path / "flat.tif")
    assert slide.stored_levels == 1
    assert [level.shape for level in slide.levels] == [(1, 1301, 1100), (1, 651, 550), (1, 326, 275)]
    expected = (image[:1300].reshape(650, 2, 550, 2).astype(np.uint32).sum((1, 3)) + 2) // 4
    assert np.array_equal(slide.levels[1].compute()[0, :650], expected)


def test_z_and_t_are_chosen_or_told_of(tmp_path):
    stack = np.random.default_rng(3).integers(0, 255, (2, 5, 3, 40, 50), np.uint8)
    path = tmp_path / "stack.ome.tif"
    tifffile.imwrite(path, stack, metadata={"axes": "TZCYX"}, photometric="minisblack")
    with pytest.warns(SlideWarning) as caught:
        slide = open_slide(path)
    assert (slide.z, slide.t) == (2, 0)
    assert {"z=2", "t=0"} <= {word for told in caught for word in str(told.message).split()}
    assert np.array_equal(slide.levels[0].compute(), stack[0, 2])
    assert np.array_equal(open_slide(path, z=4, t=1).levels[0].compute(), stack[1, 4])
    with pytest.raises(SlideError, match="z from 0 to 4 but got 5"):
        open_slide(path, z=5, t=0)
    (info,) = list_series(path)
    assert (info.shape, info.z_planes, info.timepoints) == ((3, 40, 50), 5, 2)


def test_series_are_listed_and_opened_with_their_own_names(tmp_path):
    path = tmp_path / "two.ome.tif"
    first, second = np.full((2, 30, 40), 7, np.uint8), np.full((50, 60), 9, np.uint8)
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(
            first, metadata={"axes": "CYX", "Name": "left", "Channel": {"Name": ["a", "b"]}}, photometric="minisblack"
        )
        tif.write(second, metadata={"axes": "YX", "Name": "right", "PhysicalSizeX": 1.5, "PhysicalSizeY": 1.5})
    assert [(s.index, s.name, s.shape, s.pixel_size_um) for s in list_series(path)] == [
        (0, "left", (2, 30, 40), None),
        (1, "right", (1, 50, 60), (1.5, 1.5)),
    ]
    assert open_slide(path, series=0).channel_names == ("a", "b")
    slide = open_slide(path, series=1)
    assert slide.series == 1
    assert np.array_equal(slide.levels[0].compute()[0], second)
    with pytest.raises(SlideError, match="series from 0 to 1 but got 2"):
        open_slide(path, series=2)


def test_image_of_several_files_opens_whole_or_not_at_all(tmp_path, pixels):
    names = ["c0.ome.tif", "c1.ome.tif"]
    uuids = ["urn:uuid:00000000-0000-0000-0000-00000000000" + str(i) for i in range(2)]
    blocks = "".join(
        f'<TiffData IFD="0" FirstC="{i}" PlaneCount="1"><UUID FileName="{names[i]}">{uuids[i]}</UUID></TiffData>'
        for i in range(2)
    )
    for i in range(2):
        xml = (
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuids[i]}"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="430" SizeY="300" SizeC="2" SizeZ="1" '
            f'SizeT="1"><Channel ID="Channel:0:0" Name="one"/><Channel ID="Channel:0:1" Name="two"/>{blocks}'
            "</Pixels></Image></OME>"
        )
        tifffile.imwrite(tmp_path / names[i], pixels[i], description=xml, metadata=None)
    slide = open_slide(tmp_path / names[0])
    assert slide.channel_names == ("one", "two")
    assert np.array_equal(slide.levels[0].compute(), pixels[:2])
    (tmp_path / names[1]).unlink()
    with pytest.raises(SlideError, match="are missing"):
        open_slide(tmp_path / names[0])


@pytest.mark.parametrize("unit", ["um", "micron", "\\u00B5m"])
def test_imagej_hyperstack_has_labels_and_unit(tmp_path, pixels, unit):
    path = tmp_path / "hyperstack.tif"
    metadata = {"axes": "CYX", "unit": unit, "Labels": ["DAPI", "CD31", "QD"]}
    tifffile.imwrite(path, pixels, imagej=True, resolution=(2, 4), metadata=metadata)
    slide = open_slide(path)
    assert slide.channel_names == ("DAPI", "CD31", "QD")
    assert slide.pixel_size_um == (0.25, 0.5)
    assert np.array_equal(slide.levels[0].compute(), pixels)


def test_imagej_stack_behind_one_page_is_read_whole(tmp_path, pixels):
    path = tmp_path / "big.tif"
    with tifffile.TiffWriter(path, imagej=True) as tif:
        tif.write(pixels, metadata={"axes": "CYX"}, truncate=True)
    with tifffile.TiffFile(path) as tif:
        assert len(tif.pages) == 1
    assert np.array_equal(open_slide(path).levels[0].compute(), pixels)
    path.write_bytes(path.read_bytes()[: -pixels[0].nbytes])
    with pytest.raises(SlideError, match="holds 1 of the 3 images"):
        open_slide(path)


def test_resolution_of_a_printer_is_no_pixel_size(tmp_path):
    image = np.zeros((20, 20), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, resolution=(300, 300), resolutionunit="INCH")
    tifffile.imwrite(tmp_path / "b.tif", image, resolution=(20_000, 40_000), resolutionunit="CENTIMETER")
    assert open_slide(tmp_path / "a.tif").pixel_size_um is None
    assert open_slide(tmp_path / "b.tif").pixel_size_um == pytest.approx((0.25, 0.5))


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("storage", [{}, {"tile": (64, 64), "compression": "zlib"}], ids=str)
def test_dark_colour_image_opens_as_red_green_blue(tmp_path, planar, storage):
    image = np.random.default_rng(4).integers(0, 60, (150, 170, 3), np.uint8)
    stored = image if planar == "contig" else np.moveaxis(image, -1, 0)
    path = tmp_path / "merged.tif"
    tifffile.imwrite(path, stored, photometric="rgb", planarconfig=planar, **storage)
    slide = open_slide(path)
    assert slide.channel_names == ("Red", "Green", "Blue")
    assert not slide.is_brightfield
    assert np.array_equal(slide.levels[0].compute(), np.moveaxis(image, -1, 0))
    assert np.array_equal(slide.levels[0][2, 3:9].compute(), image[3:9, :, 2])


def test_light_background_is_brightfield_and_transparency_is_dropped(tmp_path):
    image = np.full((100, 100, 4), 235, np.uint8)
    tifffile.imwrite(tmp_path / "he.tif", image, photometric="rgb", extrasamples=["unassalpha"])
    with pytest.warns(SlideWarning) as caught:
        slide = open_slide(tmp_path / "he.tif")
    assert ["4 samples" in str(caught[0].message), "brightfield" in str(caught[1].message)] == [True, True]
    assert slide.is_brightfield
    assert slide.levels[0].shape == (3, 100, 100)


def test_qptiff_names_its_channels_and_hides_its_thumbnail(tmp_path, pixels):
    path = tmp_path / "scan.qptiff"
    described = (
        "<?xml version='1.0' encoding='utf-16'?><PerkinElmer-QPI-ImageDescription><ImageType>{}</ImageType>{}"
        "</PerkinElmer-QPI-ImageDescription>"
    )
    with tifffile.TiffWriter(path) as tif:
        options = {
            "software": "PerkinElmer-QPI",
            "metadata": None,
            "resolution": (20_000, 20_000),
            "resolutionunit": "CENTIMETER",
        }
        names = ["<Name>DAPI</Name>", "<Biomarker>CD31</Biomarker><Name>Opal 520</Name>", "<Name>Cy3</Name>"]
        for plane, name in zip(pixels, names, strict=True):
            tif.write(plane, description=described.format("FullResolution", name), tile=(128, 128), **options)
        tif.write(
            np.zeros((50, 60, 3), np.uint8), photometric="rgb", description=described.format("Thumbnail", ""), **options
        )
    slide = open_slide(path)
    assert slide.channel_names == ("DAPI", "CD31", "Cy3")
    assert slide.pixel_size_um == (0.5, 0.5)
    assert np.array_equal(slide.levels[0].compute(), pixels)
    assert len(list_series(path)) == 1


@pytest.mark.parametrize(
    ("stored", "opened"),
    [(np.bool_, np.uint8), (np.float16, np.float32), (np.int16, np.int16), (np.float64, np.float64)],
)
def test_types_are_kept_or_converted(tmp_path, stored, opened):
    image = (np.random.default_rng(5).random((40, 50)) * 2).astype(stored)
    tifffile.imwrite(tmp_path / "typed.tif", image, photometric="minisblack")
    slide = open_slide(tmp_path / "typed.tif")
    assert slide.dtype == slide.levels[0].compute().dtype == opened
    assert np.array_equal(slide.levels[0].compute()[0], image.astype(opened))


@pytest.mark.parametrize("stored", [np.uint64, np.int64, np.complex64])
def test_types_of_no_image_are_refused(tmp_path, stored):
    tifffile.imwrite(tmp_path / "typed.tif", np.zeros((40, 50), stored), photometric="minisblack")
    with pytest.raises(SlideError, match="convert it to uint16 or float32"):
        open_slide(tmp_path / "typed.tif")


def test_blocks_are_few_and_follow_the_file(tmp_path):
    tifffile.imwrite(tmp_path / "tiles.tif", np.zeros((2100, 2100), np.uint8), tile=(240, 240), compression="zlib")
    tifffile.imwrite(tmp_path / "strips.tif", np.zeros((2100, 2100), np.uint8), rowsperstrip=7, compression="zlib")
    tifffile.imwrite(tmp_path / "raw.tif", np.zeros((2100, 2100), np.uint8))
    assert open_slide(tmp_path / "tiles.tif").levels[0].chunksize == (1, 720, 720)
    assert open_slide(tmp_path / "strips.tif").levels[0].chunksize == (1, 518, 2100)
    assert open_slide(tmp_path / "raw.tif").levels[0].chunksize == (1, 512, 512)


def test_one_huge_piece_per_page_is_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_hrpn.slides.slide_builder.HUGE_CHUNK_BYTES", 1000)
    tifffile.imwrite(tmp_path / "page.tif", np.zeros((60, 60), np.uint8), compression="zlib")
    with pytest.warns(SlideWarning, match="napari-hrpn convert"):
        open_slide(tmp_path / "page.tif")


def _open_files():
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def test_reads_are_safe_from_many_threads_and_hold_no_file_open(tmp_path):
    image = np.random.default_rng(6).integers(0, 255, (1500, 1500), np.uint8)
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, image, tile=(64, 64), compression="zlib")
    slide = open_slide(path)
    before = _open_files()
    wrong = []

    def read(start):
        for _ in range(5):
            got = slide.levels[0][0, start : start + 300].compute(scheduler="synchronous")
            wrong.append(not np.array_equal(got, image[start : start + 300]))

    threads = [threading.Thread(target=read, args=(start,)) for start in (0, 200, 700, 1200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 20
    assert not any(wrong)
    assert _open_files() == before


@pytest.mark.parametrize("storage", [{}, {"tile": (64, 64), "compression": "zlib"}], ids=str)
def test_file_that_breaks_later_says_so_when_read(tmp_path, storage):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, np.random.default_rng(7).integers(0, 255, (600, 600), np.uint8), **storage)
    slide = open_slide(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SlideError, match=r"slide\.tif"):
        slide.levels[0].compute()
    path.unlink()
    with pytest.raises(SlideError, match=r"slide\.tif.*gone"):
        slide.levels[0].compute()


def test_piece_of_garbage_is_an_error_and_not_zeros(tmp_path):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(
        path, np.random.default_rng(8).integers(0, 255, (500, 1100), np.uint8), tile=(256, 256), compression="zlib"
    )
    with tifffile.TiffFile(path) as tif:
        offset, count = tif.pages[0].dataoffsets[4], tif.pages[0].databytecounts[4]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * count)
    slide = open_slide(path)
    assert slide.levels[0][0, :200, :200].compute().any()
    with pytest.raises(SlideError, match="channel 0, rows 0 to 500 and columns 1024 to 1100 cannot be read"):
        slide.levels[0].compute()


def test_parser_log_is_kept_from_the_user(tmp_path, caplog):
    path = tmp_path / "noisy.tif"
    path.write_bytes(little_tiff(sorted([*grey(20, 20), (270, 2, 10**6, 10**9)]), tail=bytes(1000)))
    with caplog.at_level(logging.DEBUG, "tifffile"):
        with tifffile.TiffFile(path) as tif:
            assert tif.pages[0].shape == (20, 20)
        assert caplog.records
        caplog.clear()
        assert open_slide(path).shape == (20, 20)
    assert not caplog.records
    assert not logging.getLogger("tifffile").filters


# hostile files


def little_tiff(entries, next_page=0, tail=b""):
    """A classic TIFF of one page at byte 8, of (tag, type, count, value)."""
    page = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + page + struct.pack("<I", next_page) + tail


def grey(width, height, **changes):
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 300, 277: 1, 278: height, 279: width * height}
    tags |= {int(tag): value for tag, value in changes.items()}
    return [(tag, 4, 1, value) for tag, value in sorted(tags.items())]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (little_tiff(grey(60000, 60000), tail=b"\0" * 600), "truncated"),
        (little_tiff(grey(60000, 60000, **{"259": 8, "279": 40}), tail=b"\0" * 600), "claims 3.6 GB"),
        (little_tiff(grey(0, 10), tail=b"\0" * 600), "empty image"),
        (little_tiff(grey(10, 10), next_page=8, tail=b"\0" * 600), "circle"),
        (little_tiff(grey(10, 10), next_page=10**6, tail=b"\0" * 600), "inside the file"),
        (little_tiff([]), "empty image"),
        (b"II*\0" + b"\xff" * 4, "inside the file"),
        (b"II*\0\0\0\0\0", "without pages"),
        (b"II*\0", "without pages"),
        (b"II+\0\x08\0\0\0" + b"\xff" * 8, "inside the file"),
        (b"", "is empty"),
        (b"II*\0" + os.urandom(4000), "."),
        (b"hello, this is a text", "unknown format"),
        (b"\x89PNG\r\n\x1a\n", "PNG picture, expected TIFF"),
        (b"\xff\xd8\xff\xe0", "JPEG picture, expected TIFF"),
    ],
)
def test_hostile_file_gets_one_sentence(tmp_path, content, said):
    path = tmp_path / "hostile.tif"
    path.write_bytes(content)
    with pytest.raises(SlideError, match=said) as caught:
        open_slide(path)
    assert "\n" not in str(caught.value)
    assert "hostile.tif" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('SizeC="3"', 'SizeC="999999999"', "claims"),
        ('SizeC="3"', 'SizeC="-3"', "claims"),
        ('SizeC="3"', 'SizeC="x"', "no number"),
        ('PlaneCount="3"', 'PlaneCount="999999999"', "claims"),
        ("<Pixels ", "<Pixels <", "no XML"),
        ('SizeC="3"', 'SizeC="5"', "are missing"),
        ("<OME ", '<!DOCTYPE x [<!ENTITY a "b">]><OME ', "entities"),
    ],
)
def test_lying_ome_xml_is_refused(tmp_path, pixels, old, new, said):
    path = tmp_path / "lying.ome.tif"
    tifffile.imwrite(path, pixels, metadata=ome(), photometric="minisblack")
    with tifffile.TiffFile(path) as tif:
        xml = tif.ome_metadata
    assert old in xml
    tifffile.imwrite(path, pixels, description=xml.replace(old, new).encode(), metadata=None, photometric="minisblack")
    with pytest.raises(SlideError, match=said):
        open_slide(path)


def test_missing_file_and_folder_without_slide_are_told(tmp_path):
    with pytest.raises(SlideError, match="no file or folder"):
        open_slide(tmp_path / "nothing.tif")
    for far in ("x" * 300, "x/" * 2500):
        with pytest.raises(SlideError, match=r"no file or folder x.*…, expected a slide") as caught:
            open_slide(far)
        assert len(str(caught.value)) < 300
    with pytest.raises(SlideError, match="0 TIFF files"):
        open_slide(tmp_path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the owner of everything may read everything")
def test_forbidden_file_is_told(tmp_path):
    path = tmp_path / "secret.tif"
    tifffile.imwrite(path, np.zeros((9, 9), np.uint8))
    path.chmod(0)
    with pytest.raises(SlideError, match="may not be read"):
        open_slide(path)


# the real files


@pytest.mark.parametrize(
    ("name", "names", "size_um", "z", "t"),
    [
        ("dextran/fov01.ome.tif", ("DAPI", "Endomucin", "Dextran"), (0.69, 0.69), None, None),
        ("merck/z0708.ome.tif", ("Syto16", "CD31", "Virus"), (4.0, 4.0), None, None),
        ("formats/merck_z0708_3ch_imagej.tif", ("Syto16", "CD31", "virus"), (4.0, 4.0), None, None),
        ("formats/small_vectra.qptiff", ("DAPI", "FITC", "Cy3"), (0.49653, 0.49653), None, None),
        ("formats/test_ome_with_time.tiff", ("Ch1-T1", "ChS2-T3"), (0.07752, 0.07752), None, 2),
        ("formats/xyc_16bit__cell_dna_mts_actin.tif", None, (0.13249, 0.13249), None, None),
        ("formats/xyc_8bit__dapi_tublin.tif", None, (0.454, 0.454), None, None),
        ("formats/xyzc_16bit__dna_conf_wf.tif", None, (0.51188, 0.51188), 7, None),
    ],
)
def test_real_file_matches_an_independent_reading(shared_data, name, names, size_um, z, t):
    slide = open_slide(shared_data / name, z=z, t=t)
    expected = tifffile.imread(shared_data / name)
    expected = expected if t is None else expected[t]
    expected = expected if z is None else expected[z]
    with dask.config.set(scheduler="synchronous"):
        assert np.array_equal(slide.levels[0].compute(), expected)
    assert slide.channel_names == (names or tuple(f"Channel {i}" for i in range(len(expected))))
    assert slide.pixel_size_um == pytest.approx(size_um, rel=1e-4)


def test_real_fluorescence_ndpi_is_one_channel(shared_data):
    path = shared_data / "formats" / "test3-DAPI-2-(387).ndpi"
    slide = open_slide(path)
    assert slide.channel_names == ("DAPI 2 (387)",)
    assert slide.pixel_size_um == pytest.approx((0.22818, 0.22818), rel=1e-4)
    assert [level.shape for level in slide.levels] == [(1, 4864 >> n, 3968 >> n) for n in range(4)]
    for level in (2, 3):
        expected = tifffile.imread(path, series=0, level=level).max(axis=-1)
        assert np.array_equal(slide.levels[level].compute(scheduler="synchronous")[0], expected)
    assert list_series(path)[0].shape == (1, 4864, 3968)


def test_real_svs_is_brightfield(shared_data):
    path = shared_data / "formats" / "CMU-1-Small-Region.svs"
    with pytest.warns(SlideWarning, match="brightfield"):
        slide = open_slide(path)
    assert slide.is_brightfield
    assert slide.pixel_size_um == (0.499, 0.499)
    expected = np.moveaxis(tifffile.imread(path, series=0), -1, 0)
    assert np.array_equal(slide.levels[0][:, 1000:1700].compute(scheduler="synchronous"), expected[:, 1000:1700])


BROKEN = {
    "libtiff_segfault.tif": "claims 65535 x 900 px in 23 pieces but lists 1",
    "merck_z0708_3ch_subifd_TRUNCATED60.ome.tif": "truncated",
    "multipage_single_frame_loop.tiff": "circle",
    "seek_too_large.tif": "inside the file",
    "unopenable.tiff": "cannot be decoded",
    "zero_gi.tif": "empty image",
}


@pytest.mark.filterwarnings("ignore:.*(brightfield|ignored as transp|0 is white):napari_hrpn.slides.SlideWarning")
@pytest.mark.parametrize("name", [*BROKEN, "tiff_wrong_bits_per_sample.tiff", "total-pages-zero.tif"])
def test_real_broken_file_gets_one_sentence_or_opens_honestly(shared_data, name):
    path = shared_data / "broken" / name
    if name not in BROKEN:
        slide = open_slide(path)  # its pixels are all there, only a tag is wrong
        expected = tifffile.imread(path)
        expected = np.moveaxis(expected[..., :3], -1, 0) if expected.shape[-1] == 4 else expected
        assert np.array_equal(slide.levels[0].compute(), expected)
        return
    with pytest.raises(SlideError, match=BROKEN[name]) as caught:
        open_slide(path)
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value) or "copy it again" in str(caught.value)


# files that are small and claim much


def packed_zeros(width, height):
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(width * height // 64)) for _ in range(64)) + packer.flush()


@pytest.mark.parametrize("pieces", [{278: 16_000}, {322: 16_000, 323: 16_000}], ids=["strip", "tile"])
def test_page_in_one_packed_piece_that_is_too_large_is_refused(tmp_path, pieces):
    width = height = 16_000
    packed = packed_zeros(width, height)
    names = (324, 325) if 322 in pieces else (273, 279)
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1, **pieces, names[0]: 500, names[1]: len(packed)}
    head = little_tiff([(tag, 4, 1, value) for tag, value in sorted(tags.items())])
    (tmp_path / "bomb.tif").write_bytes(head.ljust(500, b"\0") + packed)
    with pytest.raises(SlideError, match=r"0\.3 GB of pixels in one compressed piece.*tiles"):
        open_slide(tmp_path / "bomb.tif")


@pytest.mark.parametrize(
    ("tag", "count", "said"),
    [
        (273, 10**8, "100000000 pieces"),
        (270, 10**9, "1000000000 bytes of metadata"),
        (330, 10**6, "1000000 smaller copies"),
    ],
)
def test_page_that_claims_too_much_is_refused_unread(tmp_path, tag, count, said):
    entries = sorted([entry for entry in grey(64, 64) if entry[0] != tag] + [(tag, 4, count, 400)])
    (tmp_path / "bomb.tif").write_bytes(little_tiff(entries, tail=bytes(10_000)))
    with pytest.raises(SlideError, match=said):
        open_slide(tmp_path / "bomb.tif")


def test_shape_that_claims_too_many_planes_is_refused(tmp_path):
    text = '{"shape": [1000000000, 20, 20]}'
    tifffile.imwrite(tmp_path / "bomb.tif", np.zeros((20, 20), np.uint8), description=text, metadata=None)
    with pytest.raises(SlideError, match="claims 1000000000 planes"):
        open_slide(tmp_path / "bomb.tif")


def test_jpeg_that_is_larger_than_its_tile_is_refused(tmp_path):
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), tile=(64, 64), compression="jpeg")
    content = bytearray(path.read_bytes())
    place = content.find(b"\xff\xc0")
    struct.pack_into(">HH", content, place + 5, 65000, 65000)
    path.write_bytes(content)
    with pytest.raises(SlideError, match="JPEG of 4225 megapixels"):
        open_slide(path)


@pytest.mark.parametrize("shape", [(1, 2**31 - 2000), (2**31 - 2000, 1)])
def test_line_of_pixels_opens_in_few_blocks(tmp_path, shape):
    tags = {
        256: shape[1],
        257: shape[0],
        258: 8,
        259: 1,
        262: 1,
        273: 300,
        277: 1,
        278: shape[0],
        279: shape[0] * shape[1],
    }
    path = tmp_path / "line.tif"
    path.write_bytes(little_tiff([(tag, 4, 1, value) for tag, value in sorted(tags.items())]))
    os.truncate(path, 2**31)
    level = open_slide(path).levels[0]
    assert level.npartitions < 40_000
    assert not level[:, :512, :512].compute().any()


def test_ndpi_with_a_circular_list_of_pages_is_refused(tmp_path):
    entries = grey(64, 64)
    page = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    path = tmp_path / "scan.ndpi"
    path.write_bytes(b"II*\0" + struct.pack("<Q", 12) + page + struct.pack("<Q", 12) + bytes(5000))
    with pytest.raises(SlideError, match="circle"):
        open_slide(path)

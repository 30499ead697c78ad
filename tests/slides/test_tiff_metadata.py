"""What TIFFs of many programs say about channels and pixels is read, or the user is told what was not understood."""

import json

import numpy as np
import pytest
import tifffile

from napari_hrpn.slides import SlideError, SlideWarning, open_slide
from napari_hrpn.slides.units import micrometres, read_pixel_size

NAMES = ("DAPI", "CD31", "QD")
ROOT = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{}>'
CHANNELS = "".join(f'<Channel ID="Channel:0:{index}" Name="{name}"/>' for index, name in enumerate(NAMES))


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 4000, (3, 40, 50), np.uint16)


def document(inner=CHANNELS, more='PhysicalSizeX="0.5" PhysicalSizeY="0.25"', root="", **changes):
    sizes = {"SizeX": 50, "SizeY": 40, "SizeC": 3, "SizeZ": 1, "SizeT": 1, "DimensionOrder": "XYCZT"} | changes
    attributes = " ".join(f'{name}="{value}"' for name, value in sizes.items() if value is not None)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{ROOT.format(root)}<Image ID="Image:0"><Pixels ID="Pixels:0" '
        f'Type="uint16" {attributes} {more}>{inner}</Pixels></Image></OME>'
    )


def write(path, planes, text="", place=0, encoding="utf-8", **options):
    with tifffile.TiffWriter(path) as tif:
        for index, plane in enumerate(planes):
            about = text.encode(encoding) if index == place and text else None
            tif.write(plane, description=about, metadata=None, contiguous=False, **options)
    return path


def tiff_data(extra):
    return CHANNELS + "".join(
        f'<TiffData IFD="{index}" FirstC="{index}" PlaneCount="1">{extra}</TiffData>' for index in range(3)
    )


@pytest.mark.parametrize(
    "text",
    [
        document(),
        document() + "\x01",
        document() + "\0\0 \r\n trailing",
        "\ufeff" + document(),
        document(SizeZ=None, SizeT=None),
        document(SizeC=None, DimensionOrder=None),
        document(CHANNELS + "<MetadataOnly/>"),
        document()
        .replace("<", "<ome:")
        .replace("<ome:/", "</ome:")
        .replace("<ome:?", "<?")
        .replace("xmlns", "xmlns:ome"),
        document().replace("CD31", "CD31\x02").replace("QD", "QD&#1;"),
        document(tiff_data("<UUID>urn:uuid:1</UUID>")),
        document(tiff_data('<UUID FileName="called otherwise.ome.tif">urn:uuid:1</UUID>')),
        document(tiff_data('<UUID FileName="old.ome.tif">urn:uuid:1</UUID>'), root=' UUID="urn:uuid:1"'),
        document(more='PhysicalSizeX="0,5" PhysicalSizeY="250" PhysicalSizeYUnit="nm"'),
        document(more='PhysicalSizeX="0.0005" PhysicalSizeXUnit="mm" PhysicalSizeY=" 0,25 "'),
    ],
)
def test_ome_xml_that_the_parser_drops_is_read(tmp_path, pixels, text):
    slide = open_slide(write(tmp_path / "a.tif", pixels, text))
    assert slide.channel_names == NAMES
    assert slide.pixel_size_um == pytest.approx((0.25, 0.5))
    assert np.array_equal(slide.levels[0].compute(), pixels)


@pytest.mark.parametrize("place", [1, 2])
def test_ome_xml_on_another_page_is_read(tmp_path, pixels, place):
    slide = open_slide(write(tmp_path / "a.tif", pixels, document(), place))
    assert (slide.channel_names, slide.pixel_size_um) == (NAMES, (0.25, 0.5))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "latin-1"])
def test_ome_xml_of_two_bytes_a_character_is_read(tmp_path, pixels, encoding):
    text = document(CHANNELS.replace("DAPI", "DÄPI")).replace("UTF-8", encoding)
    slide = open_slide(write(tmp_path / "a.ome.tif", pixels, text, encoding=encoding))
    assert slide.channel_names == ("DÄPI", "CD31", "QD")
    assert slide.pixel_size_um == (0.25, 0.5)


def test_order_of_planes_is_that_of_the_document(tmp_path, pixels):
    path = write(tmp_path / "a.tif", [*pixels, *(pixels + 1)], document(SizeZ=2, DimensionOrder="XYCZT"))
    assert np.array_equal(open_slide(path, z=1).levels[0].compute(), pixels + 1)
    path = write(tmp_path / "b.tif", [*pixels, *(pixels + 1)], document(SizeZ=2, DimensionOrder="XYZCT"))
    expected = np.concatenate([pixels, pixels + 1])[1::2]
    assert np.array_equal(open_slide(path, z=1).levels[0].compute(), expected)


def test_several_images_without_places_follow_each_other(tmp_path, pixels):
    image = document().split("?>")[1].removeprefix(ROOT.format("")).removesuffix("</OME>")
    path = write(tmp_path / "a.tif", [*pixels, *(pixels + 1)], ROOT.format("") + image + image + "</OME>")
    assert np.array_equal(open_slide(path, series=1).levels[0].compute(), pixels + 1)


def test_entities_of_html_and_bare_ampersands_are_understood(tmp_path, pixels):
    text = document(CHANNELS.replace("DAPI", "DAPI & blue").replace("QD", "QD 1 &micro;g"))
    names = open_slide(write(tmp_path / "a.tif", pixels, text)).channel_names
    assert names == ("DAPI & blue", "CD31", "QD 1 µg")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (document(SizeX=51), "does not fit its image"),
        (document(SizeC=4), "does not fit its image"),
        (document(more='PhysicalSizeX="half" PhysicalSizeY="0.5"'), "'half' µm"),
        (document(more='PhysicalSizeX="1,234.5" PhysicalSizeY="0.5"'), "'1,234.5' µm"),
        (document(more='PhysicalSizeX="2" PhysicalSizeXUnit="furlong" PhysicalSizeY="0.5"'), "furlong"),
        (document(more='PhysicalSizeX="0.5"'), "no height of a pixel, so it counts as square"),
        (document(CHANNELS + '<Channel ID="Channel:0:3" Name="GFP"/>', SizeC=3), "names 4 channels and holds 3"),
        (document(more='PhysicalSizeX="0.0002744" PhysicalSizeY="0.0002744"'), "not used"),
        (ROOT.format("") + '<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:1"/></OME>', "companion"),
        ("Acquired with pixel size 0.5 x 0.5 um at 20x", "in words that are not understood"),
        ("ImageJ=1.53c\nunit=furlong\nimages=3\nchannels=3\n", "furlong"),
        ("ImageJ=1.53c\nimages=2\nchannels=2\n", "holds 3 planes"),
        ("ImageJ=1.53c\nimages=3\nchannels=2\n", "holds 3 planes"),
        ("ImageJ=1.53c\nimages=x\nchannels=3\n", "not understood: its pages are opened in their order"),
        ("ImageJ=1.53c\nimages=3\nchannels=3.0\n", "not understood: its pages are opened in their order"),
        ('{"shape": "x"}', "not understood: its pages are opened in their order"),
        ('{"shape": [3, 40, 50]', "not understood: its pages are opened in their order"),
        (document(CHANNELS.replace('"CD31"', '"CD31" SamplesPerPixel="2"'), more=""), "not understood: its pages"),
        (document(CHANNELS + '<TiffData IFD="9" PlaneCount="3"/>'), "without the positions of its planes"),
    ],
)
def test_what_is_not_understood_is_told(tmp_path, pixels, text, said):
    path = write(tmp_path / "a.tif", pixels, text, resolution=(2, 2))
    with pytest.warns(SlideWarning, match=said) as caught:
        open_slide(path)
    assert len(caught) == 1


def test_pixel_that_is_no_length_is_no_matter_to_tell(tmp_path, pixels):
    text = document(more='PhysicalSizeX="1.0" PhysicalSizeXUnit="pixel" PhysicalSizeY="1.0" PhysicalSizeYUnit="pixel"')
    assert open_slide(write(tmp_path / "a.tif", pixels, text)).pixel_size_um is None


def test_description_of_a_set_of_files_is_read_from_its_companion(tmp_path, pixels):
    companion = document(
        CHANNELS
        + "".join(
            f'<TiffData IFD="0" FirstC="{index}" PlaneCount="1"><UUID FileName="c{index}.tif">urn:uuid:{index}</UUID>'
            "</TiffData>"
            for index in range(3)
        )
    )
    (tmp_path / "set.companion.ome").write_text(companion)
    for index, plane in enumerate(pixels):
        only = f'<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:{index}"/></OME>'
        write(tmp_path / f"c{index}.tif", [plane], ROOT.format("") + only)
    slide = open_slide(tmp_path / "c1.tif")
    assert (slide.channel_names, slide.pixel_size_um) == (NAMES, (0.25, 0.5))
    assert np.array_equal(slide.levels[0].compute(), pixels)


@pytest.mark.parametrize("uuid", ["urn:uuid:1", "urn:uuid:2"], ids=["same", "another"])
@pytest.mark.parametrize("storage", [{}, {"compression": "zlib"}], ids=["raw", "packed"])
def test_file_in_a_subfolder_is_the_one_that_is_named(tmp_path, pixels, uuid, storage):
    blocks = (
        '<TiffData IFD="0" FirstC="0" PlaneCount="1"><UUID FileName="a.ome.tif">urn:uuid:1</UUID></TiffData>'
        f'<TiffData IFD="0" FirstC="1" PlaneCount="1"><UUID FileName="sub/b.tif">{uuid}</UUID></TiffData>'
        f'<TiffData IFD="0" FirstC="2" PlaneCount="1"><UUID FileName="b.tif">{uuid}</UUID></TiffData>'
    )
    (tmp_path / "sub").mkdir()
    write(tmp_path / "a.ome.tif", pixels[:1], document(CHANNELS + blocks, root=' UUID="urn:uuid:1"'), **storage)
    write(tmp_path / "sub" / "b.tif", pixels[1:2], **storage)
    write(tmp_path / "b.tif", pixels[2:], **storage)
    assert np.array_equal(open_slide(tmp_path / "a.ome.tif").levels[0].compute(), pixels)


@pytest.mark.parametrize("name", ["../b.tif", "/etc/b.tif", "C:\\\\b.tif", "\\\\\\\\server\\\\b.tif"])
def test_file_of_another_folder_is_refused(tmp_path, pixels, name):
    blocks = (
        '<TiffData IFD="0" FirstC="0" PlaneCount="1"><UUID FileName="a.tif">urn:uuid:1</UUID></TiffData>'
        f'<TiffData IFD="0" FirstC="1" PlaneCount="1"><UUID FileName="{name}">urn:uuid:2</UUID></TiffData>'
    )
    with pytest.raises(SlideError, match="of another folder"):
        open_slide(write(tmp_path / "a.tif", pixels[:1], document(CHANNELS + blocks)))


def test_copy_beside_the_file_it_was_copied_from_is_read_itself(tmp_path, pixels):
    text = document(tiff_data('<UUID FileName="a.tif">urn:uuid:1</UUID>'))
    write(tmp_path / "a.tif", pixels, text)
    write(tmp_path / "copy.tif", pixels + 1, text)
    assert np.array_equal(open_slide(tmp_path / "copy.tif").levels[0].compute(), pixels + 1)


# samples of a pixel


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_samples_that_are_not_declared_as_transparency_are_channels(tmp_path, planar):
    image = np.random.default_rng(2).integers(0, 4000, (40, 50, 5), np.uint16)
    for samples in (2, 4, 5):
        stored = image[..., :samples] if planar == "contig" else np.moveaxis(image[..., :samples], -1, 0)
        photometric = "rgb" if samples > 3 else "minisblack"
        extra = ["unspecified"] * (samples - (3 if samples > 3 else 1))
        path = tmp_path / f"{samples}.tif"
        tifffile.imwrite(path, stored, photometric=photometric, planarconfig=planar, extrasamples=extra, metadata=None)
        assert np.array_equal(open_slide(path).levels[0].compute(), np.moveaxis(image[..., :samples], -1, 0))


@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha"])
def test_declared_transparency_is_left_out_and_told(tmp_path, kind):
    image = np.random.default_rng(2).integers(0, 4000, (40, 50, 5), np.uint16)
    for samples, photometric, extra in (
        (2, "minisblack", [kind]),
        (4, "rgb", [kind]),
        (5, "rgb", ["unspecified", kind]),
    ):
        path = tmp_path / f"{samples}.tif"
        tifffile.imwrite(path, image[..., :samples], photometric=photometric, extrasamples=extra, planarconfig="contig")
        with pytest.warns(SlideWarning, match=f"{samples} samples .* ignored as transparency"):
            slide = open_slide(path)
        assert np.array_equal(slide.levels[0].compute(), np.moveaxis(image[..., : samples - 1], -1, 0))


def test_fourth_sample_of_a_light_photograph_is_no_channel(tmp_path):
    image = np.full((100, 100, 4), 235, np.uint8)
    tifffile.imwrite(tmp_path / "he.tif", image, photometric="rgb", extrasamples=["unspecified"])
    with pytest.warns(SlideWarning) as caught:
        slide = open_slide(tmp_path / "he.tif")
    assert (slide.is_brightfield, slide.levels[0].shape, len(caught)) == (True, (3, 100, 100), 2)


def test_names_of_channels_that_share_a_pixel_are_numbered(tmp_path):
    image = np.random.default_rng(2).integers(0, 4000, (40, 50, 4), np.uint16)
    text = document('<Channel ID="Channel:0:0" Name="scan" SamplesPerPixel="4"/>', SizeC=4)
    tifffile.imwrite(
        tmp_path / "a.tif",
        image,
        photometric="rgb",
        extrasamples=["unspecified"],
        metadata=None,
        description=text.encode(),
    )
    assert open_slide(tmp_path / "a.tif").channel_names == ("scan 0", "scan 1", "scan 2", "scan 3")


# numbers and units of programs


@pytest.mark.parametrize(
    ("value", "um"),
    [("0,5", 0.5), (" 0,5 ", 0.5), ("5e-1", 0.5), ("5,0E-1", 0.5), ("1,234.5", None), ("1.234,5", None), ("0_5", None)],
)
def test_decimal_commas_are_read_and_thousands_are_not_guessed(value, um):
    assert micrometres(value, "µm") == um


def test_sides_in_different_units_are_both_read():
    assert read_pixel_size(("0.00025", "mm"), ("500", "nm"))[0] == pytest.approx((0.25, 0.5))


@pytest.mark.parametrize(
    ("mpp", "um"), [("0.5000", 0.5), ("0,5000", 0.5), ("1,9000", 1.9), ("5e-1", 0.5), (" 0.5 ", 0.5)]
)
def test_svs_tells_its_pixel_size_in_any_locale(tmp_path, mpp, um):
    text = f"Aperio Image Library v11.2.1 \r\n64x64 (32x32) JPEG/RGB Q=30|AppMag = 20|MPP = {mpp}|Left = 25,3"
    tifffile.imwrite(
        tmp_path / "a.svs",
        np.zeros((64, 64, 3), np.uint8),
        tile=(32, 32),
        photometric="rgb",
        metadata=None,
        description=text,
    )
    assert open_slide(tmp_path / "a.svs").pixel_size_um == (um, um)


def test_imagej_has_a_unit_for_each_axis(tmp_path, pixels):
    text = "ImageJ=1.53c\nimages=3\nchannels=3\nunit=mm\nyunit=\\u00B5m\n"
    path = write(tmp_path / "a.tif", pixels, text, resolution=(2000, 4))
    assert open_slide(path).pixel_size_um == pytest.approx((0.25, 0.5))


@pytest.mark.parametrize("count", ["images=1\n", "images=1\nslices=1\n", "", "images=3\nslices=3\n"])
def test_pages_that_imagej_does_not_count_are_channels_or_a_stack(tmp_path, pixels, count):
    path = write(tmp_path / "a.tif", pixels, f"ImageJ=1.53c\n{count}")
    if "slices=3" in count:
        assert np.array_equal(open_slide(path, z=2).levels[0].compute(), pixels[2:])
    else:
        assert np.array_equal(open_slide(path).levels[0].compute(), pixels)


def test_micromanager_names_and_sizes_are_read(tmp_path, pixels):
    found = json.dumps({"PixelSizeUm": 0.5, "Summary": {"ChNames": NAMES, "PixelSize_um": 0.5}}).encode()
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for plane in pixels:
            tif.write(
                plane, metadata=None, contiguous=False, extratags=[(51123, 2, len(found) + 1, found + b"\0", True)]
            )
    slide = open_slide(path)
    assert (slide.channel_names, slide.pixel_size_um) == (NAMES, (0.5, 0.5))


def test_names_and_sizes_of_scripts_and_of_pages_are_read(tmp_path, pixels):
    about = {"Channel": {"Name": list(NAMES)}, "PhysicalSizeX": 0.5, "PhysicalSizeY": 250, "PhysicalSizeYUnit": "nm"}
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", metadata=about)
    slide = open_slide(tmp_path / "a.tif")
    assert (slide.channel_names, slide.pixel_size_um) == (NAMES, (0.25, 0.5))
    with tifffile.TiffWriter(tmp_path / "b.tif") as tif:
        for plane, name in zip(pixels, NAMES, strict=True):
            tif.write(plane, metadata=None, contiguous=False, extratags=[(285, 2, 0, name, True)])
    assert open_slide(tmp_path / "b.tif").channel_names == NAMES


@pytest.mark.parametrize(
    ("unit", "per_unit"), [("INCH", (101_600, 50_800)), ("CENTIMETER", (40_000, 20_000)), ("MILLIMETER", (4000, 2000))]
)
def test_resolution_is_read_in_its_unit(tmp_path, pixels, unit, per_unit):
    path = write(tmp_path / "a.tif", pixels, resolution=per_unit, resolutionunit=unit)
    assert open_slide(path).pixel_size_um == pytest.approx((0.5, 0.25))


def test_inverted_values_are_told(tmp_path, pixels):
    tifffile.imwrite(tmp_path / "a.tif", pixels[0], photometric="miniswhite")
    with pytest.warns(SlideWarning, match="0 is white"):
        assert np.array_equal(open_slide(tmp_path / "a.tif").levels[0].compute()[0], pixels[0])


def test_leica_scn_is_its_largest_image(tmp_path, pixels):
    dimension = '<dimension sizeX="{}" sizeY="{}" r="0" c="{}" ifd="{}"/>'
    scan = "".join(dimension.format(50, 40, channel, channel + 1) for channel in range(2))
    text = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection>'
        f'<image name="macro"><pixels>{dimension.format(20, 16, 0, 0)}</pixels></image>'
        f'<image name="scan"><pixels>{scan}</pixels></image></collection></scn>'
    )
    path = write(tmp_path / "a.scn", [pixels[0, :16, :20], *pixels[1:]], text)
    with pytest.warns(SlideWarning, match="2 images and image 1"):
        assert np.array_equal(open_slide(path).levels[0].compute(), pixels[1:])


def test_philips_and_metaseries_sizes_are_read(tmp_path, pixels):
    philips = (
        '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport"><Attribute '
        'Name="DICOM_PIXEL_SPACING">"0.00025" "0.0005"</Attribute></DataObject>'
    )
    metaseries = (
        '<MetaData><PlaneInfo><prop id="spatial-calibration-state" type="bool" value="on"/>'
        '<prop id="spatial-calibration-x" type="float" value="0.5"/><prop id="spatial-calibration-y" type="float" '
        'value="0.25"/><prop id="spatial-calibration-units" type="string" value="um"/></PlaneInfo></MetaData>'
    )
    for program, text in (("Philips DP v1.0", philips), ("MetaSeries", metaseries)):
        path = write(tmp_path / "a.tif", pixels[:1], text, software=program)
        assert open_slide(path).pixel_size_um == pytest.approx((0.25, 0.5)), program

"""OME-Zarrs whose metadata and pixels do not agree: opened as they are stored, with a warning, or refused."""

import json
import os
import re
import shutil
import warnings

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from napari_hrpn.slides import SlideError, SlideWarning, list_series, open_slide, zarr_arrays
from support.object_storage import uploaded
from support.ome_zarr import write_image

KINDS = {
    "2.": (2, "v2", "."),
    "2/": (2, "v2", "/"),
    "3/": (3, "default", "/"),
    "3.": (3, "default", "."),
    "3v": (3, "v2", "."),
}


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(1, 4000, (3, 130, 170), np.uint16)


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def image(folder, levels, change=lambda _: None, version="0.4", **options):
    """An OME-Zarr of which `change` has altered the attributes."""
    write_image(folder, levels, version=version, **options)
    if version == "0.4":
        edit(folder / ".zattrs", change)
    else:
        edit(folder / "zarr.json", lambda content: change(content["attributes"]["ome"]))
    return folder


def changed(**entries):
    return lambda attributes: attributes["multiscales"][0].update(entries)


def in_dataset(index, **entries):
    return lambda attributes: attributes["multiscales"][0]["datasets"][index].update(entries)


def opened(path, warning=None, **plane):
    if warning is None:
        return open_slide(path, **plane)
    with pytest.warns(SlideWarning, match=warning) as caught:
        slide = open_slide(path, **plane)
    assert all("\n" not in str(one.message) for one in caught)
    return slide


def rename_chunks(folder, kind):
    """Give the chunks of an array the names of another kind, and leave its metadata as they are."""
    _, name, separator = KINDS[kind]
    chunks = {}
    for file in list(folder.rglob("*")):
        if file.is_file() and not file.name.startswith((".z", "zarr")):
            numbers = re.findall(r"\d+", file.relative_to(folder).as_posix())
            chunks[separator.join(["c"] * (name == "default") + numbers)] = file.read_bytes()
            file.unlink()
    for words, content in chunks.items():
        (folder / words).parent.mkdir(parents=True, exist_ok=True)
        (folder / words).write_bytes(content)


@pytest.mark.parametrize(("declared", "stored"), [(a, b) for a in KINDS for b in KINDS if a[0] == b[0]])
def test_chunks_are_found_under_the_names_they_have(tmp_path, pixels, declared, stored, bucket):
    version, name, separator = KINDS[declared]
    zarr.create_array(
        tmp_path / "a",
        shape=pixels.shape,
        dtype=pixels.dtype,
        chunks=(1, 64, 64),
        zarr_format=version,
        chunk_key_encoding={"name": name, "separator": separator},
    )[:] = pixels
    rename_chunks(tmp_path / "a", stored)
    for place in (tmp_path / "a", uploaded(tmp_path / "a", f"{bucket}/a")):
        np.testing.assert_array_equal(open_slide(place).levels[0].compute(scheduler="synchronous"), pixels)


def test_a_separator_that_is_not_declared_is_found(tmp_path, pixels):
    path = image(tmp_path / "a", [pixels])
    rename_chunks(path / "0", "2/")
    edit(path / "0" / ".zarray", lambda content: content.pop("dimension_separator", None))
    np.testing.assert_array_equal(open_slide(path).levels[0].compute(), pixels)


def remove_chunks(folder, share=1.0):
    chunks = sorted(file for file in folder.rglob("*") if file.is_file() and file.name[0].isdigit())
    for file in chunks[: round(share * len(chunks))]:
        file.unlink()


def test_levels_that_lost_their_chunks_are_no_black_pixels(tmp_path, pixels):
    levels = [pixels, pixels[:, ::2, ::2]]
    remove_chunks(image(tmp_path / "fine", levels) / "0")
    with pytest.raises(SlideError, match="lost the pixels of its finest level"):
        open_slide(tmp_path / "fine")
    remove_chunks(image(tmp_path / "coarse", levels) / "1")
    assert len(opened(tmp_path / "coarse", "no chunk of its level 1").levels) == 1
    remove_chunks(image(tmp_path / "few", [pixels]) / "0", 0.8)
    opened(tmp_path / "few", r"about \d+% of the chunks .* reads as 0")
    opened(image(tmp_path / "none", [pixels * 0]), "no chunk of its finest level")
    # what is left out where it is empty is no fault
    pixels[0], pixels[1, :64] = 0, 0
    np.testing.assert_array_equal(open_slide(image(tmp_path / "sound", [pixels])).levels[0].compute(), pixels)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_largest_level_is_the_finest(tmp_path, pixels, version):
    levels = [pixels, pixels[:, ::2, ::2], pixels[:, ::4, ::4]]

    def shuffle(attributes):
        datasets = attributes["multiscales"][0]["datasets"]
        attributes["multiscales"][0]["datasets"] = [datasets[1], datasets[2], datasets[0]]

    slide = open_slide(image(tmp_path / "a", levels, shuffle, version=version))
    assert slide.pixel_size_um == (0.5, 0.5)
    for level, expected in zip(slide.levels, levels, strict=True):
        np.testing.assert_array_equal(level.compute(), expected)
    assert list_series(tmp_path / "a")[0].shape == pixels.shape


@pytest.mark.parametrize(
    "change",
    [
        changed(coordinateTransformations=None),
        changed(name=None, type=None, metadata=None),
        lambda attributes: attributes.update(omero=None),
        lambda attributes: attributes.update(omero={"channels": None, "rdefs": None}),
        lambda attributes: attributes.update(omero={"channels": [None, {}, {"label": None}]}),
        lambda attributes: attributes.update(omero=[]),
        lambda attributes: attributes.update({"bioformats2raw.layout": None, "series": None, "labels": None}),
        changed(coordinateTransformations=[{"type": "identity"}, {"type": "translation", "translation": [0, 7, 7]}]),
        lambda attributes: attributes.update(multiscales=attributes["multiscales"][0]),
    ],
)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_null_is_not_there(tmp_path, pixels, change, version):
    slide = open_slide(image(tmp_path / "a", [pixels], change, version=version))
    assert slide.pixel_size_um == (0.5, 0.5)
    np.testing.assert_array_equal(slide.levels[0].compute(), pixels)


@pytest.mark.parametrize(
    "scale",
    [
        [0.5, 0.5],
        [1, 0.5, 0.5, 1],
        [1, 0, 0.5],
        [1, -1, 0.5],
        [1, "0.5", 0.5],
        [1, None, 0.5],
        [1, float("nan"), 1],
        "x",
        None,
    ],
)
def test_a_scale_that_is_none_makes_the_size_unknown(tmp_path, pixels, scale):
    path = image(tmp_path / "a", [pixels], in_dataset(0, coordinateTransformations=[{"type": "scale", "scale": scale}]))
    slide = opened(path, "scale that is not understood .* counts as unknown")
    assert slide.pixel_size_um is None
    np.testing.assert_array_equal(slide.levels[0].compute(), pixels)


def axes(*described):
    return changed(axes=list(described))


Y, X = {"name": "y", "unit": "micrometer"}, {"name": "x", "unit": "micrometer"}


@pytest.mark.parametrize(
    ("change", "warning", "size"),
    [
        (axes("c", "y", "x"), None, None),
        (axes({"name": "Channel", "type": "channel"}, Y, X), None, (0.5, 0.5)),
        (axes({"name": "c"}, Y, {"name": "x", "unit": "nanometer"}), "0.0005 x 0.5 µm.*not used", None),
        (axes({"name": "c"}, Y, {"name": "x"}), "unit .*along y and null along x: .*unknown", None),
        (axes({"name": "c"}, {"name": "y", "unit": 5}, {"name": "x", "unit": []}), None, None),
        (changed(axes=None), "the first of three counts as channels", None),
        (in_dataset(0, coordinateTransformations=None), None, None),
        (in_dataset(0, coordinateTransformations=[{"type": "affine", "affine": [[1]]}]), "counts as unknown", None),
    ],
)
def test_axes_and_units_that_are_missing_or_mixed(tmp_path, pixels, change, warning, size):
    slide = opened(image(tmp_path / "a", [pixels], change), warning)
    assert slide.pixel_size_um == (None if size is None else pytest.approx(size))
    np.testing.assert_array_equal(slide.levels[0].compute(), pixels)


def test_a_coarse_level_with_finer_pixels_makes_the_size_unknown(tmp_path, pixels):
    levels = [pixels, pixels[:, ::2, ::2]]
    wrong = in_dataset(1, coordinateTransformations=[{"type": "scale", "scale": [1, 0.25, 0.25]}])
    assert opened(image(tmp_path / "a", levels, wrong), "larger pixels than the smaller level").pixel_size_um is None


@pytest.mark.parametrize("odd", [(2, 65, 85), (3, 140, 85), (3, 65, 200)])
def test_a_level_that_is_no_smaller_copy_is_left_out(tmp_path, pixels, odd):
    path = image(tmp_path / "a", [pixels, np.ones(odd, np.uint16), pixels[:, ::3, ::5]])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        slide = open_slide(path)
    if odd[1] * odd[2] <= 130 * 170:
        assert [level.shape for level in slide.levels] == [(3, 130, 170), (3, 44, 34)]
    assert any("is no smaller copy of the finest" in str(one.message) for one in said)


@pytest.mark.parametrize("labels", [("A",), ("A", "B", "C", "D")])
def test_names_that_do_not_fit_are_told(tmp_path, pixels, labels):
    slide = opened(image(tmp_path / "a", [pixels], labels=labels), f"names {len(labels)} channels but holds 3")
    assert slide.channel_names == (*labels, "Channel 1", "Channel 2")[:3]


def test_names_need_not_be_strings(tmp_path, pixels):
    slide = open_slide(image(tmp_path / "a", [pixels], labels=(5, {"x": 1}, "QD\x00")))
    assert slide.channel_names[:2] == ("5", "Channel 1")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda attributes: attributes.update(multiscales=[]), "lists no image"),
        (lambda attributes: attributes.update(multiscales=[None]), "'multiscales' is"),
        (changed(datasets=None), "'datasets' is no list"),
        (changed(datasets=[{}]), "'datasets' is no list"),
        (changed(axes={"name": "c"}), "the axes are"),
        (axes({"name": None}, Y, X), "the axes are"),
        (axes({}, Y, X), "the axes are"),
        (changed(axes=None, coordinateSystems=[]), "version after 0.5"),
        *(
            (in_dataset(0, path=path), "leads out of it")
            for path in ("../other/0", "/etc", "0/../../x", "C:\\x", "..\\x")
        ),
        (in_dataset(0, path="memory://bucket/0"), "leads out of it"),
        (in_dataset(0, path=None), "lists the path null"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence_without_words_of_python(tmp_path, pixels, change, said):
    image(tmp_path / "other", [pixels])
    with pytest.raises(SlideError, match=said) as caught:
        open_slide(image(tmp_path / "a.zarr", [pixels], change))
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert not any(word in sentence for word in ("\n", "Error", "NoneType", "__", "damaged", "to -1"))


@pytest.mark.skipif(os.name == "nt", reason="links take a right of their own there")
@pytest.mark.parametrize("linked", ["0", "0/c", "0/c/0", "0/c/0/1/1", "0/zarr.json", "zarr.json"])
def test_links_that_lead_out_are_not_followed(tmp_path, pixels, linked):
    path = image(tmp_path / "a.zarr", [pixels], version="0.5")
    (path / linked).rename(tmp_path / "outside")
    (path / linked).symlink_to(tmp_path / "outside")
    with pytest.raises(SlideError, match=r"link that leads out of it .*`cp -rL`"):
        open_slide(path).levels[0].compute(scheduler="synchronous")
    # a link to the whole is a name for it, and one that stays inside leads nowhere else
    inside = image(tmp_path / "b.zarr", [pixels], version="0.5")
    (inside / linked).rename(inside / "moved")
    (inside / linked).symlink_to(inside / "moved")
    (tmp_path / "name.zarr").symlink_to(inside)
    np.testing.assert_array_equal(open_slide(tmp_path / "name.zarr").levels[0].compute(), pixels)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_byte_order_mark_is_read_over(tmp_path, pixels, encoding, version):
    path = image(tmp_path / "a", [pixels], version=version)
    for file in path.glob("*z*"):
        if file.is_file():
            file.write_text(file.read_text(), encoding=encoding)
    assert open_slide(path).channel_names == ("DAPI", "CD31", "QD")


def test_settings_of_blosc_that_zarr_does_not_know_are_read_over(tmp_path, pixels):
    zarr.create_array(tmp_path / "a", data=pixels, chunks=(1, 64, 64), compressors=BloscCodec())

    def add(content):
        next(codec for codec in content["codecs"] if codec["name"] == "blosc")["configuration"]["nthreads"] = 1

    edit(tmp_path / "a" / "zarr.json", add)
    np.testing.assert_array_equal(open_slide(tmp_path / "a").levels[0].compute(), pixels)


@pytest.mark.parametrize(
    ("version", "changes"),
    [
        ("0.5", {"codecs": [{"name": "imagecodecs_jpegxl", "configuration": {}}]}),
        ("0.5", {"data_type": "r24"}),
        ("0.5", {"chunk_grid": {"name": "rectangular", "configuration": {}}}),
        ("0.4", {"compressor": {"id": "imagecodecs_jpegxl"}}),
        ("0.4", {"dtype": "what"}),
        ("0.4", {"chunks": None}),
    ],
)
def test_an_array_of_another_kind_is_told_by_its_kind(tmp_path, pixels, version, changes):
    path = image(tmp_path / "a.zarr", [pixels], version=version)
    edit(path / "0" / ("zarr.json" if version == "0.5" else ".zarray"), lambda content: content.update(changes))
    with pytest.raises(SlideError, match=r"a\.zarr/0 is stored in a way that cannot be read here \(pixels ") as caught:
        open_slide(path)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "chunks", "said"),
    [
        ((1, 2**31, 2**31), (1, 1, 1), "too large"),
        ((10**6, 64, 64), (1, 64, 64), "too large"),
        ((100, 2**18, 2**18), (1, 512, 512), "too large"),
        ((1, 5000, 5000), (1, 1, 1), "chunks of 1 x 1 px"),
        ((1, 100, 100), (1, 2**31, 2**31), "GiB"),
    ],
)
def test_what_would_take_minutes_is_refused(tmp_path, shape, chunks, said):
    zarr.create_array(tmp_path / "a" / "0", shape=shape, chunks=chunks, dtype="uint8")
    image(tmp_path / "b", [np.ones((3, 9, 9), np.uint8)])
    shutil.copy(tmp_path / "b" / ".zattrs", tmp_path / "a" / ".zattrs")
    with pytest.raises(SlideError, match=said):
        open_slide(tmp_path / "a")


def test_what_zarrs_refuses_is_read_by_zarr(tmp_path, pixels, monkeypatch):
    pytest.importorskip("zarrs")
    monkeypatch.undo()
    zarr.create_array(tmp_path / "a", shape=pixels.shape, dtype="u2", chunks=(1, 64, 64), order="F", zarr_format=2)[
        :
    ] = pixels
    zarr.create_array(tmp_path / "b", data=pixels, chunks=(1, 64, 64), compressors=[ZstdCodec(), Crc32cCodec()])
    for name in "ab":
        assert zarr_arrays._has_zarrs(zarr_arrays.open_zarr_array(tmp_path / name))
        np.testing.assert_array_equal(open_slide(tmp_path / name).levels[0].compute(scheduler="synchronous"), pixels)

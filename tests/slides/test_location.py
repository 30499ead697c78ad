"""Paths and addresses: what is understood as which, slides at addresses equal to those in folders, one sentence."""

import functools
import http.server
import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from upath import UPath

from napari_hrpn.slides import (
    Slide,
    SlideError,
    as_location,
    is_address,
    list_series,
    local_path,
    open_cache,
    open_slide,
    slide_identity,
    slide_name,
    write_ome_zarr,
)
from napari_hrpn.slides.location import user_path
from support.object_storage import address_of, objects, uploaded
from support.ome_zarr import write_attributes, write_image
from support.predictions import make_slide, save_slide


class OnlyFiles(http.server.SimpleHTTPRequestHandler):
    """A server like those of buckets: no listings, and forbidden where nothing is."""

    def do_GET(self) -> None:
        self.answer(super().do_GET)

    def do_HEAD(self) -> None:
        self.answer(super().do_HEAD)

    def answer(self, as_ever) -> None:
        if Path(self.directory, "broken").exists():
            self.send_error(503)
        elif Path(self.translate_path(self.path)).is_file():
            as_ever()
        else:
            self.send_error(403)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """Address at which the files below the temporary folder are."""
    handler = functools.partial(OnlyFiles, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def saved(tmp_path: Path) -> Slide:
    """A slide in a folder, with a level that is not stored."""
    return save_slide(make_slide(1100, 600, tmp_path / "none"), tmp_path / "slide.ome.zarr")


def assert_same(one: Slide, other: Slide) -> None:
    assert one.channel_names == other.channel_names
    assert one.pixel_size_um == other.pixel_size_um
    assert one.stored_levels == other.stored_levels
    for mine, its in zip(one.levels, other.levels, strict=True):
        np.testing.assert_array_equal(mine.compute(), its.compute())


@pytest.mark.parametrize("words", ["slide.tif", "/data/a b.ome.zarr", "C:\\slides\\a.tif", "C:/slides", "~/x", "a//b"])
def test_a_path_stays_what_it_was(words):
    assert not is_address(words)
    assert as_location(words) == Path(words)
    assert type(as_location(words)) is type(Path())
    assert as_location(Path(words)) == Path(words)
    assert local_path(words) == Path(words)


def test_a_path_with_a_home_is_a_file_of_that_name_first(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~root").mkdir()
    (tmp_path / "study" / "~nobody").mkdir(parents=True)
    assert user_path("~") == tmp_path
    assert user_path("~/a.tif") == tmp_path / "a.tif"
    assert user_path("~a.ome.tif") == Path("~a.ome.tif")
    assert user_path(Path("~root/a.tif")) == Path("~root/a.tif")
    assert user_path("~nobody/a.tif", tmp_path / "study") == Path("~nobody/a.tif")
    with pytest.raises(SlideError, match="home of a user"):
        open_slide("~no-such-user/a.tif")


@pytest.mark.parametrize("words", ["a\0b.tif", "p\ud800q"])
def test_what_no_file_is_called_is_told_in_one_sentence(words):
    with pytest.raises(SlideError, match="is no path"):
        user_path(words)


def test_an_address_keeps_its_slashes_and_a_file_address_is_a_path(bucket):
    place = as_location(f"{bucket}/folder/slide.ome.zarr/")
    assert isinstance(place, UPath)
    assert (str(place), place.name, slide_name(place)) == (f"{bucket}/folder/slide.ome.zarr", "slide.ome.zarr", "slide")
    assert as_location(place) is place
    assert as_location("file:///data/a%20b.ome.zarr") == Path("/data/a b.ome.zarr")
    with pytest.raises(SlideError, match="expected a file or folder of this machine"):
        local_path(place)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("foo://bucket/slide.ome.zarr", "Unsupported filesystem: 'foo'"),
        ("s3://", "it ends where the name should be"),
    ],
)
def test_what_is_no_address_is_told_in_one_sentence(words, sentence):
    with pytest.raises(SlideError, match=re.escape(sentence)):
        as_location(words)


@pytest.mark.parametrize("missing", ["upath", "s3fs"])
def test_packages_that_are_not_installed_are_named(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    # what fsspec has imported already
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(SlideError, match=r"napari-hrpn\[remote\]" if missing == "upath" else "s3fs"):
        as_location(f"s3://bucket/{missing}.ome.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("where", ["memory", "file", "web"])
def test_a_slide_at_an_address_is_that_of_the_folder(where, version, tmp_path, bucket, web):
    folder = tmp_path / "slide.ome.zarr"
    pixels = np.random.default_rng(1).integers(0, 4000, (3, 130, 170), np.uint16)
    write_image(folder, [pixels, pixels[:, ::2, ::2]], version=version)
    places = {"memory": f"{bucket}/slide.ome.zarr", "file": address_of(folder), "web": f"{web}/slide.ome.zarr"}
    if where == "memory":
        uploaded(folder, places[where])
    slide = open_slide(places[where])
    assert isinstance(slide.source, UPath)
    assert_same(slide, open_slide(folder))
    assert list_series(places[where]) == list_series(folder)
    assert slide_name(slide.source) == "slide"
    inside = f"{places[where]}/{'zarr.json' if version == '0.5' else '.zattrs'}"
    if where != "file":
        assert_same(open_slide(inside), slide)


@pytest.mark.parametrize("listed", [True, False])
def test_images_of_a_conversion_are_found_without_a_list_of_folders(listed, tmp_path, bucket, web):
    pixels = np.arange(40 * 50, dtype=np.uint8).reshape(1, 40, 50)
    for number in range(3):
        write_image(tmp_path / "scan.zarr" / str(number), [pixels + number], labels=("DAPI",))
    write_attributes(tmp_path / "scan.zarr", {"bioformats2raw.layout": 3})
    if listed:
        write_attributes(tmp_path / "scan.zarr" / "OME", {"series": ["0", "2"]})
    for address in (str(uploaded(tmp_path / "scan.zarr", f"{bucket}/scan.zarr")), f"{web}/scan.zarr"):
        assert len(list_series(address)) == len(list_series(tmp_path / "scan.zarr")) == (2 if listed else 3)
        np.testing.assert_array_equal(open_slide(address, series=1).levels[0], pixels + (2 if listed else 1))


def test_an_identity_changes_when_the_slide_is_written_again(saved, tmp_path, bucket, web):
    place = uploaded(tmp_path / "slide.ome.zarr", f"{bucket}/slide.ome.zarr")
    before = slide_identity(open_slide(place))
    assert slide_identity(open_slide(place)) == before
    uploaded(tmp_path / "slide.ome.zarr", str(place))
    assert slide_identity(open_slide(place)) != before
    seen = slide_identity(open_slide(f"{web}/slide.ome.zarr"))
    os.utime(tmp_path / "slide.ome.zarr" / "zarr.json", (0, 0))
    assert slide_identity(open_slide(f"{web}/slide.ome.zarr")) != seen


def test_coarse_levels_and_copies_of_a_slide_at_an_address_are_on_this_machine(saved, tmp_path, bucket):
    slide = open_slide(uploaded(tmp_path / "slide.ome.zarr", f"{bucket}/slide.ome.zarr"))
    before = objects(slide.source)
    for steps in (open_cache(slide, tmp_path / "caches").build(), write_ome_zarr(slide, tmp_path / "copy.ome.zarr")):
        for _ in steps:
            pass
    assert len(list((tmp_path / "caches").iterdir())) >= 1
    np.testing.assert_array_equal(open_slide(tmp_path / "copy.ome.zarr").levels[0], saved.levels[0])
    with pytest.raises(SlideError, match="expected a file or folder of this machine"):
        next(write_ome_zarr(slide, f"{bucket}/copy.ome.zarr"))
    assert objects(slide.source) == before


def test_what_is_not_there_or_cannot_be_opened_is_told_in_one_sentence(tmp_path, bucket, web):
    place = as_location(f"{bucket}/slide.ome.tif")
    place.fs.pipe_file(place.path, b"II*\0")
    for address in (f"{bucket}/none.ome.zarr", str(place), f"{web}/none.ome.zarr"):
        with pytest.raises(SlideError, match=f"There is no OME-Zarr at {re.escape(address)}"):
            open_slide(address)
    with pytest.raises(SlideError, match="was an address of object storage"):
        open_slide(Path("s3://bucket/slide.ome.zarr"))


def test_a_store_that_cannot_be_asked_is_told_in_one_sentence(saved, tmp_path, web):
    with pytest.raises(SlideError, match=r"http://127\.0\.0\.1:1/slide\.ome\.zarr cannot be reached"):
        open_slide("http://127.0.0.1:1/slide.ome.zarr")
    slide = open_slide(f"{web}/slide.ome.zarr")
    (tmp_path / "broken").touch()
    with pytest.raises(SlideError, match=r"slide\.ome\.zarr cannot be reached \(503"):
        open_slide(slide.source)
    with pytest.raises(SlideError, match="no longer there or does not answer"):
        slide_identity(slide)
    with pytest.raises(SlideError, match=r"cannot be read \(503.*: check the network and your credentials"):
        slide.levels[0][:, :9, :9].compute()


def test_s3_without_credentials_or_network_ends_soon_with_a_sentence(monkeypatch):
    pytest.importorskip("s3fs")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(SlideError, match=r"s3://bucket/slide\.ome\.zarr cannot be reached .*credentials"):
        open_slide("s3://bucket/slide.ome.zarr")

"""One table of formats: what napari offers, what messages name and what the docs say follow from its rows."""

import importlib
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

import napari_hrpn
from napari_hrpn.slides import SlideError, open_slide, slide_name
from napari_hrpn.slides.formats import FORMATS, Format
from napari_hrpn.slides.lazy_pixels import PixelSource
from napari_hrpn.slides.slide_builder import RawImage, assemble

ROOT = Path(__file__).parents[2]
BY_MODULE = pytest.mark.parametrize("row", FORMATS, ids=[row.module for row in FORMATS])


def test_napari_offers_the_suffixes_of_all_formats():
    manifest = yaml.safe_load(Path(napari_hrpn.__file__).with_name("napari.yaml").read_text("utf-8"))
    reader, _ = manifest["contributions"]["readers"]
    assert reader["command"] == "napari-hrpn.get_reader"
    assert sorted(reader["filename_patterns"]) == sorted(f"*{suffix}" for row in FORMATS for suffix in row.suffixes)
    assert reader["accepts_directories"] is any(row.is_folder for row in FORMATS)


@BY_MODULE
def test_the_docs_have_the_row_of_the_format(row: Format):
    cells = [
        ", ".join(row.names),
        " ".join(row.suffixes),
        row.sign,
        f"`slides/formats/{row.module}.py`",
        f"extra {row.extra}" if row.extra else "",
    ]
    line = "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"
    assert line in (ROOT / "docs" / "formats.md").read_text("utf-8").splitlines()


def test_the_readme_names_every_format():
    opened = (ROOT / "README.md").read_text("utf-8").partition("## Formats")[2].partition("\n## ")[0]
    words = opened.replace("\n", " ").replace("with one TIFF per stain", "of single-stain TIFFs")
    assert [name for row in FORMATS for name in row.names if name not in words] == []


@BY_MODULE
def test_the_module_of_the_row_reads_slides_and_its_extra_exists(row: Format):
    assert callable(row.reader.read_slide)
    assert callable(row.reader.read_series)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert row.extra == "" or row.extra in extras


def test_every_reader_in_the_folder_has_a_row():
    folder = Path(importlib.import_module("napari_hrpn.slides.formats").__file__).parent
    readers = {path.stem for path in folder.glob("*.py") if "def read_slide(" in path.read_text("utf-8")}
    assert readers == {row.module for row in FORMATS}


def test_the_name_of_a_slide_has_no_suffix_of_any_format():
    for row in FORMATS:
        for suffix in row.suffixes:
            assert slide_name(Path(f"tumour 3.a{suffix}")) == "tumour 3.a"
            assert slide_name(Path(f"tumour 3.a.OME{suffix.upper()}")) == "tumour 3.a"


def test_a_file_of_another_format_is_refused_with_the_names_of_all(tmp_path):
    (tmp_path / "notes.txt").write_text("DAPI is channel 0")
    with pytest.raises(SlideError, match="is of an unknown format, expected TIFF, OME-TIFF") as refused:
        open_slide(tmp_path / "notes.txt")
    assert all(name in str(refused.value) for row in FORMATS for name in row.names)


@pytest.mark.parametrize("shape", [(2, 0, 5), (2, 5, -3), (0, 5, 5), (1, 1, 8 * 10**12)])
def test_a_header_that_makes_no_slide_is_refused_in_a_sentence(shape):
    source = PixelSource(shape, np.dtype("uint8"), (1, 512, 512), lambda *_: pytest.fail("nothing is to be read"))
    with pytest.raises(SlideError, match="expected 1 px or more"):
        assemble(RawImage(Path("odd.raw"), (source,), ("DAPI",), None))

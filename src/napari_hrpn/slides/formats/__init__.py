"""Table of the slide formats: names, suffixes, how a file is recognised, which module reads it, what it needs.

A new format is one module in this folder, with `read_slide` and `read_series`, and one row of `FORMATS`. What napari
offers to open, the name of a slide, the list of expected formats in a message and the table in the documentation
follow from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_hrpn.slides.location import ZARR_METADATA, holds_zarr

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_hrpn.slides.location import Location

STAIN_SUFFIXES = (".tif", ".tiff")
"""Of the files in a folder of single-stain TIFFs."""


@dataclass(frozen=True)
class Format:
    """A row of the table."""

    names: tuple[str, ...]  # What users call the format and its dialects
    suffixes: tuple[str, ...]  # In lower case; of folders where the format is one
    module: str  # The module in this folder that reads it
    sign: str  # How it is recognised, in words
    recognises: Callable[[Location, bytes], bool]  # Whether a place, which begins with some bytes, is of this format
    is_folder: bool = False
    extra: str = ""  # The optional dependencies that it takes
    rare_suffixes: tuple[str, ...] = ()  # These are no part of a slide's name, but napari does not offer the files

    @property
    def reader(self) -> Any:  # noqa: ANN401 (mypy knows no modules by their names)
        """The module, imported when it is needed."""
        return import_module(f"{__name__}.{self.module}")


def _is_tiff(_: Location, beginning: bytes) -> bool:
    return beginning.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))


def _is_nd2(place: Location, beginning: bytes) -> bool:
    # older ones are JPEG 2000 files
    return beginning.startswith(b"\xda\xce\xbe\x0a") or (place.suffix.lower() == ".nd2" and b"jP" in beginning)


def _is_czi(_: Location, beginning: bytes) -> bool:
    return beginning.startswith(b"ZISRAWFILE")


def _is_zarr(place: Location, _: bytes) -> bool:
    return holds_zarr(place)


def _is_folder(place: Location, _: bytes) -> bool:
    return isinstance(place, Path) and place.is_dir()


FORMATS = (
    Format(
        names=("TIFF", "OME-TIFF", "QPTIFF", "NDPI", "SVS"),
        suffixes=(".tif", ".tiff", ".btf", ".ndpi", ".svs", ".qptiff"),
        rare_suffixes=(".tf2", ".tf8", ".scn"),
        module="tiff",
        sign="the first four bytes of a TIFF or BigTIFF",
        recognises=_is_tiff,
    ),
    Format(("OME-Zarr",), (".zarr",), "ome_zarr", "metadata of Zarr in the folder", _is_zarr, is_folder=True),
    Format(("ND2",), (".nd2",), "nd2", "its first bytes", _is_nd2),
    Format(("CZI",), (".czi",), "czi", "its first bytes", _is_czi, extra="czi"),
    Format(
        names=("a folder of single-stain TIFFs",),
        suffixes=(),
        module="stain_folder",
        sign="a folder without metadata of Zarr",
        recognises=_is_folder,
        is_folder=True,
    ),
)
FILE_SUFFIXES = tuple(suffix for row in FORMATS if not row.is_folder for suffix in row.suffixes)
FOLDER_SUFFIXES = tuple(suffix for row in FORMATS if row.is_folder for suffix in row.suffixes)
_NAMES = [name for row in FORMATS for name in row.names]
FORMAT_NAMES = f"{', '.join(_NAMES[:-1])} or {_NAMES[-1]}"
_ENDING = "|".join(re.escape(suffix) for row in FORMATS for suffix in (*row.suffixes, *row.rare_suffixes))
_SUFFIX_OF_NAME = re.compile(rf"(\.ome)?({_ENDING})$", re.IGNORECASE)


def format_of(place: Location) -> Format | None:
    """The format of a slide, by its content; None where it is of another one."""
    beginning = b""
    if isinstance(place, Path) and not place.is_dir():
        with place.open("rb") as file:
            beginning = file.read(16)
    return next((row for row in FORMATS if row.recognises(place, beginning)), None)


def main_folder(place: Location) -> Location:
    """The folder of an OME-Zarr of which a metadata file was chosen; all other places as they are."""
    return place.parent if place.name in ZARR_METADATA else place


def slide_name(path: Location) -> str:
    """Name of a slide's file without the ending of its format.

    Parameters
    ----------
    path : pathlib.Path or UPath
        File or folder, or its address.

    Returns
    -------
    str
        Such as "tumour 3.a" for ``tumour 3.a.ome.tif``.
    """
    # "." and ".." have a name only once they are resolved
    name = path.name or path.resolve().name
    return _SUFFIX_OF_NAME.sub("", name) or name

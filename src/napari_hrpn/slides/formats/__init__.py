"""Table of slide formats, from which `open_slide` chooses the reader of a file: names, suffixes, module.

To add a format, add a module with `read_slide` and `read_series` to this folder and a row to `FORMATS`. Slide names and
the list of formats in messages are made from the table; tests compare the plugin manifest and the docs with it.
"""

from __future__ import annotations

import errno
import re
import warnings
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_hrpn.slides.errors import SlideError, SlideWarning, reading_errors
from napari_hrpn.slides.location import (
    ZARR_METADATA,
    Location,
    PlaceLike,
    as_location,
    holds_zarr,
    is_collapsed_address,
    user_path,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_hrpn.slides.slide import Slide
    from napari_hrpn.slides.slide_builder import SeriesInfo

STAIN_SUFFIXES = (".tif", ".tiff")
"""Suffixes of the files in a folder of single-stain TIFFs."""


@dataclass(frozen=True)
class Format:
    """Slide format, a row of the table."""

    names: tuple[str, ...]  # names of the format and its dialects
    suffixes: tuple[str, ...]  # in lower case; of folders if the format is a folder
    module: str  # module in this folder that reads it
    sign: str  # how it is recognised, in words
    recognises: Callable[[Location, bytes], bool]  # whether a path, with its first bytes, has this format
    is_folder: bool = False
    extra: str = ""  # optional dependencies that it needs

    @property
    def reader(self) -> Any:  # noqa: ANN401 (mypy cannot type a module imported by name)
        """The module, imported when it is needed."""
        return import_module(f"{__name__}.{self.module}")


_OF_SCANNERS = (".mrxs", ".vsi", ".isyntax", ".i2syntax")
FORMATS = (
    Format(
        names=("TIFF", "OME-TIFF", "QPTIFF", "NDPI", "SVS"),
        suffixes=(".tif", ".tiff", ".btf", ".tf2", ".tf8", ".ndpi", ".svs", ".qptiff", ".scn", ".bif", ".lsm"),
        module="tiff",
        sign="the first four bytes of a TIFF or BigTIFF",
        # a VSI is a TIFF of small pictures, and has its pixels in other files
        recognises=lambda place, beginning: (
            beginning.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")) and place.suffix.lower() != ".vsi"
        ),
    ),
    Format(
        names=("OME-Zarr",),
        suffixes=(".zarr",),
        module="ome_zarr",
        sign="metadata of Zarr in the folder",
        recognises=lambda place, _: holds_zarr(place),
        is_folder=True,
    ),
    Format(
        names=("ND2",),
        suffixes=(".nd2",),
        module="nd2",
        sign="its first bytes",
        # older ND2 files are JPEG 2000
        recognises=lambda place, beginning: (
            beginning.startswith(b"\xda\xce\xbe\x0a") or (place.suffix.lower() == ".nd2" and beginning[4:6] == b"jP")
        ),
    ),
    Format(
        names=("CZI",),
        suffixes=(".czi",),
        module="czi",
        sign="its first bytes",
        recognises=lambda _, beginning: beginning.startswith(b"ZISRAWFILE"),
        extra="czi",
    ),
    Format(
        names=("LIF",),
        suffixes=(".lif",),
        module="lif",
        sign="its first bytes",
        recognises=lambda _, beginning: beginning.startswith(b"\x70\0\0\0"),
        extra="lif",
    ),
    Format(
        names=("MRXS", "VSI", "iSyntax"),
        suffixes=_OF_SCANNERS,
        module="scanners",
        sign="its suffix",
        recognises=lambda place, beginning: beginning != b"" and place.suffix.lower() in _OF_SCANNERS,
        extra="scanners",
    ),
    Format(
        names=("a folder of single-stain TIFFs",),
        suffixes=(),
        module="stain_folder",
        sign="a folder without metadata of Zarr",
        recognises=lambda place, _: isinstance(place, Path) and place.is_dir(),
        is_folder=True,
    ),
)
FILE_SUFFIXES = tuple(suffix for row in FORMATS if not row.is_folder for suffix in row.suffixes)
FOLDER_SUFFIXES = tuple(suffix for row in FORMATS if row.is_folder for suffix in row.suffixes)
_NAMES = [name for row in FORMATS for name in row.names]
FORMAT_NAMES = f"{', '.join(_NAMES[:-1])} or {_NAMES[-1]}"
_ENDING = "|".join(re.escape(suffix) for row in FORMATS for suffix in row.suffixes)
_SUFFIX_OF_NAME = re.compile(rf"(\.ome)?({_ENDING})$", re.IGNORECASE)
_LONGEST_PATH_SHOWN = 200
_BEGINNING_BYTES = 512
_OTHERS = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"\x89HDF": "an HDF5 file (perhaps Imaris)",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"%PDF": "a PDF",
}


def open_slide(
    path: PlaceLike,
    *,
    series: int | None = None,
    z: int | str | None = None,
    t: int | None = None,
    pixel_size_um: float | tuple[float, float] | None = None,
) -> Slide:
    """Open a whole slide lazily.

    Parameters
    ----------
    path : str, os.PathLike or UPath
        A file of a format that the package reads, an OME-Zarr folder, or a folder of single-stain TIFFs; or the
        address of an OME-Zarr, such as "s3://bucket/slide.ome.zarr".
    series : int or None
        Which image of a file with several; see `list_series`. None opens the largest, with a warning if there
        are several.
    z, t : int or None
        Plane of a stack and time point. None opens the middle plane and the first time point, with a warning if there
        are several. "max" as `z` opens the maximum over all planes, which is computed when pixels are read.
    pixel_size_um : float, tuple of float or None
        Height and width of a pixel in µm, or one number for both, instead of the value in the file.

    Returns
    -------
    Slide
        Slide with lazy levels of shape (c, y, x), channel names and pixel size. Opening reads at most a few pieces.

    Raises
    ------
    SlideError
        If it cannot be opened; the message states what was found, what was expected and what to do.
    """
    place, found = _recognised(path)
    if isinstance(z, str):
        slide = _projected(place, found, z, series, t)
    else:
        slide = found.reader.read_slide(place, series=series, z=z, t=t)
    return slide if pixel_size_um is None else slide.with_pixel_size(pixel_size_um)


def _projected(place: Location, found: Format, z: str, series: int | None, t: int | None) -> Slide:
    """Maximum over the planes of a stack."""
    from napari_hrpn.slides.slide_builder import MAXIMUM, maximum

    if z != MAXIMUM:
        raise SlideError(f"z is {z!r}, expected the number of a plane from 0, or {MAXIMUM} for the maximum over all.")
    first: Slide = found.reader.read_slide(place, series=series, z=0, t=t)
    planes = next((info.z_planes for info in found.reader.read_series(place) if info.index == first.series), 1)
    with warnings.catch_warnings():
        # those about the file were shown with the first plane
        warnings.simplefilter("ignore", SlideWarning)
        read = partial(found.reader.read_slide, place, series=first.series, t=first.t)
        return maximum([first, *(read(z=plane) for plane in range(1, planes))])


def list_series(path: PlaceLike) -> tuple[SeriesInfo, ...]:
    """List the images in a file.

    Parameters
    ----------
    path : str, os.PathLike or UPath
        As for `open_slide`.

    Returns
    -------
    tuple of SeriesInfo
        Index, name, shape, pixel size, number of planes and of time points of each image.

    Raises
    ------
    SlideError
        If it cannot be read.
    """
    place, found = _recognised(path)
    listed: tuple[SeriesInfo, ...] = found.reader.read_series(place)
    return listed


def slide_name(path: Location) -> str:
    """Name of a slide's file without the suffix of its format.

    Parameters
    ----------
    path : pathlib.Path or UPath
        File or folder, or its address.

    Returns
    -------
    str
        Name, such as "tumour 3.a" for ``tumour 3.a.ome.tif``.
    """
    # "." and ".." have a name only after they are resolved
    name = path.name or path.resolve().name
    return _SUFFIX_OF_NAME.sub("", name) or name


def _recognised(path: PlaceLike) -> tuple[Location, Format]:
    """File or folder for a reader, and its format."""
    words = as_location(path)
    place = _main_folder(_existing(user_path(words)) if isinstance(words, Path) else words)
    with reading_errors(f"{place.name} cannot be read"):
        found = _format_of(place)
    if found is None:
        raise _unknown(place)
    return place, found


def _existing(path: Path) -> Path:
    try:
        is_there = path.exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise SlideError(f"{path} cannot be accessed ({error.strerror}): check the path.") from error
        is_there = False
    if not is_there and is_collapsed_address(path):
        raise SlideError(f"{path} was an address of object storage, expected a path: use a copy on this machine.")
    if not is_there:
        text = str(path)
        shown = text if len(text) <= _LONGEST_PATH_SHOWN else f"{text[:_LONGEST_PATH_SHOWN]}…"
        raise SlideError(f"There is no file or folder {shown}, expected a slide: check the path.")
    if not path.is_dir() and path.stat().st_size == 0:
        raise SlideError(f"{path.name} is empty, expected {FORMAT_NAMES}: copy it again from its source.")
    return path


def _unknown(place: Location) -> SlideError:
    if not isinstance(place, Path):
        return SlideError(
            f"There is no OME-Zarr at {place}, or none that you may read, expected one because no other format opens "
            "from an address: check the address, or use a copy on this machine."
        )
    with place.open("rb") as file:
        beginning = file.read(_BEGINNING_BYTES)
    what = next((name for start, name in _OTHERS.items() if beginning.startswith(start)), "of an unknown format")
    return SlideError(f"{place.name} is {what}, expected {FORMAT_NAMES}: export it as OME-TIFF.")


def _format_of(place: Location) -> Format | None:
    """Format of a slide, recognised by its content; None if it is unknown."""
    beginning = b""
    if isinstance(place, Path) and not place.is_dir():
        with place.open("rb") as file:
            beginning = file.read(_BEGINNING_BYTES)
    return next((row for row in FORMATS if row.recognises(place, beginning)), None)


def _main_folder(place: Location) -> Location:
    """The folder of an OME-Zarr if one of its metadata files was chosen; other paths unchanged."""
    return place.parent if place.name in ZARR_METADATA else place

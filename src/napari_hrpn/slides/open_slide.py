"""The one door for slides: looks at what a file is, not at what it is called."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.location import (
    ZARR_METADATA,
    Location,
    PlaceLike,
    as_location,
    holds_zarr,
    is_collapsed_address,
)
from napari_hrpn.slides.user_path import user_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from upath import UPath

    from napari_hrpn.slides.plane_selection import SeriesInfo
    from napari_hrpn.slides.slide import Slide

_FORMATS = "TIFF, OME-TIFF, QPTIFF, NDPI, SVS, OME-Zarr, ND2, CZI or a folder of single-stain TIFFs"
_LONGEST_PATH_SHOWN = 200
_TIFF_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_OTHERS = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"\x89HDF": "an HDF5 file (perhaps Imaris)",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"%PDF": "a PDF",
    b"\x70\0\0\0": "a Leica LIF file",
}


def open_slide(
    path: PlaceLike,
    *,
    series: int | None = None,
    z: int | None = None,
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
        Which image of a file with several; `list_series` tells them. None takes the largest, with a warning if there
        are several.
    z, t : int or None
        Which plane of a stack and which point in time. None takes the middle plane and the first point in
        time, with a warning if there are several.
    pixel_size_um : float, tuple of float or None
        Height and width of a pixel in µm, or one number for both, instead of what the file says.

    Returns
    -------
    Slide
        Lazy levels of shape (c, y, x), names and µm. Opening reads no more than a few pieces.

    Raises
    ------
    SlideError
        If it cannot be opened; one sentence says what was found, expected, and is to be done.
    """
    checked = _existing(path)
    opener, _ = _reader_of(checked)
    slide: Slide = opener(_main_folder(checked), series=series, z=z, t=t)
    return slide if pixel_size_um is None else slide.with_pixel_size(pixel_size_um)


def list_series(path: PlaceLike) -> tuple[SeriesInfo, ...]:
    """The images in a file.

    Parameters
    ----------
    path : str, os.PathLike or UPath
        As for `open_slide`.

    Returns
    -------
    tuple of SeriesInfo
        Index, name, shape, pixel size, number of planes and points in time of each.

    Raises
    ------
    SlideError
        If it cannot be read.
    """
    checked = _existing(path)
    _, lister = _reader_of(checked)
    listed: tuple[SeriesInfo, ...] = lister(_main_folder(checked))
    return listed


def _existing(path: PlaceLike) -> Location:
    place = as_location(path)
    if not isinstance(place, Path):
        return place
    found = user_path(place)
    try:
        if not found.exists() and is_collapsed_address(found):
            raise SlideError(f"{found} was an address of object storage, expected a path: use a copy on this machine.")
        if not found.exists():
            raise _missing(found)
        if not found.is_dir() and found.stat().st_size == 0:
            raise SlideError(f"{found.name} is empty, expected {_FORMATS}: copy it again from where it came.")
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise _missing(found) from error
        raise SlideError(f"{found} cannot be looked at ({error.strerror}): check the path.") from error
    return found


def _missing(path: Path) -> SlideError:
    words = str(path)
    shown = words if len(words) <= _LONGEST_PATH_SHOWN else f"{words[:_LONGEST_PATH_SHOWN]}…"
    return SlideError(f"There is no file or folder {shown}, expected a slide: check the path.")


def _main_folder(path: Location) -> Location:
    """The folder of an OME-Zarr of which a metadata file was chosen."""
    return path.parent if path.name in ZARR_METADATA else path


def _reader_of(path: Location) -> tuple[Callable[..., Any], Callable[..., Any]]:
    if not isinstance(path, Path):
        return _reader_of_address(path)
    try:
        return _reader_of_folder(path) if path.is_dir() else _reader_of_file(path)
    except PermissionError as error:
        raise SlideError(
            f"{path.name} may not be read by you, expected a readable slide: ask its owner for the permission."
        ) from error
    except OSError as error:
        raise SlideError(f"{path.name} cannot be read ({error.strerror}), expected {_FORMATS}.") from error


def _reader_of_address(address: UPath) -> tuple[Callable[..., Any], Callable[..., Any]]:
    if not holds_zarr(_main_folder(address)):
        raise SlideError(
            f"There is no OME-Zarr at {address}, or none that you may read; nothing else opens from an address: check "
            "it, or use a copy on this machine."
        )
    return _reader_of_zarr()


def _reader_of_zarr() -> tuple[Callable[..., Any], Callable[..., Any]]:
    from napari_hrpn.slides.formats.ome_zarr import open_ome_zarr, series_of_ome_zarr

    return open_ome_zarr, series_of_ome_zarr


def _reader_of_folder(path: Path) -> tuple[Callable[..., Any], Callable[..., Any]]:
    if holds_zarr(path):
        return _reader_of_zarr()
    from napari_hrpn.slides.formats.stain_folder import open_stain_folder, series_of_stain_folder

    return open_stain_folder, series_of_stain_folder


def _reader_of_file(path: Path) -> tuple[Callable[..., Any], Callable[..., Any]]:
    if path.name in ZARR_METADATA:
        return _reader_of_folder(path.parent)
    with path.open("rb") as file:
        beginning = file.read(16)
    if beginning.startswith(_TIFF_BEGINNINGS):
        from napari_hrpn.slides.formats.tiff import open_tiff, series_of_tiff

        return open_tiff, series_of_tiff
    if beginning.startswith(b"\xda\xce\xbe\x0a") or (path.suffix.lower() == ".nd2" and b"jP" in beginning):
        from napari_hrpn.slides.formats.nd2 import open_nd2, series_of_nd2

        return open_nd2, series_of_nd2
    if beginning.startswith(b"ZISRAWFILE"):
        from napari_hrpn.slides.formats.czi import open_czi, series_of_czi

        return open_czi, series_of_czi
    what = next((name for start, name in _OTHERS.items() if beginning.startswith(start)), "of an unknown format")
    raise SlideError(f"{path.name} is {what}, expected {_FORMATS}: export it as OME-TIFF.")

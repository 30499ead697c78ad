"""Opening of a slide and listing of the images in a file, whatever its format."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.formats import FORMAT_NAMES, format_of, main_folder
from napari_hrpn.slides.location import Location, PlaceLike, as_location, is_collapsed_address, user_path

if TYPE_CHECKING:
    from napari_hrpn.slides.formats import Format
    from napari_hrpn.slides.slide import Slide
    from napari_hrpn.slides.slide_builder import SeriesInfo

_LONGEST_PATH_SHOWN = 200
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
    place, found = _recognised(path)
    slide: Slide = found.reader.read_slide(place, series=series, z=z, t=t)
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
    place, found = _recognised(path)
    listed: tuple[SeriesInfo, ...] = found.reader.read_series(place)
    return listed


def _recognised(path: PlaceLike) -> tuple[Location, Format]:
    """The file or folder that a reader takes, and its format."""
    words = as_location(path)
    place = main_folder(_existing(user_path(words)) if isinstance(words, Path) else words)
    try:
        found = format_of(place)
    except PermissionError as error:
        raise SlideError(
            f"{place.name} may not be read by you, expected a readable slide: ask its owner for the permission."
        ) from error
    except OSError as error:
        raise SlideError(f"{place.name} cannot be read ({error.strerror}), expected {FORMAT_NAMES}.") from error
    if found is None:
        raise _unknown(place)
    return place, found


def _existing(path: Path) -> Path:
    try:
        if not path.exists() and is_collapsed_address(path):
            raise SlideError(f"{path} was an address of object storage, expected a path: use a copy on this machine.")
        if not path.exists():
            raise _missing(path)
        if not path.is_dir() and path.stat().st_size == 0:
            raise SlideError(f"{path.name} is empty, expected {FORMAT_NAMES}: copy it again from where it came.")
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise _missing(path) from error
        raise SlideError(f"{path} cannot be looked at ({error.strerror}): check the path.") from error
    return path


def _missing(path: Path) -> SlideError:
    words = str(path)
    shown = words if len(words) <= _LONGEST_PATH_SHOWN else f"{words[:_LONGEST_PATH_SHOWN]}…"
    return SlideError(f"There is no file or folder {shown}, expected a slide: check the path.")


def _unknown(place: Location) -> SlideError:
    if not isinstance(place, Path):
        return SlideError(
            f"There is no OME-Zarr at {place}, or none that you may read; nothing else opens from an address: check "
            "it, or use a copy on this machine."
        )
    with place.open("rb") as file:
        beginning = file.read(16)
    what = next((name for start, name in _OTHERS.items() if beginning.startswith(start)), "of an unknown format")
    return SlideError(f"{place.name} is {what}, expected {FORMAT_NAMES}: export it as OME-TIFF.")

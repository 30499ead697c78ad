"""Names and pixel sizes as programs write them that have a TIFF of their own; the parser knows where they are."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_hrpn.slides.units import read_pixel_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from tifffile import TiffFile

    Size = tuple[tuple[float, float] | None, str]
    Words = tuple[tuple[str, ...], Size]

_NOTHING: Size = (None, "")


def vendor_words(tif: TiffFile) -> Words:
    """Channel names and pixel size in a vendor's own tags."""
    for kind, read in _READERS.items():
        if not getattr(tif, f"is_{kind}", False):
            continue
        try:
            return read(tif)
        except (AttributeError, KeyError, TypeError, ValueError, IndexError):
            return (), (None, f"{kind} metadata that are not understood")
    return (), _NOTHING


def shaped_words(tif: TiffFile) -> Words:
    """Channel names and pixel size that a Python script gave to tifffile."""
    found: dict[str, Any] = (tif.shaped_metadata or ({},))[0]
    channel = found.get("Channel")
    names = channel.get("Name") if isinstance(channel, dict) else found.get("Labels")
    sides = [(found.get(f"PhysicalSize{axis}"), str(found.get(f"PhysicalSize{axis}Unit", "µm"))) for axis in "YX"]
    return tuple(map(str, names)) if isinstance(names, list) else (), read_pixel_size(sides[0], sides[1])


def _micromanager(tif: TiffFile) -> Words:
    found = tif.pages.first.tags.valueof(51123) or {}
    # what stands at the beginning of the file does not survive a copy by another program
    with suppress(ValueError):
        found = {**found, **(tif.micromanager_metadata or {})}
    whole = found.get("Summary") or {}
    # 0 is what it writes where it was not calibrated
    size = found.get("PixelSizeUm") or whole.get("PixelSize_um") or None
    return tuple(map(str, whole.get("ChNames", ()))), read_pixel_size((size, "µm"), (size, "µm"))


def _lsm(tif: TiffFile) -> Words:
    found = tif.lsm_metadata or {}
    names = tuple(map(str, (found.get("ChannelColors") or {}).get("ColorNames") or ()))
    return names, read_pixel_size((found.get("VoxelSizeY"), "m"), (found.get("VoxelSizeX"), "m"))


def _stk(tif: TiffFile) -> Words:
    found = tif.stk_metadata or {}
    unit = found.get("CalibrationUnits", "µm")
    return (), read_pixel_size((found.get("YCalibration") or None, unit), (found.get("XCalibration") or None, unit))


def _metaseries(tif: TiffFile) -> Words:
    plane = (tif.metaseries_metadata or {})["PlaneInfo"]
    unit = str(plane.get("spatial-calibration-units", "µm"))
    size = read_pixel_size((plane.get("spatial-calibration-y"), unit), (plane.get("spatial-calibration-x"), unit))
    return (), size if plane.get("spatial-calibration-state", True) else _NOTHING


def _sis(tif: TiffFile) -> Words:
    found = tif.sis_metadata or {}
    return (), read_pixel_size((found.get("pixelsizey"), "m"), (found.get("pixelsizex"), "m"))


def _philips(tif: TiffFile) -> Words:
    text = (tif.philips_metadata or "").replace("&quot;", '"')
    match = re.search(r'"DICOM_PIXEL_SPACING"[^>]*>\s*"?([^\s"<]+)"?\s+"?([^\s"<]+)', text)
    return (), _NOTHING if match is None else read_pixel_size((match.group(1), "mm"), (match.group(2), "mm"))


_READERS: dict[str, Callable[[TiffFile], Words]] = {
    "micromanager": _micromanager,
    "lsm": _lsm,
    "stk": _stk,
    "metaseries": _metaseries,
    "sis": _sis,
    "philips": _philips,
}

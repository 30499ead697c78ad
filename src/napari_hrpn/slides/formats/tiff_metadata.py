"""Channel names and pixel sizes of TIFF files, in the dialects of many programs."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.formats.ome_xml import ome_images, parse_xml
from napari_hrpn.slides.units import printed_pixel_size, read_pixel_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tifffile import TiffFile, TiffPageSeries

    from napari_hrpn.slides.formats.ome_xml import OMEImage
    from napari_hrpn.slides.units import Length

    # height and width of a pixel in µm, and words about it that were not understood
    Size = tuple[tuple[float, float] | None, str]

_MOST_NAMED_PAGES = 64
_NDPI_FLUORESCENCE = 65434
_RESOLUTION_UNITS = {2: "inch", 3: "cm", 4: "mm", 5: "µm"}
_SPEAKS_OF_SIZE = re.compile(
    r"pixel[\s_-]?(size|width|spacing)|physicalsize|\bmpp\b|(microns?|um|µm)[\s_/-]*(per[\s_-]*)?(pixel|px)\b",
    re.IGNORECASE,
)


class _Words(NamedTuple):
    """Metadata in the dialect of one program: channel names, and height and width of a pixel with units."""

    names: Sequence[object] = ()
    height: Length = (None, None)
    width: Length = (None, None)


def metadata_of(
    tif: TiffFile, image: TiffPageSeries, channels: int, source: str
) -> tuple[tuple[str, ...], tuple[float, float] | None, list[str]]:
    """Channel names and pixel size of an image, if known, and warnings about metadata that are not understood."""
    described = _ome_image(tif, image, source)
    unread = []
    if described is None and tif.ome_metadata and "BinaryOnly" not in tif.ome_metadata:
        unread.append(f"{source} has OME-XML that does not fit its image: the OME-XML is not used, check the channels.")
    elif described is not None and image.kind in ("generic", "uniform"):
        unread.append(f"{source} has OME-XML without the positions of its planes: they are opened in their order.")
    names, (size, doubt) = _program_metadata(tif, image)
    if described is not None:
        names = described.channel_names if any(described.channel_names) else names
        if described.pixel_size_um is not None or described.unread:
            size, doubt = described.pixel_size_um, described.unread
    if names and len(names) != channels and image.keyframe.samplesperpixel < 3:
        unread.append(
            f"{source} names {len(names)} channels and holds {channels}: check which name belongs to which channel."
        )
    # a stated pixel size has priority over the resolution, which may be that of a printer
    size = size or _tagged_pixel_size(image)
    if doubt:
        unread.append(f"{source} states {doubt}: check the pixel size, and state it yourself if it is wrong.")
    elif size is None and not tif.ome_metadata and _SPEAKS_OF_SIZE.search(image.keyframe.description or ""):
        unread.append(f"{source} describes a pixel size in words that are not understood: state it yourself.")
    return names, size, unread


def stain_of_ndpi(image: TiffPageSeries) -> str | None:
    """Dye of a fluorescence NDPI, which stores it as a coloured photograph; None for other images."""
    if image.kind != "ndpi":
        return None
    name = " ".join(str(image.keyframe.tags.valueof(_NDPI_FLUORESCENCE) or "").split())
    return name or None


def _ome_image(tif: TiffFile, image: TiffPageSeries, source: str) -> OMEImage | None:
    if not tif.ome_metadata:
        return None
    described = ome_images(tif.ome_metadata, source)
    if image.kind != "ome":
        height, width = image.keyframe.imagelength, image.keyframe.imagewidth
        shape = int(image.size) // max(1, height * width), height, width
        fitting = [candidate for candidate in described if candidate.shape == shape]
    elif len(described) == len(tif.series):
        fitting = [about for series, about in zip(tif.series, described, strict=True) if series is image]
    else:
        # images without pixels in this file have no series, so images are matched by name
        fitting = [candidate for candidate in described if candidate.name == image.name]
    return fitting[0] if len(fitting) == 1 else None


def _program_metadata(tif: TiffFile, image: TiffPageSeries) -> tuple[tuple[str, ...], Size]:
    """Channel names and pixel size in the dialect of the program that wrote the file, as found by the parser."""
    vendor = next((kind for kind in _VENDORS if getattr(tif, f"is_{kind}", False)), "")
    read = _KINDS.get(image.kind) or _VENDORS.get(vendor)
    try:
        words = _Words() if read is None else read(tif, image)
        names, size = tuple(map(str, words.names)), read_pixel_size(words.height, words.width)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        names, size = (), (None, f"{vendor or image.kind} metadata that are not understood")
    return names if image.kind in _KINDS else names or _page_names(image), size


def _page_names(image: TiffPageSeries) -> tuple[str, ...]:
    """Names of the pages, if pages are few and their names all differ."""
    if not 1 < len(image) <= _MOST_NAMED_PAGES:
        return ()
    names = [str(page.aspage().tags.valueof(285) or "").strip() for page in image if page is not None]
    return tuple(names) if all(names) and len(set(names)) == len(image) else ()


def _imagej(tif: TiffFile, image: TiffPageSeries) -> _Words:
    """Labels of the first slice of each channel; a label may contain a counter or the name of the file."""
    found = tif.imagej_metadata or {}
    labels, unit = found.get("Labels") or [], found.get("unit")
    channels = int(dict(zip(image.get_axes(False), image.get_shape(False), strict=True)).get("C", 1))
    names = [_imagej_name(str(label)) for label in ([labels] if isinstance(labels, str) else labels)[:channels]]
    words = _Words(names if len(set(names)) == channels else ())
    per_x, per_y = _resolution(image)
    if not isinstance(unit, str) or not per_x or not per_y:
        return words
    # a unit for y is written only if it differs from that for x
    return words._replace(height=(1 / per_y, str(found.get("yunit", unit))), width=(1 / per_x, unit))


def _imagej_name(label: str) -> str:
    """A slice label without the counters that ImageJ puts before a name ("c:1/3 z:2/5 - DAPI")."""
    text = label.splitlines()[0] if label.strip() else ""
    return re.sub(r"\b[czt]:\d+/\d+\b", " ", text).strip(" -;,")


def _tagged_pixel_size(image: TiffPageSeries) -> tuple[float, float] | None:
    unit = _RESOLUTION_UNITS.get(int(image.keyframe.tags.valueof(296) or 0))
    per_x, per_y = _resolution(image)
    y, x = printed_pixel_size(per_y, unit), printed_pixel_size(per_x, unit)
    return None if y is None or x is None else (y, x)


def _resolution(image: TiffPageSeries) -> tuple[float, float]:
    """Pixels per unit along x and y; 0 if a tag is missing or invalid."""
    found = [0.0, 0.0]
    for index, code in enumerate((282, 283)):
        value = image.keyframe.tags.valueof(code)
        with suppress(TypeError, ZeroDivisionError, IndexError):
            found[index] = value[0] / value[1]
    return found[0], found[1]


def _qptiff(_: TiffFile, image: TiffPageSeries) -> _Words:
    return _Words([_qptiff_name(getattr(page, "description", "") or "") for page in image])


def _qptiff_name(description: str) -> str:
    """Biomarker or dye from the description of a QPTIFF page."""
    if "<" not in description:
        return ""
    try:
        root = parse_xml(description, "")
    except SlideError:
        return ""
    texts = (element.text or "" for tag in ("Biomarker", "Name") for element in root.findall(f"{{*}}{tag}"))
    return next((text.strip() for text in texts if text.strip()), "")


def _svs(_: TiffFile, image: TiffPageSeries) -> _Words:
    match = re.search(r"\bMPP\s*=\s*([^|;\r\n]*)", image.keyframe.description or "")
    side = match.group(1).strip() if match else None
    return _Words((), (side, "µm"), (side, "µm"))


def _shaped(tif: TiffFile, _: TiffPageSeries) -> _Words:
    """Metadata that a Python script passed to tifffile."""
    found: dict[str, Any] = (tif.shaped_metadata or ({},))[0]
    channel = found.get("Channel")
    names = channel.get("Name") if isinstance(channel, dict) else found.get("Labels")
    height, width = (
        (found.get(f"PhysicalSize{axis}"), str(found.get(f"PhysicalSize{axis}Unit", "µm"))) for axis in "YX"
    )
    return _Words(names if isinstance(names, list) else (), height, width)


def _micromanager(tif: TiffFile, _: TiffPageSeries) -> _Words:
    found = tif.pages.first.tags.valueof(51123) or {}
    # metadata at the beginning of the file are lost if another program copies it
    with suppress(ValueError):
        found = {**found, **(tif.micromanager_metadata or {})}
    whole = found.get("Summary") or {}
    # Micro-Manager writes 0 if it was not calibrated
    side = found.get("PixelSizeUm") or whole.get("PixelSize_um") or None
    return _Words(whole.get("ChNames", ()), (side, "µm"), (side, "µm"))


def _lsm(tif: TiffFile, _: TiffPageSeries) -> _Words:
    found = tif.lsm_metadata or {}
    names = (found.get("ChannelColors") or {}).get("ColorNames") or ()
    return _Words(names, (found.get("VoxelSizeY"), "m"), (found.get("VoxelSizeX"), "m"))


def _stk(tif: TiffFile, _: TiffPageSeries) -> _Words:
    found = tif.stk_metadata or {}
    unit = found.get("CalibrationUnits", "µm")
    return _Words((), (found.get("YCalibration") or None, unit), (found.get("XCalibration") or None, unit))


def _metaseries(tif: TiffFile, _: TiffPageSeries) -> _Words:
    plane = (tif.metaseries_metadata or {})["PlaneInfo"]
    if not plane.get("spatial-calibration-state", True):
        return _Words()
    unit = str(plane.get("spatial-calibration-units", "µm"))
    return _Words((), (plane.get("spatial-calibration-y"), unit), (plane.get("spatial-calibration-x"), unit))


def _sis(tif: TiffFile, _: TiffPageSeries) -> _Words:
    found = tif.sis_metadata or {}
    return _Words((), (found.get("pixelsizey"), "m"), (found.get("pixelsizex"), "m"))


def _philips(tif: TiffFile, _: TiffPageSeries) -> _Words:
    text = (tif.philips_metadata or "").replace("&quot;", '"')
    match = re.search(r'"DICOM_PIXEL_SPACING"[^>]*>\s*"?([^\s"<]+)"?\s+"?([^\s"<]+)', text)
    return _Words() if match is None else _Words((), (match.group(1), "mm"), (match.group(2), "mm"))


# readers by the kind of an image, and by flags of the parser
_KINDS = {"imagej": _imagej, "qpi": _qptiff, "svs": _svs, "shaped": _shaped}
_VENDORS = {
    "micromanager": _micromanager,
    "lsm": _lsm,
    "stk": _stk,
    "metaseries": _metaseries,
    "sis": _sis,
    "philips": _philips,
}

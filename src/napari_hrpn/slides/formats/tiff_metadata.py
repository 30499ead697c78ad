"""Channel names and pixel sizes in the dialects of TIFF."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.formats.ome_xml import ome_images, parse_xml
from napari_hrpn.slides.units import printed_pixel_size, read_pixel_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from tifffile import TiffFile, TiffFrame, TiffPage, TiffPageSeries

    from napari_hrpn.slides.formats.ome_xml import OMEImage

    # Height and width of a pixel in µm, and what is said of it and was not understood
    Size = tuple[tuple[float, float] | None, str]

_MOST_NAMED_PAGES = 64
_NDPI_FLUORESCENCE = 65434
_RESOLUTION_UNITS = {2: "inch", 3: "cm", 4: "mm", 5: "µm"}
_SPEAKS_OF_SIZE = re.compile(
    r"pixel[\s_-]?(size|width|spacing)|physicalsize|\bmpp\b|(microns?|um|µm)[\s_/-]*(per[\s_-]*)?(pixel|px)\b",
    re.IGNORECASE,
)


class _Metadata(NamedTuple):
    """What a file says about one of its images."""

    names: tuple[str, ...]  # What it calls its channels; empty where it says nothing
    # Height and width of a pixel; None where it does not say, or says what only a printer would
    pixel_size_um: tuple[float, float] | None
    unread: tuple[str, ...]  # Sentences about what is said and was not understood


class _Words(NamedTuple):
    """What is said in the way of one program."""

    names: tuple[str, ...] = ()
    size: Size = (None, "")


def metadata_of(tif: TiffFile, image: TiffPageSeries, channels: int, source: str) -> _Metadata:
    """Channel names and pixel size of an image."""
    described = _ome_image(tif, image, source)
    unread = []
    if described is None and tif.ome_metadata and "BinaryOnly" not in tif.ome_metadata:
        unread.append(
            f"{source} has OME-XML that does not fit its image: what it says is not used, check the channels."
        )
    elif described is not None and image.kind in ("generic", "uniform"):
        unread.append(f"{source} has OME-XML that does not tell where its planes are: they are taken as they lie.")
    words = _words_of_program(tif, image, source)
    names = described.channel_names if described is not None and any(described.channel_names) else words.names
    if names and len(names) != channels and image.keyframe.samplesperpixel < 3:
        unread.append(f"{source} names {len(names)} channels and holds {channels}: check which name is whose.")
    size, doubt = (described.pixel_size_um, described.unread) if described is not None else (None, "")
    if size is None and not doubt:
        size, doubt = words.size
    size = size or _tagged_pixel_size(image)
    if doubt:
        unread.append(f"{source} says {doubt}: check the pixel size, and give it yourself if it is wrong.")
    elif size is None and not tif.ome_metadata and _SPEAKS_OF_SIZE.search(image.keyframe.description or ""):
        unread.append(f"{source} describes a pixel size in words that are not understood: give it yourself.")
    return _Metadata(names, size, tuple(unread))


def stain_of_ndpi(image: TiffPageSeries) -> str | None:
    """The dye of a fluorescence NDPI, which stores it as a coloured photograph."""
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
        # images without pixels in this file have no series: the name has to say which is which
        fitting = [candidate for candidate in described if candidate.name == image.name]
    return fitting[0] if len(fitting) == 1 else None


def _words_of_program(tif: TiffFile, image: TiffPageSeries, source: str) -> _Words:
    """Names and size in the words of the program that wrote the file; the parser knows where they are."""
    if image.kind == "imagej":
        return _Words(_imagej_names(tif, image), _imagej_pixel_size(tif, image))
    if image.kind == "qpi":
        return _Words(tuple(_qptiff_name(page, source) for page in image))
    if image.kind == "svs":
        match = re.search(r"\bMPP\s*=\s*([^|;\r\n]*)", image.keyframe.description or "")
        return _Words((), _square(match.group(1).strip() if match else None, "µm"))
    if image.kind == "shaped":
        return _shaped(tif)
    kind = next((kind for kind in _VENDORS if getattr(tif, f"is_{kind}", False)), None)
    try:
        words = _VENDORS[kind](tif) if kind else _Words()
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        words = _Words((), (None, f"{kind} metadata that are not understood"))
    return words._replace(names=words.names or _page_names(image))


def _page_names(image: TiffPageSeries) -> tuple[str, ...]:
    """What the pages are called, if they are few and each has a name of its own."""
    if not 1 < len(image) <= _MOST_NAMED_PAGES:
        return ()
    names = [str(page.aspage().tags.valueof(285) or "").strip() for page in image if page is not None]
    return tuple(names) if all(names) and len(set(names)) == len(image) else ()


def _square(side: float | str | None, unit: str) -> Size:
    return read_pixel_size((side, unit), (side, unit))


def _imagej_names(tif: TiffFile, image: TiffPageSeries) -> tuple[str, ...]:
    """Labels of the first slice of each channel; a label may carry a counter or the name of the file."""
    labels = (tif.imagej_metadata or {}).get("Labels") or []
    sizes = dict(zip(image.get_axes(False), image.get_shape(False), strict=True))
    channels = int(sizes.get("C", 1))
    if isinstance(labels, str):
        labels = [labels]
    names = [_imagej_name(str(label)) for label in labels[:channels]]
    return tuple(names) if len(set(names)) == channels else ()


def _imagej_name(label: str) -> str:
    """A slice label without the counters that ImageJ puts before a name ("c:1/3 z:2/5 - DAPI")."""
    text = label.splitlines()[0] if label.strip() else ""
    return re.sub(r"\b[czt]:\d+/\d+\b", " ", text).strip(" -;,")


def _imagej_pixel_size(tif: TiffFile, image: TiffPageSeries) -> Size:
    metadata = tif.imagej_metadata or {}
    unit = metadata.get("unit")
    per_x, per_y = _resolution(image)
    if not isinstance(unit, str) or not per_x or not per_y:
        return None, ""
    # a unit of its own for y is written only where it differs
    return read_pixel_size((1 / per_y, str(metadata.get("yunit", unit))), (1 / per_x, unit))


def _tagged_pixel_size(image: TiffPageSeries) -> tuple[float, float] | None:
    unit = _RESOLUTION_UNITS.get(int(image.keyframe.tags.valueof(296) or 0))
    per_x, per_y = _resolution(image)
    y, x = printed_pixel_size(per_y, unit), printed_pixel_size(per_x, unit)
    return None if y is None or x is None else (y, x)


def _resolution(image: TiffPageSeries) -> tuple[float, float]:
    """Pixels per unit along x and y; 0 where a tag is missing or nonsense."""
    found = [0.0, 0.0]
    for index, code in enumerate((282, 283)):
        value = image.keyframe.tags.valueof(code)
        with suppress(TypeError, ZeroDivisionError, IndexError):
            found[index] = value[0] / value[1]
    return found[0], found[1]


def _qptiff_name(page: TiffPage | TiffFrame, source: str) -> str:
    """Biomarker or dye from the description that each page of a QPTIFF carries."""
    description = getattr(page, "description", "") or ""
    if "<" not in description:
        return ""
    try:
        root = parse_xml(description, source)
    except SlideError:
        return ""
    texts = (element.text or "" for tag in ("Biomarker", "Name") for element in root.findall(f"{{*}}{tag}"))
    return next((text.strip() for text in texts if text.strip()), "")


def _shaped(tif: TiffFile) -> _Words:
    """What a Python script gave to tifffile."""
    found: dict[str, Any] = (tif.shaped_metadata or ({},))[0]
    channel = found.get("Channel")
    names = channel.get("Name") if isinstance(channel, dict) else found.get("Labels")
    sides = [(found.get(f"PhysicalSize{axis}"), str(found.get(f"PhysicalSize{axis}Unit", "µm"))) for axis in "YX"]
    return _Words(tuple(map(str, names)) if isinstance(names, list) else (), read_pixel_size(*sides))


def _micromanager(tif: TiffFile) -> _Words:
    found = tif.pages.first.tags.valueof(51123) or {}
    # what stands at the beginning of the file does not survive a copy by another program
    with suppress(ValueError):
        found = {**found, **(tif.micromanager_metadata or {})}
    whole = found.get("Summary") or {}
    # 0 is what it writes where it was not calibrated
    size = found.get("PixelSizeUm") or whole.get("PixelSize_um") or None
    return _Words(tuple(map(str, whole.get("ChNames", ()))), _square(size, "µm"))


def _lsm(tif: TiffFile) -> _Words:
    found = tif.lsm_metadata or {}
    names = tuple(map(str, (found.get("ChannelColors") or {}).get("ColorNames") or ()))
    return _Words(names, read_pixel_size((found.get("VoxelSizeY"), "m"), (found.get("VoxelSizeX"), "m")))


def _stk(tif: TiffFile) -> _Words:
    found = tif.stk_metadata or {}
    unit = found.get("CalibrationUnits", "µm")
    return _Words(
        (), read_pixel_size((found.get("YCalibration") or None, unit), (found.get("XCalibration") or None, unit))
    )


def _metaseries(tif: TiffFile) -> _Words:
    plane = (tif.metaseries_metadata or {})["PlaneInfo"]
    unit = str(plane.get("spatial-calibration-units", "µm"))
    size = read_pixel_size((plane.get("spatial-calibration-y"), unit), (plane.get("spatial-calibration-x"), unit))
    return _Words((), size) if plane.get("spatial-calibration-state", True) else _Words()


def _sis(tif: TiffFile) -> _Words:
    found = tif.sis_metadata or {}
    return _Words((), read_pixel_size((found.get("pixelsizey"), "m"), (found.get("pixelsizex"), "m")))


def _philips(tif: TiffFile) -> _Words:
    text = (tif.philips_metadata or "").replace("&quot;", '"')
    match = re.search(r'"DICOM_PIXEL_SPACING"[^>]*>\s*"?([^\s"<]+)"?\s+"?([^\s"<]+)', text)
    return _Words() if match is None else _Words((), read_pixel_size((match.group(1), "mm"), (match.group(2), "mm")))


_VENDORS: dict[str, Callable[[TiffFile], _Words]] = {
    "micromanager": _micromanager,
    "lsm": _lsm,
    "stk": _stk,
    "metaseries": _metaseries,
    "sis": _sis,
    "philips": _philips,
}

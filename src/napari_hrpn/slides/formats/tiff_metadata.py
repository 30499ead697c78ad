"""Names and sizes out of TIFF dialects: the file's own words, or nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.formats.ome_xml import children, ome_images, parse_xml
from napari_hrpn.slides.formats.tiff_vendors import shaped_words, vendor_words
from napari_hrpn.slides.units import printed_pixel_size, read_pixel_size

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffFrame, TiffPage, TiffPageSeries

    from napari_hrpn.slides.formats.ome_xml import OMEImage

_MOST_NAMED_PAGES = 64
_NDPI_FLUORESCENCE = 65434
_RESOLUTION_UNITS = {2: "inch", 3: "cm", 4: "mm", 5: "µm"}
_SPEAKS_OF_SIZE = re.compile(
    r"pixel[\s_-]?(size|width|spacing)|physicalsize|\bmpp\b|(microns?|um|µm)[\s_/-]*(per[\s_-]*)?(pixel|px)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Said:
    """What a file says about one of its images."""

    names: tuple[str, ...]  # What it calls its channels; empty where it says nothing
    # Height and width of a pixel; None where it does not say, or says what only a printer would
    pixel_size_um: tuple[float, float] | None
    unread: tuple[str, ...]  # Sentences about what is said and was not understood


def what_is_said(tif: TiffFile, image: TiffPageSeries, channels: int, source: str) -> _Said:
    """Channel names and pixel size of an image."""
    described = _ome_image(tif, image, source)
    unread = []
    if described is None and tif.ome_metadata and "BinaryOnly" not in tif.ome_metadata:
        unread.append(
            f"{source} has OME-XML that does not fit its image: what it says is not used, check the channels."
        )
    elif described is not None and image.kind in ("generic", "uniform"):
        unread.append(f"{source} has OME-XML that does not tell where its planes are: they are taken as they lie.")
    own = _own_words(tif, image, source)
    names = described.channel_names if described is not None and any(described.channel_names) else own.names
    if names and len(names) != channels and image.keyframe.samplesperpixel < 3:
        unread.append(f"{source} names {len(names)} channels and holds {channels}: check which name is whose.")
    size, doubt = (described.pixel_size_um, described.unread) if described is not None else (None, "")
    if size is None and not doubt:
        size, doubt = own.pixel_size
    size = size or _tagged_pixel_size(image)
    if doubt:
        unread.append(f"{source} says {doubt}: check the pixel size, and give it yourself if it is wrong.")
    elif size is None and not tif.ome_metadata and _SPEAKS_OF_SIZE.search(image.keyframe.description or ""):
        unread.append(f"{source} describes a pixel size in words that are not understood: give it yourself.")
    return _Said(names, size, tuple(unread))


class _OwnWords(NamedTuple):
    names: tuple[str, ...] = ()
    pixel_size: tuple[tuple[float, float] | None, str] = (None, "")


def _own_words(tif: TiffFile, image: TiffPageSeries, source: str) -> _OwnWords:
    """What is said in the way of one program."""
    if image.kind == "imagej":
        return _OwnWords(_imagej_names(tif, image), _imagej_pixel_size(tif, image))
    if image.kind == "qpi":
        return _OwnWords(tuple(_qptiff_name(page, source) for page in image))
    if image.kind == "svs":
        return _OwnWords((), _svs_pixel_size(image))
    if image.kind == "shaped":
        return _OwnWords(*shaped_words(tif))
    names, size = vendor_words(tif)
    return _OwnWords(names or _page_names(image), size)


def _page_names(image: TiffPageSeries) -> tuple[str, ...]:
    """What the pages are called, if they are few and each has a name of its own."""
    if not 1 < len(image) <= _MOST_NAMED_PAGES:
        return ()
    names = [str(page.aspage().tags.valueof(285) or "").strip() for page in image if page is not None]
    return tuple(names) if all(names) and len(set(names)) == len(image) else ()


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
        return fitting[0] if len(fitting) == 1 else None
    if len(described) == len(tif.series):
        return next(about for series, about in zip(tif.series, described, strict=True) if series is image)
    # images without pixels in this file have no series: the name has to tell which is which
    named = [candidate for candidate in described if candidate.name == image.name]
    return named[0] if len(named) == 1 else None


def _imagej_names(tif: TiffFile, image: TiffPageSeries) -> tuple[str, ...]:
    """Labels of the first slice of each channel; a label may carry a counter or the name of the file."""
    metadata = tif.imagej_metadata or {}
    labels = metadata.get("Labels") or []
    sizes = dict(zip(image.get_axes(False), image.get_shape(False), strict=True))
    channels = int(sizes.get("C", 1))
    if isinstance(labels, str):
        labels = [labels]
    if len(labels) < channels:
        return ()
    names = [_imagej_name(str(label)) for label in labels[:channels]]
    return tuple(names) if len(set(names)) == len(names) else ()


def _imagej_name(label: str) -> str:
    """A slice label without the counters that ImageJ puts before a name ("c:1/3 z:2/5 - DAPI")."""
    text = label.splitlines()[0] if label.strip() else ""
    text = re.sub(r"\b[czt]:\d+/\d+\b", " ", text)
    return text.strip(" -;,")


def _imagej_pixel_size(tif: TiffFile, image: TiffPageSeries) -> tuple[tuple[float, float] | None, str]:
    metadata = tif.imagej_metadata or {}
    unit = metadata.get("unit")
    per_x, per_y = _resolution(image)
    if not isinstance(unit, str) or not per_x or not per_y:
        return None, ""
    # a unit of its own for y is written only where it differs
    return read_pixel_size((1 / per_y, str(metadata.get("yunit", unit))), (1 / per_x, unit))


def _svs_pixel_size(image: TiffPageSeries) -> tuple[tuple[float, float] | None, str]:
    match = re.search(r"\bMPP\s*=\s*([^|;\r\n]*)", image.keyframe.description or "")
    size = match.group(1).strip() if match else None
    return read_pixel_size((size, "µm"), (size, "µm"))


def _tagged_pixel_size(image: TiffPageSeries) -> tuple[float, float] | None:
    unit = _RESOLUTION_UNITS.get(int(image.keyframe.tags.valueof(296) or 0))
    per_x, per_y = _resolution(image)
    sizes = printed_pixel_size(per_y, unit), printed_pixel_size(per_x, unit)
    return None if sizes[0] is None or sizes[1] is None else (sizes[0], sizes[1])


def _resolution(image: TiffPageSeries) -> tuple[float, float]:
    """Pixels per unit along x and y; 0 where a tag is missing or nonsense."""
    found = []
    for code in (282, 283):
        value = image.keyframe.tags.valueof(code)
        try:
            found.append(value[0] / value[1])
        except (TypeError, ZeroDivisionError, IndexError):
            found.append(0.0)
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
    for tag in ("Biomarker", "Name"):
        for element in children(root, tag):
            if element.text and element.text.strip():
                return element.text.strip()
    return ""

"""Names and sizes out of TIFF dialects: the file's own words, or nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.ome_xml import children, ome_images, parse_xml
from napari_hrpn.slides.units import micrometres, printed_pixel_size

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffFrame, TiffPage, TiffPageSeries

    from napari_hrpn.slides.ome_xml import OMEImage

_NDPI_FLUORESCENCE = 65434
_RESOLUTION_UNITS = {2: "inch", 3: "cm"}


def channel_names(tif: TiffFile, image: TiffPageSeries, source: str) -> tuple[str, ...]:
    """What the file calls its channels.

    Parameters
    ----------
    tif : tifffile.TiffFile
        The file.
    image : tifffile.TiffPageSeries
        One of its images.
    source : str
        Name of the file, for sentences.

    Returns
    -------
    tuple of str
        Empty where the file says nothing.
    """
    if image.kind == "ome":
        described = _ome_image(tif, image, source)
        return described.channel_names if described is not None else ()
    if image.kind == "imagej":
        return _imagej_names(tif, image)
    if image.kind == "qpi":
        return tuple(_qptiff_name(page, source) for page in image)
    return ()


def pixel_size_um(tif: TiffFile, image: TiffPageSeries, source: str) -> tuple[float, float] | None:
    """Height and width of a full-resolution pixel.

    Parameters
    ----------
    tif : tifffile.TiffFile
        The file.
    image : tifffile.TiffPageSeries
        One of its images.
    source : str
        Name of the file, for sentences.

    Returns
    -------
    tuple of float or None
        In µm; None where the file does not say, or says what only a printer would.
    """
    size = None
    if image.kind == "ome":
        described = _ome_image(tif, image, source)
        size = described.pixel_size_um if described is not None else None
    elif image.kind == "imagej":
        size = _imagej_pixel_size(tif, image)
    elif image.kind == "svs":
        size = _svs_pixel_size(image)
    return size or _tagged_pixel_size(image)


def stain_of_ndpi(image: TiffPageSeries) -> str | None:
    """The dye of a fluorescence NDPI, which stores it as a coloured photograph.

    Parameters
    ----------
    image : tifffile.TiffPageSeries
        Image of an NDPI.

    Returns
    -------
    str or None
        What the scanner calls the dye; None for brightfield and other formats.
    """
    if image.kind != "ndpi":
        return None
    name = " ".join(str(image.keyframe.tags.valueof(_NDPI_FLUORESCENCE) or "").split())
    return name or None


def _ome_image(tif: TiffFile, image: TiffPageSeries, source: str) -> OMEImage | None:
    described = ome_images(tif.ome_metadata, source)
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


def _imagej_pixel_size(tif: TiffFile, image: TiffPageSeries) -> tuple[float, float] | None:
    unit = (tif.imagej_metadata or {}).get("unit")
    per_x, per_y = _resolution(image)
    if not isinstance(unit, str) or not per_x or not per_y:
        return None
    sizes = micrometres(1 / per_y, unit), micrometres(1 / per_x, unit)
    return None if sizes[0] is None or sizes[1] is None else (sizes[0], sizes[1])


def _svs_pixel_size(image: TiffPageSeries) -> tuple[float, float] | None:
    match = re.search(r"\bMPP\s*=\s*([0-9.]+)", image.keyframe.description or "")
    size = micrometres(match.group(1), "µm") if match else None
    return None if size is None else (size, size)


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

"""OME-XML of a TIFF: names and sizes of its images, and completion of incomplete documents for the parser.

The text comes from untrusted files, so entities and absurd sizes are refused. Information about planes is completed and
never changed: if positions of planes are missing, planes are the pages in their order.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from html.entities import html5
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from napari_hrpn.slides.errors import SlideError, warn
from napari_hrpn.slides.units import read_pixel_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tifffile import TiffFile

LONGEST_TEXT = 64 * 2**20
MOST_PLANES = 1_000_000
_MOST_LOOKS = 8
_BEGINNING = re.compile(r"<([\w.-]+:)?OME[\s>]")
_END = re.compile(r"</([\w.-]+:)?OME\s*>")
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")
_REFERENCE = re.compile(r"&(?:#(x?)([0-9A-Fa-f]+)|(\w+));|&")


@dataclass(frozen=True)
class OMEImage:
    """One image of an OME-XML document."""

    name: str  # name of the image, or empty
    # one per channel element: its name, or its fluorophore, or empty
    channel_names: tuple[str, ...]
    pixel_size_um: tuple[float, float] | None  # height and width of a pixel
    shape: tuple[int, int, int] = (0, 0, 0)  # planes, height and width; 0 if the document does not state them
    unread: str = ""  # words about the pixel size that were not understood; else empty


def parse_xml(text: str, source: str) -> ElementTree.Element:
    """Root of an XML document from an untrusted file."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise SlideError(f"{source} has metadata that declare XML entities, expected plain OME-XML: export it again.")
    try:
        # the parser refuses a str that declares another encoding
        body = text[text.index("?>") + 2 :] if text.lstrip().startswith("<?xml") else text
        return ElementTree.fromstring(body.strip().strip("\x00"))
    except (ElementTree.ParseError, ValueError) as error:
        raise SlideError(
            f"{source} has metadata that are no XML ({error}), expected OME-XML: the file may be damaged, "
            "copy or export it again."
        ) from error


def ome_images(text: str, source: str) -> tuple[OMEImage, ...]:
    """Names and sizes of the images that an OME-XML document describes."""
    root = parse_xml(text, source)
    images = []
    for image in root.findall("{*}Image"):
        for pixels in image.findall("{*}Pixels"):
            planes = _checked_plane_count(pixels, source)
            height, width = (
                (pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "YX"
            )
            size, unread = read_pixel_size(height, width)
            shape = planes, _whole(pixels.get("SizeY", "")), _whole(pixels.get("SizeX", ""))
            images.append(OMEImage(image.get("Name") or "", tuple(_channel_names(pixels)), size, shape, unread))
    return tuple(images)


def _channel_names(pixels: ElementTree.Element) -> Iterator[str]:
    """A name per channel, numbered if several samples of a pixel share a name."""
    for channel in pixels.findall("{*}Channel"):
        name = channel.get("Name") or channel.get("Fluor") or ""
        count = _whole(channel.get("SamplesPerPixel", "1"), 3)
        yield from [name] if count <= 1 else [name and f"{name} {sample}" for sample in range(count)]


def _whole(text: str, digits: int = 11) -> int:
    """A whole number; 0 if it is none, or has too many digits."""
    return int(text) if text.isdecimal() and len(text) <= digits else 0


def _checked_plane_count(pixels: ElementTree.Element, source: str) -> int:
    try:
        planes = math.prod(int(pixels.get(f"Size{axis}", "1")) for axis in "CZT")
        claims = [planes]
        for block in pixels.findall("{*}TiffData"):
            claims += [int(block.get(name, "0")) for name in ("PlaneCount", "NumPlanes", "IFD")]
            claims += [int(block.get(f"First{axis}", "0")) for axis in "CZT"]
    except ValueError as error:
        raise SlideError(
            f"{source} has metadata with a size that is no number, expected integers: export it again."
        ) from error
    if planes < 1 or min(claims) < 0 or max(claims) > MOST_PLANES:
        raise SlideError(
            f"{source} claims {max(claims)} planes, expected 1 to {MOST_PLANES}: the file is damaged or not an image."
        )
    return planes


def ome_xml_of(tif: TiffFile, path: Path) -> str | None:
    """OME-XML of a file, completed so that the parser understands it; None if there is none."""
    text = next((text for text in _descriptions(tif) if _BEGINNING.search(text)), None)
    if text is None:
        return None
    text = _valid_xml(text)
    root = parse_xml(text, path.name)
    only = root.find("{*}BinaryOnly")
    if only is not None:
        text = _companion(only.get("MetadataFile", ""), path)
        if text is None:
            return None
        root = parse_xml(text, path.name)
    if not ome_images(text, path.name):
        return None
    mended = _mend(root, tif, path)
    return ElementTree.tostring(root, encoding="unicode") if mended else text


def _descriptions(tif: TiffFile) -> Iterator[str]:
    """Descriptions of the first pages and of the last one."""
    count = len(tif.pages)
    for index in sorted({*range(min(_MOST_LOOKS, count)), max(0, count - 1)}) if count else ():
        try:
            tags = tif.pages[index].tags.getall(270) or []
        except Exception:  # a page that cannot be read has no description; an error follows later if it is needed
            tags = []
        for tag in tags:
            if isinstance(tag.value, str) and "\0" in tag.value[:4]:
                # TIFF allows only one byte per character, but some programs write two or four
                tif.filehandle.seek(tag.valueoffset)
                yield _decoded(tif.filehandle.read(min(tag.valuebytecount, 4 * LONGEST_TEXT)))
            elif isinstance(tag.value, str):
                yield tag.value


def _decoded(data: bytes) -> str:
    # json detects UTF-16 and UTF-32 by the positions of zeros
    return data.decode(json.detect_encoding(data), errors="replace")


def _valid_xml(text: str) -> str:
    """The document without anything after its end, and without characters and references that are invalid in XML."""
    end = [match.end() for match in _END.finditer(text)]
    text = text[: end[-1]] if end else text
    return _REFERENCE.sub(_reference, _NO_XML.sub("", text.lstrip("\ufeff \t\r\n")))


def _reference(match: re.Match[str]) -> str:
    hexadecimal, digits, name = match.groups()
    if digits:
        try:
            code = int(digits, 16 if hexadecimal else 10)
            return "" if _NO_XML.match(chr(code)) else match.group()
        except (ValueError, OverflowError):
            return ""
    if name in ("amp", "lt", "gt", "quot", "apos"):
        return match.group()
    character: str | None = html5.get(f"{name};") if name else None
    return character or "&amp;" + match.group()[1:]


def _companion(name: str, path: Path) -> str | None:
    """Text of the file that holds the metadata of a set of files."""
    file = path.with_name(PurePosixPath(name.replace("\\", "/")).name or path.name)
    try:
        if file == path or not file.is_file() or file.stat().st_size > LONGEST_TEXT:
            raise FileNotFoundError
        return _valid_xml(_decoded(file.read_bytes()))
    except OSError:
        warn(
            f"{path.name} is a part of an image that is described in {name or 'another file'}, which is missing: only "
            "this part is opened, without channel names and pixel size."
        )
        return None


def _mend(root: ElementTree.Element, tif: TiffFile, path: Path) -> bool:
    """Complete a document in place; True if it was changed."""
    before, first = ElementTree.tostring(root), 0
    is_whole = _is_all_in_this_file(root, path)
    for pixels in root.findall("{*}Image/{*}Pixels"):
        planes = _complete(pixels, tif)
        blocks = pixels.findall("{*}TiffData")
        for block in blocks:
            for uuid in block.findall("{*}UUID"):
                if is_whole or _is_this_file(uuid, root, path):
                    block.remove(uuid)
                else:
                    _name_by_file(uuid, path)
        if not blocks and first + planes <= len(tif.pages):
            place = pixels.tag.replace("Pixels", "TiffData")
            pixels.append(ElementTree.Element(place, {"IFD": str(first), "PlaneCount": str(planes)}))
        first += planes
    return ElementTree.tostring(root) != before


def _complete(pixels: ElementTree.Element, tif: TiffFile) -> int:
    """Fill in missing sizes and samples; return the number of pages of the image."""
    page = tif.pages.first
    channels = pixels.findall("{*}Channel")
    known = {"X": page.imagewidth, "Y": page.imagelength, "C": max(1, len(channels)), "Z": 1, "T": 1}
    for axis, value in known.items():
        text = pixels.get(f"Size{axis}", str(value))
        pixels.set(f"Size{axis}", text.partition(".")[0] if re.fullmatch(r"\d{1,9}\.0*", text) else text)
    if sorted(pixels.get("DimensionOrder", "")) != sorted("XYCZT"):
        pixels.set("DimensionOrder", "XYCZT")
    size_c, samples = int(pixels.get("SizeC", "1")), page.samplesperpixel
    if samples > 1 and size_c % samples == 0 and all("SamplesPerPixel" not in channel.attrib for channel in channels):
        if not channels:
            channels = [ElementTree.Element(pixels.tag.replace("Pixels", "Channel"))]
            pixels.insert(0, channels[0])
        for channel in channels:
            channel.set("SamplesPerPixel", str(samples))
    samples_stated = _whole(channels[0].get("SamplesPerPixel", "1"), 4) if channels else 1
    return max(1, size_c // max(1, samples_stated)) * int(pixels.get("SizeZ", "1")) * int(pixels.get("SizeT", "1"))


def _is_all_in_this_file(root: ElementTree.Element, path: Path) -> bool:
    """Whether all planes are in one file that must be this one, even if it was renamed."""
    uuids = root.findall(".//{*}UUID")
    names = {element.get("FileName") for element in uuids if element.get("FileName")}
    if len(names) > 1:
        return False
    is_itself = root.get("UUID") is None or {element.text for element in uuids} <= {root.get("UUID")}
    return is_itself or not any((path.parent / name).exists() for name in names if name)


def _is_this_file(uuid: ElementTree.Element, root: ElementTree.Element, path: Path) -> bool:
    name = uuid.get("FileName", "")
    if not name or name == path.name:
        return True
    return uuid.text == root.get("UUID") and not (path.parent / name).exists()


def _name_by_file(uuid: ElementTree.Element, path: Path) -> None:
    """Replace the UUID of a file by its name, because copies and some programs use the same UUID for several files."""
    name = uuid.get("FileName", "").replace("\\", "/")
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or ":" in parts[0]:
        raise SlideError(
            f"{path.name} names a file of another folder ({name}) for its planes, expected files beside it: export it "
            "again."
        )
    uuid.set("FileName", name)
    uuid.text = name

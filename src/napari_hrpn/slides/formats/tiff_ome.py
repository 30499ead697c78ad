"""The OME-XML of a TIFF: found where it lies, and mended where the parser would drop it or read another file.

What it says about planes is never changed, only completed: without the places of its planes they are the pages in
their order.
"""

from __future__ import annotations

import json
import re
import warnings
from html.entities import html5
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from napari_hrpn.slides.errors import SlideError, SlideWarning
from napari_hrpn.slides.formats.ome_xml import LONGEST_TEXT, children, ome_images, parse_xml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tifffile import TiffFile, TiffTag

_MOST_LOOKS = 8
_BEGINNING = re.compile(r"<([\w.-]+:)?OME[\s>]")
_END = re.compile(r"</([\w.-]+:)?OME\s*>")
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")
_REFERENCE = re.compile(r"&(?:#(x?)([0-9A-Fa-f]+)|(\w+));|&")


def ome_xml_of(tif: TiffFile, path: Path) -> str | None:
    """OME-XML of a file, such that the parser understands it."""
    text = next((text for text in _descriptions(tif) if _BEGINNING.search(text)), None)
    if text is None:
        return None
    text = _without_what_is_no_xml(text)
    root = parse_xml(text, path.name)
    only = next(children(root, "BinaryOnly"), None)
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
    """Texts of the first pages and of the last one."""
    count = len(tif.pages)
    for index in sorted({*range(min(_MOST_LOOKS, count)), max(0, count - 1)}) if count else ():
        try:
            tags = tif.pages[index].tags.getall(270) or []
        except Exception:  # a page that cannot be read says nothing; whether it is needed is found out later
            tags = []
        yield from (_text(tag, tif) for tag in tags if isinstance(tag.value, str))


def _text(tag: TiffTag, tif: TiffFile) -> str:
    """Text of a tag; TIFF knows one byte a character only, but some programs write two or four."""
    text = str(tag.value)
    if "\0" not in text[:4]:
        return text
    tif.filehandle.seek(tag.valueoffset)
    return _decoded(tif.filehandle.read(min(tag.valuebytecount, 4 * LONGEST_TEXT)))


def _decoded(data: bytes) -> str:
    # by where it has zeros
    encoding = json.detect_encoding(data)
    return data.decode(encoding, errors="replace")


def _without_what_is_no_xml(text: str) -> str:
    """The document to its end, without characters and references that XML does not have."""
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
    place = path.with_name(PurePosixPath(name.replace("\\", "/")).name or path.name)
    try:
        if place == path or not place.is_file() or place.stat().st_size > LONGEST_TEXT:
            raise FileNotFoundError
        return _without_what_is_no_xml(_decoded(place.read_bytes()))
    except OSError:
        warnings.warn(
            f"{path.name} is a part of an image that is described in {name or 'another file'}, which is not there: "
            "this part alone is opened, without its channel names and pixel size.",
            SlideWarning,
            stacklevel=2,
        )
        return None


def _mend(root: ElementTree.Element, tif: TiffFile, path: Path) -> bool:
    """Complete a document in place; whether there was something to do."""
    before = ElementTree.tostring(root)
    first = 0
    own = _is_all_in_this_file(root, path)
    for image in children(root, "Image"):
        for pixels in children(image, "Pixels"):
            planes = _complete(pixels, tif)
            blocks = list(children(pixels, "TiffData"))
            for block in blocks:
                for uuid in list(children(block, "UUID")):
                    if own or _is_this_file(uuid, root, path):
                        block.remove(uuid)
                    else:
                        _name_by_file(uuid, path)
            if not blocks and first + planes <= len(tif.pages):
                place = pixels.tag.replace("Pixels", "TiffData")
                pixels.append(ElementTree.Element(place, {"IFD": str(first), "PlaneCount": str(planes)}))
            first += planes
    return ElementTree.tostring(root) != before


def _complete(pixels: ElementTree.Element, tif: TiffFile) -> int:
    """Fill in sizes and samples that are not said; how many pages it takes."""
    page = tif.pages.first
    channels = list(children(pixels, "Channel"))
    known = {
        "SizeX": page.imagewidth,
        "SizeY": page.imagelength,
        "SizeC": max(1, len(channels)),
        "SizeZ": 1,
        "SizeT": 1,
    }
    for name, value in known.items():
        if name not in pixels.attrib:
            pixels.set(name, str(value))
        elif re.fullmatch(r"\d{1,9}\.0*", pixels.attrib[name]):
            pixels.set(name, pixels.attrib[name].partition(".")[0])
    if sorted(pixels.get("DimensionOrder", "")) != sorted("XYCZT"):
        pixels.set("DimensionOrder", "XYCZT")
    size_c, samples = int(pixels.get("SizeC", "1")), page.samplesperpixel
    if samples > 1 and size_c % samples == 0 and all("SamplesPerPixel" not in channel.attrib for channel in channels):
        if not channels:
            channels = [ElementTree.Element(pixels.tag.replace("Pixels", "Channel"))]
            pixels.insert(0, channels[0])
        for channel in channels:
            channel.set("SamplesPerPixel", str(samples))
    text = channels[0].get("SamplesPerPixel", "1") if channels else "1"
    said = int(text) if re.fullmatch(r"\d{1,4}", text) else 1
    return max(1, size_c // max(1, said)) * int(pixels.get("SizeZ", "1")) * int(pixels.get("SizeT", "1"))


def _is_all_in_this_file(root: ElementTree.Element, path: Path) -> bool:
    """Whether all planes are in one file that must be this one, whatever it was called when it was written."""
    uuids = [element for element in root.iter() if element.tag.rpartition("}")[2] == "UUID"]
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
    """Let the file's name stand for its UUID, which copies share and which some programs repeat."""
    name = uuid.get("FileName", "").replace("\\", "/")
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or ":" in parts[0]:
        raise SlideError(
            f"{path.name} names a file of another folder ({name}) for its planes, expected files beside it: export it "
            "again."
        )
    uuid.set("FileName", name)
    uuid.text = name

"""OME-XML read as what it is, text from a stranger: no entities, no absurd sizes, only what a slide needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.units import read_pixel_size

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_TEXT = 64 * 2**20
MOST_PLANES = 1_000_000


@dataclass(frozen=True)
class OMEImage:
    """One image of an OME-XML document."""

    name: str  # Its name, or empty
    # One per channel element; a fluorophore where there is no name, empty where there is neither
    channel_names: tuple[str, ...]
    pixel_size_um: tuple[float, float] | None  # Height and width of a pixel
    shape: tuple[int, int, int] = (0, 0, 0)  # Planes, height and width; 0 where the document does not say
    unread: str = ""  # What is said about the pixel size and was not understood; else empty


def parse_xml(text: str, source: str) -> ElementTree.Element:
    """Root of an XML document from a file that nobody vouches for."""
    if len(text) > LONGEST_TEXT:
        raise SlideError(
            f"{source} has {len(text) / 2**20:.0f} MiB of metadata, expected less than 64: export the image again."
        )
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise SlideError(
            f"{source} has metadata that declare entities of their own, expected plain OME-XML: export it again."
        )
    try:
        # str with an encoding declaration of another encoding is refused by the parser
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
    for image in children(root, "Image"):
        for pixels in children(image, "Pixels"):
            planes = _checked_plane_count(pixels, source)
            size, unread = read_pixel_size(*(_length(pixels, axis) for axis in "YX"))
            shape = planes, _whole(pixels.get("SizeY")), _whole(pixels.get("SizeX"))
            images.append(OMEImage(image.get("Name") or "", tuple(_channel_names(pixels)), size, shape, unread))
    return tuple(images)


def children(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Children with a name, whatever their namespace."""
    for child in element:
        if child.tag.rpartition("}")[2] == name:
            yield child


def _channel_names(pixels: ElementTree.Element) -> Iterator[str]:
    """A name per channel, numbered where several samples of a pixel share one."""
    for channel in children(pixels, "Channel"):
        name = channel.get("Name") or channel.get("Fluor") or ""
        samples = channel.get("SamplesPerPixel", "1")
        count = int(samples) if samples.isdecimal() and len(samples) < 4 else 1
        yield from [name] if count <= 1 else [name and f"{name} {sample}" for sample in range(count)]


def _length(pixels: ElementTree.Element, axis: str) -> tuple[str | None, str]:
    return pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 12 else 0


def _checked_plane_count(pixels: ElementTree.Element, source: str) -> int:
    try:
        planes = 1
        for axis in "CZT":
            planes *= int(pixels.get(f"Size{axis}", "1"))
        claims = [planes]
        for block in children(pixels, "TiffData"):
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

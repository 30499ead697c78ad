"""TIFF in all its dialects (OME, ImageJ, QPTIFF, NDPI, SVS, plain), with pages as channels."""

from __future__ import annotations

import logging
import math
import re
import struct
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import count
from operator import index
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.errors import SlideError, reading_errors, warn
from napari_hrpn.slides.formats.ome_xml import LONGEST_TEXT, MOST_PLANES, ome_xml_of
from napari_hrpn.slides.formats.tiff_metadata import metadata_of, stain_of_ndpi
from napari_hrpn.slides.formats.tiff_pixels import Layout, layout_of, stored_levels
from napari_hrpn.slides.slide_builder import (
    COLOURS,
    RawImage,
    SeriesInfo,
    assemble,
    choose_plane,
    choose_series,
    light_background,
)
from napari_hrpn.slides.units import usable_pixel_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from tifffile import TiffFile, TiffPageSeries

    from napari_hrpn.slides.lazy_pixels import PixelSource
    from napari_hrpn.slides.slide import Slide

# kinds of files whose other series are thumbnails, labels and overviews
_ONE_SLIDE_KINDS = ("svs", "ndpi", "qpi", "bif", "philips")
_REDUCED_OR_MASK = 0b101
_ZERO_IS_WHITE = 0
_COLOUR = (2, 6)  # RGB and YCbCr
_LARGEST_TRIED_BYTES = 2**24
# limits within which a file opens, and 512 px of it are read, in 5 s and 500 MB
_MOST_PAGES = 50_000
_MOST_MIXED_PAGES = 5_000
_DESCRIPTION = 270
_SHAPE = re.compile(rb"(?:\{\s*\"shape\":\s*\[|shape=\()([\d,\s]*)")
_SMALLER_COPIES = 330
# most values of a tag; a file with more is refused before they are read
_MOST_VALUES = {
    **dict.fromkeys((273, 279, 324, 325), (2_000_000, "pieces")),
    _DESCRIPTION: (LONGEST_TEXT, "bytes of metadata"),
    _SMALLER_COPIES: (64, "smaller copies"),
}


def read_slide(path: Path, *, series: int | None, z: int | None, t: int | None) -> Slide:
    """Read a slide from a TIFF."""
    return assemble(find_in_tiff(path, series=series, z=z, t=t))


def find_in_tiff(path: Path, *, series: int | None, z: int | None, t: int | None) -> RawImage:
    """Stored levels of a TIFF, with its channel names and pixel size."""
    with _opened(path) as tif:
        slides = _slides_in(tif)
        chosen = choose_series(path.name, len(slides), series, lambda: [*map(_sketch, count(), slides)])
        image = slides[chosen]
        layout = layout_of(image, path)
        _check_described_planes(tif, image, layout, path)
        chosen_z = choose_plane(path.name, "z", layout.count("Z"), z)
        chosen_t = choose_plane(path.name, "t", layout.count("T"), t)
        plane, is_rgb = (chosen_z or 0, chosen_t or 0), image.keyframe.photometric in _COLOUR
        sources = stored_levels(image, layout, plane, path)
        if layout.samples == 4 and is_rgb and light_background(sources[-1], path):
            layout = replace(layout, samples=3, alpha=layout.alpha + 1)
            sources = stored_levels(image, layout, plane, path)
        _warn_of_samples(layout, image, path)
        names, size, unread = metadata_of(tif, image, sources[0].shape[0], path.name)
        is_colour = layout.samples == 3 and is_rgb
        stain = stain_of_ndpi(image) if is_colour else None
    for sentence in unread:
        warn(sentence)
    _try_a_piece(sources[-1], path)
    is_brightfield = False
    if stain is not None:
        sources, names = tuple(source.brightest() for source in sources), (stain,)
    elif is_colour:
        names = names if len(names) == sources[0].shape[0] else COLOURS
        is_brightfield = sources[0].shape[0] == 3 and light_background(sources[-1], path)
    return RawImage(path, sources, names, size, chosen, chosen_z, chosen_t, is_brightfield=is_brightfield)


def read_series(path: Path) -> tuple[SeriesInfo, ...]:
    """List the images of a TIFF."""
    with _opened(path) as tif:
        return tuple(_describe(tif, image, number, path) for number, image in enumerate(_slides_in(tif)))


def _sketch(number: int, image: TiffPageSeries) -> SeriesInfo:
    """Name and size of an image, without its metadata."""
    page = image.keyframe
    return SeriesInfo(number, image.name or f"Image {number}", (1, page.imagelength, page.imagewidth), None)


def _describe(tif: TiffFile, image: TiffPageSeries, number: int, path: Path) -> SeriesInfo:
    layout, sketch = layout_of(image, path), _sketch(number, image)
    channels = 1 if stain_of_ndpi(image) else layout.count("C") * layout.samples
    return replace(
        sketch,
        shape=(channels, *sketch.shape[1:]),
        pixel_size_um=usable_pixel_size(metadata_of(tif, image, channels, path.name)[1]),
        z_planes=layout.count("Z"),
        timepoints=layout.count("T"),
    )


@contextmanager
def _opened(path: Path) -> Iterator[TiffFile]:
    """The parsed and checked file, without log messages of the parser."""
    import tifffile

    def refuse(_: logging.LogRecord) -> bool:
        return False

    _check_pages(path)
    log = logging.getLogger("tifffile")
    with reading_errors(f"{path.name} cannot be read as a TIFF"), ExitStack() as stack:
        log.addFilter(refuse)
        stack.callback(log.removeFilter, refuse)
        tif = stack.enter_context(tifffile.TiffFile(path))
        _check_mixture(tif, path)
        text = ome_xml_of(tif, path)
        if text is not None and text != tif.ome_metadata:
            tif = stack.enter_context(tifffile.TiffFile(path, omexml=text))
        if not _makes_sense(tif, path):
            tif = stack.enter_context(
                tifffile.TiffFile(path, **{f"is_{name}": False for name in tifffile.TIFF.FILE_FLAGS})
            )
        yield tif


def _makes_sense(tif: TiffFile, path: Path) -> bool:
    """Whether the parser understands the descriptions of the images; a warning if it does not."""
    try:
        for image in tif.series:
            tuple(map(index, image.get_shape(False)))
    except (ValueError, TypeError, KeyError, AttributeError):
        if tif.is_ndpi:
            raise
        warn(
            f"{path.name} describes its image in a way that is not understood: its pages are opened in their order, "
            "check the channels."
        )
        return False
    return True


def _slides_in(tif: TiffFile) -> list[TiffPageSeries]:
    series = list(tif.series)
    if series and series[0].kind in _ONE_SLIDE_KINDS:
        return series[:1]
    whole = [image for image in series if not image.keyframe.subfiletype & _REDUCED_OR_MASK]
    largest = max((_area(image) for image in whole), default=0)
    # smaller copies and masks of an image are no separate images
    return [image for image in series if image in whole or _area(image) > largest]


def _area(image: TiffPageSeries) -> int:
    return int(image.keyframe.imagelength * image.keyframe.imagewidth)


def _check_described_planes(tif: TiffFile, image: TiffPageSeries, layout: Layout, path: Path) -> None:
    """Refuse an incomplete ImageJ stack, which the parser would open as a smaller one; warn of undescribed planes."""
    written = (tif.imagej_metadata or {}).get("images", 1)
    described, held = math.prod(layout.lengths), len(tif.pages)
    if isinstance(written, int) and written > max(described, held):
        raise SlideError(
            f"{path.name} holds {max(described, held)} of the {written} images that ImageJ wrote, expected all of "
            "them: copy it again from its source."
        )
    if image.kind not in ("ome", "imagej") or len(tif.series) > 1 or image.is_multifile or held <= described:
        return
    beyond, page = tif.pages[described].aspage(), image.keyframe
    if (beyond.shape, beyond.subfiletype) == (page.shape, page.subfiletype):
        warn(
            f"{path.name} holds {held} planes, of which its description counts {described} and no more are opened: "
            "check that none is missing."
        )


def _warn_of_samples(layout: Layout, image: TiffPageSeries, path: Path) -> None:
    if image.keyframe.photometric == _ZERO_IS_WHITE:
        warn(
            f"{path.name} states that 0 is white, so bright pixels have low values, and they are opened as stored: "
            "invert the image in the program that wrote it."
        )
    if layout.alpha:
        warn(
            f"{path.name} has {layout.alpha + layout.samples} samples per pixel, of which the last "
            f"{'is' if layout.alpha == 1 else f'{layout.alpha} are'} ignored as transparency: export each stain as a "
            "separate channel."
        )


def _try_a_piece(source: PixelSource, path: Path) -> None:
    """Read one pixel, so that an unknown compression or damaged pieces are reported at once."""
    if math.prod(source.chunks) * np.dtype(source.dtype).itemsize <= _LARGEST_TRIED_BYTES:
        with reading_errors(f"{path.name} holds pixels that cannot be decoded"):
            source.read(slice(0, 1), slice(0, 1), slice(0, 1))


def _check_pages(path: Path) -> None:
    """Follow the list of pages once, to refuse a circular, endless or absurd one before the parser reads it."""
    size = path.stat().st_size
    seen: set[int] = set()
    with path.open("rb") as file:
        for offset in _page_offsets(file, path):
            if offset in seen:
                raise SlideError(
                    f"{path.name} has a list of pages that runs in a circle after {len(seen)}, expected one "
                    "with an end: the file is damaged, export it again."
                )
            if offset >= size:
                raise SlideError(
                    f"{path.name} places page {len(seen) + 1} at byte {offset} of {size}, expected it inside "
                    "the file: the file is damaged or incomplete, copy it again."
                )
            seen.add(offset)
            if len(seen) > _MOST_PAGES:
                raise SlideError(f"{path.name} has more than {_MOST_PAGES} pages, expected a slide: open a part of it.")
    if not seen:
        raise SlideError(f"{path.name} is a TIFF without pages, expected an image: export it again.")


def _page_offsets(file: BinaryIO, path: Path) -> Iterator[int]:
    header = file.read(16)
    order = "<" if header[:2] == b"II" else ">"
    big = header[2:4] in (b"+\0", b"\0+")
    # an NDPI has 64-bit offsets in a 32-bit structure
    is_ndpi = path.suffix.lower() == ".ndpi" and order == "<" and not big
    kinds = ("Q", "HHQQ", "Q") if big else ("H", "HHII", "Q" if is_ndpi else "I")
    number, entry, link = (struct.Struct(order + kind) for kind in kinds)
    try:
        (offset,) = link.unpack_from(header, 8 if big else 4)
        while offset:
            yield offset
            offset, smaller = _read_page(file, (number, entry, link), offset, path)
            if smaller:
                _read_page(file, (number, entry, link), smaller, path)
    except struct.error:
        return  # the list is incomplete, but its pages may still hold an image, which is checked later


def _read_page(file: BinaryIO, structure: tuple[struct.Struct, ...], offset: int, path: Path) -> tuple[int, int]:
    """Check the entries of a page; return the offsets of the next page and of its only smaller copy (0 if none).

    `structure` has the formats of the number of entries, of an entry (tag, type, count, and value or offset), and
    of the link to the next page.
    """
    number, entry, link = structure
    file.seek(offset)
    (count,) = number.unpack(file.read(number.size))
    entries = file.read(min(count, 2**16) * entry.size)
    (following,) = link.unpack(file.read(link.size))
    smaller = 0
    for tag, _, length, value in entry.iter_unpack(entries):
        most, values = _MOST_VALUES.get(tag, (length, ""))
        if length > most:
            raise SlideError(
                f"{path.name} has a page of {length} {values}, expected {most} at most: the file is damaged, or has to "
                "be written again with larger tiles or strips."
            )
        if tag == _DESCRIPTION:
            _check_claimed_planes(file, value, path)
        if tag == _SMALLER_COPIES and length == 1:
            smaller = value
    return following, smaller


def _check_mixture(tif: TiffFile, path: Path) -> None:
    """Refuse thousands of pages of different sizes, which the parser would sort for minutes."""
    if len(tif.pages) <= _MOST_MIXED_PAGES or tif.is_uniform or tif.is_ome or tif.is_imagej or tif.is_shaped:
        return
    raise SlideError(
        f"{path.name} holds {len(tif.pages)} pages of several sizes, expected {_MOST_MIXED_PAGES} at most: open a part."
    )


def _check_claimed_planes(file: BinaryIO, offset: int, path: Path) -> None:
    """Refuse an absurd shape in a description by tifffile, for which the parser would allocate plane by plane."""
    file.seek(offset)
    match = _SHAPE.match(file.read(200))
    lengths = [int(length) for length in re.findall(rb"\d{1,18}", match.group(1))] if match else []
    if math.prod(max(1, length) for length in lengths[:-2]) > MOST_PLANES:
        raise SlideError(
            f"{path.name} claims {math.prod(lengths[:-2])} planes, expected 1 to {MOST_PLANES}: the file is damaged or "
            "not an image."
        )

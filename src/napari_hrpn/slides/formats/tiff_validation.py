"""Validation of a TIFF before it is read: its list of pages ends, its pixels lie inside the file."""

from __future__ import annotations

import math
import re
import struct
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.formats.ome_xml import LONGEST_TEXT, MOST_PLANES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from tifffile import TiffFile, TiffFrame, TiffPage

# what these bounds let through opens, and a look at 512 px of it is read, in 5 s and 500 MB
_MOST_PAGES = 50_000
_MOST_MIXED_PAGES = 5_000
_LARGEST_PIECE_BYTES = 240 * 10**6
_SUSPICIOUS_CHUNK_BYTES = 64 * 2**20
# no codec in use packs pixels tighter than zstd, which repeats 128 KiB in 4 bytes
_TIGHTEST_PACKING = 100_000
_DESCRIPTION = 270
_SHAPE = re.compile(rb"(?:\{\s*\"shape\":\s*\[|shape=\()([\d,\s]*)")
_SMALLER_COPIES = 330
# tags that are refused unread where they have more values than this
_MOST_VALUES = {
    **dict.fromkeys((273, 279, 324, 325), (2_000_000, "pieces")),
    _DESCRIPTION: (LONGEST_TEXT, "bytes of metadata"),
    _SMALLER_COPIES: (64, "smaller copies"),
}


def check_pages(path: Path) -> None:
    """Walk the list of pages once, so that a circular, endless or absurd one is refused before it is followed."""
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
    # an NDPI has offsets of 64 bits in a structure of 32
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
        return  # the list breaks off: what is there may still be an image, which its own checks find out


def _read_page(file: BinaryIO, structure: tuple[struct.Struct, ...], offset: int, path: Path) -> tuple[int, int]:
    """Check the entries of a page; where the next page is, and the only smaller copy of this one, 0 if there is none.

    The structure is that of the number of entries, of an entry (tag, type, count, and value or the place of it), and of
    the link to the next page.
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
                f"{path.name} has a page of {length} {values}, expected {most} at most: the file is damaged, or is to "
                "be written again with larger tiles or strips."
            )
        if tag == _DESCRIPTION:
            _check_claimed_planes(file, value, path)
        if tag == _SMALLER_COPIES and length == 1:
            smaller = value
    return following, smaller


def check_mixture(tif: TiffFile, path: Path) -> None:
    """Refuse thousands of pages of different sizes, which take minutes to sort."""
    if len(tif.pages) <= _MOST_MIXED_PAGES or tif.is_uniform or tif.is_ome or tif.is_imagej or tif.is_shaped:
        return
    raise SlideError(
        f"{path.name} holds {len(tif.pages)} pages of several sizes, expected {_MOST_MIXED_PAGES} at most: open a part."
    )


def _check_claimed_planes(file: BinaryIO, offset: int, path: Path) -> None:
    """Refuse a shape in tifffile's own description for which the parser would make room plane by plane."""
    file.seek(offset)
    match = _SHAPE.match(file.read(200))
    lengths = [int(length) for length in re.findall(rb"\d{1,18}", match.group(1))] if match else []
    if math.prod(max(1, length) for length in lengths[:-2]) > MOST_PLANES:
        raise SlideError(
            f"{path.name} claims {math.prod(lengths[:-2])} planes, expected 1 to {MOST_PLANES}: the file is damaged or "
            "not an image."
        )


def check_page(page: TiffPage | TiffFrame, keyframe: TiffPage, path: Path) -> None:
    """Refuse a page that claims pixels which are not in the file."""
    offsets = np.array(page.dataoffsets, np.uint64)
    counts = np.array(page.databytecounts, np.uint64)
    expected = math.prod(keyframe.chunked)
    if min(len(offsets), len(counts)) < expected:
        raise SlideError(
            f"{path.name} claims {keyframe.imagewidth} x {keyframe.imagelength} px in {expected} pieces but "
            f"lists {min(len(offsets), len(counts))}, expected all of them: the file is damaged, "
            "export it again."
        )
    if keyframe.compression == 1 and page.is_contiguous:
        # a wrong byte count does no harm where the size follows from the shape
        offsets, counts = offsets[:1], np.array([keyframe.nbytes], np.uint64)
    _check_ends(offsets, counts, path)
    _check_packing(keyframe, counts, path)


def _check_ends(offsets: np.ndarray, counts: np.ndarray, path: Path) -> None:
    size = path.stat().st_size
    count = min(len(offsets), len(counts))
    offsets, counts = offsets[:count], counts[:count]
    # written so that a sum of two huge numbers cannot wrap around
    beyond = (counts > 0) & ((offsets > size) | (counts > size) | (offsets > size - np.minimum(counts, size)))
    if beyond.any():
        raise SlideError(
            f"{path.name} is truncated: {int(beyond.sum())} of {count} pieces of a page lie beyond its end "
            f"at {size} bytes, expected a complete file: copy it again from where it came."
        )


def _check_packing(keyframe: TiffPage, counts: np.ndarray, path: Path) -> None:
    chunk = math.prod(keyframe.chunks) * keyframe.dtype.itemsize
    stored = counts[counts > 0]
    if chunk > _SUSPICIOUS_CHUNK_BYTES and len(stored) and int(stored.max()) * _TIGHTEST_PACKING < chunk:
        raise SlideError(
            f"{path.name} claims {chunk / 1e9:.1f} GB of pixels in a piece of {int(stored.max())} bytes, "
            "expected a size that the file can hold: the file is damaged or not an image."
        )
    if keyframe.compression != 1 and chunk > _LARGEST_PIECE_BYTES:
        raise SlideError(
            f"{path.name} keeps {chunk / 1e9:.1f} GB of pixels in one compressed piece, expected pieces of "
            f"{_LARGEST_PIECE_BYTES / 1e9:.2f} GB at most: write it again with tiles (in Python "
            "`tifffile.imwrite(new, tifffile.imread(old), tile=(512, 512))`)."
        )

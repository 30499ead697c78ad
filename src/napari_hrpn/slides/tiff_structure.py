"""Checks of a TIFF before anything trusts it: its list of pages ends, its pixels lie inside the file."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.errors import SlideError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from tifffile import TiffFrame, TiffPage

MOST_PAGES = 100_000
SUSPICIOUS_CHUNK_BYTES = 64 * 2**20
# no codec in use packs pixels tighter than zstd, which repeats 128 KiB in 4 bytes
TIGHTEST_PACKING = 100_000


def check_pages(path: Path) -> None:
    """Walk the list of pages once, so that a circular or endless one is refused before it is followed.

    Parameters
    ----------
    path : pathlib.Path
        A file that begins like a TIFF.

    Raises
    ------
    SlideError
        If the list is circular, leaves the file, or has more than 100,000 pages.
    """
    size = path.stat().st_size
    if path.suffix.lower() == ".ndpi":
        return  # uses 64 bit offsets in a 32 bit structure; its pages are few
    seen: set[int] = set()
    with path.open("rb") as file:
        for offset in _page_offsets(file):
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
            if len(seen) > MOST_PAGES:
                raise SlideError(f"{path.name} has more than {MOST_PAGES} pages, expected a slide: open a part of it.")
    if not seen:
        raise SlideError(f"{path.name} is a TIFF without pages, expected an image: export it again.")


def _page_offsets(file: BinaryIO) -> Iterator[int]:
    header = file.read(16)
    order = "<" if header[:2] == b"II" else ">"
    big = header[2:4] in (b"+\0", b"\0+")
    count_format, entry, offset_format = ("Q", 20, "Q") if big else ("H", 12, "I")
    try:
        (offset,) = struct.unpack_from(order + offset_format, header, 8 if big else 4)
        while offset:
            yield offset
            file.seek(offset)
            count_size = struct.calcsize(count_format)
            (count,) = struct.unpack(order + count_format, file.read(count_size))
            file.seek(offset + count_size + min(count, 2**16) * entry)
            (offset,) = struct.unpack(order + offset_format, file.read(struct.calcsize(offset_format)))
    except struct.error:
        return  # the list breaks off: what is there may still be an image, which its own checks find out


def check_size(page: TiffPage, path: Path) -> None:
    """Refuse a page without pixels.

    Parameters
    ----------
    page : tifffile.TiffPage
        The page.
    path : pathlib.Path
        The file to name in the sentence.

    Raises
    ------
    SlideError
        If it is 0 px high or wide.
    """
    if not page.imagewidth or not page.imagelength:
        raise SlideError(
            f"{path.name} holds an empty image ({page.imagewidth} x {page.imagelength} px), expected at least one "
            "pixel: export it again."
        )


def check_page(page: TiffPage | TiffFrame, keyframe: TiffPage, path: Path) -> None:
    """Refuse a page that claims pixels which are not in the file.

    Parameters
    ----------
    page, keyframe : tifffile.TiffPage or TiffFrame
        The page, and the one it shares its layout with.
    path : pathlib.Path
        The file that the page is in.

    Raises
    ------
    SlideError
        If pieces are missing, lie beyond the end, or are too small for what they claim to hold.
    """
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
    if chunk > SUSPICIOUS_CHUNK_BYTES and len(stored) and int(stored.max()) * TIGHTEST_PACKING < chunk:
        raise SlideError(
            f"{path.name} claims {chunk / 1e9:.1f} GB of pixels in a piece of {int(stored.max())} bytes, "
            "expected a size that the file can hold: the file is damaged or not an image."
        )

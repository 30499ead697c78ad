"""Planes and pixels of a TIFF series: which pages hold which channels, and how their pieces are read.

No file is kept open or mapped into memory, so a file that shrinks later gives an error and no crash.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.lazy_pixels import PixelSource, accepted_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from tifffile import TiffFrame, TiffPage, TiffPageSeries

_FREE_CHUNK = 512
_LARGEST_PIECE_BYTES = 240 * 10**6
_SUSPICIOUS_CHUNK_BYTES = 64 * 2**20
# no common codec compresses more than zstd, which stores 128 KiB of equal bytes in 4 bytes
_TIGHTEST_PACKING = 100_000
_LARGEST_JPEG_EXCESS = 4
_MOST_UNNAMED_CHANNELS = 16
_ALPHA = (1, 2)  # transparency, premultiplied or not


@dataclass(frozen=True)
class Layout:
    """Arrangement of the planes of a series: axes over pages, and samples in a page."""

    axes: str  # letters of the axes over pages: C, Z, T; others have length 1
    lengths: tuple[int, ...]
    samples: int  # channels in a page, without transparency
    separate: bool  # whether the samples of a page are stored one after the other
    alpha: int = 0  # samples at the end of a pixel that are transparency

    def count(self, axis: str) -> int:
        """Length along an axis; 1 if there is none."""
        return dict(zip(self.axes, self.lengths, strict=True)).get(axis, 1)

    def pages(self, z: int, t: int) -> list[int]:
        """Indices of the pages of one plane, in the order of the channels."""
        numbers = np.arange(math.prod(self.lengths)).reshape(self.lengths)
        plane: dict[str, Any] = {"Z": z, "T": t}
        found: list[int] = numbers[tuple(plane.get(letter, slice(None)) for letter in self.axes)].ravel().tolist()
        return found


def layout_of(image: TiffPageSeries, path: Path) -> Layout:
    """Axes and samples of a series."""
    page = image.keyframe
    if not page.imagewidth or not page.imagelength:
        raise SlideError(
            f"{path.name} holds an empty image ({page.imagewidth} x {page.imagelength} px), expected at least one "
            "pixel: export it again."
        )
    if page.dtype is None:
        raise SlideError(
            f"{path.name} holds pixels of {page.bitspersample} bits that are not understood, expected 8, 16 or 32: "
            "convert it to uint16 or float32."
        )
    accepted_dtype(page.dtype, path)
    axes, shape = image.get_axes(False), image.get_shape(False)
    letters = dict(zip(axes, shape, strict=True))
    if (letters.get("Y"), letters.get("X")) != (page.imagelength, page.imagewidth) or page.imagedepth > 1:
        raise SlideError(
            f"{path.name} has pages of a layout that is not understood (axes {axes}), expected planes of y "
            "and x: export it as OME-TIFF."
        )
    separate = page.planarconfig == 2 and page.samplesperpixel > 1
    # the axis of samples is before y if they are stored one after the other, else after x
    end = axes.index("Y") - (1 if separate else 0)
    lengths = tuple(shape[:end])
    alpha = _declared_alpha(page)
    understood = _understood_axes(axes[:end], lengths, path)
    return Layout(understood, lengths, page.samplesperpixel - alpha, separate, alpha)


def _declared_alpha(page: TiffPage) -> int:
    """Number of samples at the end of a pixel that the file declares as transparency; others are channels."""
    extra = [int(kind) for kind in page.extrasamples or ()][-(page.samplesperpixel - 1) :]
    if page.samplesperpixel == 1:
        return 0
    return next((index for index, kind in enumerate(reversed(extra)) if kind not in _ALPHA), len(extra))


def _understood_axes(axes: str, lengths: tuple[int, ...], path: Path) -> str:
    """The same axes, with an unnamed one as channels or, if it is too long for that, as a stack."""
    named = [letter for letter, length in zip(axes, lengths, strict=True) if letter in "CZT" and length > 1]
    understood = ""
    for letter, length in zip(axes, lengths, strict=True):
        if length == 1:
            understood += "-"
        elif letter in named and letter not in understood:
            understood += letter
        elif "C" not in named and "C" not in understood and length <= _MOST_UNNAMED_CHANNELS:
            understood += "C"
        elif "Z" not in named and "Z" not in understood:
            understood += "Z"
        else:
            raise SlideError(
                f"{path.name} has an axis {letter} of {length} that is not understood, expected channels, "
                "z and time: export it as OME-TIFF."
            )
    return understood


def stored_levels(image: TiffPageSeries, layout: Layout, plane: tuple[int, int], path: Path) -> tuple[PixelSource, ...]:
    """The levels of a plane of a series, without smaller copies that have another layout."""
    finest, numbers = image.keyframe, layout.pages(*plane)
    alike = [
        level
        for level in image.levels
        if level is image
        or (
            level.get_shape(False)[: len(layout.lengths)] == layout.lengths
            and level.keyframe.samplesperpixel == finest.samplesperpixel
        )
    ]
    return tuple(_level(level, layout, numbers, path) for level in alike)


def _level(level: TiffPageSeries, layout: Layout, numbers: list[int], path: Path) -> PixelSource:
    keyframe, planes = level.keyframe, math.prod(layout.lengths)
    samples, (height, width) = 1 if layout.separate else layout.samples, (keyframe.imagelength, keyframe.imagewidth)
    if len(level) < planes:
        pages: Sequence[_Page] = _undivided_pages(level, layout, numbers, path)
    else:
        pages = [page for number in numbers for page in _pages(level[number], keyframe, layout, path)]
    piece = (_FREE_CHUNK, _FREE_CHUNK) if isinstance(pages[0], _RawPage) else _piece_shape(keyframe)
    chunks = samples, min(piece[0], height), min(piece[1], width)
    return PixelSource((len(pages) * samples, height, width), keyframe.dtype, chunks, partial(_read, pages, samples))


def _piece_shape(keyframe: TiffPage) -> tuple[int, int]:
    """Rows and columns of a tile or strip."""
    if keyframe.is_tiled:
        return keyframe.tilelength, keyframe.tilewidth
    return min(keyframe.rowsperstrip, keyframe.imagelength), keyframe.imagewidth


def _read(pages: Sequence[_Page], samples: int, channels: slice, rows: slice, columns: slice) -> np.ndarray:
    """Pixels of shape (c, y, x) from pages with one or more samples per pixel."""
    first = channels.start // samples
    blocks = [page.read(rows, columns)[:samples] for page in pages[first : -(-channels.stop // samples)]]
    block = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    return block[channels.start - first * samples : channels.stop - first * samples]


def _pages(page: TiffPage | TiffFrame | None, like: TiffPage, layout: Layout, path: Path) -> Sequence[_Page]:
    if page is None:
        raise SlideError(
            f"{path.name} describes planes that are missing, expected all of them: put the other files of "
            "the image beside it, or export it as one file."
        )
    keyframe, file = page.keyframe, Path(page.parent.filehandle.path)
    if (keyframe.shape, keyframe.dtype) != (like.shape, like.dtype):
        raise SlideError(
            f"{path.name} has planes that differ in size or type, expected them alike: the file is damaged, export it "
            "again."
        )
    _check_page(page, keyframe, file)
    if layout.separate:
        return [_PiecedPage(page, file, sample) for sample in range(layout.samples)]
    return [_RawPage(keyframe, file, page.dataoffsets[0]) if _is_raw(page) else _PiecedPage(page, file)]


def _check_page(page: TiffPage | TiffFrame, keyframe: TiffPage, path: Path) -> None:
    """Refuse a page whose pixels are not all in the file."""
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
        # a wrong byte count is harmless here, because the size follows from the shape
        offsets, counts = offsets[:1], np.array([keyframe.nbytes], np.uint64)
    _check_ends(offsets, counts, path)
    _check_packing(keyframe, counts, path)


def _check_ends(offsets: np.ndarray, counts: np.ndarray, path: Path) -> None:
    size = path.stat().st_size
    count = min(len(offsets), len(counts))
    offsets, counts = offsets[:count], counts[:count]
    # compared without a sum, because two huge numbers would wrap around
    beyond = (counts > 0) & ((offsets > size) | (counts > size) | (offsets > size - np.minimum(counts, size)))
    if beyond.any():
        raise SlideError(
            f"{path.name} is truncated: {int(beyond.sum())} of {count} pieces of a page lie beyond its end "
            f"at {size} bytes, expected a complete file: copy it again from its source."
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


def _undivided_pages(level: TiffPageSeries, layout: Layout, numbers: list[int], path: Path) -> list[_RawPage]:
    """Planes of a stack that follow a single page, as ImageJ and tifffile write files of more than 4 GB."""
    keyframe, start, planes = level.keyframe, level.dataoffset, math.prod(layout.lengths)
    is_whole = start is not None and start + planes * keyframe.nbytes <= path.stat().st_size
    if start is None or not is_whole or layout.separate or not _is_raw(keyframe):
        raise SlideError(
            f"{path.name} describes {planes} planes and holds {len(level)}, expected "
            "all of them: the file is incomplete, copy or export it again."
        )
    return [_RawPage(keyframe, path, start + number * keyframe.nbytes) for number in numbers]


def _is_raw(page: TiffPage | TiffFrame) -> bool:
    keyframe = page.keyframe
    is_packed = keyframe.compression != 1 or keyframe.bitspersample != 8 * keyframe.dtype.itemsize
    return page.is_final and not is_packed and not keyframe.is_tiled


class _PiecedPage:
    """A page in tiles or strips, compressed or not."""

    def __init__(self, page: TiffPage | TiffFrame, path: Path, sample: int | None = None) -> None:
        keyframe = page.keyframe
        self._path, self._decode, self._dtype = path, keyframe.decode, keyframe.dtype
        self._samples = 1 if sample is not None else keyframe.samplesperpixel
        self._piece = _piece_shape(keyframe)
        down, self._across = (
            math.ceil(size / edge)
            for size, edge in zip((keyframe.imagelength, keyframe.imagewidth), self._piece, strict=True)
        )
        self._first = (sample or 0) * down * self._across
        pieces = slice(self._first, self._first + down * self._across)
        self._offsets = np.array(page.dataoffsets[pieces], np.int64)
        self._counts = np.array(page.databytecounts[pieces], np.int64)
        self._options: dict[str, Any] = {}
        if keyframe.compression in (6, 7, 34892, 33007):
            self._options = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader}
        self._is_plain_jpeg = keyframe.compression in (6, 7) and not keyframe.jpegheader

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Pixels of shape (samples, y, x)."""
        height, width = self._piece
        block = np.zeros((self._samples, rows.stop - rows.start, columns.stop - columns.start), self._dtype)
        with self._path.open("rb") as file:
            for top in range(rows.start // height * height, rows.stop, height):
                for left in range(columns.start // width * width, columns.stop, width):
                    piece = self._decoded(file, top // height * self._across + left // width)
                    # a piece that the file omits is blank
                    if piece is not None:
                        y, x = slice(max(top, rows.start), rows.stop), slice(max(left, columns.start), columns.stop)
                        shared = piece[:, y.start - top : y.stop - top, x.start - left : x.stop - left]
                        y0, x0 = y.start - rows.start, x.start - columns.start
                        block[:, y0 : y0 + shared.shape[1], x0 : x0 + shared.shape[2]] = shared
        return block

    def _decoded(self, file: BinaryIO, index: int) -> np.ndarray | None:
        """Pixels of a piece, of shape (samples, y, x); None if the file omits it."""
        offset, count = int(self._offsets[index]), int(self._counts[index])
        if count == 0:
            return None
        file.seek(offset)
        packed = file.read(count)
        if len(packed) < count:
            raise _shortened(self._path, count, offset)
        area = _jpeg_area(packed) if self._is_plain_jpeg else 0
        if area > _LARGEST_JPEG_EXCESS * max(_FREE_CHUNK**2, math.prod(self._piece)):
            raise SlideError(
                f"{self._path.name} has a JPEG of {area / 1e6:.0f} megapixels in a piece of "
                f"{self._piece[1]} x {self._piece[0]} px, expected its size: the file is damaged, export it again."
            )
        piece: np.ndarray = self._decode(packed, self._first + index, **self._options)[0]
        channels_first: np.ndarray = np.moveaxis(piece[0], -1, 0)
        return channels_first


def _jpeg_area(packed: bytes) -> int:
    """Number of pixels in the header of a JPEG; 0 if it has none."""
    place = 2
    while packed[place : place + 1] == b"\xff" and place + 9 <= len(packed):
        marker, length = packed[place + 1], int.from_bytes(packed[place + 2 : place + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            sides = packed[place + 5 : place + 7], packed[place + 7 : place + 9]
            return math.prod(int.from_bytes(side, "big") for side in sides)
        place += 2 + length
    return 0


class _RawPage:
    """An uncompressed page in one run of bytes, of which only the requested rows and columns are read."""

    def __init__(self, keyframe: TiffPage, path: Path, offset: int) -> None:
        self._path, self._offset = path, offset
        self._width, self._samples = keyframe.imagewidth, keyframe.samplesperpixel
        self._dtype = np.dtype(keyframe.dtype).newbyteorder(keyframe.parent.byteorder)

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Pixels of shape (samples, y, x)."""
        are_whole_rows = 2 * (columns.stop - columns.start) >= self._width
        taken = slice(0, self._width) if are_whole_rows else columns
        block = np.empty((rows.stop - rows.start, taken.stop - taken.start, self._samples), self._dtype)
        # a tiny buffer, because one of the usual size would read neighbouring pixels too
        with BufferedReader(self._path.open("rb", buffering=0), 16) as file:
            for row, run in enumerate(block[np.newaxis] if are_whole_rows else block, start=rows.start):
                offset = self._offset + (row * self._width + taken.start) * self._samples * self._dtype.itemsize
                file.seek(offset)
                if file.readinto(run.view(np.uint8)) < run.nbytes:
                    raise _shortened(self._path, run.nbytes, offset)
        return np.moveaxis(block[:, columns] if are_whole_rows else block, -1, 0)


_Page: TypeAlias = _PiecedPage | _RawPage


def _shortened(path: Path, count: int, offset: int) -> SlideError:
    return SlideError(
        f"{path.name} became shorter after it was opened, expected {count} bytes at byte {offset}: copy it again "
        "and open it anew."
    )

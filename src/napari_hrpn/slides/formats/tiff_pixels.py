"""Planes and pixels of a TIFF series: which pages hold which channels, and their pieces, read one by one.

Nothing is held open or mapped into memory, so a file that shrinks later gives an error, not a crash.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.formats.tiff_validation import check_page
from napari_hrpn.slides.guarded_array import PixelSource, accepted_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import RawIOBase
    from typing import BinaryIO

    from tifffile import TiffFrame, TiffPage, TiffPageSeries

_FREE_CHUNK = 512
_LARGEST_JPEG_EXCESS = 4
_MOST_UNNAMED_CHANNELS = 16
_ALPHA = (1, 2)  # associated with the colours or not


@dataclass(frozen=True)
class Layout:
    """Where the planes of a series are: the axes over pages, and the samples in a page."""

    axes: str  # Letters of the axes over pages: C, Z, T; others have length 1
    lengths: tuple[int, ...]
    samples: int  # Channels in a page, without transparency
    separate: bool  # Whether the samples of a page are stored one after the other
    alpha: int = 0  # Samples at the end of a pixel that are transparency

    def count(self, axis: str) -> int:
        """Length along an axis; 1 where there is none."""
        return math.prod(n for letter, n in zip(self.axes, self.lengths, strict=True) if letter == axis)

    def pages(self, z: int, t: int) -> list[int]:
        """Numbers of the pages of one plane, in the order of the channels."""
        numbers = np.arange(math.prod(self.lengths)).reshape(self.lengths)
        taken: list[Any] = [{"Z": z, "T": t}.get(letter, slice(None)) for letter in self.axes]
        return [int(number) for number in numbers[tuple(taken)].ravel()]


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
    # the axis of samples stands before y where they are stored one after the other, else after x
    end = axes.index("Y") - (1 if separate else 0)
    lengths = tuple(shape[:end])
    alpha = _declared_alpha(page)
    understood = _understood_axes(axes[:end], lengths, path)
    return Layout(understood, lengths, page.samplesperpixel - alpha, separate, alpha)


def _declared_alpha(page: TiffPage) -> int:
    """Samples at the end of a pixel that the file calls transparency; others are channels."""
    extra = [int(kind) for kind in page.extrasamples or ()][-(page.samplesperpixel - 1) :]
    if page.samplesperpixel == 1:
        return 0
    return next((index for index, kind in enumerate(reversed(extra)) if kind not in _ALPHA), len(extra))


def _understood_axes(axes: str, lengths: tuple[int, ...], path: Path) -> str:
    """The same axes, with an unnamed one read as channels or, if there are too many for that, as a stack."""
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
    """The levels of a plane of a series, without smaller copies of another layout."""
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
    keyframe = level.keyframe
    if len(level) < math.prod(layout.lengths):
        pages = _undivided_pages(level, layout, numbers, path)
    else:
        pages = [page for number in numbers for page in _pages(level[number], keyframe, layout, path)]
    samples, (height, width) = 1 if layout.separate else layout.samples, (keyframe.imagelength, keyframe.imagewidth)
    rows, columns = _piece_shape(keyframe)
    if isinstance(pages[0], _RawPage):
        piece = samples, _FREE_CHUNK, _FREE_CHUNK
    else:
        piece = samples, min(rows, height), min(columns, width)
    shape = len(pages) * samples, height, width
    return PixelSource(shape, keyframe.dtype, piece, partial(_read_pages, pages, samples))


def _piece_shape(keyframe: TiffPage) -> tuple[int, int]:
    """Rows and columns of a tile or strip."""
    if keyframe.is_tiled:
        return keyframe.tilelength, keyframe.tilewidth
    return min(keyframe.rowsperstrip, keyframe.imagelength), keyframe.imagewidth


def _read_pages(pages: Sequence[_PagePixels], samples: int, channels: slice, rows: slice, columns: slice) -> np.ndarray:
    """Pixels (c, y, x) out of pages with one or several samples in a pixel."""
    parts = []
    for page in range(channels.start // samples, -(-channels.stop // samples)):
        first, last = page * samples, (page + 1) * samples
        block = pages[page].read(rows, columns)[:samples]
        parts.append(block[max(channels.start, first) - first : min(channels.stop, last) - first])
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _pages(page: TiffPage | TiffFrame | None, like: TiffPage, layout: Layout, path: Path) -> list[_PagePixels]:
    if page is None:
        raise SlideError(
            f"{path.name} describes planes that are not there, expected all of them: put the other files of "
            "the image beside it, or export it as one file."
        )
    keyframe, own_path = page.keyframe, Path(page.parent.filehandle.path)
    if (keyframe.shape, keyframe.dtype) != (like.shape, like.dtype):
        raise SlideError(
            f"{path.name} has planes that differ in size or type, expected them alike: the file is damaged, export it "
            "again."
        )
    check_page(page, keyframe, own_path)
    if layout.separate:
        return [_PiecedPage(page, keyframe, own_path, sample) for sample in range(layout.samples)]
    if _is_raw(page, keyframe):
        return [_raw_page(own_path, page.dataoffsets[0], keyframe)]
    return [_PiecedPage(page, keyframe, own_path)]


def _undivided_pages(level: TiffPageSeries, layout: Layout, numbers: list[int], path: Path) -> list[_PagePixels]:
    """Planes of a stack behind a single page, as ImageJ and tifffile write them beyond 4 GB."""
    keyframe = level.keyframe
    size = keyframe.nbytes
    start = level.dataoffset
    ends = None if start is None else start + math.prod(layout.lengths) * size
    if ends is None or layout.separate or not _is_raw(keyframe, keyframe) or ends > path.stat().st_size:
        raise SlideError(
            f"{path.name} describes {math.prod(layout.lengths)} planes and holds {len(level)}, expected "
            "all of them: the file is incomplete, copy or export it again."
        )
    return [_raw_page(path, start + number * size, keyframe) for number in numbers]


def _is_raw(page: TiffPage | TiffFrame, keyframe: TiffPage) -> bool:
    return bool(
        keyframe.compression == 1
        and not keyframe.is_tiled
        and keyframe.bitspersample == 8 * keyframe.dtype.itemsize
        and page.is_final
    )


def _raw_page(path: Path, offset: int, keyframe: TiffPage) -> _RawPage:
    shape = keyframe.imagelength, keyframe.imagewidth, keyframe.samplesperpixel
    return _RawPage(path, offset, shape, np.dtype(keyframe.dtype).newbyteorder(keyframe.parent.byteorder))


class _PagePixels(Protocol):
    """Reads a part of one page."""

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Pixels of shape (samples, y, x)."""


class _PiecedPage:
    """A page in tiles or strips, compressed or not."""

    def __init__(self, page: TiffPage | TiffFrame, keyframe: TiffPage, path: Path, sample: int | None = None) -> None:
        self._path = path
        self._decode = keyframe.decode
        self._dtype = keyframe.dtype
        self._samples = 1 if sample is not None else keyframe.samplesperpixel
        self._piece = _piece_shape(keyframe)
        self._across = math.ceil(keyframe.imagewidth / self._piece[1])
        down = math.ceil(keyframe.imagelength / self._piece[0])
        self._first = (sample or 0) * down * self._across
        last = self._first + down * self._across
        self._offsets = np.array(page.dataoffsets[self._first : last], np.int64)
        self._counts = np.array(page.databytecounts[self._first : last], np.int64)
        self._options: dict[str, Any] = {}
        if keyframe.compression in (6, 7, 34892, 33007):
            self._options = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader}
        self._is_plain_jpeg = keyframe.compression in (6, 7) and not keyframe.jpegheader

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Pixels of shape (samples, y, x)."""
        height, width = self._piece
        block = np.zeros((self._samples, rows.stop - rows.start, columns.stop - columns.start), self._dtype)
        with self._path.open("rb") as file:
            for down in range(rows.start // height, -(-rows.stop // height)):
                for across in range(columns.start // width, -(-columns.stop // width)):
                    piece = self._decoded(file, down * self._across + across)
                    if piece is not None:
                        _paste(block, piece, (down * height - rows.start, across * width - columns.start))
        return block

    def _decoded(self, file: BinaryIO, index: int) -> np.ndarray | None:
        """Pixels of a piece, of shape (samples, y, x); None where the file leaves it out."""
        count = int(self._counts[index])
        if count == 0:
            return None
        file.seek(int(self._offsets[index]))
        packed = file.read(count)
        if len(packed) < count:
            raise SlideError(
                f"{self._path.name} has become shorter since it was opened, expected {count} bytes at byte "
                f"{int(self._offsets[index])}: copy it again and open it anew."
            )
        if self._is_plain_jpeg and _jpeg_area(packed) > _LARGEST_JPEG_EXCESS * max(
            _FREE_CHUNK**2, math.prod(self._piece)
        ):
            raise SlideError(
                f"{self._path.name} has a JPEG of {_jpeg_area(packed) / 1e6:.0f} megapixels in a piece of "
                f"{self._piece[1]} x {self._piece[0]} px, expected its size: the file is damaged, export it again."
            )
        piece: np.ndarray = self._decode(packed, self._first + index, **self._options)[0]
        channels_first: np.ndarray = np.moveaxis(piece[0], -1, 0)
        return channels_first


def _jpeg_area(packed: bytes) -> int:
    """Pixels that a JPEG says it has; 0 where it does not say."""
    place = 2
    while packed[place : place + 1] == b"\xff" and place + 9 <= len(packed):
        marker, length = packed[place + 1], int.from_bytes(packed[place + 2 : place + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            sides = packed[place + 5 : place + 7], packed[place + 7 : place + 9]
            return math.prod(int.from_bytes(side, "big") for side in sides)
        place += 2 + length
    return 0


def _paste(block: np.ndarray, piece: np.ndarray, corner: tuple[int, int]) -> None:
    inside: list[slice] = [slice(None)]
    taken: list[slice] = [slice(None)]
    for start, length, room in zip(corner, piece.shape[1:], block.shape[1:], strict=True):
        low, high = max(start, 0), max(min(start + length, room), 0)
        inside.append(slice(low, high))
        taken.append(slice(low - start, high - start))
    block[tuple(inside)] = piece[tuple(taken)]


@dataclass(frozen=True)
class _RawPage:
    """An uncompressed page in one run of bytes, of which only the rows and columns asked for are read."""

    path: Path
    offset: int
    shape: tuple[int, int, int]  # Rows, columns, samples
    dtype: np.dtype  # In the byte order of the file

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Pixels of shape (samples, y, x)."""
        _, width, samples = self.shape
        pixel = samples * self.dtype.itemsize
        whole_rows = 2 * (columns.stop - columns.start) >= width
        taken = slice(0, width) if whole_rows else columns
        block = np.empty((rows.stop - rows.start, taken.stop - taken.start, samples), self.dtype)
        runs = [block] if whole_rows else list(block)
        # each seek reads what is wanted: a buffer would read the neighbours too
        with self.path.open("rb", buffering=0) as file:
            for index, run in enumerate(runs):
                file.seek(self.offset + ((rows.start + index) * width + taken.start) * pixel)
                self._fill(file, run)
        if whole_rows:
            block = block[:, columns]
        return np.moveaxis(block, -1, 0)

    def _fill(self, file: RawIOBase, run: np.ndarray) -> None:
        # as bytes first: a memoryview of foreign byte order cannot be cast
        room = run.reshape(-1).view(np.uint8).data
        while len(room):
            got = file.readinto(room)
            if not got:
                raise SlideError(
                    f"{self.path.name} has become shorter since it was opened, expected {len(room)} more "
                    "bytes: copy it again and open it anew."
                )
            room = room[got:]

"""Pixels of TIFF pages, read piece by piece.

Nothing is held open or mapped into memory, so a file that shrinks later gives an error, not a crash.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.slides.errors import SlideError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import RawIOBase
    from pathlib import Path
    from typing import BinaryIO, Protocol

    from tifffile import TiffFrame, TiffPage

    class PagePixels(Protocol):
        """Reads a part of one page."""

        def read(self, rows: slice, columns: slice) -> np.ndarray:
            """Pixels of shape (samples, y, x)."""


FREE_CHUNK = 512
_LARGEST_JPEG_EXCESS = 4


class PiecedPage:
    """A page in tiles or strips, compressed or not."""

    def __init__(self, page: TiffPage | TiffFrame, keyframe: TiffPage, path: Path, sample: int | None = None) -> None:
        self._path = path
        self._decode = keyframe.decode
        self._dtype = keyframe.dtype
        self._samples = 1 if sample is not None else keyframe.samplesperpixel
        self._piece = (
            (keyframe.tilelength, keyframe.tilewidth)
            if keyframe.is_tiled
            else (min(keyframe.rowsperstrip, keyframe.imagelength), keyframe.imagewidth)
        )
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
            FREE_CHUNK**2, math.prod(self._piece)
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


class RawPage:
    """An uncompressed page in one run of bytes, of which only the rows and columns asked for are read."""

    def __init__(self, path: Path, offset: int, shape: tuple[int, int, int], dtype: np.dtype) -> None:
        self._path = path
        self._offset = offset
        self._shape = shape
        self._dtype = dtype

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Pixels of shape (samples, y, x)."""
        _, width, samples = self._shape
        pixel = samples * self._dtype.itemsize
        whole_rows = 2 * (columns.stop - columns.start) >= width
        taken = slice(0, width) if whole_rows else columns
        block = np.empty((rows.stop - rows.start, taken.stop - taken.start, samples), self._dtype)
        runs = [block] if whole_rows else list(block)
        # each seek reads what is wanted: a buffer would read the neighbours too
        with self._path.open("rb", buffering=0) as file:
            for index, run in enumerate(runs):
                file.seek(self._offset + ((rows.start + index) * width + taken.start) * pixel)
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
                    f"{self._path.name} has become shorter since it was opened, expected {len(room)} more "
                    "bytes: copy it again and open it anew."
                )
            room = room[got:]


class TiffLevel:
    """One level of a slide out of TIFF pages: a channel per page, or per sample of a page."""

    def __init__(
        self,
        pages: Sequence[PagePixels],
        samples: int,
        shape: tuple[int, int],
        dtype: np.dtype,
        chunks: tuple[int, int],
    ) -> None:
        self._pages = tuple(pages)
        self._samples = samples
        self.shape = (len(self._pages) * samples, *shape)
        self.dtype = dtype
        self.chunks = (samples, *chunks)

    def read(self, channels: slice, rows: slice, columns: slice) -> np.ndarray:
        """Pixels of a block, of shape (c, y, x)."""
        wanted = range(self.shape[0])[channels]
        parts = []
        for page in sorted({channel // self._samples for channel in wanted}):
            first, last = page * self._samples, (page + 1) * self._samples
            block = self._pages[page].read(rows, columns)[: self._samples]
            parts.append(block[max(wanted.start, first) - first : min(wanted.stop, last) - first])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

"""Where the planes of a TIFF series are: which pages hold which channels, checked before anything is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.formats.tiff_pixels import FREE_CHUNK, PiecedPage, RawPage, TiffLevel
from napari_hrpn.slides.formats.tiff_validation import check_page, check_size
from napari_hrpn.slides.guarded_array import accepted_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tifffile import TiffFrame, TiffPage, TiffPageSeries

    from napari_hrpn.slides.formats.tiff_pixels import PagePixels
    from napari_hrpn.slides.guarded_array import PixelSource

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
    check_size(page, path)
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


def stored_levels(image: TiffPageSeries, layout: Layout, plane: tuple[int, int], path: Path) -> Iterator[PixelSource]:
    """The levels of a series."""
    numbers = layout.pages(*plane)
    finest = image.keyframe
    for level in image.levels:
        same = level.get_shape(False)[: len(layout.lengths)] == layout.lengths
        if level is image or (same and level.keyframe.samplesperpixel == finest.samplesperpixel):
            yield _level(level, layout, numbers, path)


def _level(level: TiffPageSeries, layout: Layout, numbers: list[int], path: Path) -> TiffLevel:
    keyframe = level.keyframe
    shape = (keyframe.imagelength, keyframe.imagewidth)
    pages: list[PagePixels] = []
    if len(level) < math.prod(layout.lengths):
        pages = _undivided_pages(level, layout, numbers, path)
        chunks = (FREE_CHUNK, FREE_CHUNK)
    else:
        for number in numbers:
            pages += _pages(level[number], keyframe, layout, path)
        is_raw = isinstance(pages[0], RawPage)
        piece = (keyframe.tilelength, keyframe.tilewidth) if keyframe.is_tiled else (keyframe.rowsperstrip, shape[1])
        chunks = (FREE_CHUNK, FREE_CHUNK) if is_raw else (min(piece[0], shape[0]), min(piece[1], shape[1]))
    return TiffLevel(pages, 1 if layout.separate else layout.samples, shape, keyframe.dtype, chunks)


def _pages(page: TiffPage | TiffFrame | None, like: TiffPage, layout: Layout, path: Path) -> list[PagePixels]:
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
        return [PiecedPage(page, keyframe, own_path, sample) for sample in range(layout.samples)]
    if _is_raw(page, keyframe):
        whole = (keyframe.imagelength, keyframe.imagewidth, keyframe.samplesperpixel)
        return [RawPage(own_path, page.dataoffsets[0], whole, _stored_dtype(keyframe))]
    return [PiecedPage(page, keyframe, own_path)]


def _undivided_pages(level: TiffPageSeries, layout: Layout, numbers: list[int], path: Path) -> list[PagePixels]:
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
    whole = (keyframe.imagelength, keyframe.imagewidth, keyframe.samplesperpixel)
    return [RawPage(path, start + number * size, whole, _stored_dtype(keyframe)) for number in numbers]


def _is_raw(page: TiffPage | TiffFrame, keyframe: TiffPage) -> bool:
    return bool(
        keyframe.compression == 1
        and not keyframe.is_tiled
        and keyframe.bitspersample == 8 * keyframe.dtype.itemsize
        and page.is_final
    )


def _stored_dtype(keyframe: TiffPage) -> np.dtype:
    stored: np.dtype = np.dtype(keyframe.dtype).newbyteorder(keyframe.parent.byteorder)
    return stored

"""Identity of a slide from its file and metadata, and fingerprint from a sample of its pixels."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.formats import STAIN_SUFFIXES
from napari_hrpn.slides.lazy_pixels import decoded
from napari_hrpn.slides.location import holds_zarr, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upath import UPath

    from napari_hrpn.slides.location import Location
    from napari_hrpn.slides.slide import Slide

_HALF_PX = 64
WHOLE_BYTES = 8 << 20
"""Largest file that is read whole for its fingerprint."""
PIECES, PIECE_BYTES = 128, 8 << 10
_MOST_CHUNKS, _MOST_CHUNK_BYTES = 24, 48 << 20
"""Limits for decoded chunks of the finest level; a quarter of them if its files are read too, or are remote."""
_METADATA = ("zarr.json", ".zattrs", ".zgroup", ".zarray", ".zmetadata")


def slide_identity(slide: Slide) -> str:
    """Short hash that changes if the file of a slide, or the image taken from it, changes.

    Parameters
    ----------
    slide : Slide
        The slide.

    Returns
    -------
    str
        16 hexadecimal digits over the name, size and time of change of the source (for an OME-Zarr those of its
        metadata, for a folder of stains those of its TIFFs), shape, type, series, z and t. In object storage only the
        metadata at the top of the group are used, as described by the store. For a slide in memory, without a file,
        pixels at its centre are used instead.

    Raises
    ------
    SlideError
        If it is in object storage that does not answer.
    """
    digest = hashlib.sha256()
    facts = (
        slide.source.name,
        slide.levels[0].shape,
        str(slide.dtype),
        slide.series,
        slide.z,
        slide.t,
        tuple(_stamps(slide.source)),
    )
    digest.update(repr(facts).encode("utf-8"))
    if isinstance(slide.source, Path) and not slide.source.exists():
        digest.update(_middle(slide))
    return digest.hexdigest()[:16]


def slide_fingerprint(slide: Slide) -> str:
    """Short hash of a sample of pixels, to detect a rewritten slide whose `slide_identity` is unchanged.

    Parameters
    ----------
    slide : Slide
        The slide.

    Returns
    -------
    str
        16 hexadecimal digits over pieces of its files (all of a file up to 8 MiB, else 1 MiB) and chunks of its finest
        level (at most 24, and 48 MiB), spread evenly. A change between them is not detected.
    """
    digest, files, level = hashlib.sha256(), _files(slide.source), slide.levels[0]
    for file in files:
        digest.update(_pieces(file))
    chunks = math.prod(level.numblocks)
    most = _MOST_CHUNKS // 4 if files or not isinstance(slide.source, Path) else _MOST_CHUNKS
    count = min(most, _MOST_CHUNK_BYTES // max(1, math.prod(level.chunksize) * level.dtype.itemsize))
    for index in _spread(chunks, count):
        try:
            position = tuple(int(number) for number in np.unravel_index(index, level.numblocks))
            digest.update(np.ascontiguousarray(decoded(level, position)).tobytes())
        except Exception:
            # an error is reported later, when the pixels are needed
            digest.update(b"not readable")
    return digest.hexdigest()[:16]


def _files(source: Location) -> list[Path]:
    """The files that hold the pixels, if they are few; the many files of a Zarr are not listed."""
    if not isinstance(source, Path) or holds_zarr(source):
        return []
    if source.is_dir():
        tiffs = (file for file in source.iterdir() if file.is_file() and file.suffix.lower() in STAIN_SUFFIXES)
        # macOS puts a hidden file beside each file on a disk of another system
        return sorted(file for file in tiffs if not file.name.startswith("."))
    return [source] if source.is_file() else []


def _pieces(path: Path) -> bytes:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= WHOLE_BYTES:
            return file.read()
        pieces = []
        for start in np.linspace(0, size - PIECE_BYTES, PIECES).astype(int).tolist():
            file.seek(start)
            pieces.append(file.read(PIECE_BYTES))
    return b"".join(pieces)


def _spread(total: int, count: int) -> list[int]:
    """Evenly spread indices from 0 to the last one."""
    return sorted(set(np.linspace(0, total - 1, min(total, count)).astype(int).tolist())) if count else []


def _middle(slide: Slide) -> bytes:
    rows, columns = (slice(size // 2 - min(size // 2, _HALF_PX), size // 2 + _HALF_PX) for size in slide.shape)
    return np.ascontiguousarray(slide.levels[0][:, rows, columns].compute()).tobytes()


def _stamps(source: Location) -> Iterator[tuple[object, ...]]:
    """Name, size and time of change in ns of the files of a slide."""
    if not isinstance(source, Path):
        yield from _stamps_of_objects(source)
        return
    members = _files(source)
    if holds_zarr(source):
        # the chunks of a Zarr are too many to be checked; its metadata are at most three folders deep
        found = {file for name in _METADATA for depth in ("", "*/", "*/*/") for file in source.glob(depth + name)}
        members = sorted(found)
    for file in members:
        status = file.stat()
        yield file.relative_to(source).as_posix(), status.st_size, status.st_mtime_ns


def _stamps_of_objects(source: UPath) -> Iterator[tuple[object, ...]]:
    if new := stamp(source / "zarr.json"):
        # metadata of the older format are ignored if there are those of the newer one
        yield "zarr.json", *new
        return
    found = {name: stamp(source / name) for name in _METADATA}
    if not any(found.values()):
        raise SlideError(f"{source} is no longer there or does not answer: check the network, and try again.")
    yield from ((name, *facts) for name, facts in found.items() if facts)

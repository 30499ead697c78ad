"""Fingerprint of a slide: its file and metadata, and a sample of its pixels."""

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
"""A file that is no larger is read whole for its fingerprint."""
PIECES, PIECE_BYTES = 128, 8 << 10
_MOST_CHUNKS, _MOST_CHUNK_BYTES = 24, 48 << 20
"""Of the finest level, as they are decoded; a quarter of them where its files were looked at, or are far away."""
_METADATA = ("zarr.json", ".zattrs", ".zgroup", ".zarray", ".zmetadata")


def slide_identity(slide: Slide) -> str:
    """A fingerprint that changes when the file, or what was taken from it, changes.

    Parameters
    ----------
    slide : Slide
        The slide.

    Returns
    -------
    str
        16 hexadecimal digits over the source's name, size and time of change (for an OME-Zarr those of its
        metadata, for a folder of stains those of its TIFFs), shape, type, series, z and t. In object storage, the
        metadata at the top of the group stand for all, with what the store says of them. A slide in memory, without a
        file, is known by the pixels in its middle instead.

    Raises
    ------
    SlideError
        If it is in object storage, which does not answer.
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
    """A fingerprint of some pixels, for a slide that is rewritten without a trace in `slide_identity`.

    Parameters
    ----------
    slide : Slide
        The slide.

    Returns
    -------
    str
        16 hexadecimal digits over pieces of its files (all of a file up to 8 MiB, else 1 MiB) and chunks of its finest
        level (24 at most, and 48 MiB), spread evenly: a change between them goes unnoticed.
    """
    digest, files, level = hashlib.sha256(), _files(slide.source), slide.levels[0]
    for file in files:
        digest.update(_pieces(file))
    chunks = math.prod(level.numblocks)
    most = _MOST_CHUNKS // 4 if files or not isinstance(slide.source, Path) else _MOST_CHUNKS
    count = min(most, _MOST_CHUNK_BYTES // max(1, math.prod(level.chunksize) * level.dtype.itemsize))
    for index in _spread(chunks, count):
        try:
            place = tuple(int(one) for one in np.unravel_index(index, level.numblocks))
            digest.update(np.ascontiguousarray(decoded(level, place)).tobytes())
        except Exception:
            # what cannot be read is told when it is needed
            digest.update(b"not readable")
    return digest.hexdigest()[:16]


def _files(source: Location) -> list[Path]:
    """The files that hold the pixels, where there are few."""
    if not isinstance(source, Path) or holds_zarr(source):
        return []
    if source.is_dir():
        return sorted(file for file in source.iterdir() if file.is_file() and file.suffix.lower() in STAIN_SUFFIXES)
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
    """Numbers from 0 to the last, evenly spread."""
    return sorted(set(np.linspace(0, total - 1, min(total, count)).astype(int).tolist())) if count else []


def _middle(slide: Slide) -> bytes:
    rows, columns = (slice(size // 2 - min(size // 2, _HALF_PX), size // 2 + _HALF_PX) for size in slide.shape)
    return np.ascontiguousarray(slide.levels[0][:, rows, columns].compute()).tobytes()


def _stamps(source: Location) -> Iterator[tuple[object, ...]]:
    """Name, size and time of change in ns of the files that make a slide."""
    if not isinstance(source, Path):
        yield from _stamps_of_objects(source)
        return
    members = _files(source)
    if holds_zarr(source):
        # the pieces of a Zarr are too many to look at; its metadata lie at most three folders deep
        found = {file for name in _METADATA for depth in ("", "*/", "*/*/") for file in source.glob(depth + name)}
        members = sorted(found)
    for file in members:
        status = file.stat()
        yield file.relative_to(source).as_posix(), status.st_size, status.st_mtime_ns


def _stamps_of_objects(source: UPath) -> Iterator[tuple[object, ...]]:
    if new := stamp(source / "zarr.json"):
        # what the older format would say counts for nothing beside it
        yield "zarr.json", *new
        return
    found = {name: stamp(source / name) for name in _METADATA}
    if not any(found.values()):
        raise SlideError(f"{source} is no longer there, or does not answer: check the network, and try again.")
    yield from ((name, *facts) for name, facts in found.items() if facts)

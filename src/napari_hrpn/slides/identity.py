"""A short fingerprint of a slide, from what the file system and the metadata say; pixels of files are not read."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_hrpn.slides.slide import Slide

HALF_PX = 64
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
        16 hexadecimal digits over the source's name, size and time of change (for a folder those of its
        metadata or of the files in it), shape, type, series, z and t. A slide in memory, without a file, is known
        by the pixels in its middle instead.
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
    if not slide.source.exists():
        digest.update(_middle(slide))
    return digest.hexdigest()[:16]


def _middle(slide: Slide) -> bytes:
    rows, columns = (slice(size // 2 - min(size // 2, HALF_PX), size // 2 + HALF_PX) for size in slide.shape)
    return np.ascontiguousarray(slide.levels[0][:, rows, columns].compute()).tobytes()


def _stamps(source: Path) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of change in ns of the files that make a slide."""
    if source.is_file():
        members = [source]
    elif source.is_dir():
        # the pieces of a Zarr are too many to look at; its metadata lie at most three folders deep
        found = {file for name in _METADATA for depth in ("", "*/", "*/*/") for file in source.glob(depth + name)}
        members = sorted(found or {file for file in source.iterdir() if file.is_file()})
    else:
        members = []
    for file in members:
        status = file.stat()
        yield file.relative_to(source).as_posix(), status.st_size, status.st_mtime_ns

"""A short fingerprint of a slide, from what the file system and the metadata say; pixels of files are not read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.place import stamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upath import UPath

    from napari_hrpn.slides.place import Place
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
        metadata or of the files in it), shape, type, series, z and t. In object storage, the metadata at the top of
        the group stand for all, with what the store says of them. A slide in memory, without a file, is known by the
        pixels in its middle instead.

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


def _middle(slide: Slide) -> bytes:
    rows, columns = (slice(size // 2 - min(size // 2, HALF_PX), size // 2 + HALF_PX) for size in slide.shape)
    return np.ascontiguousarray(slide.levels[0][:, rows, columns].compute()).tobytes()


def _stamps(source: Place) -> Iterator[tuple[object, ...]]:
    """Name, size and time of change in ns of the files that make a slide."""
    if not isinstance(source, Path):
        yield from _stamps_of_objects(source)
        return
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


def _stamps_of_objects(source: UPath) -> Iterator[tuple[object, ...]]:
    if new := stamp(source / "zarr.json"):
        # what the older format would say counts for nothing beside it
        yield "zarr.json", *new
        return
    found = {name: stamp(source / name) for name in _METADATA}
    if not any(found.values()):
        raise SlideError(f"{source} is no longer there, or does not answer: check the network, and try again.")
    yield from ((name, *facts) for name, facts in found.items() if facts)

"""Cut the patches of slides once: each slide is read in one pass, and what is written counts only when it is whole.

A cache is kept by what decides its pixels, so that runs share it; one that was not finished is gone on with.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from napari_hrpn.slides.writers.output_path import remove
from napari_hrpn.training.cached_patches import (
    CELLS,
    COMPLETE,
    FORMAT,
    NO_PATCH,
    NOT_YET,
    PATCHES,
    PatchCache,
    is_whole,
    patches_header,
)
from napari_hrpn.training.errors import TrainingError
from napari_hrpn.training.reports import CutReport
from napari_hrpn.training.slide_cut import SlideCut

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray

    from napari_hrpn.training.entries import TrainingSlide
    from napari_hrpn.training.settings import TrainingSettings

__all__ = ["PatchCache", "cut_patches", "patch_cache_bytes"]

_SECONDS_BETWEEN_LOOKS = 0.2


def cut_patches(
    slides: Sequence[TrainingSlide], settings: TrainingSettings, folder: Path
) -> Generator[CutReport, None, tuple[PatchCache, ...]]:
    """Cut slides into patches on disk, or find them there.

    A cell whose inputs are all zero is dropped. The generator may be closed, and the program killed, at any time;
    the next run goes on. While another program cuts the same slide, this one waits for it.

    Parameters
    ----------
    slides : sequence of TrainingSlide
        One may occur twice, with other regions.
    settings : TrainingSettings
        Sampling, size of a patch, least overlap and tissue.
    folder : pathlib.Path
        Of all caches; each is a folder in it.

    Yields
    ------
    CutReport
        After each block of a slide, and once for a slide that is there already.

    Returns
    -------
    tuple of PatchCache
        One per slide, in their order; to be closed by the caller.

    Raises
    ------
    TrainingError
        When a slide has no patch, or the disk has no room or cannot be written; before anything is written where
        that can be known.
    SlideError
        When a slide cannot be read.
    """
    cuts = [SlideCut.of(slide, settings, folder) for slide in slides]
    for cut in cuts:
        cut.check(settings)
    with _disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _check_room(cuts, folder)
        done = kept = 0
        total = sum(len(cut.cells) for cut in cuts)
        for cut in cuts:
            for looked_at, patches in _finish(cut):
                yield CutReport(cut.name, done + looked_at, total, kept + patches)
            done, kept = done + looked_at, kept + patches
        return tuple(PatchCache(cut.folder) for cut in cuts)


def patch_cache_bytes(slides: Sequence[TrainingSlide], settings: TrainingSettings, folder: Path) -> int:
    """Disk that cutting would still take, at most: blank patches, which take none, are not known before.

    Parameters
    ----------
    slides : sequence of TrainingSlide
        As for `cut_patches`.
    settings : TrainingSettings
        As for `cut_patches`.
    folder : pathlib.Path
        Of all caches.

    Returns
    -------
    int
        Bytes; 0 when all caches are there.
    """
    return _bytes_left([SlideCut.of(slide, settings, folder) for slide in slides])


def _finish(cut: SlideCut) -> Iterator[tuple[int, int]]:
    """Cut what is not there yet; yields how many cells have been looked at and how many patches there are."""
    lock = FileLock(cut.folder.with_name(f"{cut.folder.name}.lock"), thread_local=False)
    while True:
        try:
            # beside the cache, not in it: it stays when the cache is begun anew
            lock.acquire(timeout=_SECONDS_BETWEEN_LOOKS)
            break
        except Timeout:
            yield _progress(cut.begun())
    try:
        if not is_whole(cut.folder):
            yield from _cut_rest(cut)
    finally:
        lock.release()
    yield _progress(cut.begun())


def _cut_rest(cut: SlideCut) -> Iterator[tuple[int, int]]:
    cells = cut.begun()
    if _progress(cells)[0] == 0:
        _begin(cut, cells)
    (cut.folder / COMPLETE).unlink(missing_ok=True)
    with (cut.folder / PATCHES).open("r+b") as file:
        file.truncate(len(cut.header) + _progress(cells)[1] * cut.patch_bytes)
        file.seek(0, os.SEEK_END)
        for block in cut.blocks():
            if (cells["patch"][block] == NOT_YET).any():
                _cut_block(cut, cells, block, file)
                yield _progress(cells)
        _seal(cut, cells, file)


def _cut_block(cut: SlideCut, cells: NDArray[np.void], block: NDArray[np.intp], file: BinaryIO) -> None:
    kept = _progress(cells)[1]
    for index, patch in zip(block, cut.read(cells[block]), strict=True):
        if patch is None:
            cells["patch"][index] = NO_PATCH
            continue
        file.write(patch.data)
        cells["patch"][index] = kept
        kept += 1
    file.flush()
    # a block counts once its cells are written, which is after its patches
    _replace(cut.folder / CELLS, _npy(cells))


def _begin(cut: SlideCut, cells: NDArray[np.void]) -> None:
    # a new file, not the old one cut short: another program may still read that
    remove(cut.folder)
    cut.folder.mkdir(parents=True)
    (cut.folder / PATCHES).write_bytes(cut.header)
    _replace(cut.folder / CELLS, _npy(cells))


def _seal(cut: SlideCut, cells: NDArray[np.void], file: BinaryIO) -> None:
    """Say how many patches there are, and mark the cache as complete, last of all."""
    count = _progress(cells)[1]
    if count == 0:
        msg = (
            f"{cut.name} is blank in its input channels wherever patches may lie; check its channels, or leave it out."
        )
        raise TrainingError(msg)
    dtype = cut.slide.slide.dtype
    file.seek(0)
    file.write(patches_header((count, *cut.patch_shape), dtype))
    file.flush()
    os.fsync(file.fileno())
    record: dict[str, Any] = {
        "format": FORMAT,
        "shape": (count, *cut.patch_shape),
        "dtype": np.lib.format.dtype_to_descr(dtype),
        "slide": cut.name,
        "slide_shape": cut.slide.slide.shape,
        "channels": [cut.slide.slide.channel_names[channel] for channel in cut.channels],
    }
    _replace(cut.folder / COMPLETE, json.dumps(record, indent=2).encode())


def _progress(cells: NDArray[np.void]) -> tuple[int, int]:
    """Cells that have been looked at, and patches that they became."""
    return int(np.count_nonzero(cells["patch"] != NOT_YET)), int(np.count_nonzero(cells["patch"] >= 0))


def _bytes_left(cuts: Sequence[SlideCut]) -> int:
    open_cuts = {cut.folder: cut for cut in cuts if not is_whole(cut.folder)}.values()
    cells_left = {cut.folder: len(cut.cells) - _progress(cut.begun())[0] for cut in open_cuts}
    return sum(cells_left[cut.folder] * cut.patch_bytes for cut in open_cuts)


def _check_room(cuts: Sequence[SlideCut], folder: Path) -> None:
    needed, free = _bytes_left(cuts), shutil.disk_usage(folder).free
    if needed > free:
        msg = (
            f"the patches take {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free; make room, or "
            "choose another folder for them."
        )
        raise TrainingError(msg)


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        msg = f"patches cannot be written to {folder} ({reason}); make room there, or choose another folder for them."
        raise TrainingError(msg) from error


def _npy(cells: NDArray[np.void]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, cells)
    return buffer.getvalue()


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)

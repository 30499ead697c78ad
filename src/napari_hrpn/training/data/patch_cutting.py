"""Cutting of slides into patches: each slide is read once, in blocks of whole chunks, and cutting can be resumed.

The name of a cache folder is a hash of all that decides its pixels, so that runs can share it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from filelock import Timeout

from napari_hrpn.core import rounded_up
from napari_hrpn.core.errors import TrainingError
from napari_hrpn.core.files import held_lock, replaced_file
from napari_hrpn.slides import slide_identity
from napari_hrpn.slides.writers.output_path import remove
from napari_hrpn.training.data.patch_cache import (
    CELLS,
    CHOSEN,
    COMPLETE,
    FORMAT,
    PATCHES,
    PatchCache,
    is_whole,
    patches_header,
    read_cells,
)
from napari_hrpn.training.data.patch_grid import BLANK, NOT_CUT, cell_px, selected_cells
from napari_hrpn.training.data.patch_sampler import patches_in
from napari_hrpn.training.reports import CutReport

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray

    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.training.entries import TrainingSlide

_SECONDS_BETWEEN_REPORTS = 0.2
_BLOCK_PX = 2048


def cut_patches(
    slides: Sequence[TrainingSlide], settings: TrainingSettings, folder: Path, stop: threading.Event | None = None
) -> Generator[CutReport, None, tuple[PatchCache, ...]]:
    """Cut slides into patches on disk, unless they are there already.

    A cell whose inputs are all zero is dropped. The generator may be closed, and the program killed, at any time;
    the next run resumes the cutting. While another program cuts the same slide, this one waits for it.

    Parameters
    ----------
    slides : sequence of TrainingSlide
        The slides; one may occur twice, with different regions.
    settings : TrainingSettings
        Settings of the training: sampling, size of a patch, minimum overlap and tissue.
    folder : pathlib.Path
        Folder of all caches; each cache is a folder in it.
    stop : threading.Event, optional
        Once set, nothing more is cut after the next report.

    Yields
    ------
    CutReport
        Progress after each block of a slide, and once for a slide that is cut already.

    Returns
    -------
    tuple of PatchCache
        One cache per slide, in their order, to be closed by the caller; none if the cutting was stopped.

    Raises
    ------
    TrainingError
        If a slide has no patch, which is known before anything is written, or the disk cannot be written.
    SlideError
        If a slide cannot be read.
    """
    cuts = [_SlideCut(slide, settings, folder) for slide in slides]
    for cut in cuts:
        cut.refuse_without_patch(settings)
    with _disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        done = kept = 0
        total = sum(len(cut.cells) for cut in cuts)
        for cut in cuts:
            for cells, patches in cut.finished():
                yield CutReport(cut.name, done + cells, total, kept + patches)
                if stop is not None and stop.is_set():
                    return ()
            done, kept = done + cells, kept + patches
        return tuple(PatchCache(cut.folder) for cut in cuts)


def patch_cache_bytes(slides: Sequence[TrainingSlide], settings: TrainingSettings, folder: Path) -> int:
    """Disk space that the cutting will still take at most: blank patches take none, but are found only then.

    Parameters
    ----------
    slides : sequence of TrainingSlide
        As for `cut_patches`.
    settings : TrainingSettings
        As for `cut_patches`.
    folder : pathlib.Path
        Folder of all caches.

    Returns
    -------
    int
        Bytes; 0 if all caches are complete.
    """
    return _bytes_left([_SlideCut(slide, settings, folder) for slide in slides])


class _SlideCut:
    """Cells of one slide that are cut, and the folder of its cache, named by a hash of all that decides the pixels."""

    def __init__(self, slide: TrainingSlide, settings: TrainingSettings, folder: Path) -> None:
        self.cells = selected_cells(slide, settings)
        self.name = slide.entry.path.name
        self._slide, self._pixels = slide, slide.slide.levels[0]
        side = cell_px(settings)
        facts = (FORMAT, slide_identity(slide.slide), slide.inputs, slide.target, side, slide.slide.shape)
        self.folder = folder / hashlib.sha256(repr(facts).encode() + self.cells.tobytes()).hexdigest()[:16]
        self._channels = (*slide.inputs, slide.target)
        self._patch_shape = (len(self._channels), side, side)
        self.patch_bytes = int(np.prod(self._patch_shape)) * slide.slide.dtype.itemsize

    def refuse_without_patch(self, settings: TrainingSettings) -> None:
        """Refuse a slide that gives no patch."""
        if patches_in(self.cells, self._slide, settings):
            return
        conditions = []
        if self._slide.regions is not None:
            conditions.append(f"{settings.minimum_overlap:.0%} of it in the annotated regions")
        if settings.minimum_tissue > 0:
            conditions.append(f"{settings.minimum_tissue:.0%} of it tissue")
        msg = (
            f"{self.name} has no patch of {settings.patch_px} px with {' and '.join(conditions)}; take larger regions, "
            "smaller patches or a lower minimum."
        )
        raise TrainingError(msg)

    def begun(self) -> NDArray[np.void]:
        """Read the cells as an earlier run left them; all are uncut if it left nothing that can be resumed."""
        fresh = np.zeros(len(self.cells), CHOSEN)
        fresh[list(self.cells.dtype.names or ())] = self.cells
        fresh["patch"] = NOT_CUT
        former = read_cells(self.folder)
        path = self.folder / PATCHES
        if former is None or len(former) != len(fresh) or not path.is_file():
            return fresh
        needed = len(self._header) + _progress(former)[1] * self.patch_bytes
        return former if path.stat().st_size >= needed else fresh

    def finished(self) -> Iterator[tuple[int, int]]:
        """Cut the cells that are not cut yet; yields the numbers of cells that were read and of patches."""
        # the lock lies beside the cache, not in it: it stays when the cache is begun anew
        path = self.folder.with_name(f"{self.folder.name}.lock")
        while True:
            try:
                lock = held_lock(path)
                break
            except Timeout:
                yield _progress(self.begun())
                time.sleep(_SECONDS_BETWEEN_REPORTS)
        try:
            if not is_whole(self.folder):
                yield from self._cut_rest()
        finally:
            if lock is not None:
                lock.release()
        yield _progress(self.begun())

    @cached_property
    def _header(self) -> bytes:
        """Header of the file as if no cell were blank; `_seal` writes the final one."""
        return patches_header((len(self.cells), *self._patch_shape), self._pixels.dtype)

    def _cut_rest(self) -> Iterator[tuple[int, int]]:
        cells = self.begun()
        if _progress(cells)[0] == 0:
            # a new file instead of the old one truncated: another program may still read the old one
            remove(self.folder)
            self.folder.mkdir(parents=True)
            (self.folder / PATCHES).write_bytes(self._header)
            self._write_cells(cells)
        (self.folder / COMPLETE).unlink(missing_ok=True)
        with (self.folder / PATCHES).open("r+b") as file:
            file.truncate(len(self._header) + _progress(cells)[1] * self.patch_bytes)
            file.seek(0, os.SEEK_END)
            for block in self._blocks():
                if (cells["patch"][block] == NOT_CUT).any():
                    self._cut_block(cells, block, file)
                    yield _progress(cells)
            self._seal(_progress(cells)[1], file)

    def _blocks(self) -> list[NDArray[np.intp]]:
        """Group the cells that are read together, by their numbers, in the order of the slide's chunks."""
        height, width = (rounded_up(max(_BLOCK_PX, *sizes), self._patch_shape[1]) for sizes in self._pixels.chunks[1:])
        row, column = self.cells["y0"] // height, self.cells["x0"] // width
        block = row * (self._pixels.shape[2] // width + 1) + column
        return [np.flatnonzero(block == number) for number in np.unique(block)]

    def _cut_block(self, cells: NDArray[np.void], block: NDArray[np.intp], file: BinaryIO) -> None:
        kept = _progress(cells)[1]
        for index, patch in zip(block, self._read(self.cells[block]), strict=True):
            if patch is None:
                cells["patch"][index] = BLANK
                continue
            file.write(patch.data)
            cells["patch"][index] = kept
            kept += 1
        file.flush()
        # cells are written after their patches: a block whose cells are not written is cut again when resumed
        self._write_cells(cells)

    def _read(self, cells: NDArray[np.void]) -> Iterator[NDArray[np.generic] | None]:
        """Read the patches of neighbouring cells at once; None for a patch whose inputs are all zero."""
        top, left = int(cells["y0"].min()), int(cells["x0"].min())
        bottom, right = int((cells["y0"] + cells["height"]).max()), int((cells["x0"] + cells["width"]).max())
        channels = sorted(set(self._channels))
        block = self._pixels[:, top:bottom, left:right][channels].compute(scheduler="threads")
        order = [channels.index(channel) for channel in self._channels]
        for _, _, y0, x0, height, width in cells.tolist():
            patch = np.zeros(self._patch_shape, block.dtype)
            for channel, source in enumerate(order):
                patch[channel, :height, :width] = block[source, y0 - top : y0 - top + height, x0 - left :][:, :width]
            yield patch if patch[:-1].any() else None

    def _write_cells(self, cells: NDArray[np.void]) -> None:
        with replaced_file(self.folder / CELLS, sync=False) as partial, partial.open("wb") as file:
            np.save(file, cells)

    def _seal(self, patches: int, file: BinaryIO) -> None:
        """Write the number of patches, and last of all mark the cache as complete."""
        if not patches:
            msg = (
                f"{self.name} is blank in its input channels wherever patches may lie; check its channels, or leave it "
                "out."
            )
            raise TrainingError(msg)
        slide, shape = self._slide.slide, (patches, *self._patch_shape)
        file.seek(0)
        file.write(patches_header(shape, slide.dtype))
        file.flush()
        os.fsync(file.fileno())
        record = {
            "format": FORMAT,
            "shape": shape,
            "dtype": np.lib.format.dtype_to_descr(slide.dtype),
            "slide": self.name,
            "slide_shape": slide.shape,
            "channels": [slide.channel_names[channel] for channel in self._channels],
        }
        with replaced_file(self.folder / COMPLETE, sync=False) as partial:
            partial.write_bytes(json.dumps(record, indent=2).encode())


def _progress(cells: NDArray[np.void]) -> tuple[int, int]:
    """Count the cells that have been read, and the patches cut from them."""
    return int(np.count_nonzero(cells["patch"] != NOT_CUT)), int(np.count_nonzero(cells["patch"] >= 0))


def _bytes_left(cuts: Sequence[_SlideCut]) -> int:
    open_cuts = {cut.folder: cut for cut in cuts if not is_whole(cut.folder)}.values()
    return sum((len(cut.cells) - _progress(cut.begun())[0]) * cut.patch_bytes for cut in open_cuts)


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        msg = f"patches cannot be written to {folder} ({reason}); make room there, or choose another folder for them."
        raise TrainingError(msg) from error

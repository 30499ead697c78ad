"""Pyramid cache of flat slides: coarse levels are computed once and kept on disk."""

from __future__ import annotations

import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from filelock import Timeout
from platformdirs import user_cache_path

from napari_hrpn.core.files import held_lock, patiently
from napari_hrpn.slides.fingerprint import slide_identity
from napari_hrpn.slides.writers.ome_zarr_writer import Box, block_boxes, block_grid, copy_block, create_levels
from napari_hrpn.slides.writers.output_path import remove, writing_errors

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import zarr

    from napari_hrpn.slides.slide import Slide

_FORMAT = "v1"
_LEVELS = "levels.zarr"
_FINISHED = "finished"
SECONDS_BETWEEN_CHECKS = 0.2


@dataclass(frozen=True)
class CacheReport:
    """Progress of the coarse levels."""

    # full-resolution pixels y0, y1, x0, x1 whose levels were just finished; None while another program builds them
    box: Box | None
    done: int  # finished blocks, including those of earlier runs
    total: int


class PyramidCache:
    """The coarse levels of one slide on disk, finished or not; made by `open_cache`.

    Parameters
    ----------
    slide : Slide
        The slide as it was opened.
    folder : pathlib.Path
        Where its levels are kept.

    Attributes
    ----------
    levels : tuple of zarr.Array
        Shape (c, y, x) each, for ``slide.levels[slide.stored_levels:]``; zero where not yet built.
    """

    def __init__(self, slide: Slide, folder: Path) -> None:
        import zarr

        self.slide, self.folder = slide, folder
        count, place = len(slide.levels) - slide.stored_levels, folder / _LEVELS
        self.levels: tuple[zarr.Array[Any], ...] = tuple(
            zarr.open_array(place / str(level), mode="r+") for level in range(count)
        )
        # the grid is stored with the levels, so that a later version of this program can resume
        grid: Any = zarr.open_group(place, mode="r").attrs["grid"]
        self._boxes = block_boxes(*grid)
        self._down = round(slide.shape[0] / grid[0]), round(slide.shape[1] / grid[1])

    @property
    def complete(self) -> bool:
        """Whether all blocks of all levels are finished."""
        return bool(self._finished().all())

    def as_slide(self) -> Slide:
        """The slide with the levels of this cache instead of computed ones.

        Returns
        -------
        Slide
            Its `stored_levels` counts the cached levels; pixels not yet built read as zero.
        """
        coarse = tuple(da.from_array(level, chunks=level.chunks, name=False) for level in self.levels)
        levels = self.slide.levels[: self.slide.stored_levels] + coarse
        return replace(self.slide, levels=levels, stored_levels=len(levels))

    def build(self) -> Generator[CacheReport, None, None]:
        """Build the missing blocks; does nothing if there are none.

        It may be closed or killed at any time and resumes in the next run. While another program builds the same
        levels, this one waits and reports the blocks that the other one finishes.

        Yields
        ------
        CacheReport
            After each block.

        Raises
        ------
        SlideError
            If the slide cannot be read or the cache cannot be written.
        """
        known = self._finished()
        while not known.all():
            with writing_errors(self.folder), _held(_lock_path(self.folder)) as ours:
                finished = self._finished()
                for index in np.flatnonzero(finished & ~known).tolist():
                    yield self._report(index, finished)
                if ours:
                    yield from self._build_rest(finished)
                    return
            yield CacheReport(None, int(finished.sum()), len(self._boxes))
            known = finished
            time.sleep(SECONDS_BETWEEN_CHECKS)

    def _build_rest(self, finished: np.ndarray) -> Iterator[CacheReport]:
        source = self.slide.levels[self.slide.stored_levels - 1]
        for index in np.flatnonzero(~finished).tolist():
            copy_block(source, self.levels, self._boxes[index], coarser_only=True)
            # a single byte is written completely or not at all, even if the program is killed
            with (self.folder / _FINISHED).open("r+b") as record:
                record.seek(index)
                record.write(b"\1")
            finished[index] = True
            yield self._report(index, finished)

    def _report(self, index: int, finished: np.ndarray) -> CacheReport:
        (height, width), (down, across) = self.slide.shape, self._down
        y0, y1, x0, x1 = self._boxes[index]
        box = y0 * down, min(y1 * down, height), x0 * across, min(x1 * across, width)
        return CacheReport(box, int(finished.sum()), len(self._boxes))

    def _finished(self) -> np.ndarray:
        with writing_errors(self.folder):
            return np.fromfile(self.folder / _FINISHED, np.uint8, len(self._boxes)).astype(bool)


def open_cache(slide: Slide, folder: Path | None = None) -> PyramidCache:
    """Open the cache of a slide's coarse levels, or begin a new one; no pixels of the slide are read.

    Parameters
    ----------
    slide : Slide
        Slide whose coarse levels are computed and not stored.
    folder : pathlib.Path, optional
        Folder of all caches; `pyramid_cache_folder` where left out.

    Returns
    -------
    PyramidCache
        The cache; its levels can be shown while `build` fills them.

    Raises
    ------
    SlideError
        If the folder cannot be written.
    """
    cache_folder = (folder or pyramid_cache_folder()) / f"{slide_identity(slide)}-{_FORMAT}"
    with writing_errors(cache_folder):
        if not cache_folder.is_dir():
            _begin(slide, cache_folder)
        try:
            return PyramidCache(slide, cache_folder)
        except (KeyError, TypeError, ValueError, FileNotFoundError):
            # a damaged cache is deleted, because it can be computed again
            remove(cache_folder)
            _begin(slide, cache_folder)
            return PyramidCache(slide, cache_folder)


def pyramid_cache_folder() -> Path:
    """Folder in which the coarse levels of flat slides are kept for this user.

    Returns
    -------
    pathlib.Path
        The folder, which need not exist.
    """
    return user_cache_path("napari-hrpn", appauthor=False) / "pyramids"


def pyramid_cache_bytes(folder: Path | None = None) -> int:
    """Disk space of the cached levels.

    Parameters
    ----------
    folder : pathlib.Path, optional
        Folder of all caches; `pyramid_cache_folder` where left out.

    Returns
    -------
    int
        Bytes.
    """
    return sum(_size(cache) for cache in _caches(folder or pyramid_cache_folder()))


def clear_pyramid_cache(folder: Path | None = None) -> int:
    """Delete all cached levels, except those that a program is building at this moment.

    Parameters
    ----------
    folder : pathlib.Path, optional
        Folder of all caches; `pyramid_cache_folder` where left out.

    Returns
    -------
    int
        Bytes that were freed.

    Raises
    ------
    SlideError
        If a cache cannot be deleted.
    """
    freed = 0
    for cache in _caches(folder or pyramid_cache_folder()):
        with writing_errors(cache), _held(_lock_path(cache)) as ours:
            if ours:
                size = _size(cache)
                remove(cache)
                freed += size
    return freed


def _begin(slide: Slide, own: Path) -> None:
    """Create an empty cache in one step, so that two programs may do so at the same time."""
    import zarr

    begun = own.with_name(f"{own.name}.{uuid.uuid4().hex}.partial")
    begun.mkdir(parents=True)
    grid = block_grid(slide.levels[slide.stored_levels - 1])
    (begun / _FINISHED).write_bytes(bytes(len(block_boxes(*grid))))
    create_levels(begun / _LEVELS, [level.shape for level in slide.levels[slide.stored_levels :]], slide.dtype)
    zarr.open_group(begun / _LEVELS, mode="r+").attrs["grid"] = list(grid)
    try:
        patiently(begun.rename, own)
    except OSError:
        remove(begun)
        if not own.is_dir():
            raise


def _lock_path(cache: Path) -> Path:
    # the lock is beside the cache and not in it, because a waiting program would lose it when the cache is deleted
    return cache.with_name(f"{cache.name}.lock")


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Whether this program got the lock, which the system releases even if the program is killed."""
    try:
        lock = held_lock(path)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        if lock is not None:
            lock.release()


def _caches(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(child for child in folder.iterdir() if (child / _FINISHED).is_file())


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

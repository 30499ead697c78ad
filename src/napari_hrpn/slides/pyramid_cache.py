"""Pyramid cache of flat slides: coarse levels built once and kept on disk."""

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

from napari_hrpn.core.files import held_lock
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
SECONDS_BETWEEN_LOOKS = 0.2


@dataclass(frozen=True)
class CacheReport:
    """How far the coarse levels have come."""

    # Full-resolution pixels y0, y1, x0, x1 whose levels were just finished; None while another program builds them
    box: Box | None
    done: int  # Finished blocks, those of earlier runs included
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
        # the grid as it was when the levels were begun, so that any later version can go on
        grid: Any = zarr.open_group(place, mode="r").attrs["grid"]
        self._boxes = block_boxes(*grid)
        self._down = round(slide.shape[0] / grid[0]), round(slide.shape[1] / grid[1])

    @property
    def complete(self) -> bool:
        """Whether every block of every level is there."""
        return bool(self._finished().all())

    def as_slide(self) -> Slide:
        """The slide with the levels of this cache in place of the computed ones.

        Returns
        -------
        Slide
            Its `stored_levels` counts the cached levels; pixels not yet built read as zero.
        """
        coarse = tuple(da.from_array(level, chunks=level.chunks, name=False) for level in self.levels)
        levels = self.slide.levels[: self.slide.stored_levels] + coarse
        return replace(self.slide, levels=levels, stored_levels=len(levels))

    def build(self) -> Generator[CacheReport, None, None]:
        """Build the blocks that are not there yet; does nothing when all are.

        It may be closed or killed at any time and goes on in the next run. While another program builds the
        same levels, this one waits and reports what the other finishes.

        Yields
        ------
        CacheReport
            After each block.

        Raises
        ------
        SlideError
            Where the slide cannot be read or the cache cannot be written.
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
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _build_rest(self, finished: np.ndarray) -> Iterator[CacheReport]:
        source = self.slide.levels[self.slide.stored_levels - 1]
        for index in np.flatnonzero(~finished).tolist():
            copy_block(source, self.levels, self._boxes[index], coarser_only=True)
            # a single byte, written in place, is there or not, whenever the program is killed
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
    """The cache of a slide's coarse levels, begun if there is none; nothing is read from the slide.

    Parameters
    ----------
    slide : Slide
        With levels that are computed, not stored.
    folder : pathlib.Path, optional
        Folder of all caches; `pyramid_cache_folder` where left out.

    Returns
    -------
    PyramidCache
        Its levels can be shown while `build` fills them.

    Raises
    ------
    SlideError
        Where the folder cannot be written.
    """
    own = (folder or pyramid_cache_folder()) / f"{slide_identity(slide)}-{_FORMAT}"
    with writing_errors(own):
        if not own.is_dir():
            _begin(slide, own)
        try:
            return PyramidCache(slide, own)
        except (KeyError, TypeError, ValueError, FileNotFoundError):
            # a folder that was damaged from outside is of no use to anybody
            remove(own)
            _begin(slide, own)
            return PyramidCache(slide, own)


def pyramid_cache_folder() -> Path:
    """Folder in which the coarse levels of flat slides are kept for this user.

    Returns
    -------
    pathlib.Path
        It need not exist.
    """
    return user_cache_path("napari-hrpn", appauthor=False) / "pyramids"


def pyramid_cache_bytes(folder: Path | None = None) -> int:
    """Disk space that the cached levels take.

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
    """Delete all cached levels but those that a program is building at the moment.

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
        Where a cache cannot be deleted.
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
    """Make an empty cache in one step, whoever else does the same at this moment."""
    import zarr

    begun = own.with_name(f"{own.name}.{uuid.uuid4().hex}.partial")
    begun.mkdir(parents=True)
    grid = block_grid(slide.levels[slide.stored_levels - 1])
    (begun / _FINISHED).write_bytes(bytes(len(block_boxes(*grid))))
    create_levels(begun / _LEVELS, [level.shape for level in slide.levels[slide.stored_levels :]], slide.dtype)
    zarr.open_group(begun / _LEVELS, mode="r+").attrs["grid"] = list(grid)
    try:
        begun.rename(own)
    except OSError:
        remove(begun)
        if not own.is_dir():
            raise


def _lock_path(cache: Path) -> Path:
    # beside the cache, not in it: whoever waits for the lock must not lose it when the cache is deleted
    return cache.with_name(f"{cache.name}.lock")


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Whether this program got the lock, which the system gives back even when the program is killed."""
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

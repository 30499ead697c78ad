"""Patch cache of one slide on disk, written by `cut_patches`; an incomplete cache is not opened.

A folder holds `patches.npy`, `cells.npy` (every cell that was chosen, and the patch cut from it) and `complete.json`,
which is written last.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from napari_hrpn.core.errors import TrainingError
from napari_hrpn.core.files import saved_json
from napari_hrpn.training.data.patch_grid import CELL, NOT_CUT

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = "napari-hrpn patches 1"
PATCHES, CELLS, COMPLETE = "patches.npy", "cells.npy", "complete.json"
CHOSEN = np.dtype([*CELL.descr, ("patch", np.int32)])


class PatchCache:
    """Patches cut from one slide; a context manager that closes the file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if (content := _content(folder)) is None:
            msg = f"{folder} holds no complete patches; run the training again to cut them."
            raise TrainingError(msg)
        record, chosen = content
        self.slide_shape: tuple[int, int] = tuple(record["slide_shape"])
        self.cell_px = int(record["shape"][-1])
        self._shape, self._dtype = tuple(record["shape"]), np.dtype(record["dtype"])
        kept = np.sort(chosen[chosen["patch"] >= 0], order="patch")
        self.cells: NDArray[np.void] = kept[list(CELL.names or ())].astype(CELL)
        grid = [-(-size // self.cell_px) for size in self.slide_shape]
        self.numbers: NDArray[np.int32] = np.full(grid, NOT_CUT, np.int32)
        self.numbers[chosen["row"], chosen["column"]] = chosen["patch"]
        self._patches: NDArray[np.generic] | None = None
        self._file, self._bytes = "", 0

    def __len__(self) -> int:
        return int(self._shape[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[PatchCache], tuple[Path]]:
        # another process gets the folder, never the pixels
        return PatchCache, (self.folder,)

    @property
    def patches(self) -> NDArray[np.generic]:
        """Pixels on disk, shape (patches, inputs + 1, y, x), the target last, in the slide's type; zero as padding."""
        if self._patches is None:
            self._patches = np.load(self.folder / PATCHES, mmap_mode="r")
            self._file = str(self.folder / PATCHES)
            self._bytes = Path(self._file).stat().st_size
        return self._patches

    def close(self) -> None:
        """Close the file, once no array refers to its pixels; `patches` opens it again."""
        self._patches = None

    def window(self, y0: int, x0: int, side: int) -> NDArray[np.generic]:
        """Return the pixels of any square of the slide; those outside the cells of the cache are zero."""
        cell = self.cell_px
        row, column = y0 // cell, x0 // cell
        pixels_on_disk = np.asarray(self.patches)
        self._refuse_shortened()
        if side == cell and (row * cell, column * cell) == (y0, x0) and self.numbers[row, column] >= 0:
            patch: NDArray[np.generic] = pixels_on_disk[self.numbers[row, column]]
            return patch
        pixels = np.zeros((self._shape[1], side, side), self._dtype)
        last = [(min(first + side, size) - 1) // cell for first, size in zip((y0, x0), self.slide_shape, strict=True)]
        for i in range(row, last[0] + 1):
            for j in range(column, last[1] + 1):
                if (number := self.numbers[i, j]) >= 0:
                    in_cell, in_window = zip(_overlap(y0, side, i, cell), _overlap(x0, side, j, cell), strict=True)
                    pixels[:, in_window[0], in_window[1]] = pixels_on_disk[number][:, in_cell[0], in_cell[1]]
        return pixels

    def _refuse_shortened(self) -> None:
        """Refuse a file that has become shorter: reading a memory map beyond its end would crash the program."""
        try:
            # a string is faster than a Path, and this runs for every window
            is_short = os.stat(self._file).st_size < self._bytes  # noqa: PTH116
        except OSError:
            is_short = True
        if is_short:
            what = f"{self._file} was shortened or deleted during the training"
            msg = f"{what}; run the training again to cut it anew."
            raise TrainingError(msg)


def patches_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """Make the header of an .npy file, equally long for any number of patches."""
    facts = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    # numpy leaves room for a larger first dimension: a file can be begun before the number of patches is known
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, facts)
    return buffer.getvalue()


def is_whole(folder: Path) -> bool:
    """Whether a folder holds a complete cache whose file has the expected size."""
    return _content(folder) is not None


def read_cells(folder: Path) -> NDArray[np.void] | None:
    """Read the cells that were chosen, with the number of the patch cut from each."""
    try:
        cells: NDArray[np.void] = np.load(folder / CELLS, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return cells if cells.dtype == CHOSEN and cells.ndim == 1 else None


def _content(folder: Path) -> tuple[dict[str, Any], NDArray[np.void]] | None:
    """Read record and cells of a cache; None if it is incomplete."""
    try:
        record = saved_json(folder / COMPLETE, TrainingError) or {}
        format_, shape, dtype = record["format"], tuple(record["shape"]), np.dtype(record["dtype"])
        expected = len(patches_header(shape, dtype)) + int(np.prod(shape)) * dtype.itemsize
        size = (folder / PATCHES).stat().st_size
        cells = read_cells(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if format_ != FORMAT or size != expected or cells is None:
        return None
    return (record, cells) if np.count_nonzero(cells["patch"] >= 0) == shape[0] else None


def _overlap(start: int, side: int, index: int, cell: int) -> tuple[slice, slice]:
    """Rows, or columns, of a cell that a window covers, counted in the cell and in the window."""
    first, last = max(start, index * cell), min(start + side, (index + 1) * cell)
    return slice(first - index * cell, last - index * cell), slice(first - start, last - start)

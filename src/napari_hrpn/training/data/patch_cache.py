"""Patch cache of one slide on disk, as `cut_patches` leaves it; what is not whole is not opened.

A folder holds `patches.npy`, `cells.npy` (every cell that was chosen, and which patch it became) and, put there last,
`complete.json`.
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
        if (whole := _whole(folder)) is None:
            msg = f"{folder} holds no complete patches; have them cut again."
            raise TrainingError(msg)
        record, chosen = whole
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
        # to another process goes the place, never the pixels
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
        """Let go of the file, as soon as nobody holds pixels of it; it opens again when it is asked for."""
        self._patches = None

    def window(self, y0: int, x0: int, side: int) -> NDArray[np.generic]:
        """Pixels of any square of the slide."""
        cell = self.cell_px
        row, column = y0 // cell, x0 // cell
        pixels_on_disk = np.asarray(self.patches)
        self._refuse_shortened()
        if side == cell and (row * cell, column * cell) == (y0, x0) and self.numbers[row, column] >= 0:
            whole: NDArray[np.generic] = pixels_on_disk[self.numbers[row, column]]
            return whole
        pixels = np.zeros((self._shape[1], side, side), self._dtype)
        last = [(min(first + side, size) - 1) // cell for first, size in zip((y0, x0), self.slide_shape, strict=True)]
        for i in range(row, last[0] + 1):
            for j in range(column, last[1] + 1):
                if (number := self.numbers[i, j]) >= 0:
                    there, here = zip(_overlap(y0, side, i, cell), _overlap(x0, side, j, cell), strict=True)
                    pixels[:, here[0], here[1]] = pixels_on_disk[number][:, there[0], there[1]]
        return pixels

    def _refuse_shortened(self) -> None:
        """Say in a sentence that the file was cut short meanwhile: reading beyond its end would end the process."""
        try:
            # of a string, as this is asked for every window
            is_short = os.stat(self._file).st_size < self._bytes  # noqa: PTH116
        except OSError:
            is_short = True
        if is_short:
            what = f"{self._file} was cut short or deleted while it was learnt from"
            msg = f"{what}; run the training again to cut it anew."
            raise TrainingError(msg)


def patches_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """What an .npy file begins with, equally long for any number of patches."""
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    # numpy leaves room for the first number to grow: a file can be begun before it is known
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue()


def is_whole(folder: Path) -> bool:
    """Whether a folder holds a cache that is complete and of the size it should be."""
    return _whole(folder) is not None


def read_cells(folder: Path) -> NDArray[np.void] | None:
    """Cells that were chosen, with the patch that each became."""
    try:
        cells: NDArray[np.void] = np.load(folder / CELLS, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return cells if cells.dtype == CHOSEN and cells.ndim == 1 else None


def _whole(folder: Path) -> tuple[dict[str, Any], NDArray[np.void]] | None:
    """Record and cells of a cache; None where it is not whole."""
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
    """Part of a cell that a window covers, counted in the cell and in the window."""
    first, last = max(start, index * cell), min(start + side, (index + 1) * cell)
    return slice(first - index * cell, last - index * cell), slice(first - start, last - start)

"""Phantom tumour as a slide, with its noise-free probe image, which no prediction can beat."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.phantom.cells import CELL_PX, CellPixels, make_cell
from napari_hrpn.phantom.regimes import drawn_regime
from napari_hrpn.phantom.settings import PHANTOM_PRESETS, PhantomError, PhantomSettings
from napari_hrpn.slides import Slide, coarser_levels

if TYPE_CHECKING:
    import dask.array as da

_CHANNEL_NAMES = ("DAPI", "AF488", "QD")
_SMALLEST_PX = 16
_LARGEST_PX = 2**20
_KEPT_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class Phantom:
    """A synthetic tumour section.

    Attributes
    ----------
    slide : Slide
        Channels DAPI, AF488 and QD; pixels are made when they are computed.
    noise_free_probe : dask.array.Array
        Shape (y, x), float32: the expected detector value of QD before noise, in the detector's units.
    tissue : dask.array.Array
        Shape (y, x), bool: True where there is tissue.
    settings : PhantomSettings
        Settings of the phantom; those that its seed drew if it is varied.
    seed : int
        Seed of the phantom.
    """

    slide: Slide
    noise_free_probe: da.Array
    tissue: da.Array
    settings: PhantomSettings
    seed: int


def phantom_slide(
    preset: str | PhantomSettings = "tumour", *, size: int | tuple[int, int] | None = None, seed: int = 0
) -> Phantom:
    """Return a synthetic tumour section; nothing is computed yet.

    The pixels depend only on the settings, the size and the seed, not on the order or the chunks in which they are
    read. Vessels leak probe, which diffuses and is taken up (D lap C - k C + S = 0), and a camera images it.

    Parameters
    ----------
    preset : str or PhantomSettings
        A name in `PHANTOM_PRESETS`, or settings of your own.
    size : int or tuple of int, optional
        Height and width in pixels; the size of the preset if left out.
    seed : int
        0 or more.

    Returns
    -------
    Phantom
        Slide, noise-free probe image, settings and seed.

    Raises
    ------
    PhantomError
        If there is no such preset, or size or seed are out of range.
    """
    settings = _settings(preset)
    shape = _shape(settings.size if size is None else size)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        msg = f"the seed of a phantom is {seed!r}; give a whole number, 0 or more"
        raise PhantomError(msg)
    settings = drawn_regime(settings, int(seed)) if settings.is_varied else settings
    cells = _PhantomCells(settings, shape, int(seed))
    pixel_size_um = (settings.pixel_size_um, settings.pixel_size_um)
    source = Path(f"phantom-{settings.name}-{seed}")
    finest = _lazy(cells, "channels")
    slide = Slide((finest, *coarser_levels(finest)), _CHANNEL_NAMES, pixel_size_um, source)
    return Phantom(slide, _lazy(cells, "probe"), _lazy(cells, "tissue"), settings, int(seed))


def _settings(preset: str | PhantomSettings) -> PhantomSettings:
    if isinstance(preset, PhantomSettings):
        return preset
    if preset not in PHANTOM_PRESETS:
        msg = f"there is no phantom preset {preset!r}; choose one of {', '.join(PHANTOM_PRESETS)}"
        raise PhantomError(msg)
    return PHANTOM_PRESETS[preset]


def _shape(size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int | np.integer) else size
    if not all(_SMALLEST_PX <= edge <= _LARGEST_PX for edge in (height, width)):
        msg = f"the size of a phantom is {size}; give {_SMALLEST_PX} to {_LARGEST_PX:,} pixels"
        raise PhantomError(msg)
    return int(height), int(width)


def _lazy(cells: _PhantomCells, part: str) -> da.Array:
    """Return one part of all cells as an array with a chunk per cell."""
    import dask.array as da
    from dask.array.core import normalize_chunks
    from dask.base import tokenize

    chunks = normalize_chunks(CELL_PX, cells.shape)
    dtype = {"probe": np.dtype(np.float32), "tissue": np.dtype(bool)}.get(part)
    if part == "channels":
        chunks = ((len(_CHANNEL_NAMES),), *chunks)
        dtype = np.dtype(np.uint8 if cells.settings.bits == 8 else np.uint16)

    def make(block_id: tuple[int, ...]) -> np.ndarray:
        # a copy, so that a caller who changes the array does not change the cached cell
        return np.array(getattr(cells.cell(*block_id[-2:]), part))

    name = f"phantom-{part}-{tokenize(cells.settings, cells.shape, cells.seed)}"
    return da.map_blocks(make, chunks=chunks, dtype=dtype, meta=np.empty((0,) * len(chunks), dtype), name=name)


@dataclass(eq=False)
class _PhantomCells:
    """Cells of a phantom, made on demand; the latest ones are cached in a bounded amount of memory."""

    settings: PhantomSettings
    shape: tuple[int, int]  # Height and width of the slide
    seed: int  # Seed of the phantom
    _kept: OrderedDict[tuple[int, int], CellPixels] = field(default_factory=OrderedDict, repr=False)
    _making: dict[tuple[int, int], threading.Lock] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __reduce__(self) -> tuple[type, tuple[PhantomSettings, tuple[int, int], int]]:
        return _PhantomCells, (self.settings, self.shape, self.seed)

    def cell(self, row: int, column: int) -> CellPixels:
        """Return one cell; if several threads need the same cell, one makes it and the others wait."""
        key = (row, column)
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
            made = make_cell(self.settings, self.shape, self.seed, row, column)
            with self._lock:
                self._kept[key] = made
                self._making.pop(key, None)
                while len(self._kept) > 1 and sum(cell.nbytes for cell in self._kept.values()) > _KEPT_BYTES:
                    self._kept.popitem(last=False)
            return made


def r2_ceiling(phantom: Phantom, *, region: tuple[slice, slice] | None = None, tissue_only: bool = False) -> float:
    """Return the R2 of the noise-free probe image, 1 - mean((y - mu)^2) / Var(y), which no honest model can beat.

    It shows how much of the image is camera noise, not that a model can reach it, since part of the permeability of
    vessels shows in no input. Only one cell at a time is in memory.

    Parameters
    ----------
    phantom : Phantom
        The phantom.
    region : tuple of slice, optional
        Rows and columns to use; the whole slide if left out.
    tissue_only : bool
        Whether blank glass is left out.

    Returns
    -------
    float
        At most 1; NaN if the image is constant or no pixel is left.
    """
    region = region or (slice(None), slice(None))
    real = phantom.slide.levels[0][2][region]
    parts = [array[region].to_delayed().ravel() for array in (phantom.noise_free_probe, phantom.tissue)]
    sums = []
    for blocks in zip(real.to_delayed().ravel(), *parts, strict=True):
        y, mu, tissue = (np.asarray(block.compute(scheduler="synchronous")) for block in blocks)
        sums.append(_sums(y, mu, tissue if tissue_only else np.ones_like(tissue)))
    count, total, squares, errors = (math.fsum(column) for column in zip(*sums, strict=True))
    spread = squares - total**2 / count if count else 0.0
    return 1 - errors / spread if spread > 0 else math.nan


def _sums(y: np.ndarray, mu: np.ndarray, keep: np.ndarray) -> tuple[float, float, float, float]:
    values, expected = y[keep].astype(np.float64), mu[keep].astype(np.float64)
    errors = values - expected
    return float(values.size), float(values.sum()), float(values @ values), float(errors @ errors)

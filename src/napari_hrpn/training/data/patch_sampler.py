"""Sampling of the patches of every step and of the validation: cells of the grid in a random order, or random crops.

Seed, epoch and step alone decide them, so that a training can be resumed anywhere. A patch is a row of numbers: its
slide, its first row and column, one of the eight turns of a square, and the seed of its augmentation (0 for none). A
crop lies wholly on cells that were cut or are blank, with enough of it in the regions; every position that qualifies is
equally likely.
"""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.core import Box
from napari_hrpn.core.errors import TrainingError
from napari_hrpn.training.data.patch_grid import (
    NOT_CUT,
    ROUNDING,
    CoveredArea,
    cell_px,
    edges,
    selected_cells,
    suffices,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.slides import RegionMask
    from napari_hrpn.training.data.patch_cache import PatchCache
    from napari_hrpn.training.data.patch_loader import PatchSource
    from napari_hrpn.training.entries import TrainingSlide

FEWEST_STEPS = 50
_TURNS = 8
_ROUNDS = 16
_SEARCHED = 1 << 16


def count_patches(slide: TrainingSlide, settings: TrainingSettings) -> int:
    """Count the patches of a slide, from its masks alone; blank patches are found only when it is cut.

    Parameters
    ----------
    slide : TrainingSlide
        The slide, with its regions.
    settings : TrainingSettings
        Settings of the training.

    Returns
    -------
    int
        Cells of the grid that are cut; with random crops, as many as cover the regions once. 0 if none fits.
    """
    return patches_in(selected_cells(slide, settings), slide, settings)


def patches_in(cells: NDArray[np.void], slide: TrainingSlide, settings: TrainingSettings) -> int:
    """Count the patches of chosen cells; see `count_patches`."""
    if settings.sampling == "grid":
        return len(cells)
    shape, side = slide.slide.shape, cell_px(settings)
    numbers = np.full([-(-size // side) for size in shape], NOT_CUT)
    numbers[cells["row"], cells["column"]] = 0
    positions = _CropPositions(shape, numbers, side, slide.regions, settings.patch_px, settings.minimum_overlap)
    return -int(-positions.pixels // settings.patch_px**2) if positions.known is not None else 0


class GridSampler:
    """Every patch once per epoch, in an order shuffled over all slides; the last batch may be smaller."""

    def __init__(self, sources: Sequence[PatchSource], settings: TrainingSettings) -> None:
        self._settings = settings
        self._patches = fixed_patches(sources, settings)[:, :3]
        self.steps = -(-len(self._patches) // settings.batch)
        self._order: tuple[int, NDArray[np.intp]] = (-1, np.arange(0))

    def of(self, epoch: int, step: int) -> NDArray[np.int64]:
        """Patches of a step, shape (n, 5)."""
        settings, order = self._settings, self._order
        if order[0] != epoch:
            order = epoch, np.random.default_rng([settings.seed, epoch]).permutation(len(self._patches))
            self._order = order
        chosen = self._patches[order[1][step * settings.batch : (step + 1) * settings.batch]]
        random = _random_of_step(settings, epoch, step)
        return np.column_stack(
            [chosen, _turns(random, settings, len(chosen)), _augmentation_seeds(random, settings, len(chosen))]
        )


class CropSampler:
    """Random crops; each slide is as likely as its share of the pixels of all regions."""

    def __init__(self, sources: Sequence[PatchSource], settings: TrainingSettings) -> None:
        self._settings = settings
        self._positions = [_crop_positions(source.cache, source.regions, settings) for source in sources]
        pixels = np.array([crops.pixels if crops.known is not None else 0.0 for crops in self._positions])
        if pixels.sum() == 0:
            raise _no_patch(settings)
        self._weights = pixels / pixels.sum()
        covering = math.ceil(float(pixels.sum()) / (settings.batch * settings.patch_px**2))
        self.steps = settings.steps_per_epoch or max(FEWEST_STEPS, covering)

    def of(self, epoch: int, step: int) -> NDArray[np.int64]:
        """Patches of a step, shape (n, 5)."""
        settings = self._settings
        random = _random_of_step(settings, epoch, step)
        sources = random.choice(len(self._weights), size=settings.batch, p=self._weights)
        turns = _turns(random, settings, settings.batch)
        corners = np.empty((settings.batch, 2), np.int64)
        for source, count in zip(*np.unique(sources, return_counts=True), strict=True):
            # in reverse order, so that trainings of earlier versions can be resumed
            corners[sources == source] = self._positions[source].draw(random, int(count))[::-1]
        return np.column_stack([sources, corners, turns, _augmentation_seeds(random, settings, settings.batch)])


def fixed_patches(sources: Sequence[PatchSource], settings: TrainingSettings) -> NDArray[np.int64]:
    """List patches that do not overlap and are not turned, slide by slide and row by row; shape (n, 5)."""
    corners_of = _cell_corners if settings.sampling == "grid" else _crop_corners
    corners = [corners_of(source.cache, source.regions, settings) for source in sources]
    numbers = np.repeat(np.arange(len(corners)), [len(of_source) for of_source in corners])
    if not len(numbers):
        raise _no_patch(settings)
    return np.column_stack([numbers, np.concatenate(corners), np.zeros((len(numbers), 2))]).astype(np.int64)


def _cell_corners(cache: PatchCache, regions: RegionMask | None, settings: TrainingSettings) -> NDArray[np.int64]:
    cells = np.sort(cache.cells, order=["row", "column"])
    if regions is not None:
        share = CoveredArea(regions.mask, regions.downsample).share(*edges(cells))
        cells = cells[suffices(share, settings.minimum_overlap)]
    return np.stack([cells["y0"], cells["x0"]], axis=1).astype(np.int64)


def _crop_corners(cache: PatchCache, regions: RegionMask | None, settings: TrainingSettings) -> NDArray[np.int64]:
    positions, side = _crop_positions(cache, regions, settings), settings.patch_px
    height, width = cache.slide_shape
    box = Box(0, height, 0, width) if regions is None else regions.bounds((height, width))
    y, x = np.mgrid[box.y0 : box.y1 : side, box.x0 : box.x1 : side].reshape(2, -1)
    found = np.stack([y, x], axis=1)[positions.allowed(y, x)]
    return found if len(found) or positions.known is None else np.array([positions.known])


def _crop_positions(cache: PatchCache, regions: RegionMask | None, settings: TrainingSettings) -> _CropPositions:
    return _CropPositions(
        cache.slide_shape, cache.numbers, cache.cell_px, regions, settings.patch_px, settings.minimum_overlap
    )


def _no_patch(settings: TrainingSettings) -> TrainingError:
    return TrainingError(
        f"no patch of {settings.patch_px} px has {settings.minimum_overlap:.0%} of it in the regions and any signal; "
        "take larger regions, smaller patches or a lower minimum overlap."
    )


def _random_of_step(settings: TrainingSettings, epoch: int, step: int) -> np.random.Generator:
    # step + 1: to numpy, the seed (seed, epoch, 0) is that of the order of the patches, (seed, epoch)
    return np.random.default_rng([settings.seed, epoch, step + 1])


def _turns(random: np.random.Generator, settings: TrainingSettings, count: int) -> NDArray[np.int64]:
    return random.integers(_TURNS, size=count) if settings.flips else np.zeros(count, np.int64)


def _augmentation_seeds(random: np.random.Generator, settings: TrainingSettings, count: int) -> NDArray[np.int64]:
    # drawn last, so that augmentation changes neither crops nor turns
    return random.integers(1, 2**63 - 1, size=count) if settings.augments else np.zeros(count, np.int64)


class _CropPositions:
    """First pixels of the crops of a slide; a crop reaches over the border only if the slide is smaller than it."""

    def __init__(
        self,
        shape: tuple[int, int],
        numbers: NDArray[np.integer],
        cell_px: int,
        regions: RegionMask | None,
        crop_px: int,
        minimum_overlap: float,
    ) -> None:
        self._shape, self._numbers, self._cell_px = shape, numbers, cell_px
        self._height, self._width = (min(crop_px, size) for size in shape)
        self._minimum = minimum_overlap
        mask, downsample = (np.ones((1, 1), bool), shape) if regions is None else (regions.mask, regions.downsample)
        self._regions = CoveredArea(mask, downsample)
        self._blocks = self._candidates(max(1, crop_px // 4))
        self._ends = np.cumsum((self._blocks[:, 1] - self._blocks[:, 0]) * (self._blocks[:, 3] - self._blocks[:, 2]))
        self.known = self._first_found()

    @property
    def pixels(self) -> float:
        """Full-resolution pixels of the regions that lie in cached cells."""
        row, column = np.nonzero(self._numbers >= 0)
        y0, x0 = row * self._cell_px, column * self._cell_px
        y1, x1 = np.minimum(y0 + self._cell_px, self._shape[0]), np.minimum(x0 + self._cell_px, self._shape[1])
        return float(self._regions.pixels(y0, y1, x0, x1).sum())

    def allowed(self, y: NDArray[np.intp], x: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether crops with these first pixels may be taken; parts beyond the slide do not count."""
        y1, x1 = np.minimum(y + self._height, self._shape[0]), np.minimum(x + self._width, self._shape[1])
        rows, columns = ((first // self._cell_px, (last - 1) // self._cell_px) for first, last in ((y, y1), (x, x1)))
        touched = np.stack([self._numbers[corner] for corner in product(rows, columns)])
        on_cells = (touched.min(axis=0) > NOT_CUT) & (touched.max(axis=0) >= 0)
        return np.asarray(on_cells & suffices(self._regions.share(y, y1, x, x1), self._minimum))

    def draw(self, random: np.random.Generator, count: int) -> NDArray[np.intp]:
        """Draw crops; all allowed positions are equally likely."""
        found = np.empty((0, 2), np.intp)
        for round_ in range(_ROUNDS):
            tries = (count - len(found)) << min(round_ + 1, 12)
            positions = self._positions(random.integers(self._ends[-1], size=tries))
            found = np.concatenate([found, positions[self.allowed(*positions.T)]])[:count]
            if len(found) == count:
                return found
        assert self.known is not None
        return np.concatenate([found, np.tile(np.asarray(self.known, np.intp), (count - len(found), 1))])

    def _candidates(self, step: int) -> NDArray[np.intp]:
        """Blocks (y0, y1, x0, x1) of positions that can't be ruled out as a whole."""
        last_y, last_x = self._shape[0] - self._height + 1, self._shape[1] - self._width + 1
        y0, x0 = np.arange(0, last_y, step)[:, None], np.arange(0, last_x, step)[None, :]
        y1, x1 = np.minimum(y0 + step, last_y), np.minimum(x0 + step, last_x)
        # the pixels that some crop of a block covers, and those that every crop of it covers
        union = (y0, y1 - 1 + self._height, x0, x1 - 1 + self._width)
        common = (y1 - 1, y0 + self._height, x1 - 1, x0 + self._width)
        side = float(self._cell_px)
        cached = CoveredArea(self._numbers >= 0, (side, side))
        left_out = CoveredArea(self._numbers == NOT_CUT, (side, side))
        possible = suffices(self._regions.pixels(*union) / (self._height * self._width), self._minimum)
        possible &= (cached.share(*union) > ROUNDING) & (left_out.share(*common) <= ROUNDING)
        return np.stack([np.broadcast_to(edge, possible.shape)[possible] for edge in (y0, y1, x0, x1)], axis=1)

    def _positions(self, numbers: NDArray[np.int64]) -> NDArray[np.intp]:
        """Positions in the candidate blocks by their number, counted through all blocks."""
        index = np.searchsorted(self._ends, numbers, side="right")
        y0, y1, x0, x1 = self._blocks[index].T
        within = numbers - (self._ends[index] - (y1 - y0) * (x1 - x0))
        return np.stack([y0 + within // (x1 - x0), x0 + within % (x1 - x0)], axis=1)

    def _first_found(self) -> tuple[int, int] | None:
        """Find an allowed position among the middles of all blocks and many random ones; None if there is none."""
        if not len(self._blocks):
            return None
        random = np.random.default_rng(0)
        middles = np.stack([self._blocks[:, :2].sum(axis=1) // 2, self._blocks[:, 2:].sum(axis=1) // 2], axis=1)
        for number in range(_ROUNDS + 1):
            tried = self._positions(random.integers(self._ends[-1], size=_SEARCHED)) if number else middles
            allowed = tried[self.allowed(*tried.T)]
            if len(allowed):
                return int(allowed[0, 0]), int(allowed[0, 1])
        return None

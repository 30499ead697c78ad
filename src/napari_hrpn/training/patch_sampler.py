"""Which patches make up a batch: decided by seed, epoch and step alone, so that a training can go on anywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_hrpn.training.crop_sampler import CropPositions
from napari_hrpn.training.errors import TrainingError
from napari_hrpn.training.summed_area_table import CoveredArea, suffices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_hrpn.slides import RegionMask
    from napari_hrpn.training.cached_patches import PatchCache
    from napari_hrpn.training.settings import TrainingSettings

_TURNS = 8
FEWEST_STEPS = 50


@dataclass(frozen=True)
class PatchPosition:
    """A patch of a batch."""

    source: int  # Number of the slide
    y0: int
    x0: int
    turn: int = 0  # 0 to 7: as it is, or one of the other flips and turns of a square


class Places(Protocol):
    """The patches of every step of every epoch."""

    steps: int

    def of(self, epoch: int, step: int) -> list[PatchPosition]:
        """Patches of a step."""
        ...


class GridPlaces:
    """Every patch once per epoch, in an order shuffled over all slides; the last batch may be smaller."""

    def __init__(self, slides: Sequence[tuple[PatchCache, RegionMask | None]], settings: TrainingSettings) -> None:
        self._settings = settings
        self._places = fixed_places(slides, settings)
        self.steps = -(-len(self._places) // settings.batch)
        self._order: tuple[int, NDArray[np.intp]] = (-1, np.arange(0))

    def of(self, epoch: int, step: int) -> list[PatchPosition]:
        """Patches of a step; see `Places`."""
        settings = self._settings
        order = self._order
        if order[0] != epoch:
            order = epoch, np.random.default_rng([settings.seed, epoch]).permutation(len(self._places))
            self._order = order
        chosen = order[1][step * settings.batch : (step + 1) * settings.batch]
        turns = _turns(_of_step(settings, epoch, step), settings, len(chosen))
        return [
            PatchPosition(source, y0, x0, turn)
            for (source, y0, x0), turn in zip(self._places[chosen].tolist(), turns.tolist(), strict=True)
        ]


class CropPlaces:
    """Random crops; slides take part by the pixels of their regions."""

    def __init__(self, slides: Sequence[tuple[PatchCache, RegionMask | None]], settings: TrainingSettings) -> None:
        self._settings = settings
        self._positions = [_positions(cache, regions, settings) for cache, regions in slides]
        pixels = np.array([each.pixels if each.known is not None else 0.0 for each in self._positions])
        if pixels.sum() == 0:
            raise TrainingError(_nothing(settings))
        self._weights = pixels / pixels.sum()
        covering = math.ceil(float(pixels.sum()) / (settings.batch * settings.patch_px**2))
        self.steps = settings.steps_per_epoch or max(FEWEST_STEPS, covering)

    def of(self, epoch: int, step: int) -> list[PatchPosition]:
        """Patches of a step; see `Places`."""
        settings = self._settings
        random = _of_step(settings, epoch, step)
        sources = random.choice(len(self._weights), size=settings.batch, p=self._weights)
        turns = _turns(random, settings, settings.batch)
        found = {i: self._positions[i].draw(random, n).tolist() for i, n in _counted(sources)}
        drawn = [found[source].pop() for source in sources.tolist()]
        return [
            PatchPosition(source, y0, x0, turn)
            for source, (y0, x0), turn in zip(sources.tolist(), drawn, turns.tolist(), strict=True)
        ]


def fixed_places(
    slides: Sequence[tuple[PatchCache, RegionMask | None]], settings: TrainingSettings
) -> NDArray[np.int64]:
    """Patches that do not overlap, slide by slide and row by row."""
    of_slide = _grid_of_cells if settings.sampling == "grid" else _grid_of_crops
    found = [of_slide(cache, regions, settings) for cache, regions in slides]
    if not any(map(len, found)):
        raise TrainingError(_nothing(settings))
    return np.concatenate(
        [np.column_stack([np.full(len(each), source), each]) for source, each in enumerate(found)]
    ).astype(np.int64)


def _grid_of_cells(cache: PatchCache, regions: RegionMask | None, settings: TrainingSettings) -> NDArray[np.int64]:
    cells = np.sort(cache.cells, order=["row", "column"])
    if regions is not None:
        y0, x0 = cells["y0"], cells["x0"]
        share = CoveredArea(regions.mask, regions.downsample).share(y0, y0 + cells["height"], x0, x0 + cells["width"])
        cells = cells[suffices(share, settings.minimum_overlap)]
    return np.stack([cells["y0"], cells["x0"]], axis=1).astype(np.int64)


def _grid_of_crops(cache: PatchCache, regions: RegionMask | None, settings: TrainingSettings) -> NDArray[np.int64]:
    positions = _positions(cache, regions, settings)
    height, width = cache.slide_shape
    top, bottom, left, right = (0, height, 0, width) if regions is None else regions.bounds
    starts = np.meshgrid(
        np.arange(top, min(bottom, height), settings.patch_px),
        np.arange(left, min(right, width), settings.patch_px),
        indexing="ij",
    )
    y, x = (start.ravel() for start in starts)
    found = np.stack([y, x], axis=1)[positions.allowed(y, x)]
    return found if len(found) or positions.known is None else np.array([positions.known])


def _positions(cache: PatchCache, regions: RegionMask | None, settings: TrainingSettings) -> CropPositions:
    return CropPositions(
        cache.slide_shape, cache.states, cache.cell_px, regions, settings.patch_px, settings.minimum_overlap
    )


def _nothing(settings: TrainingSettings) -> str:
    return (
        f"no patch of {settings.patch_px} px has {settings.minimum_overlap:.0%} of it in the regions and any signal; "
        "take larger regions, smaller patches or a lower minimum overlap."
    )


def _of_step(settings: TrainingSettings, epoch: int, step: int) -> np.random.Generator:
    # numpy takes (seed, epoch) for (seed, epoch, 0), which is the order of the patches
    return np.random.default_rng([settings.seed, epoch, step + 1])


def _turns(random: np.random.Generator, settings: TrainingSettings, count: int) -> NDArray[np.int64]:
    return random.integers(_TURNS, size=count) if settings.flips else np.zeros(count, np.int64)


def _counted(sources: NDArray[np.int64]) -> list[tuple[int, int]]:
    values, counts = np.unique(sources, return_counts=True)
    return list(zip(values.tolist(), counts.tolist(), strict=True))

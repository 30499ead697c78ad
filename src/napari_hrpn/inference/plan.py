"""Before the first tile: what fits together, what is worth a warning, how large a core may be."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from napari_hrpn.analysis.intensity import background_levels, tissue_percentiles
from napari_hrpn.analysis.tissue import TissueMask, tissue_mask
from napari_hrpn.core import Box, Tile, TileGrid, covering, rounded_up
from napari_hrpn.inference.compatibility import input_channels, intensity_warnings, pixel_size_warnings
from napari_hrpn.inference.devices import choose_device, precision_warnings
from napari_hrpn.inference.errors import PredictionError
from napari_hrpn.inference.settings import CELL_PX
from napari_hrpn.inference.store_request import FINGERPRINT, recorded_request
from napari_hrpn.inference.tile_reader import Sampling
from napari_hrpn.slides import glance, slide_fingerprint, slide_identity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.inference.devices import Device
    from napari_hrpn.inference.predictor import Predictor
    from napari_hrpn.inference.settings import PredictionSettings
    from napari_hrpn.models import Checkpoint, IntensityScaling
    from napari_hrpn.slides import Location, Slide

_LARGEST_CORE_PX = {"cpu": 4096, "gpu": 8192}
_LARGEST_WATCHED_CORE_PX = {"cpu": 1024, "gpu": 4096}
"""For somebody who waits for the first tile; on a processor it comes after seconds, and the last a third later."""
_FURTHEST_FACTOR = 16
"""Between the pixels of a slide that is resampled and those trained on: a halo takes that many times its pixels."""
_TISSUE_CELL_PX = 256
"""Side of the squares that are computed where they hold tissue; smaller ones would add little but halo."""
_SMALLEST_PIECE_PX = 256
"""On the network's grid: below it, the halo costs more than ten times what is kept."""


@dataclass(frozen=True, eq=False)
class Plan:
    """All that is decided before the first tile; small, and fit to be sent to another process."""

    channels: tuple[int, ...]  # The slide's input stains, in the network's order
    scaling: IntensityScaling  # With this slide's percentiles put in
    sampling: Sampling  # From the slide's grid to the network's
    grid: TileGrid  # Cores on the slide
    # Side in pixels of what the network may run on at once, halo not counted: what the memory budget affords (a
    # larger core is predicted piece by piece), and what is still worth trying when memory runs out
    largest_piece: int
    smallest_piece: int
    tissue: TissueMask | None  # None where glass is computed as well
    background: float  # What glass is filled with, in grey levels of the probe
    dtype: np.dtype  # Type of the predicted pixels
    request: dict[str, Any]  # All that decides the pixels, for the store
    warnings: tuple[str, ...]

    def pieces(self, tile: Tile) -> tuple[Tile, ...]:
        """What of a tile is computed: all of it, or rectangles around the squares that hold tissue."""
        if self.tissue is None:
            return (tile,)
        core, edge = tile.core, _TISSUE_CELL_PX
        tops, lefts = range(core.y0, core.y1, edge), range(core.x0, core.x1, edge)
        wanted = [[self.tissue.meets(top, top + edge, left, left + edge) for left in lefts] for top in tops]
        boxes = (
            Box(core.y0 + edge * box.y0, core.y0 + edge * box.y1, core.x0 + edge * box.x0, core.x0 + edge * box.x1)
            for box in covering(np.array(wanted), self.grid.halo / edge)
        )
        return tuple(Tile.around(box.intersection(core), self.grid.halo, self.grid.stride) for box in boxes)

    def as_stored(self, levels: NDArray[np.float32] | np.float32) -> NDArray[np.generic]:
        """Round and clip grey levels to the store's type."""
        pixels = np.asarray(levels)
        if np.issubdtype(self.dtype, np.floating):
            return pixels.astype(self.dtype, copy=False)
        limits = np.iinfo(self.dtype)
        return np.clip(np.rint(pixels), limits.min, limits.max).astype(self.dtype)


def make_plan(
    slide: Slide,
    checkpoint: Checkpoint,
    predictor: Predictor,
    path: Location,
    settings: PredictionSettings,
    roles: Mapping[str, int] | None,
    *,
    is_watched: bool = False,
) -> Plan:
    """Check that slide, checkpoint and settings fit together, and decide everything else."""
    _refuse_in_slide(path, slide)
    channels = input_channels(slide, checkpoint, roles)
    device = choose_device(predictor.device)
    stains = glance(slide, channels, checkpoint.card.scaling.reference_um)
    tissue = tissue_mask(stains, 0)
    scaling, percentiles = _scaling_for(stains, checkpoint, tissue)
    factors = _factors(slide, checkpoint, settings)
    halo = rounded_up(predictor.halo if settings.halo is None else settings.halo, predictor.stride)
    budget = budget_bytes(settings, device, psutil.virtual_memory().available)
    limits = _LARGEST_WATCHED_CORE_PX if is_watched else _LARGEST_CORE_PX
    limit = settings.largest_core or limits["cpu" if device.name == "cpu" else "gpu"]
    bytes_for = partial(_bytes_for, predictor, halo, factors)
    core = _core_px(settings, path, _largest_core_px(max(slide.shape), limit, bytes_for, budget))
    smallest = min(CELL_PX, rounded_up(math.ceil(_SMALLEST_PIECE_PX / max(factors)), predictor.stride))
    levels = background_levels(stains, range(len(channels)), tissue)
    blank = levels if settings.skip_blank else None
    fill = percentiles[:, 0] if levels is None else levels
    sampling = Sampling(factors, halo, predictor.stride, settings.padding, tuple(fill.tolist()))
    return Plan(
        channels=channels,
        scaling=scaling,
        sampling=sampling,
        grid=TileGrid(*slide.shape, core, halo, predictor.stride),
        largest_piece=_piece_px(core, smallest, bytes_for, budget),
        smallest_piece=smallest,
        tissue=None if blank is None else tissue,
        background=0.0 if blank is None else _answer_to_background(predictor, scaling, blank),
        dtype=np.dtype(checkpoint.card.dtype if settings.output == "probe" else "float32"),
        request=_request(slide, checkpoint, channels, settings, halo, core),
        warnings=(
            *pixel_size_warnings(slide, checkpoint, settings),
            *intensity_warnings(checkpoint, percentiles),
            *precision_warnings(device, settings.precision),
        ),
    )


def _refuse_in_slide(path: Location, slide: Slide) -> None:
    source = slide.source
    if isinstance(path, Path) and isinstance(source, Path):
        output, parents = path.resolve(), path.resolve().parents
        is_inside = source.exists() and (source.resolve() in (output, *parents) or output in source.resolve().parents)
    else:
        is_inside = f"{path}/".startswith(f"{source}/") or f"{source}/".startswith(f"{path}/")
    if is_inside:
        msg = f"the prediction {path} would lie on or in {source}, the slide it is made from; choose another output."
        raise PredictionError(msg)


def _scaling_for(
    stains: Slide, checkpoint: Checkpoint, tissue: TissueMask
) -> tuple[IntensityScaling, NDArray[np.float64]]:
    scaling, names = checkpoint.card.scaling, stains.channel_names
    wanted = (scaling.low_percentile, scaling.high_percentile)
    percentiles = tissue_percentiles(stains, range(len(names)), tissue, wanted, scaling.reference_um)
    unknown = [name for name, (low, _) in zip(names, percentiles, strict=True) if np.isnan(low)]
    if unknown:
        msg = (
            f"channel {unknown[0]} of {stains.source.name} holds no number in the tissue (all are NaN, infinite "
            "or beyond 1e12); expected an image of a stain."
        )
        raise PredictionError(msg)
    flat = [name for name, (low, high) in zip(names, percentiles, strict=True) if high <= low]
    if scaling.kind == "fixed":
        return scaling, percentiles
    if flat:
        msg = f"channel {flat[0]} of {stains.source.name} is the same everywhere; expected an image of a stain."
        raise PredictionError(msg)
    return scaling.fixed_to(tuple(percentiles[:, 0].tolist()), tuple(percentiles[:, 1].tolist())), percentiles


def _factors(slide: Slide, checkpoint: Checkpoint, settings: PredictionSettings) -> tuple[float, float]:
    trained = checkpoint.card.pixel_size_um
    if not settings.resample or (slide.pixel_size_um is not None and slide.pixel_size_um == (trained, trained)):
        return 1.0, 1.0
    if slide.pixel_size_um is None or trained is None:
        who = slide.source.name if slide.pixel_size_um is None else "the checkpoint"
        msg = f"{who} does not say its pixel size, so the slide cannot be resampled; predict without resampling."
        raise PredictionError(msg)
    factors = slide.pixel_size_um[0] / trained, slide.pixel_size_um[1] / trained
    if not 1 / _FURTHEST_FACTOR <= min(factors) <= max(factors) <= _FURTHEST_FACTOR:
        height, width = slide.pixel_size_um
        msg = (
            f"{slide.source.name} has pixels of {height:.4g} x {width:.4g} µm, more than {_FURTHEST_FACTOR} times as "
            f"small or large as the {trained:g} µm trained on; check its pixel size, or predict without resampling."
        )
        raise PredictionError(msg)
    return factors


def _core_px(settings: PredictionSettings, path: Location, affordable: int) -> int:
    recorded = recorded_request(path)
    if settings.core is not None:
        return settings.core
    if recorded is not None and isinstance(recorded.get("core"), int):
        return int(recorded["core"])
    return affordable


def _largest_core_px(longest: int, limit: int, bytes_for: Callable[[int], float], budget: float) -> int:
    core = CELL_PX
    while core * 2 <= limit and core < longest and bytes_for(core * 2) <= budget:
        core *= 2
    return core


def _piece_px(core: int, smallest: int, bytes_for: Callable[[int], float], budget: float) -> int:
    piece = core
    while piece > smallest and bytes_for(piece) > budget:
        piece //= 2
    return max(piece, smallest)


def budget_bytes(settings: PredictionSettings, device: Device, available: float) -> float:
    """Memory that one tile may take."""
    if settings.memory_gb is not None:
        return settings.memory_gb * 1e9
    if device.name != "cpu":
        return 0.6 * device.free_bytes
    return min(4e9, available / 4) if settings.core is None else 0.75 * available


def _bytes_for(predictor: Predictor, halo: int, factors: tuple[float, float], core: int) -> float:
    height, width = (core * factor + 2 * halo for factor in factors)
    return predictor.bytes_for(height, width)


def _answer_to_background(predictor: Predictor, scaling: IntensityScaling, levels: NDArray[np.float32]) -> float:
    scaled = scaling.scale_inputs(levels[:, None, None])[:, 0, 0]
    return float(scaling.unscale_output(np.float32(predictor.answer_to(scaled))))  # type: ignore[arg-type]


def _request(
    slide: Slide,
    checkpoint: Checkpoint,
    channels: Sequence[int],
    settings: PredictionSettings,
    halo: int,
    core: int,
) -> dict[str, Any]:
    decisive = asdict(replace(settings, halo=halo, core=core))
    for name in ("largest_core", "memory_gb", "device", "region"):
        del decisive[name]
    return {
        "slide": slide_identity(slide),
        FINGERPRINT: slide_fingerprint(slide),
        "checkpoint": checkpoint.digest,
        "channels": list(channels),
        **({"pixel_size_um": list(slide.pixel_size_um or ())} if slide.pixel_size_is_given else {}),
        **decisive,
    }

"""Plan of a prediction: input channels, intensity scaling, size of cores, tissue, and warnings."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from napari_hrpn.analysis.tissue.intensity import background_levels
from napari_hrpn.analysis.tissue.tissue_mask import tissue_mask
from napari_hrpn.analysis.tissue.vessel_distance import vessel_threshold
from napari_hrpn.core import Box, Tile, TileGrid, covering, rounded_up
from napari_hrpn.core.errors import PredictionError
from napari_hrpn.inference.ensemble import ensemble_digest
from napari_hrpn.inference.fit import input_channels, with_derived
from napari_hrpn.inference.plan_warnings import prediction_warnings
from napari_hrpn.inference.predictor import choose_device
from napari_hrpn.inference.slide_scaling import background_answer, furthest_fit, scalings_for
from napari_hrpn.inference.store_files import recorded_request
from napari_hrpn.inference.tile_pipeline import DistanceInput, Sampling
from napari_hrpn.inference.unlike import compared_digests, seen_step
from napari_hrpn.settings import CELL_PX, DISTANCE, VESSELS
from napari_hrpn.slides import glance, slide_fingerprint, slide_identity
from napari_hrpn.slides.channel_roles import SD, UNLIKE
from napari_hrpn.slides.predictions import FINGERPRINT
from napari_hrpn.slides.resampling import fitting_level

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.analysis import ErrorModel
    from napari_hrpn.inference.fit import Fit
    from napari_hrpn.inference.predictor import Device, Predictor
    from napari_hrpn.models import Checkpoint, IntensityScaling
    from napari_hrpn.settings import PredictionSettings
    from napari_hrpn.slides import Location, RegionMask, Slide

_LARGEST_CORE_PX = {"cpu": 4096, "gpu": 8192}
_LARGEST_WATCHED_CORE_PX = {"cpu": 1024, "gpu": 4096}
"""While a viewer shows the prediction: on a CPU the first tile comes after seconds, the last one a third later."""
_TISSUE_CELL_PX = 256
"""Side of the squares that are computed if they hold tissue; smaller squares would mostly add halo."""
_SMALLEST_PIECE_PX = 256
"""On the network's grid: with smaller pieces, the halo would cost more than ten times as much as the core."""
_STATISTICS_BYTES_PER_PIXEL = 24
"""Memory for mean and standard deviation of an ensemble, besides that of a network: 21 measured at 2,048 px."""
_DISTANCE_BYTES_PER_PIXEL = 60
"""Memory for reading a tile with the distance to vessels, besides that of a network: 44 to 56 measured at 942 px."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that is decided before the first tile; small enough to be sent to another process with each task."""

    channels: tuple[int, ...]  # The slide's input stains, in the network's order, without derived inputs
    scalings: tuple[IntensityScaling, ...]  # Of each network, with the percentiles of this slide
    sampling: Sampling  # From the slide's grid to the network's
    grid: TileGrid  # Cores on the slide
    region: Box | None  # Only tiles that meet it are predicted; None for all
    # Side in pixels of the area that the network may run on at once, without halo: the largest one that the memory
    # budget allows (a larger core is predicted piece by piece), and the smallest one to try when memory runs out
    largest_piece: int
    smallest_piece: int
    tissue: RegionMask | None  # None if glass is computed as well
    compared: RegionMask | None  # Tissue in which features are compared with the training; None for nowhere
    # What fills glass: grey level of the probe, its deviation if there is one, and no distance from the training
    background: tuple[float, ...]
    errors: ErrorModel | None  # Of the networks on tumours that they have not learnt from; None if not known
    dtype: np.dtype  # Type of the predicted pixels
    request: dict[str, Any]  # Everything that decides the pixels, for the store
    fit: Fit  # How far the slide is from those trained on
    warnings: tuple[str, ...]

    @property
    def further(self) -> tuple[str, ...]:
        """Names of the channels beside the prediction."""
        has_sd = len(self.scalings) > 1 or self.errors is not None
        return (*[SD] * has_sd, *[UNLIKE] * (self.compared is not None))

    def pieces(self, tile: Tile) -> tuple[Tile, ...]:
        """Parts of a tile that are computed: all of it, or rectangles around the squares that hold tissue."""
        if self.tissue is None:
            return (tile,)
        core, edge = tile.core, _TISSUE_CELL_PX
        tops, lefts = range(core.y0, core.y1, edge), range(core.x0, core.x1, edge)
        wanted = [[self.tissue.meets(Box(top, top + edge, left, left + edge)) for left in lefts] for top in tops]
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
    members: Sequence[Checkpoint],
    predictors: Sequence[Predictor],
    path: Location,
    settings: PredictionSettings,
    roles: Mapping[str, int] | None,
    *,
    errors: ErrorModel | None = None,
    is_watched: bool = False,
) -> Plan:
    """Check that slide, checkpoints and settings fit together, and decide everything else."""
    _refuse_in_slide(path, slide)
    checkpoint, card = members[0], members[0].card
    channels = input_channels(slide, card, roles)
    device, stride = choose_device(predictors[0].device), predictors[0].stride
    stains = glance(slide, channels, card.scaling.reference_um)
    tissue = tissue_mask(stains, 0)
    scalings, percentiles = scalings_for(stains, members, tissue)
    fit = furthest_fit(slide, stains, members, scalings, tissue)
    level, level_factors = _read_from(slide, checkpoint, settings)
    factors = _from_full_resolution(slide, level, level_factors)
    halo = rounded_up(max(one.halo for one in predictors) if settings.halo is None else settings.halo, stride)
    budget = budget_bytes(settings, device, psutil.virtual_memory().available)
    distance = _distance_input(slide, checkpoint, factors, stains, tissue)
    is_affordable = _within_budget(predictors, factors, halo, distance, budget, has_sd=len(members) > 1 or bool(errors))
    limit = settings.largest_core or _core_limit(device, factors, is_watched=is_watched)
    core = settings.core or _recorded_core(path) or _largest_core(max(slide.shape), limit, is_affordable)
    smallest = min(CELL_PX, rounded_up(math.ceil(_SMALLEST_PIECE_PX / max(factors)), stride))
    levels = background_levels(stains, range(len(channels)), tissue)
    blank = with_derived(card, levels) if settings.skip_blank and levels is not None else None
    fill = percentiles[[role in card.stains for role in card.input_roles], 0] if levels is None else levels
    step, beyond = seen_step(stride, settings), tuple(fill.tolist())
    return Plan(
        channels=channels,
        scalings=scalings,
        sampling=Sampling(factors, halo, step, settings.padding, beyond, level, level_factors, distance),
        grid=TileGrid(*slide.shape, core, halo, stride),
        region=settings.region,
        largest_piece=_largest_piece(core, smallest, is_affordable),
        smallest_piece=smallest,
        tissue=None if blank is None else tissue,
        compared=tissue if settings.unlike else None,
        background=(*background_answer(predictors, scalings, blank, errors), *[0.0] * settings.unlike),
        errors=errors,
        dtype=np.dtype(card.dtype if settings.output == "probe" else "float32"),
        request=_request(slide, members, channels, replace(settings, halo=halo, core=core), level, errors),
        fit=fit,
        warnings=prediction_warnings(slide, checkpoint, percentiles, settings, device, fit),
    )


def _refuse_in_slide(path: Location, slide: Slide) -> None:
    source = slide.source
    if isinstance(path, Path) and isinstance(source, Path):
        output, parents = path.resolve(), path.resolve().parents
        is_inside = source.exists() and (source.resolve() in (output, *parents) or output in source.resolve().parents)
    else:
        is_inside = f"{path}/".startswith(f"{source}/") or f"{source}/".startswith(f"{path}/")
    if is_inside:
        msg = f"the prediction {path} would lie on or in {source}, the slide that is predicted; choose another output."
        raise PredictionError(msg)


def _read_from(slide: Slide, checkpoint: Checkpoint, settings: PredictionSettings) -> tuple[int, tuple[float, float]]:
    """Level that is read, and pixels of the network's grid per pixel of it, along y and x."""
    trained, source = checkpoint.card.pixel_size_um, slide.source.name
    # a slide without a pixel size is taken to have the one trained on, of which a warning tells
    if not settings.resample and (not checkpoint.card.resamples or slide.pixel_size_um is None):
        return 0, (1.0, 1.0)
    if slide.pixel_size_um is None or trained is None:
        named = source if slide.pixel_size_um is None else "the checkpoint"
        remedy = "state it (on the command line with --pixel-size), or " if slide.pixel_size_um is None else ""
        msg = f"{named} has no pixel size, so the slide cannot be resampled; {remedy}predict without resampling."
        raise PredictionError(msg)
    return fitting_level(slide, trained, "" if checkpoint.card.resamples else "predict without resampling")


def _from_full_resolution(slide: Slide, level: int, factors: tuple[float, float]) -> tuple[float, float]:
    down, across = slide.downsample(level)
    return factors[0] / down, factors[1] / across


def _core_limit(device: Device, factors: tuple[float, float], *, is_watched: bool) -> int:
    limits = _LARGEST_WATCHED_CORE_PX if is_watched else _LARGEST_CORE_PX
    # a network of coarser pixels covers as much more of the slide with as many pixels
    coarser = 1 << max(0, math.floor(-math.log2(max(factors)) + 0.5))
    return limits["cpu" if device.name == "cpu" else "gpu"] * coarser


def _within_budget(
    predictors: Sequence[Predictor],
    factors: tuple[float, float],
    halo: int,
    distance: DistanceInput | None,
    budget: float,
    *,
    has_sd: bool,
) -> Callable[[int], bool]:
    """Whether the memory suffices to run the networks, one after the other, on a core of some side with its halo.

    The next tile is read meanwhile, which takes about as much memory with the distance to vessels.
    """

    def is_affordable(core: int) -> bool:
        """Whether a core of this side fits."""
        statistics = _STATISTICS_BYTES_PER_PIXEL * core**2 if has_sd else 0
        seen = [core * factor + 2 * halo for factor in factors]
        around = 0 if distance is None else math.prod(side + 2 * distance.margin for side in seen)
        reading = _DISTANCE_BYTES_PER_PIXEL * around
        return max(predictor.bytes_for(*seen) for predictor in predictors) + statistics + reading <= budget

    return is_affordable


def _recorded_core(path: Location) -> int | None:
    """Side of the cores of a prediction that is resumed, which is part of its request; None for a new one."""
    core = (recorded_request(path) or {}).get("core")
    return core if isinstance(core, int) else None


def _largest_core(longest: int, limit: int, is_affordable: Callable[[int], bool]) -> int:
    core = CELL_PX
    while core * 2 <= limit and core < longest and is_affordable(core * 2):
        core *= 2
    return core


def _largest_piece(core: int, smallest: int, is_affordable: Callable[[int], bool]) -> int:
    while core > smallest and not is_affordable(core):
        core //= 2
    return max(core, smallest)


def budget_bytes(settings: PredictionSettings, device: Device, available: float) -> float:
    """Memory that one tile may take."""
    if settings.memory_gb is not None:
        return settings.memory_gb * 1e9
    if device.name != "cpu":
        return 0.6 * device.free_bytes
    return min(4e9, available / 4) if settings.core is None else 0.75 * available


def _distance_input(
    slide: Slide, checkpoint: Checkpoint, factors: tuple[float, float], stains: Slide, tissue: RegionMask
) -> DistanceInput | None:
    card = checkpoint.card
    if card.distance is None:
        return None
    vessels = card.stains.index(VESSELS)
    threshold = vessel_threshold(stains, vessels, tissue)
    # a slide without a pixel size is taken to have the one trained on, of which a warning tells
    height, width = slide.pixel_size_um or (card.pixel_size_um or 1.0,) * 2
    pixel_um = (height / factors[0], width / factors[1])
    return DistanceInput(card.distance, threshold, pixel_um, vessels, card.input_roles.index(DISTANCE))


def _request(
    slide: Slide,
    members: Sequence[Checkpoint],
    channels: Sequence[int],
    settings: PredictionSettings,
    level: int,
    errors: ErrorModel | None,
) -> dict[str, Any]:
    decisive, digests = asdict(settings), [member.digest for member in members]
    # these change speed and memory, or which tiles are predicted, but no pixel
    for name in ("largest_core", "memory_gb", "device", "region", "unlike"):
        del decisive[name]
    return {
        "slide": slide_identity(slide),
        FINGERPRINT: slide_fingerprint(slide),
        "checkpoint": ensemble_digest(digests),
        **({"members": digests} if len(members) > 1 else {}),
        "channels": list(channels),
        # predictions of earlier versions, which always read the finest level, do not name it
        **({"level": level} if level else {}),
        **({"pixel_size_um": list(slide.pixel_size_um or ())} if slide.pixel_size_is_given else {}),
        **({"unlike": compared_digests(members)} if settings.unlike else {}),
        **({} if errors is None else {"error_model": errors.facts}),
        **decisive,
    }

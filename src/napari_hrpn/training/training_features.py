"""Features of the slides of a training, measured once at its end and kept in its checkpoint.

The unit of a distance is what the training itself shows: each slide is left out once, the distances of its blocks from
the others are measured, and the 95th percentile of the slide that is furthest from the others is 1.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.core import TileGrid, rounded_up
from napari_hrpn.core.errors import PredictionError, TrainingError, TrainingWarning
from napari_hrpn.inference.plan import make_plan
from napari_hrpn.inference.predictor import Predictor, choose_device
from napari_hrpn.inference.unlike import UNIT_PERCENT, Blocks
from napari_hrpn.models import load_checkpoint, save_checkpoint
from napari_hrpn.models.training_features import TrainingFeatures, compared_features
from napari_hrpn.settings import PredictionSettings
from napari_hrpn.slides import ChunkCache, RegionMask, SlideError, as_location
from napari_hrpn.training.entries import open_entry
from napari_hrpn.training.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_hrpn.models import Checkpoint
    from napari_hrpn.training.entries import Split, TrainingSlide
    from napari_hrpn.training.session import Material

_WINDOW_PX = 512
"""Side of what is read at once, on the network's grid; smaller windows would mostly be halo."""
_MOST_WINDOWS = 32
_FEWEST_BLOCKS = 8
_KEPT_BYTES = 16 << 20


def with_training_features(checkpoint: Checkpoint, slides: Sequence[TrainingSlide], device: str = "cpu") -> Checkpoint:
    """Add the features that a network saw in its training, for predictions that say where a slide is unlike it.

    Parameters
    ----------
    checkpoint : Checkpoint
        The finished network.
    slides : sequence of TrainingSlide
        Slides that it was trained on, as `open_entry` opens them. Up to 32 windows of 512 px are read, at random places
        that are always the same, of as many slides as possible.
    device : str
        Device that runs the network.

    Returns
    -------
    Checkpoint
        The same network with features; without, if it is no HRPN or the slides have fewer than eight blocks of 64 px.

    Raises
    ------
    PredictionError, SlideError
        If a slide does not fit the checkpoint, or cannot be read.
    """
    if not compared_features(checkpoint.settings):
        return checkpoint
    predictor = Predictor(checkpoint, choose_device(device).name)
    chosen = np.random.default_rng(0).permutation(len(slides))[:_MOST_WINDOWS]
    windows = _MOST_WINDOWS // len(chosen)
    by_slide = [_blocks_of(slides[index], checkpoint, predictor, windows) for index in sorted(chosen)]
    return replace(checkpoint, features=distribution([blocks for blocks in by_slide if len(blocks)]))


def keep_training_features(material: Material, split: Split, device: str) -> None:
    """Add the features of the training slides to the checkpoint of a run that has come to its end."""
    path, settings = RunFolder(material.folder).checkpoint, material.request.settings
    checkpoint = load_checkpoint(path)
    if not compared_features(checkpoint.settings):
        return
    try:
        # with their own pixels, as they are predicted, and with the regions that were learnt from
        slides = [
            replace(open_entry(slide.entry, settings), regions=source.regions)
            for slide, source in zip(split.train, material.train, strict=True)
        ]
        checkpoint = with_training_features(checkpoint, slides, device)
    except (PredictionError, SlideError, TrainingError) as error:
        msg = f"{path.name} will not say where a slide is unlike its training: {error}"
        warnings.warn(msg, TrainingWarning, stacklevel=2)
        return
    save_checkpoint(checkpoint, path)


def _blocks_of(slide: TrainingSlide, checkpoint: Checkpoint, predictor: Predictor, most: int) -> NDArray[np.float32]:
    """Mean features of blocks in some windows of a slide, as a prediction of it has them; shape (blocks, features)."""
    roles = dict(zip(checkpoint.card.stains, slide.inputs, strict=True))
    settings, height_width = PredictionSettings(unlike=True, device=predictor.device), slide.slide.shape
    plan = make_plan(slide.slide, [checkpoint], [predictor], as_location("features"), settings, roles)
    sampling, tissue = plan.sampling, plan.compared
    assert tissue is not None
    if slide.regions is not None:
        mask = slide.regions.mask
        # regions cover the whole slide, whatever pixels they were counted in
        down, across = (size / count for size, count in zip(height_width, mask.shape, strict=True))
        tissue = tissue.intersected(RegionMask(mask, (down, across)))
    side = rounded_up(round(_WINDOW_PX / max(sampling.factors)), sampling.stride)
    tiles = [tile for tile in TileGrid(*height_width, side, 0, sampling.stride) if tissue.share(tile.core) > 0]
    found, chunks = [np.empty((0, compared_features(checkpoint.settings)), np.float32)], ChunkCache(_KEPT_BYTES)
    scale = plan.scalings[0].scale_inputs
    for index in np.random.default_rng(0).permutation(len(tiles))[:most]:
        blocks = Blocks(sampling, tiles[index].core, tissue, height_width)
        pixels, _ = sampling.read(slide.slide.levels[sampling.level], chunks, plan.channels, tiles[index].core)

        def watch(branches: list[Tensor], blocks: Blocks = blocks) -> None:
            means, known = blocks.means(branches)
            found.append(means[known])

        predictor.run(predictor.ready(pixels, scale), sampling.halo, scale, watch)
    return np.concatenate(found)


def distribution(by_slide: Sequence[NDArray[np.float32]]) -> TrainingFeatures | None:
    """Mean and distances of the blocks of slides; None if they are too few, or all alike."""
    if sum(map(len, by_slide)) < _FEWEST_BLOCKS:
        return None
    # a single slide is compared with itself, half by half
    parts = list(by_slide) if len(by_slide) > 1 else np.array_split(by_slide[0], 2)
    whole = _fitted(np.concatenate(parts))
    furthest = 0.0
    for index, part in enumerate(parts):
        rest = _fitted(np.concatenate([*parts[:index], *parts[index + 1 :]]))
        if rest is not None:
            furthest = max(furthest, float(np.percentile(rest.distances(part), UNIT_PERCENT)))
    return (
        None if whole is None or not furthest else replace(whole, to_distance=whole.to_distance / np.float32(furthest))
    )


def _fitted(blocks: NDArray[np.float32]) -> TrainingFeatures | None:
    """Mean, and a matrix that makes the covariance, shrunk as by Ledoit and Wolf, the unit; None if nothing varies."""
    # imported here, since it takes a second
    from sklearn.covariance import ledoit_wolf

    if len(blocks) < 2 or not np.ptp(blocks):
        return None
    exact = blocks.astype(np.float64)
    covariance, _ = ledoit_wolf(exact)
    matrix = np.linalg.inv(np.linalg.cholesky(covariance))
    return TrainingFeatures(exact.mean(axis=0).astype(np.float32), matrix.astype(np.float32))

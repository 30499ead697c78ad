"""Counterfactual predictions: what a network predicts for a slide with a vessel removed or added.

Only the part of the slide that an edit can reach is predicted, with the plan of the slide as it is, so that pixels are
those that a prediction of the edited slide would have. The network says what it associates with a vessel, not what the
vessel does.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage, special

from napari_hrpn.core import Box, Tile
from napari_hrpn.core.errors import PredictionError
from napari_hrpn.inference.plan import make_plan
from napari_hrpn.inference.predictor import Predictor, choose_device
from napari_hrpn.inference.tile_pipeline import TilePipeline
from napari_hrpn.settings import VESSELS, PredictionSettings
from napari_hrpn.slides import ChunkCache

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import dask.array as da
    from numpy.typing import NDArray

    from napari_hrpn.analysis.tissue.vessel_edit import VesselEdit
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.slides import Location, Slide

_KEPT_BYTES = 256 << 20
# a difference counts if it is above this many SDs of the sham edits
_SIGNIFICANT_SD = 2.0
# sham differences are pooled in shells of this thickness around the edit
_SHELL_UM = 5.0


class CounterfactualNetwork:
    """A checkpoint and a slide of which parts are predicted as they are, and with an edited vessel stain."""

    def __init__(
        self,
        slide: Slide,
        checkpoint: Checkpoint,
        output: Location,
        settings: PredictionSettings | None = None,
        roles: Mapping[str, int] | None = None,
    ) -> None:
        if VESSELS not in checkpoint.card.stains:
            msg = f"{checkpoint.card.title} takes no vessels, so no vessel can be removed from its input."
            raise PredictionError(msg)
        # differences are of grey levels that are neither rounded nor clipped
        wanted = replace(settings or PredictionSettings(), output="float32", region=None)
        predictors = [Predictor(checkpoint, choose_device(wanted.device).name, wanted.precision)]
        self._plan = make_plan(slide, [checkpoint], predictors, output, wanted, roles)
        self.slide, self.level = slide, self._plan.sampling.level
        self.vessels = self._plan.channels[checkpoint.card.stains.index(VESSELS)]
        self.stride, self.warnings = self._plan.sampling.stride, self._plan.warnings
        self.tissue = self._plan.tissue
        # half a grey level where the network was trained on integers, as their images show no less
        self.rounding = 0.5 if np.dtype(checkpoint.card.dtype).kind in "ui" else 0.0
        self._chunks = _EditedChunks(self.vessels)
        self._run = TilePipeline(self._plan, slide, predictors, threading.Event(), self._chunks)

    def reach(self, edit: VesselEdit) -> Box:
        """Part of the slide outside of which an edit changes no pixel of the prediction."""
        sampling = self._plan.sampling
        margin = sampling.halo + sampling.stride + (0 if sampling.distance is None else sampling.distance.margin)
        edges = []
        for axis, (start, stop) in enumerate(((edit.box.y0, edit.box.y1), (edit.box.x0, edit.box.x1))):
            to_grid, to_slide = sampling.level_factors[axis], 1 / sampling.factors[axis]
            # linear interpolation reaches one pixel of the coarser grid further, and positions are of pixel centres
            around = margin + (0 if to_grid == 1 else math.ceil(max(1, to_grid)) + 1)
            beyond = 0 if to_slide == 1 else math.ceil(max(1, to_slide)) + 1
            low = math.floor((math.floor(start * to_grid) - around) * to_slide) - beyond
            high = math.ceil((math.ceil(stop * to_grid) + around) * to_slide) + beyond
            # cores begin at multiples of the network's stride
            edges += [max(0, low // sampling.stride * sampling.stride), min(self.slide.shape[axis], high)]
        return Box(*edges)

    def predicted(self, box: Box, edit: VesselEdit | None = None) -> NDArray[np.float32]:
        """Predicted grey levels of a box that begins at multiples of the network's stride."""
        self._chunks.edit = edit
        (levels,) = self._run.levels(Tile.around(box, self._plan.grid.halo, self.stride))
        return np.asarray(levels)

    def difference(self, edit: VesselEdit) -> tuple[Box, NDArray[np.float32]]:
        """Edited less original prediction where the edit reaches; beyond, it is zero."""
        box = self.reach(edit)
        return box, self.predicted(box, edit) - self.predicted(box)

    def distance_um(self, edit: VesselEdit, box: Box) -> NDArray[np.float64]:
        """Distance of the pixels of a box of the slide from the vessel of an edit; 0 inside."""
        down, right = self.slide.downsample(self.level)
        y = np.floor((np.arange(box.y0, box.y1) + 0.5) / down).astype(int) - edit.box.y0
        x = np.floor((np.arange(box.x0, box.x1) + 0.5) / right).astype(int) - edit.box.x0
        rows, columns = (y >= 0) & (y < edit.box.height), (x >= 0) & (x < edit.box.width)
        vessel = np.zeros((box.height, box.width), bool)
        vessel[np.ix_(rows, columns)] = edit.region[np.ix_(y[rows], x[columns])]
        size = self.slide.pixel_size_um or (1.0, 1.0)
        return np.asarray(ndimage.distance_transform_edt(~vessel, sampling=size))


class _EditedChunks(ChunkCache):
    """Chunks of a slide, read with an edit of one channel in place."""

    def __init__(self, channel: int) -> None:
        super().__init__(_KEPT_BYTES)
        self._channel = channel
        self.edit: VesselEdit | None = None

    def read(self, array: da.Array, *parts: slice) -> NDArray[Any]:
        """Read a part of a level; its pixels are a copy."""
        pixels = super().read(array, *parts)
        channels, rows, columns = parts
        if self.edit is None or not channels.start <= self._channel < channels.stop:
            return pixels
        box, read = self.edit.box, Box(rows.start, rows.stop, columns.start, columns.stop)
        both = box.intersection(read)
        if both.area:
            inner = slice(both.y0 - read.y0, both.y1 - read.y0), slice(both.x0 - read.x0, both.x1 - read.x0)
            new = slice(both.y0 - box.y0, both.y1 - box.y0), slice(both.x0 - box.x0, both.x1 - box.x0)
            pixels[(self._channel - channels.start, *inner)] = self.edit.pixels[new]
        return pixels


@dataclass(frozen=True, eq=False)
class ShamNoise:
    """Differences that sham edits make, over the distance from the edit."""

    levels: NDArray[np.float64]  # one per shell, as far as the edits reach

    @classmethod
    def of(
        cls, differences: Sequence[tuple[NDArray[np.float64], NDArray[np.float32]]], floor: float = 0.0
    ) -> ShamNoise:
        """Noise of sham edits: pairs of the distances from each and its difference; at least a floor."""
        # pixels that an edit does not reach say nothing about its noise
        reached = [(distance[change != 0], change[change != 0]) for distance, change in differences]
        shells = 1 + max((int(distance.max() / _SHELL_UM) for distance, _ in reached if distance.size), default=0)
        squares, counts, shams = np.zeros((3, shells))
        for distance, change in reached:
            shell = (distance / _SHELL_UM).astype(int)
            squares += np.bincount(shell, change.astype(np.float64) ** 2, shells)
            pixels = np.bincount(shell, minlength=shells)
            counts += pixels
            shams += pixels > 0
        return cls(np.maximum(_factor(shams) * np.sqrt(squares / np.maximum(counts, 1)), floor))

    def at(self, distance_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Noise at distances from the edit; further than all sham edits reach, that of the outermost shell."""
        shell = np.minimum((distance_um / _SHELL_UM).astype(int), len(self.levels) - 1)
        return np.asarray(self.levels[shell])


def _factor(shams: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two SDs, widened as Student's t for as many sham edits; pixels of one edit are not independent of each other."""
    return np.asarray(special.stdtrit(np.maximum(shams, 1), special.ndtr(_SIGNIFICANT_SD)))

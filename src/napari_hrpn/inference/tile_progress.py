"""Which tiles are to be done, and how far that is: the one place where finished tiles are recorded and counted."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from napari_hrpn.inference.compatibility import unknown_warnings
from napari_hrpn.inference.errors import PredictionError
from napari_hrpn.inference.reports import PredictionReport, TileReport
from napari_hrpn.inference.store import PredictionStore
from napari_hrpn.inference.store_request import FINGERPRINT
from napari_hrpn.slides import slide_fingerprint, slide_identity

if TYPE_CHECKING:
    from napari_hrpn.core import Box
    from napari_hrpn.inference.plan import Plan
    from napari_hrpn.inference.reports import Spent
    from napari_hrpn.inference.tile_pipeline import WrittenTile
    from napari_hrpn.models import ModelCard
    from napari_hrpn.slides import Location, Slide


def open_store(path: Location, slide: Slide, plan: Plan, card: ModelCard, *, overwrite: bool) -> PredictionStore:
    """Open the prediction that a plan asks for."""
    name, request = f"predicted {card.target}", plan.request
    return PredictionStore.open(
        path, slide, request, dtype=plan.dtype, name=name, title=card.title, overwrite=overwrite
    )


class Tally:
    """The tiles of a plan, and which of them are on disk."""

    def __init__(self, plan: Plan, store: PredictionStore, region: Box | None) -> None:
        self._plan, self._store = plan, store
        tiles = tuple(plan.grid) if region is None else plan.grid.within(region)
        self.pending = [tile for tile in tiles if not store.finished(tile.core)]
        self.total, self.finished = len(tiles), len(tiles) - len(self.pending)
        self._to_compute = {tile: sum(piece.core.area for piece in plan.pieces(tile)) for tile in self.pending}
        self._computed, self._all = 0, sum(self._to_compute.values())
        self._has_new, self._started = False, time.perf_counter()

    def record(self, written: WrittenTile) -> TileReport:
        """Write what a tile shares with others, record it as finished, and report it."""
        tile = written.tile
        self._store.record(tile.core, written.shared)
        computed = self._to_compute[tile]
        self.finished, self._has_new = self.finished + 1, True
        self._computed += computed
        elapsed = time.perf_counter() - self._started
        left = elapsed / self._computed * (self._all - self._computed) if self._computed else None
        return TileReport(tile, self.finished, self.total, computed, elapsed, left)

    def warnings(self, slide: Slide, spent: Spent) -> tuple[str, ...]:
        """What is to be said of the tiles of this run, now that they are predicted."""
        return unknown_warnings(slide, self._plan.channels, spent.unknown_px, self._plan.grid.halo)

    def check_slide(self, slide: Slide) -> None:
        """Take all tiles back where the slide has changed since they were begun, and say so."""
        request = self._plan.request
        if not self._has_new or (slide_identity(slide), slide_fingerprint(slide)) == (
            request["slide"],
            request[FINGERPRINT],
        ):
            return
        self._store.forget()
        msg = (
            f"{slide.source.name} was changed while it was predicted, so {self._store.path} may mix two slides and "
            "counts as unfinished; predict it again, overwriting it."
        )
        raise PredictionError(msg)

    def report(self, spent: Spent, device: str) -> PredictionReport:
        """Sum the run up."""
        return PredictionReport(
            path=self._store.path,
            finished=self.finished,
            total=self.total,
            complete=self._store.complete,
            core=self._plan.grid.core,
            halo=self._plan.grid.halo,
            device=device,
            seconds=time.perf_counter() - self._started,
            checkpoint=self._store.title,
            **asdict(spent),
        )

"""Worker processes: they open slides, predict and write tiles, and count blocks of slides.

Tasks are small and carry paths, a plan and a tile, or rows and columns; large objects (the network, open slides,
counters) stay in the process.
"""

from __future__ import annotations

import io
import math
import pickle
import socket
import threading
import uuid
import warnings
import zlib
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import psutil
import torch
from distributed import WorkerPlugin, get_worker

from napari_hrpn.analysis.scan.block_scan import count_block
from napari_hrpn.core.errors import PredictionError
from napari_hrpn.inference.cpu.heap import free_memory, keep_freed_memory, thread_on_main_heap
from napari_hrpn.inference.engine import IN_FLIGHT, KEPT_BYTES, THREAD_NAME
from napari_hrpn.inference.plan import budget_bytes, make_plan
from napari_hrpn.inference.predictor import Predictor, choose_device
from napari_hrpn.inference.store import PredictionStore
from napari_hrpn.inference.store_files import is_request, recorded_request
from napari_hrpn.inference.tile_pipeline import TilePipeline
from napari_hrpn.slides import ChunkCache, SlideWarning, open_slide, slide_identity
from napari_hrpn.slides.location import is_there

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from distributed import Worker
    from numpy.typing import NDArray

    from napari_hrpn.analysis import BlockCounter, ErrorModel
    from napari_hrpn.core import Tile
    from napari_hrpn.inference.plan import Plan
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.settings import PredictionSettings
    from napari_hrpn.slides import Location, Slide

    SlideChannel = tuple[int, int]

_OPEN_SLIDES = 4
# level 1 of zlib is fast, and enough for counts that are mostly zeros
_PROTOCOL, _FAST = pickle.HIGHEST_PROTOCOL, 1


def on_worker(plugin: str, method: str, *arguments: object) -> Any:  # noqa: ANN401 (result of the method)
    """Call a method of a plugin in a worker process; every task is such a call."""
    return getattr(get_worker().plugins[plugin], method)(*arguments)


@dataclass(frozen=True)
class SlideReference:
    """Reference to a slide by its path, for other processes; opening it checks that the file is the same there."""

    source: Location  # As `open_slide` takes it
    series: int  # Which image of the file
    z: int | str | None
    t: int | None
    given_um: tuple[float, float] | None  # The pixel size that the user gave; None for the file's own
    # Identity of the slide, as `slide_identity` gives it; None before the slide has been planned
    identity: str | None = field(default=None, compare=False)

    @classmethod
    def of(cls, slide: Slide, identity: str | None = None) -> SlideReference:
        """Make a reference to a slide that is open in this process."""
        # an address is the same on every machine; a relative path is not
        source = slide.source.absolute() if isinstance(slide.source, Path) else slide.source
        given_um = slide.pixel_size_um if slide.pixel_size_is_given else None
        return cls(source, slide.series, slide.z, slide.t, given_um, identity)

    def opened(self) -> Slide:
        """Open the slide in this process."""
        _check_there(self.source)
        with warnings.catch_warnings():
            # the process that sent the reference has shown the warnings already
            warnings.simplefilter("ignore", SlideWarning)
            slide = open_slide(self.source, series=self.series, z=self.z, t=self.t, pixel_size_um=self.given_um)
        if self.identity is not None and slide_identity(slide) != self.identity:
            msg = (
                f"{self.source} is not the same file on {socket.gethostname()} as on the machine that asked for it; "
                "put slides on storage that all machines share."
            )
            raise PredictionError(msg)
        return slide


def _check_there(path: Location) -> None:
    if not is_there(path):
        msg = (
            f"{path} is not there on {socket.gethostname()}, where a worker runs; put slides and predictions on "
            "storage that all machines see under the same path."
        )
        raise PredictionError(msg)


class _NamedPlugin(WorkerPlugin):
    """State that a worker process keeps from task to task, under a name of its own."""

    def __init__(self) -> None:
        self.name = f"napari-hrpn-{uuid.uuid4().hex}"


class PredictingWorker(_NamedPlugin):
    """Plugin that predicts tiles; it keeps the networks, their thread and the open slides."""

    def __init__(
        self,
        members: Sequence[Checkpoint],
        settings: PredictionSettings,
        neighbours: int,
        errors: ErrorModel | None = None,
    ) -> None:
        super().__init__()
        self._members, self._settings, self._neighbours = members, settings, neighbours
        self._errors = errors

    def setup(self, worker: Worker) -> None:
        """Prepare a worker process."""
        self._threads, self._limit = worker.state.nthreads, worker.memory_manager.memory_limit
        self._opening, self._stop = threading.Lock(), threading.Event()
        # one tile is read, one computed, one written: more at once would only take memory
        self._room = threading.BoundedSemaphore(IN_FLIGHT)
        self._opened = lru_cache(_OPEN_SLIDES)(SlideReference.opened)
        self._chunks = ChunkCache(KEPT_BYTES, self._threads)
        self._largest_piece: int | None = None
        self._network = thread_on_main_heap(THREAD_NAME)
        self._predictors = self._network.submit(self._build_predictors)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002
        """Clean up a worker process; a tile that is being computed is finished first."""
        self._stop.set()
        self._network.submit(lambda: free_memory(self._predictors.result()[0].device))
        self._network.shutdown(wait=False)

    def plan_slide(self, slide: SlideReference, store: Location, roles: Mapping[str, int] | None) -> Plan:
        """Make the plan of a slide."""
        predictors, opened = self._predictors.result(), self._slide(slide)
        arguments = opened, self._members, predictors, store, self._settings, roles
        return self._network.submit(make_plan, *arguments, errors=self._errors).result()

    def predict(
        self, slide: SlideReference, store: Location, plan: Plan, tile: Tile
    ) -> tuple[NDArray[np.generic] | None, dict[str, Any], str]:
        """Predict a tile and write its own chunks; returns pixels for shared chunks, time spent, and device."""
        predictors = self._predictors.result()
        with self._room:
            _check_there(store)
            _check_store(store, plan)
            # an earlier tile may have run out of memory with larger pieces than these
            piece = min(plan.largest_piece, self._largest_piece or plan.largest_piece)
            plan = replace(plan, largest_piece=max(piece, plan.smallest_piece))
            opened = self._slide(replace(slide, identity=plan.request["slide"]))
            run = TilePipeline(plan, opened, predictors, self._stop, self._chunks)
            pixels = self._network.submit(run.predict, tile, run.read(tile)).result()
            self._largest_piece = run.largest_piece
            # another program may have replaced the prediction meanwhile, and must not get this tile into its own
            _check_store(store, plan)
            return run.write(PredictionStore(store), tile, pixels), run.spent, predictors[0].device

    def _slide(self, slide: SlideReference) -> Slide:
        with self._opening:
            return self._opened(slide)

    def _build_predictors(self) -> list[Predictor]:
        torch.set_num_threads(self._threads)
        device = choose_device(self._settings.device)
        # decided once: later, memory that this process holds itself would look like memory of other programs
        available = min(psutil.virtual_memory().available / self._neighbours, self._limit or math.inf)
        budget = budget_bytes(self._settings, device, available)
        self._settings = replace(self._settings, memory_gb=budget / 1e9)
        return [Predictor(member, device.name, self._settings.precision) for member in self._members]


def _check_store(store: Location, plan: Plan) -> None:
    if not is_request(recorded_request(store), plan.request):
        msg = f"{store} was replaced while it was predicted; run the same command again if this was not meant."
        raise PredictionError(msg)


class BlockWorker(_NamedPlugin):
    """Plugin that counts blocks in one pass over slides; it keeps the counters and the open slides.

    Counters are sent once to each process, without the lazy pixels that they hold.
    """

    def __init__(
        self, counters: Sequence[BlockCounter[Any]], slides: Sequence[Slide], references: Sequence[SlideReference]
    ) -> None:
        super().__init__()
        self._slides, packed = tuple(references), io.BytesIO()
        _Packer(packed, slides).dump(list(counters))
        self._packed = zlib.compress(packed.getbuffer(), _FAST)

    def setup(self, worker: Worker) -> None:  # noqa: ARG002
        """Prepare a worker process."""
        # each block needs as much memory as the last one, but dask makes workers return freed memory to the system
        keep_freed_memory()
        self._lock = threading.Lock()
        self._counters: list[BlockCounter[Any]] | None = None

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002
        """Clean up a worker process."""
        self._counters = None
        free_memory("cpu")

    def count(self, box: tuple[slice, slice]) -> bytes:
        """Count a block; results are compressed, since counts of grey levels are mostly zeros."""
        with self._lock:
            if self._counters is None:
                slides = [slide.opened() for slide in self._slides]
                self._counters = _Unpacker(io.BytesIO(zlib.decompress(self._packed)), slides).load()
                self._packed = b""
            counters = self._counters
        return zlib.compress(pickle.dumps(count_block(box, counters), _PROTOCOL), _FAST)

    @staticmethod
    def unpacked(found: bytes) -> list[Any]:
        """Results of the counters, unpacked from what `count` returns."""
        results: list[Any] = pickle.loads(zlib.decompress(found))
        return results


class _Packer(pickle.Pickler):
    """Pickler that replaces the lazy pixels of a channel by the numbers of its slide and channel."""

    def __init__(self, file: io.BytesIO, slides: Sequence[Slide]) -> None:
        super().__init__(file, _PROTOCOL)
        self._channels: dict[str, SlideChannel] = {
            slide.levels[0][channel].name: (number, channel)
            for number, slide in enumerate(slides)
            for channel in range(len(slide.channel_names))
        }

    def persistent_id(self, written: object) -> SlideChannel | None:
        return self._channels[written.name] if isinstance(written, da.Array) else None


class _Unpacker(pickle.Unpickler):
    """Unpickler that replaces these numbers by the channel of the slide that is open here."""

    def __init__(self, file: io.BytesIO, slides: Sequence[Slide]) -> None:
        super().__init__(file)
        self._slides = slides

    def persistent_load(self, which: SlideChannel) -> da.Array:
        number, channel = which
        return self._slides[number].levels[0][channel]

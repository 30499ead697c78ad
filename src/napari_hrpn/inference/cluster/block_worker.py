"""What happens in a worker process that looks at blocks: it opens the slides, and takes the counters over a block.

Counters travel once to each process, without the pixels that they hold lazily; a task carries rows and columns.
"""

from __future__ import annotations

import io
import pickle
import threading
import uuid
import zlib
from typing import TYPE_CHECKING, Any

import dask.array as da
from distributed import WorkerPlugin, get_worker

from napari_hrpn.analysis import look_at
from napari_hrpn.inference.cpu.heap import free_memory, keep_freed_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distributed import Worker

    from napari_hrpn.analysis import BlockCounter
    from napari_hrpn.inference.cluster.slide_reference import SameSlide
    from napari_hrpn.slides import Slide

    Box = tuple[slice, slice]
    SlideChannel = tuple[int, int]

_PROTOCOL, _FAST = pickle.HIGHEST_PROTOCOL, 1


def look_at_block(name: str, box: Box) -> bytes:
    """Take the counters over a block; a task. Counts of grey levels are mostly zeros, and become small."""
    plugin: BlockWorker = get_worker().plugins[name]
    return zlib.compress(pickle.dumps(look_at(box, plugin.counters()), _PROTOCOL), _FAST)


def found_in(packed: bytes) -> list[Any]:
    """What the counters found, as the task hands it over."""
    found: list[Any] = pickle.loads(zlib.decompress(packed))
    return found


class BlockWorker(WorkerPlugin):
    """What a worker process keeps for the length of one pass over slides: the counters, and the slides it has open."""

    def __init__(
        self, counters: Sequence[BlockCounter[Any]], slides: Sequence[Slide], same: Sequence[SameSlide]
    ) -> None:
        self.name, self._slides = f"napari-hrpn-{uuid.uuid4().hex}", tuple(same)
        packed = io.BytesIO()
        _Packer(packed, slides).dump(list(counters))
        self._packed = zlib.compress(packed.getbuffer(), _FAST)

    def setup(self, worker: Worker) -> None:  # noqa: ARG002
        """Begin in a process."""
        # each block takes as much as the last one, and dask has workers hand back what is freed
        keep_freed_memory()
        self._lock = threading.Lock()
        self._counters: list[BlockCounter[Any]] | None = None

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002
        """End in a process."""
        self._counters = None
        free_memory("cpu")

    def counters(self) -> list[BlockCounter[Any]]:
        """The counters, with the channels of slides that this process opened, when the first block comes."""
        with self._lock:
            if self._counters is None:
                slides = [each.opened() for each in self._slides]
                self._counters = _Unpacker(io.BytesIO(zlib.decompress(self._packed)), slides).load()
                self._packed = b""
            return self._counters


class _Packer(pickle.Pickler):
    """Writes a channel of a slide as which slide and which channel."""

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
    """Reads that as the channel of the slide that is open here."""

    def __init__(self, file: io.BytesIO, slides: Sequence[Slide]) -> None:
        super().__init__(file)
        self._slides = slides

    def persistent_load(self, which: SlideChannel) -> da.Array:
        number, channel = which
        return self._slides[number].levels[0][channel]

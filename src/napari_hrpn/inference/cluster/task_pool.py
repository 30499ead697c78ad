"""Tasks on their way to the workers of a cluster, and blocks of slides that workers count.

Imports dask.distributed only when it runs: it is an extra.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from napari_hrpn.core.errors import PredictionError
from napari_hrpn.slides import slide_identity

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from distributed import Client, Future, WorkerPlugin

    from napari_hrpn.analysis import BlockCounter, Looks
    from napari_hrpn.inference.cluster.worker import SameSlide
    from napari_hrpn.slides import Slide

    Box = tuple[slice, slice]

TASKS_PER_THREAD = 2
"""One is being done, one waits."""
FURTHEST_AHEAD = 2
"""How many times as many blocks as are on their way may be counted before one that takes long."""
_RETRIES = 2
"""For what happens once, such as a file server that does not answer."""
_LOOK_SECONDS = 0.5
_LESS_MEMORY = "allow each tile less memory, or start fewer workers"


class TaskPool:
    """Tasks that work with a plugin of the workers: so many on their way that no worker waits, and never more.

    At the end of a `with` block, whatever ended it, nothing of them is left on the workers.
    """

    def __init__(self, client: Client, plugin: WorkerPlugin, kept: str = "tiles") -> None:
        self._client, self._plugin, self._kept = client, plugin, kept
        self._on_their_way: set[Future] = set()
        # distributed.as_completed cannot wait for a moment only, and a stop would not be noticed meanwhile
        self._landed: SimpleQueue[Future] = SimpleQueue()
        self._counted, self.processes, self._threads = 0.0, 1, 1

    def __enter__(self) -> TaskPool:
        # workers that come later get it as well
        self._client.register_plugin(self._plugin, name=self._plugin.name)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        with suppress(OSError, RuntimeError, TimeoutError, CancelledError):
            self._cancel(set(self._on_their_way))
            self._client.unregister_worker_plugin(self._plugin.name)
        if isinstance(error, CancelledError):
            msg = f"the scheduler was lost; finished {self._kept} are kept: run the same command again to go on."
            raise PredictionError(msg) from error

    @property
    def busy(self) -> bool:
        """Whether anything is on its way."""
        return bool(self._on_their_way)

    @property
    def most_on_their_way(self) -> int:
        """How many tasks keep all workers busy; workers may have come or gone."""
        if time.monotonic() - self._counted > _LOOK_SECONDS:
            self._counted, threads = time.monotonic(), self._client.nthreads()
            self.processes, self._threads = max(1, len(threads)), max(1, sum(threads.values()))
        return TASKS_PER_THREAD * self._threads

    @property
    def has_room(self) -> bool:
        """Whether one more task would not wait long."""
        return len(self._on_their_way) < self.most_on_their_way

    def call(self, method: str, *arguments: object, **options: bool) -> Future:
        """Send a call of a method of the plugin on its way."""
        from napari_hrpn.inference.cluster.worker import on_worker

        return self.send(on_worker, self._plugin.name, method, *arguments, **options)

    def send(self, task: Callable[..., Any], *arguments: object, urgent: bool = False) -> Future:
        """Send a task on its way."""
        future = self._client.submit(task, *arguments, pure=False, retries=_RETRIES, priority=int(urgent))
        self._on_their_way.add(future)
        future.add_done_callback(self._landed.put)
        return future

    def next_back(self) -> Future | None:
        """Take the next task that has come to an end; None where there is none yet."""
        with suppress(Empty):
            future = self._landed.get(timeout=_LOOK_SECONDS)
            return future if future in self._on_their_way else None
        return None

    def fetch(self, future: Future, slide: str, advice: str = _LESS_MEMORY) -> Any:  # noqa: ANN401 (what a task returns)
        """Wait for a task to come to its end, and take what it returned."""
        from distributed import KilledWorker

        try:
            return future.result()
        except KilledWorker as error:
            times = f"{slide} ended its worker {error.allowed_failures + 1} times"
            msg = f"{times}, most likely for lack of memory; {advice}."
            raise PredictionError(msg) from error
        finally:
            self._on_their_way.discard(future)

    def drop_what_is_not_begun(self) -> None:
        """Cancel the tasks that no worker is doing yet."""
        begun = {key for tasks in self._client.call_stack().values() for key in tasks}
        self._cancel({future for future in self._on_their_way if future.key not in begun and not future.done()})

    def _cancel(self, futures: set[Future]) -> None:
        self._on_their_way -= futures
        if futures:
            self._client.cancel(list(futures))


def looks_on_workers(client: Client, slides: Sequence[Slide]) -> Looks:
    """Have blocks looked at by the workers of a cluster.

    Numbers are those of one process, to the bit on processors of one kind.
    """
    from napari_hrpn.inference.cluster.worker import SameSlide

    # as they are now, not when the first block is looked at
    return partial(_looks, client, slides, [SameSlide.of(slide, slide_identity(slide)) for slide in slides])


def _looks(
    client: Client,
    slides: Sequence[Slide],
    same: Sequence[SameSlide],
    counters: Sequence[BlockCounter[Any]],
    boxes: Sequence[Box],
) -> Generator[list[Any], None, None]:
    from napari_hrpn.inference.cluster.worker import BlockWorker

    plugin, name, left = BlockWorker(counters, slides, same), slides[0].source.name, deque(boxes)
    waiting: deque[Future] = deque()
    back: set[Future | None] = set()
    with TaskPool(client, plugin, "parts") as pool:
        while left or waiting:
            while left and len(waiting) < FURTHEST_AHEAD * pool.most_on_their_way:
                waiting.append(pool.call("count", left.popleft()))
            first = waiting.popleft()
            while first not in back:
                back.add(pool.next_back())
            back.remove(first)
            yield plugin.unpacked(pool.fetch(first, name, "give each worker more memory or fewer threads"))

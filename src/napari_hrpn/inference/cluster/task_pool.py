"""Pool of tasks for the workers of a cluster, and the counting of slide blocks on workers.

dask.distributed is an extra, so it is imported inside functions.
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

    from napari_hrpn.analysis import BlockCounter, BlockMap
    from napari_hrpn.inference.cluster.worker import SlideReference
    from napari_hrpn.slides import Slide

    Box = tuple[slice, slice]

TASKS_PER_THREAD = 2
"""While one task is done, another one waits at the worker."""
FURTHEST_AHEAD = 2
"""Blocks that may be sent ahead of one that takes long, as a multiple of the tasks that keep all workers busy."""
_RETRIES = 2
"""Repeats a task after a passing fault, such as a file server that does not answer."""
_WAIT_SECONDS = 0.5
_LESS_MEMORY = "allow each tile less memory, or start fewer workers"


class TaskPool:
    """Tasks that use a plugin of the workers, just as many in flight as keep all workers busy.

    At the end of a `with` block, tasks and plugin are removed from the workers, also after an error.
    """

    def __init__(self, client: Client, plugin: WorkerPlugin, kept: str = "tiles") -> None:
        self._client, self._plugin, self._kept = client, plugin, kept
        self._in_flight: set[Future] = set()
        # distributed.as_completed cannot wait for a limited time, and a stop would not be noticed meanwhile
        self._finished: SimpleQueue[Future] = SimpleQueue()
        self._counted, self.processes, self._threads = 0.0, 1, 1

    def __enter__(self) -> TaskPool:
        # workers that join later get the plugin as well
        self._client.register_plugin(self._plugin, name=self._plugin.name)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        with suppress(OSError, RuntimeError, TimeoutError, CancelledError):
            self._cancel(set(self._in_flight))
            self._client.unregister_worker_plugin(self._plugin.name)
        if isinstance(error, CancelledError):
            msg = f"the scheduler was lost; finished {self._kept} are kept: run the same command again to resume."
            raise PredictionError(msg) from error

    @property
    def busy(self) -> bool:
        """Whether any task is in flight."""
        return bool(self._in_flight)

    @property
    def capacity(self) -> int:
        """Number of tasks that keep all workers busy, counted anew as workers join and leave."""
        if time.monotonic() - self._counted > _WAIT_SECONDS:
            self._counted, threads = time.monotonic(), self._client.nthreads()
            self.processes, self._threads = max(1, len(threads)), max(1, sum(threads.values()))
        return TASKS_PER_THREAD * self._threads

    @property
    def has_room(self) -> bool:
        """Whether one more task would soon find a worker."""
        return len(self._in_flight) < self.capacity

    def call(self, method: str, *arguments: object, **options: bool) -> Future:
        """Send a call of a method of the plugin."""
        from napari_hrpn.inference.cluster.worker import on_worker

        return self.send(on_worker, self._plugin.name, method, *arguments, **options)

    def send(self, task: Callable[..., Any], *arguments: object, urgent: bool = False) -> Future:
        """Send a task."""
        future = self._client.submit(task, *arguments, pure=False, retries=_RETRIES, priority=int(urgent))
        self._in_flight.add(future)
        future.add_done_callback(self._finished.put)
        return future

    def next_finished(self) -> Future | None:
        """Take the next task that has finished or failed; None if there is none within a moment."""
        with suppress(Empty):
            future = self._finished.get(timeout=_WAIT_SECONDS)
            # a cancelled task ends, too, but nobody waits for it
            return future if future in self._in_flight else None
        return None

    def fetch(self, future: Future, slide: str, advice: str = _LESS_MEMORY) -> Any:  # noqa: ANN401 (what a task returns)
        """Wait for a task to end, and return its result."""
        from distributed import KilledWorker

        try:
            return future.result()
        except KilledWorker as error:
            times = f"{slide} ended its worker {error.allowed_failures + 1} times"
            msg = f"{times}, most likely for lack of memory; {advice}."
            raise PredictionError(msg) from error
        finally:
            self._in_flight.discard(future)

    def cancel_waiting(self) -> None:
        """Cancel the tasks that no worker has begun."""
        begun = {key for tasks in self._client.call_stack().values() for key in tasks}
        self._cancel({future for future in self._in_flight if future.key not in begun and not future.done()})

    def _cancel(self, futures: set[Future]) -> None:
        self._in_flight -= futures
        if futures:
            self._client.cancel(list(futures))


def count_on_workers(client: Client, slides: Sequence[Slide]) -> BlockMap:
    """Function that counts blocks of slides on the workers of a cluster, in place of threads of this process.

    Numbers are those of one process, to the bit on processors of one kind.
    """
    from napari_hrpn.inference.cluster.worker import SlideReference

    # identities are taken now, so that a slide that changes before its first block is noticed
    return partial(_count_blocks, client, slides, [SlideReference.of(slide, slide_identity(slide)) for slide in slides])


def _count_blocks(
    client: Client,
    slides: Sequence[Slide],
    references: Sequence[SlideReference],
    counters: Sequence[BlockCounter[Any]],
    boxes: Sequence[Box],
) -> Generator[list[Any], None, None]:
    from napari_hrpn.inference.cluster.worker import BlockWorker

    plugin, name, unsent = BlockWorker(counters, slides, references), slides[0].source.name, deque(boxes)
    sent: deque[Future] = deque()
    finished: set[Future | None] = set()
    with TaskPool(client, plugin, "parts") as pool:
        while unsent or sent:
            while unsent and len(sent) < FURTHEST_AHEAD * pool.capacity:
                sent.append(pool.call("count", unsent.popleft()))
            # results are taken in the order of the blocks, so that sums do not depend on which worker is faster
            first = sent.popleft()
            while first not in finished:
                finished.add(pool.next_finished())
            finished.remove(first)
            yield plugin.unpacked(pool.fetch(first, name, "give each worker more memory or fewer threads"))

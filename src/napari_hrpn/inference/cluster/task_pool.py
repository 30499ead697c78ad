"""The workers as one crew: so many tasks on their way that none of them waits, and never more."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import CancelledError
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from napari_hrpn.inference.errors import PredictionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from distributed import Client, Future, WorkerPlugin

TASKS_PER_THREAD = 2
"""One is being done, one waits."""
_RETRIES = 2
"""For what happens once, such as a file server that does not answer."""
_LOOK_SECONDS = 0.5
_LESS_MEMORY = "allow each tile less memory, or start fewer workers"


class TaskPool:
    """Tasks on their way to the workers of a cluster, and back."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._on_their_way: set[Future] = set()
        self._landed: SimpleQueue[Future] = SimpleQueue()
        self._plugins: list[str] = []
        self._counted, self.processes, self._threads = 0.0, 1, 1

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

    def most_on_one_machine(self) -> int:
        """How many worker processes share the fullest machine."""
        machines = Counter(address.rsplit(":", 1)[0] for address in self._client.nthreads())
        return max(machines.values(), default=1)

    def equip(self, plugin: WorkerPlugin, name: str) -> None:
        """Give every worker, also those that come later, a plugin."""
        self._client.register_plugin(plugin, name=name)
        self._plugins.append(name)

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
            if future in self._on_their_way:
                self._on_their_way.remove(future)
                return future
        return None

    def drop_what_is_not_begun(self) -> None:
        """Cancel the tasks that no worker is doing yet."""
        begun = {key for tasks in self._client.call_stack().values() for key in tasks}
        self._cancel({future for future in self._on_their_way if future.key not in begun and not future.done()})

    def dismiss(self, unfetched: Iterable[Future] = ()) -> None:
        """Cancel everything, also results that nobody fetched, and take from the workers what they were given."""
        with suppress(OSError, RuntimeError, TimeoutError, CancelledError):
            self._cancel({*self._on_their_way, *unfetched})
            for name in self._plugins:
                self._client.unregister_worker_plugin(name)

    def _cancel(self, futures: set[Future]) -> None:
        self._on_their_way -= futures
        if futures:
            self._client.cancel(list(futures))


def result_of(future: Future, slide: str, advice: str = _LESS_MEMORY) -> Any:  # noqa: ANN401 (whatever the task returned)
    """Fetch what a task returned."""
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        msg = f"{slide} ended its worker {error.allowed_failures + 1} times, most likely for lack of memory; {advice}."
        raise PredictionError(msg) from error

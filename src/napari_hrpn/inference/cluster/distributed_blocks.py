"""Blocks of slides looked at by the workers of a cluster: one task per block, few of them on their way.

Imports dask.distributed only when it runs: it is an extra.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import CancelledError
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_hrpn.inference.cluster.slide_reference import SameSlide
from napari_hrpn.inference.errors import PredictionError
from napari_hrpn.slides import slide_identity

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from distributed import Client, Future

    from napari_hrpn.analysis import BlockCounter, Looks
    from napari_hrpn.slides import Slide

    Box = tuple[slice, slice]

FURTHEST_AHEAD = 2
"""How many times as many blocks as are on their way may be looked at before one that takes long."""


def looks_on_workers(client: Client, slides: Sequence[Slide]) -> Looks:
    """Have blocks looked at by the workers of a cluster.

    Numbers are those of one process, to the bit on processors of one kind.
    """
    # as they are now, not when the first block is looked at
    same = [SameSlide.of(slide, slide_identity(slide)) for slide in slides]
    return partial(_looks, client, slides, same)


def _looks(
    client: Client,
    slides: Sequence[Slide],
    same: Sequence[SameSlide],
    counters: Sequence[BlockCounter[Any]],
    boxes: Sequence[Box],
) -> Generator[list[Any], None, None]:
    from napari_hrpn.inference.cluster.block_worker import BlockWorker, found_in, look_at_block
    from napari_hrpn.inference.cluster.task_pool import TaskPool, result_of

    plugin, name = BlockWorker(counters, slides, same), slides[0].source.name
    crew, left = TaskPool(client), deque(boxes)
    waiting: deque[Future] = deque()
    back: set[Future | None] = set()
    try:
        crew.equip(plugin, plugin.name)
        while left or waiting:
            while left and crew.has_room and len(waiting) < FURTHEST_AHEAD * crew.most_on_their_way:
                waiting.append(crew.send(look_at_block, plugin.name, left.popleft()))
            back.add(crew.next_back())
            while waiting and waiting[0] in back:
                first = waiting.popleft()
                back.remove(first)
                yield found_in(result_of(first, name, "give each worker more memory or fewer threads"))
    except CancelledError as error:
        msg = "the scheduler was lost; finished parts are kept: run the same command again to go on."
        raise PredictionError(msg) from error
    finally:
        crew.dismiss(waiting)

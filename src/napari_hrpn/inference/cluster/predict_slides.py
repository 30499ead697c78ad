"""Many slides on many processes: one task per tile, few of them on their way.

Imports dask.distributed only when it runs: it is an extra.
"""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

from napari_hrpn.inference.errors import PredictionError
from napari_hrpn.inference.settings import PredictionSettings

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Sequence

    from distributed import Client

    from napari_hrpn.inference.cluster.reports import EndedSlide, SlideRequest, TileOfMany
    from napari_hrpn.models import Checkpoint


def predict_slides(
    orders: Sequence[Callable[[], SlideRequest]],
    checkpoint: Checkpoint,
    client: Client,
    settings: PredictionSettings | None = None,
    *,
    stop: threading.Event | None = None,
) -> Generator[TileOfMany | EndedSlide, None, None]:
    """Predict the probe channel of slides on the workers of a cluster, tile by tile.

    The predictions are those of `predict_slide` with the same core size, to the bit on processors of one kind.
    """
    from napari_hrpn.inference.cluster.cluster_run import ClusterRun
    from napari_hrpn.inference.cluster.task_pool import TaskPool
    from napari_hrpn.inference.cluster.worker import PredictingWorker

    settings, crew = settings or PredictionSettings(), TaskPool(client)
    plugin = PredictingWorker(checkpoint, settings, crew.most_on_one_machine())
    run = ClusterRun(crew, plugin.name, orders, settings, checkpoint.card)
    try:
        crew.equip(plugin, plugin.name)
        while not run.is_over:
            if stop is not None and stop.is_set():
                run.begin_nothing_more()
            run.send()
            yield from run.receive()
        yield from run.unfinished()
    except CancelledError as error:
        msg = "the scheduler was lost; finished tiles are kept: run the same command again to go on."
        raise PredictionError(msg) from error
    finally:
        crew.dismiss()
        run.close()

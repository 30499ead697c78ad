"""``napari-hrpn predict`` on several processes: all slides at once, with one bar for all of them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_hrpn.cli.messages import CommandError
from napari_hrpn.cli.progress import Step, follow

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from distributed import Client

    from napari_hrpn.inference.cluster import EndedSlide, TileOfMany


@dataclass(frozen=True)
class Workers:
    """Which processes predict.

    Attributes
    ----------
    count : int or None
        Processes to start on this machine.
    scheduler : str or None
        Address of one that runs already.
    """

    count: int | None
    scheduler: str | None

    def __post_init__(self) -> None:
        if self.count is not None and self.scheduler is not None:
            msg = "--workers starts processes and --scheduler takes those that run already; give one of them."
            raise CommandError(msg)

    @property
    def wanted(self) -> bool:
        """Whether anything but this process is to predict."""
        return self.count is not None or self.scheduler is not None

    def connected(self, device: str) -> AbstractContextManager[Client]:
        """Start or find them.

        Parameters
        ----------
        device : str
            As of ``--device``.

        Returns
        -------
        context manager
            Gives the client of dask.distributed.
        """
        from napari_hrpn.inference.cluster import cluster_workers, local_workers

        if self.scheduler is not None:
            return cluster_workers(self.scheduler)
        return local_workers(self.count or 1, device)


def follow_slides(
    steps: Generator[TileOfMany | EndedSlide, None, None], slides: int, tell: Callable[[EndedSlide], None]
) -> None:
    """Run the prediction of many slides to its end.

    Parameters
    ----------
    steps : generator
        As `predict_slides` makes it.
    slides : int
        How many there are.
    tell : callable
        Says what became of a slide.
    """
    title = "predicting" if slides == 1 else f"predicting {slides} slides"
    follow(_tiles(steps, tell), title, _step)


def _tiles(
    steps: Generator[TileOfMany | EndedSlide, None, None], tell: Callable[[EndedSlide], None]
) -> Generator[TileOfMany, None, None]:
    from napari_hrpn.inference.cluster import TileOfMany

    with closing(steps):
        for report in steps:
            if isinstance(report, TileOfMany):
                yield report
            else:
                tell(report)


def _step(report: TileOfMany) -> Step:
    speed = report.pixels / 1e6 / max(report.seconds, 1e-3)
    return Step(report.finished, report.total, report.seconds_left, f"{speed:.2g} Mpx/s")

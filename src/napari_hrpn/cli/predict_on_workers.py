"""``napari-hrpn predict`` on several processes: all slides at once, with one bar for all of them."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from napari_hrpn.cli.progress import Step, follow

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_hrpn.inference.cluster import EndedSlide, TileOfMany


def follow_slides(
    steps: Generator[TileOfMany | EndedSlide, None, None], slides: int, tell: Callable[[EndedSlide], None]
) -> None:
    """Run the prediction of many slides to its end."""
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

"""Result of a prediction in words and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from napari_hrpn.cli.terminal import duration

if TYPE_CHECKING:
    from napari_hrpn.inference import PredictionReport
    from napari_hrpn.slides import Location

_PARTS_OF_TIME = ("reading", "waiting", "computing", "writing")


def result_as_json(
    path: Location, report: PredictionReport | None = None, new: int = 0, error: str = ""
) -> dict[str, Any]:
    """Facts about the prediction of a slide, as JSON has them."""
    seconds = (f"seconds_{part}" for part in _PARTS_OF_TIME)
    names = ("finished", "total", "complete", "seconds", *seconds, "device", "checkpoint")
    return {
        "slide": str(path),
        "prediction": None if report is None else str(report.path),
        **{name: getattr(report, name, None) for name in names},
        "new_tiles": new,
        **{
            name: asdict(fit) if (fit := getattr(report, name, None)) is not None else None
            for name in ("fit", "unlike")
        },
        "error": error,
    }


def summary(report: PredictionReport, new: int) -> str:
    """One line on what a prediction did."""
    if not new:
        return f"already complete: {report.path}"
    speed = f", {report.pixels_kept / 1e6 / report.seconds:.2g} Mpx/s on {report.device}" if report.pixels_kept else ""
    word = "tile" if new == 1 else "tiles"
    tiles = f"{new} {word}" if new == report.total else f"{new} more {word}, {report.finished} of {report.total},"
    return f"{tiles} in {duration(report.seconds)}{speed}: {report.path}"


def time_spent(report: PredictionReport) -> str:
    """One line on how the time of a prediction was spent."""
    seconds = ", ".join(f"{part} {getattr(report, f'seconds_{part}'):.1f} s" for part in _PARTS_OF_TIME)
    waste = f"; {report.pixels_run / report.pixels_kept:.2f} pixels run per pixel kept" if report.pixels_kept else ""
    overlap = f"overlapping, {report.seconds:.1f} s in all"
    return f"  {seconds}; {overlap}; tiles of {report.core} px + {report.halo} px{waste}"

"""What a prediction did, in a line, and where its time went, in another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_hrpn.cli.progress import duration

if TYPE_CHECKING:
    from napari_hrpn.inference import PredictionReport


def summary(report: PredictionReport, new: int) -> str:
    """Say in a line what a prediction did."""
    if not new:
        return f"already complete: {report.path}"
    speed = f", {report.pixels_kept / 1e6 / report.seconds:.2g} Mpx/s on {report.device}" if report.pixels_kept else ""
    word = "tile" if new == 1 else "tiles"
    tiles = f"{new} {word}" if new == report.total else f"{new} more {word}, {report.finished} of {report.total},"
    return f"{tiles} in {duration(report.seconds)}{speed}: {report.path}"


def time_spent(report: PredictionReport) -> str:
    """Say where the time of a prediction went."""
    parts = ("reading", "waiting", "computing", "writing")
    seconds = ", ".join(f"{part} {getattr(report, f'seconds_{part}'):.1f} s" for part in parts)
    waste = f"; {report.pixels_run / report.pixels_kept:.2f} pixels run per pixel kept" if report.pixels_kept else ""
    return f"  {seconds}, side by side in {report.seconds:.1f} s; tiles of {report.core} px + {report.halo} px{waste}"

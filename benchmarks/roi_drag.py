"""How fast the plot of ROI correlation follows a region that is dragged on a phantom slide of 8,192 px.

    xvfb-run -a -s "-screen 0 1600x1200x24" python benchmarks/roi_drag.py    # or without xvfb-run, on a desktop

`latency` is from the shape's event to the plot being drawn, `on_screen` to the frame of the window that shows it, which
napari draws in between; `cpu` is the processor's time of all threads in the former, which other programs do not change,
and `cpu_with_napari_ms` that of the whole move. Once with the image layers hidden and once with them shown: without a
graphics card, drawing them is most of it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from qtpy.QtCore import QEvent, QObject
from qtpy.QtTest import QTest

from napari_hrpn.phantom import phantom_slide
from napari_hrpn.plugin.roi_correlation.widget import RoiCorrelationWidget
from napari_hrpn.plugin.viewer import slide_layers
from napari_hrpn.slides import Slide, coarser_levels, open_slide, write_ome_zarr

if TYPE_CHECKING:
    from napari.layers import Shapes

SIZE_PX = 8192
ROI_PX = 864, 960
MOVES = 120
WARM_UP = 40
STEP_PX = 7.0
MOVES_AROUND = 40
LONGEST_S = 20.0
PERCENTILES = (50, 95)


def write_pair(folder: Path, size_px: int) -> tuple[Path, Path]:
    """Write a phantom as 8-bit OME-Zarr and its noise-free probe as the prediction, in float32; keep what is there."""
    real, predicted = folder / f"phantom {size_px}.ome.zarr", folder / f"phantom {size_px} predicted.ome.zarr"
    phantom = phantom_slide("tumour", size=size_px, seed=1)
    probe = phantom.noise_free_probe[None]
    clean = Slide((probe, *coarser_levels(probe)), ("QD",), phantom.slide.pixel_size_um, predicted)
    for slide, path in ((phantom.slide, real), (clean, predicted)):
        if not path.exists():
            for _ in write_ome_zarr(slide, path):
                pass
    return real, predicted


def settle(widget: RoiCorrelationWidget) -> None:
    """Wait until all is measured."""
    QTest.qWait(200)
    while not widget.is_settled:
        QTest.qWait(20)


class Drag(QObject):  # type: ignore[misc]
    """Moves a shape as napari does at each move of the mouse, and takes the time to the plot that belongs to it."""

    def __init__(self, widget: RoiCorrelationWidget, layer: Shapes) -> None:
        super().__init__()
        self._widget, self._layer = widget, layer
        self._is_moving = False
        self._moved: tuple[float, float] | None = None
        self._is_drawn = False
        self._latency_s: list[float] = []
        self._on_screen_s: list[float] = []
        self._cpu_s: list[float] = []
        self._levels: Counter[int] = Counter()
        layer.events.set_data.connect(self._note_move, position="first")
        widget.panel.plot.drawn.connect(self._note_plot)
        widget.panel.plot.canvas.installEventFilter(self)

    def run(self, moves: int) -> dict[str, Any]:
        """Move so many times, in circles."""
        for seen in (self._latency_s, self._on_screen_s, self._cpu_s, self._levels):
            seen.clear()
        cpu_s = time.process_time()
        for move in range(moves):
            angle = 2 * np.pi * move / MOVES_AROUND
            self._move(STEP_PX * np.array([np.sin(angle), np.cos(angle)]))
        return {
            **_percentiles("latency", self._latency_s),
            **_percentiles("on_screen", self._on_screen_s),
            **_percentiles("cpu", self._cpu_s),
            "cpu_with_napari_ms": round(1e3 * (time.process_time() - cpu_s) / moves, 1),
            "levels": {str(level): count for level, count in sorted(self._levels.items())},
        }

    def _move(self, shift: np.ndarray) -> None:
        self._is_moving = True
        self._layer._data_view.shift(0, shift)
        self._layer.refresh()
        end = time.perf_counter() + LONGEST_S
        while self._is_moving and time.perf_counter() < end:
            QTest.qWait(1)
        assert not self._is_moving, f"the plot did not follow within {LONGEST_S} s"
        # the next move comes as from a mouse: 60 times a second, or when the window is ready for it
        QTest.qWait(16)

    def _note_move(self, event: object) -> None:  # noqa: ARG002
        # napari may tell of one move twice
        if self._moved is None and self._is_moving:
            self._moved = time.perf_counter(), time.process_time()

    def _note_plot(self) -> None:
        if self._moved is None or self._is_drawn:
            return
        wall_s, cpu_s = self._moved
        self._latency_s.append(time.perf_counter() - wall_s)
        self._cpu_s.append(time.process_time() - cpu_s)
        self._is_drawn = True
        measurement = self._widget.measurement
        assert measurement is not None
        self._levels[measurement.level] += 1

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 (Qt's name)
        """Notice that the plot goes to the screen."""
        if event is not None and event.type() == QEvent.Type.Paint and self._is_drawn and self._moved is not None:
            self._on_screen_s.append(time.perf_counter() - self._moved[0])
            self._moved, self._is_drawn, self._is_moving = None, False, False
        return bool(super().eventFilter(watched, event))


def measure(folder: Path | None = None, size_px: int = SIZE_PX, moves: int = MOVES) -> dict[str, Any]:
    """Open the pair in a window, draw a region of the paper's size, and drag it.

    `folder` keeps the slides for the next time; without it they are written to a folder that goes away.
    """
    with tempfile.TemporaryDirectory() as name:
        paths = write_pair(folder or Path(name), size_px)
        viewer = napari.Viewer()
        viewer.window.resize(1400, 1000)
        images = [
            viewer.add_image(data, **attributes)
            for path in paths
            for data, attributes, _ in slide_layers(open_slide(path))
        ]
        widget = RoiCorrelationWidget(viewer)
        viewer.window.add_dock_widget(widget, name="ROI correlation")
        widget.maker.draw()
        layer = widget.roi_form.layer
        assert layer is not None
        layer.mode = "select"
        corner = np.full(2, size_px / 3)
        layer.add(corner + np.array([(0, 0), (0, 1), (1, 1), (1, 0)]) * ROI_PX, shape_type="rectangle")
        settle(widget)
        drag = Drag(widget, layer)
        found: dict[str, Any] = {"slide_px": size_px, "roi_px": ROI_PX, "moves": moves}
        for situation, is_visible in (("images_hidden", False), ("images_shown", True)):
            for image in images:
                image.visible = is_visible
            settle(widget)
            drag.run(WARM_UP)
            found[situation] = drag.run(moves)
        settle(widget)
        assert widget.measurement is not None
        assert widget.measurement.is_exact
        viewer.close()
    return found


def _percentiles(what: str, seconds: list[float]) -> dict[str, float]:
    return {f"{what}_p{percent}_ms": round(1e3 * float(np.percentile(seconds, percent)), 1) for percent in PERCENTILES}


def main() -> None:
    """Print both situations."""
    found = measure(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    print(f"{found['roi_px'][1]} x {found['roi_px'][0]} px on {found['slide_px']} px, {found['moves']} moves")
    print("| | " + " | ".join(found["images_hidden"]) + " |")
    print("|---" * (1 + len(found["images_hidden"])) + "|")
    for situation in ("images_hidden", "images_shown"):
        values = " | ".join(map(str, found[situation].values()))
        print(f"| {situation.replace('_', ' ')} | {values} |")


if __name__ == "__main__":
    main()

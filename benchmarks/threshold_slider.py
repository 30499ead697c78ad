"""How fast labels, numbers and plot of Threshold MIoU follow the slider on a slide of 40,000 px, never in memory.

    xvfb-run -a -s "-screen 0 1600x1200x24" python benchmarks/threshold_slider.py    # or without xvfb-run, on a desktop

From the slider's move to the picture on the screen, of a slide whose pixels are made when they are read. The last part,
in which the window is drawn, is long without a graphics card.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import dask.array as da
import napari
import numpy as np
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_hrpn.plugin.threshold_miou.widget import ThresholdMiouWidget
from napari_hrpn.plugin.viewer import slide_layers
from napari_hrpn.slides import Slide

SIZE_PX = 40_000
CHUNK_PX = 512
SMALLEST_PX = 700
WINDOW_PX = 1400, 1000
MOVES = 40
LONGEST_S = 60
ZOOMS = {"all of the slide": 1.0, "a part of it": 8.0, "full resolution": 60.0}


def lazy_slide(name: str, seed: int) -> Slide:
    """A slide of one channel, of which a block is made when it is asked for."""
    random = np.random.default_rng(seed)
    common = np.random.default_rng(0).gamma(2, 20, (CHUNK_PX, CHUNK_PX))
    pattern = np.clip(common + random.gamma(2, 8, common.shape), 0, 255).astype(np.uint8)

    def block(_: np.ndarray, block_info: dict[int | None, Any]) -> np.ndarray:
        place = block_info[None]
        _, height, width = place["chunk-shape"]
        return np.roll(pattern, place["chunk-location"][1:], (0, 1))[None, :height, :width]

    levels, size = [], SIZE_PX
    while size > SMALLEST_PX:
        empty = da.zeros((1, size, size), np.uint8, chunks=(1, CHUNK_PX, CHUNK_PX))
        levels.append(da.map_blocks(block, empty, dtype=np.uint8))
        size //= 2
    return Slide(tuple(levels), ("QD",), (0.2744, 0.2744), Path(name))


def settle(widget: ThresholdMiouWidget) -> None:
    """Wait until all is read and shown."""
    QTest.qWait(300)
    end = time.monotonic() + LONGEST_S
    while not widget.is_settled and time.monotonic() < end:
        QTest.qWait(20)
    assert widget.is_settled


class Slider:
    """Moves the slider, and takes the time to the picture that belongs to it."""

    def __init__(self, viewer: napari.Viewer, widget: ThresholdMiouWidget) -> None:
        self._widget = widget
        self._drawn = 0
        viewer.window._qt_viewer.canvas._scene_canvas.events.draw.connect(self._note, position="last")

    def run(self) -> dict[str, float]:
        """Median and 95 % of the moves, in milliseconds."""
        own_cpu, latency, cpu = [], [], []
        for move in range(MOVES):
            drawn, began, began_cpu = self._drawn, time.perf_counter(), time.process_time()
            began_own = time.thread_time()
            self._widget.threshold_form.slider.value = 500 + 10 * move
            self._widget._threshold_soon.stop()
            self._widget._use_threshold()
            own_cpu.append(time.thread_time() - began_own)
            while self._drawn == drawn:
                QApplication.processEvents()
            latency.append(time.perf_counter() - began)
            cpu.append(time.process_time() - began_cpu)
            QTest.qWait(16)
        found = {}
        for what, seconds in (("own_cpu", own_cpu), ("cpu", cpu), ("latency", latency)):
            for percent in (50, 95):
                found[f"{what}_p{percent}_ms"] = round(1e3 * float(np.percentile(seconds, percent)), 1)
        return found

    def _note(self, event: object) -> None:  # noqa: ARG002
        self._drawn += 1


def measure() -> dict[str, dict[str, float]]:
    """Open the slide and a prediction, and move the slider at three zooms."""
    viewer = napari.Viewer()
    viewer.window.resize(*WINDOW_PX)
    for slide in (lazy_slide("tumour.ome.tif", 1), lazy_slide("tumour.predicted.ome.zarr", 2)):
        for data, attributes, _ in slide_layers(slide):
            viewer.add_image(data, **{**attributes, "visible": "predicted" not in slide.source.name})
    widget = ThresholdMiouWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Threshold MIoU")
    settle(widget)
    mover = Slider(viewer, widget)
    found: dict[str, dict[str, float]] = {}
    whole = viewer.scene.camera.zoom
    for situation, zoom in ZOOMS.items():
        viewer.scene.camera.zoom = zoom * whole
        settle(widget)
        view = widget.overlay.view
        assert view is not None
        box = view.window.box
        found[situation] = {"level": view.window.level, "megapixels": round(box.area / 1e6, 2), **mover.run()}
    viewer.close()
    return found


def main() -> None:
    """Print a row for each zoom."""
    print(
        "| in view | level | Mpx | our CPU ms, median | 95 % | all CPU | 95 % | latency | 95 % |\n" + "|---" * 9 + "|"
    )
    for situation, numbers in measure().items():
        print(f"| {situation} | {' | '.join(map(str, numbers.values()))} |")


if __name__ == "__main__":
    main()

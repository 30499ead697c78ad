"""How fluid the viewer stays: gaps of a 10 ms timer in the GUI thread, idle and while a slide is predicted.

    xvfb-run -s "-screen 0 1600x1200x24" python benchmarks/panning.py    # or without xvfb-run, on a desktop

The phantom slide is predicted from the widget itself with the bundled checkpoint; the camera moves all the time.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtTest import QTest

from napari_hrpn.phantom import phantom_slide
from napari_hrpn.plugin.predict.widget import PredictWidget
from napari_hrpn.slides import write_ome_zarr

SIZE_PX = 4096
SECONDS = 6.0


class Gaps:
    """Time between the ticks of a timer that should tick every 10 ms."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._gaps_ms: list[float] = []
        self._timer = QTimer()
        self._timer.setInterval(10)
        self._timer.timeout.connect(self._tick)
        self._timer.start()

    def _tick(self) -> None:
        now = time.perf_counter()
        self._gaps_ms.append(1e3 * (now - self._last))
        self._last = now

    def report(self, situation: str) -> None:
        """Print a row, and begin anew."""
        median, high, longest = np.percentile(self._gaps_ms, [50, 99, 100])
        print(f"| {situation} | {median:.0f} | {high:.0f} | {longest:.0f} |", flush=True)
        self._gaps_ms.clear()


def pan(viewer: napari.Viewer, seconds: float) -> None:
    """Move the camera in a circle at full resolution, about 60 times a second."""
    camera, started = viewer.scene.camera, time.perf_counter()
    middle = SIZE_PX * 0.2744 / 2
    camera.zoom = 3.6
    while (elapsed := time.perf_counter() - started) < seconds:
        camera.center = (middle + 150 * np.sin(elapsed), middle + 150 * np.cos(elapsed))
        QTest.qWait(16)


def main() -> None:
    """Measure idle, panning, predicting, and both."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "phantom.ome.zarr"
        for _ in write_ome_zarr(phantom_slide("tumour", size=SIZE_PX, seed=1).slide, path):
            pass
        viewer = napari.Viewer()
        viewer.open(path, plugin="napari-hrpn")
        widget = PredictWidget(viewer)
        viewer.window.add_dock_widget(widget, name="Predict QD")
        widget.output_form.choose(Path(name))
        while not widget.predict_button.enabled:
            QTest.qWait(50)
        QTest.qWait(2000)
        print("| situation | median gap, ms | 99th percentile | longest |\n|---|---|---|---|")
        gaps = Gaps()
        QTest.qWait(int(1e3 * SECONDS))
        gaps.report("idle")
        pan(viewer, SECONDS)
        gaps.report("panning")
        widget.predict()
        QTest.qWait(int(1e3 * SECONDS))
        gaps.report("predicting")
        pan(viewer, SECONDS)
        gaps.report("panning while predicting" if widget.is_running else "panning, the prediction being over")
        widget.cancel()
        while widget.is_running:
            QTest.qWait(50)
        viewer.close()


if __name__ == "__main__":
    main()

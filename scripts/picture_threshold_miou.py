"""The picture of the widget Threshold MIoU in docs/images, from a slide and one or more predictions of it.

xvfb-run -a -s "-screen 0 1600x1200x24" .venv/bin/python scripts/picture_threshold_miou.py fov01.ome.tif \
    fov01.predicted.ome.zarr
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import napari
from qtpy.QtTest import QTest

from napari_hrpn.plugin.threshold_miou.widget import ThresholdMiouWidget
from napari_hrpn.plugin.viewer import slide_layers
from napari_hrpn.slides import open_slide

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SIZE_PX = 1500, 1050
PERCENTILE = 92
ZOOM = 1.6
LONGEST_S = 300
QUALITY = 70


def settle(widget: ThresholdMiouWidget) -> None:
    """Wait until all is measured and drawn."""
    QTest.qWait(500)
    end = time.monotonic() + LONGEST_S
    while not widget.is_settled and time.monotonic() < end:
        QTest.qWait(100)
    QTest.qWait(1000)


def main() -> None:
    """Open the files, set a threshold, and take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("real", type=Path)
    parser.add_argument("predicted", type=Path, nargs="+")
    arguments = parser.parse_args()
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE_PX)
    for path in (arguments.real, *arguments.predicted):
        # predictions of one slide are called alike: their folders tell them apart
        title = None if len(arguments.predicted) == 1 or path == arguments.real else f"{path.parent.name} prediction"
        for data, attributes, _ in slide_layers(open_slide(path), title=title, visible=path == arguments.real):
            viewer.add_image(data, **attributes)
    widget = ThresholdMiouWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Threshold MIoU")
    settle(widget)
    widget.threshold_form.set_percentile(PERCENTILE)
    viewer.scene.camera.zoom *= ZOOM
    settle(widget)
    for row in widget.numbers.texts():
        print(*row)
    print(widget.level_label.text())
    viewer.window._qt_window.grab().save(str(IMAGES / "threshold-miou.jpg"), quality=QUALITY)
    viewer.close()


if __name__ == "__main__":
    main()

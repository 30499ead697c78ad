"""The pictures of the widgets Distributions and Penetration in docs/images, from the folder that the demo leaves.

napari-hrpn demo -o demo-output
xvfb-run -a -s "-screen 0 1600x1200x24" .venv/bin/python scripts/picture_measurements.py demo-output
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import napari
from qtpy.QtTest import QTest

from napari_hrpn.plugin.distributions.violin_plot import Patch
from napari_hrpn.plugin.distributions.widget import DistributionsWidget
from napari_hrpn.plugin.penetration.widget import PenetrationWidget
from napari_hrpn.plugin.viewer import slide_layers
from napari_hrpn.slides import open_slide

if TYPE_CHECKING:
    from napari_hrpn.plugin.parts.measuring_widget import MeasuringWidget

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SIZE_PX = 1500, 1050
PATCH_PX = 128
LONGEST_S = 300
QUALITY = 80


def measured(widget: MeasuringWidget) -> None:
    """Press Measure and wait for the end."""
    QTest.qWait(500)
    widget.measure()
    end = time.monotonic() + LONGEST_S
    while not widget.is_settled and time.monotonic() < end:
        QTest.qWait(100)
    QTest.qWait(1000)
    print(f"{type(widget).__name__}: {widget.message or 'measured'}")


def save(viewer: napari.Viewer, name: str) -> None:
    """Save a picture of the whole window."""
    QTest.qWait(1500)
    picture = viewer.window._qt_window.grab()
    picture.save(str(IMAGES / name), quality=QUALITY)


def picture_distributions(viewer: napari.Viewer) -> None:
    """Violins, and a patch that was clicked on."""
    widget = DistributionsWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Distributions", area="right")
    widget.patch_box.value = PATCH_PX
    measured(widget)
    widget.tabs.setCurrentIndex(2)
    QTest.qWait(2000)
    violin = widget.violins.violins[0]
    widget.go_to_patch(Patch(violin, len(violin.values) // 2))
    save(viewer, "distributions.jpg")
    viewer.window.remove_dock_widget(widget)


def picture_penetration(viewer: napari.Viewer) -> None:
    """The profile, with the vessels."""
    widget = PenetrationWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Penetration", area="right")
    measured(widget)
    viewer.reset_view()
    save(viewer, "penetration.jpg")
    viewer.window.remove_dock_widget(widget)


def main() -> None:
    """Open phantom and prediction, and take both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="that the demo left")
    folder = parser.parse_args().folder
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE_PX)
    for name, visible in (("phantom.ome.tif", True), ("phantom.predicted.ome.zarr", False)):
        for data, attributes, _ in slide_layers(open_slide(folder / name), visible=visible):
            viewer.add_image(data, **attributes)
    picture_distributions(viewer)
    picture_penetration(viewer)
    viewer.close()


if __name__ == "__main__":
    main()

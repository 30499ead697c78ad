"""The picture of the widget ROI correlation in docs/images, from a slide and one or more predictions of it.

Prints the numbers that it shows, and those of SciPy in the same pixels.

xvfb-run -a -s "-screen 0 1600x1200x24" .venv/bin/python scripts/picture_roi_correlation.py fov01.ome.tif \
    fov01.predicted.ome.zarr
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import napari
import numpy as np
from qtpy.QtTest import QTest
from scipy import stats

from napari_hrpn.plugin.roi_correlation.widget import RoiCorrelationWidget
from napari_hrpn.plugin.viewer import slide_layers
from napari_hrpn.slides import open_slide

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SIZE_PX = 1560, 1120
LONGEST_S = 600
QUALITY = 66


def settle(widget: RoiCorrelationWidget) -> None:
    """Wait until all is measured and drawn."""
    QTest.qWait(500)
    end = time.monotonic() + LONGEST_S
    while not widget.is_settled and time.monotonic() < end:
        QTest.qWait(50)
    QTest.qWait(700)


def compare_with_scipy(widget: RoiCorrelationWidget) -> None:
    """Print what is shown beside what SciPy finds in the same pixels."""
    pair = widget.pair_form.pair
    assert pair is not None
    real, *predicted = (
        np.asarray(each.slide.levels[0][each.channel].compute(), float) for each in (pair.real, *pair.predictions)
    )
    for row in widget.rows():
        assert row.measurement is not None
        height, width = real.shape
        mask = row.listed.roi.within(slice(0, height), slice(0, width))
        for image, numbers, each in zip(pair.predictions, row.measurement.numbers, predicted, strict=True):
            line, found = stats.linregress(real[mask], each[mask]), numbers.regression
            rmse = np.sqrt(np.mean((real[mask] - each[mask]) ** 2))
            print(
                f"{row.listed.name}, {image.name}: n {row.measurement.n} / {mask.sum()}, "
                f"r {found.pearson_r:.9f} / {line.rvalue:.9f}, slope {found.slope:.9f} / {line.slope:.9f}, "
                f"RMSE {numbers.agreement.rmse:.9f} / {rmse:.9f}"
            )


def main() -> None:
    """Open the files, add regions, and take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("real", type=Path)
    parser.add_argument("predicted", type=Path, nargs="+")
    parser.add_argument("--size", type=int, nargs=2, default=(300, 270), help="width and height of the regions in px")
    parser.add_argument("-o", "--output", type=Path, default=IMAGES / "roi-correlation.jpg")
    parser.add_argument("--layer", action="store_true", help="show the co-localisation layer")
    arguments = parser.parse_args()
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE_PX)
    for path in (arguments.real, *arguments.predicted):
        title = None if len(arguments.predicted) == 1 or path == arguments.real else path.parent.name
        for data, attributes, _ in slide_layers(open_slide(path), title=title, visible=path == arguments.real):
            viewer.add_image(data, **attributes)
    widget = RoiCorrelationWidget(viewer)
    viewer.window.add_dock_widget(widget, name="ROI correlation")
    settle(widget)
    form = widget.roi_form.random_form
    form.width_box.value = arguments.size[0]
    form.height_box.value = arguments.size[1]
    form.add_button.native.click()
    settle(widget)
    print(widget.message)
    widget.table.selectRow(0)
    if arguments.layer:
        widget.show_colocalization_layer()
    widget.measure()
    settle(widget)
    viewer.window._qt_window.grab().save(str(arguments.output), quality=QUALITY)
    compare_with_scipy(widget)
    viewer.close()


if __name__ == "__main__":
    main()

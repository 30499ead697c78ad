"""A real channel and two predictions in a viewer, and the widget."""

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from scipy import ndimage

from napari_hrpn.plugin.roi_correlation.widget import RoiCorrelationWidget
from napari_hrpn.plugin.viewer import slide_layers
from napari_hrpn.slides import Slide, coarser_levels
from support.roi_shapes import box, own_threads

SHAPE = (500, 640)
WAIT_MS = 120_000
PLACE = {"scale": (0.65, 0.65), "units": ("um", "um")}


@pytest.fixture(scope="session")
def pixels():
    """Nuclei, the real probe and two predictions of it."""
    random = np.random.default_rng(7)
    smooth = [ndimage.gaussian_filter(random.standard_normal(SHAPE), 3) * 10 for _ in range(4)]
    real = np.clip(smooth[0] * 300 + 350, 0, None)
    first = np.clip(0.8 * real + smooth[1] * 120 + 40, 0, None)
    second = np.clip(0.5 * real + smooth[2] * 250, 0, None)
    nuclei = np.clip(smooth[3] * 400 + 500, 0, None)
    return [each.astype(np.uint16) for each in (nuclei, real, first, second)]


@pytest.fixture
def make_slide():
    """Makes a slide of arrays."""
    return slide_of_arrays


def slide_of_arrays(channels, names, source, pixel_size_um=(0.65, 0.65)):
    finest = da.from_array(np.stack(channels), chunks=(1, 256, 256), name=False)
    return Slide((finest, *coarser_levels(finest)), names, pixel_size_um, Path(source))


@pytest.fixture
def show(tmp_path, pixels):
    """Adds the real slide and some of its predictions to a viewer."""

    def run(viewer, predictions=("HRPN",), **place):
        nuclei, real, *predicted = pixels
        slides = [slide_of_arrays([nuclei, real], ("DAPI", "QD"), tmp_path / "tumour 3.ome.tif")]
        for name, each in zip(predictions, predicted, strict=False):
            slides.append(slide_of_arrays([each], ("QD",), tmp_path / f"tumour 3 {name} predicted.ome.tif"))
        layers = []
        for slide in slides:
            for data, attributes, _ in slide_layers(slide):
                layers.append(viewer.add_image(data, **{**attributes, **place}))
        return layers

    return run


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def open_widget(qtbot):
    widgets = []

    def opened(viewer):
        widget = RoiCorrelationWidget(viewer)
        widgets.append(widget)
        viewer.window.add_dock_widget(widget, name="ROI correlation")
        return widget

    yield opened
    for widget in widgets:
        # one whose viewer was closed is gone already
        if not widget._is_shut_down:
            widget.shut_down()
            if widget.parent() is None:
                widget.close()
    qtbot.waitUntil(lambda: not own_threads(), timeout=WAIT_MS)


@pytest.fixture
def settled(qtbot):
    """Waits until everything is measured."""

    def run(widget, regions):
        def is_done():
            rows = widget.rows()
            return (
                len(rows) == regions
                and all(row.measurement or row.problem for row in rows)
                and widget.is_settled
                and widget.table.rowCount() == regions
            )

        qtbot.waitUntil(is_done, timeout=WAIT_MS)

    return run


@pytest.fixture
def widget(viewer, show, open_widget):
    show(viewer, ("HRPN", "GANDA"))
    return open_widget(viewer)


@pytest.fixture
def drawn(widget, viewer, settled):
    """The widget with two rectangles."""
    shapes = viewer.add_shapes([box(50, 250, 60, 300), box(300, 480, 100, 400)], name="mine", **PLACE)
    settled(widget, 2)
    return widget, shapes

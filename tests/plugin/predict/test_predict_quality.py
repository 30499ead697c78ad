"""How a slide was imaged, in the widget "Predict QD": looked at beside everything else, and told where it matters."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from napari_hrpn.analysis import Finding, slide_quality
from napari_hrpn.slides import open_slide
from support.settling import WAIT_MS

GRAVE = Finding("saturation", (0,), 0.1, "share of pixels", True, "DAPI: 10 % of the pixels are at the largest value.")


@pytest.fixture
def spoilt_file(tmp_path):
    """A slide of which a tenth is clipped, without a pixel size."""
    pixels = np.random.default_rng(4).normal(225, 20, (3, 500, 520)).clip(0, 255).astype(np.uint8)
    path = tmp_path / "tumour 8.ome.tif"
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "CD31", "QD"]}}
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=metadata)
    return path


@pytest.fixture
def text_of():
    """What a label says, without the places where its words may be broken."""
    return lambda label: "" if label.isHidden() else label.text().replace("\u200b", "")


def test_a_slide_is_judged_once_it_is_chosen(
    engine, viewer, open_widget, show, spoilt_file, qtbot, monkeypatch, text_of, tmp_path, write_checkpoint
):
    monkeypatch.setattr("napari_hrpn.analysis.slide_quality", slide_quality)
    widget = open_widget(viewer)
    qtbot.waitUntil(lambda: not widget._quality.is_looking, timeout=WAIT_MS)
    assert text_of(widget.quality_label) == ""
    show(viewer, open_slide(spoilt_file))
    box = widget.slide_form.slide_box
    qtbot.waitUntil(lambda: box.get_choice("tumour 8") is not None, timeout=WAIT_MS)
    box.native.setCurrentText("tumour 8")
    qtbot.waitUntil(lambda: bool(text_of(widget.quality_label)), timeout=WAIT_MS)
    told = text_of(widget.quality_label)
    for channel in ("DAPI", "CD31", "QD"):
        assert f"⚠ {channel}:" in told
    assert "a prediction is too low or too even there" in told
    assert "differences between bright places are lost" in " ".join(box.tooltip.split())
    # the form has said already that the pixel size is missing, and which one is wanted
    assert "pixel size" not in told
    assert "has no pixel size" in text_of(widget.settings_form.warning_label)
    widget.slide_form.role_boxes["probe"].value = None
    qtbot.waitUntil(lambda: "DAPI" in text_of(widget.quality_label), timeout=WAIT_MS)
    assert "QD:" not in text_of(widget.quality_label)
    widget.use_checkpoint(write_checkpoint(tmp_path / "anywhere.safetensors", pixel_size_um=None))
    qtbot.waitUntil(lambda: "The file has no pixel size" in text_of(widget.quality_label), timeout=WAIT_MS)
    box.native.setCurrentText("tumour 7")
    qtbot.waitUntil(lambda: text_of(widget.quality_label) == "", timeout=WAIT_MS)
    assert "⚠" not in box.tooltip


def test_a_prediction_does_not_wait_for_it(engine, viewer, open_widget, qtbot, monkeypatch, text_of, wait_for):
    go_on, begun, closed = threading.Event(), threading.Event(), threading.Event()

    def slow(slide, roles):
        begun.set()
        try:
            while not go_on.wait(0.01):
                yield
            return SimpleNamespace(findings=(GRAVE,))
        finally:
            closed.set()

    monkeypatch.setattr("napari_hrpn.analysis.slide_quality", slow)
    widget = open_widget(viewer)
    assert widget._quality.is_looking
    engine.let()
    widget.predict()
    wait_for(widget, running=False)
    assert widget.message.startswith("Done")
    assert widget._quality.is_looking
    assert text_of(widget.quality_label) == ""
    go_on.set()
    qtbot.waitUntil(lambda: text_of(widget.quality_label) == f"⚠ {GRAVE.sentence}", timeout=WAIT_MS)

    go_on.clear()
    begun.clear()
    closed.clear()
    widget.slide_form.role_boxes["probe"].value = None
    assert widget._quality.is_looking
    qtbot.waitUntil(begun.is_set, timeout=WAIT_MS)
    viewer.window.remove_dock_widget(widget)
    qtbot.waitUntil(closed.is_set, timeout=WAIT_MS)

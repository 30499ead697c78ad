"""What the measuring panels do alike: how they begin, and what they say of a slide without a probe."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtGui import QPalette
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_hrpn.plugin.distributions.widget import DistributionsWidget
from napari_hrpn.plugin.parts.messages import ON_DARK, ON_LIGHT, PROBLEM, ToneLabel
from napari_hrpn.plugin.penetration.widget import PenetrationWidget
from napari_hrpn.plugin.roi_correlation.widget import RoiCorrelationWidget
from napari_hrpn.plugin.threshold_miou.widget import ThresholdMiouWidget
from napari_hrpn.slides import FinishedTiles
from support.compared import compared_slides, show

SHAPE = (300, 420)


@pytest.fixture
def slides():
    return compared_slides(shape=SHAPE)


@pytest.fixture
def viewer(slides):
    viewer = ViewerModel()
    for slide in slides:
        show(viewer, slide)
    return viewer


@pytest.fixture
def opened(viewer, made, settle):
    def run(kind):
        widget = kind(viewer)
        made.append(widget)
        widget.show()
        if hasattr(widget, "is_settled"):
            settle(widget)
        return widget

    return run


def without_probe(viewer, slides):
    viewer.layers.clear()
    real, predicted = slides
    levels = tuple(level[:2] for level in real.levels)
    show(viewer, replace(real, levels=levels, channel_names=real.channel_names[:2]))
    show(viewer, predicted)


def test_what_does_not_take_long_is_measured_without_a_button(opened, viewer, slides, settle, qtbot):
    widget = opened(DistributionsWidget)
    assert len(widget._compared) == 1
    assert {violin.panel for violin in widget.violins.violins} == {"DAPI", "CD31", "QD"}
    assert not widget.bar.measure_button.isVisible()
    assert not widget.bar.cancel_button.isVisible()
    assert widget.message == ""
    # what is stopped does not begin again by itself
    begun = widget._begun
    widget.patch_box.value = 50
    qtbot.waitUntil(lambda: widget._begun != begun, timeout=60_000)
    widget.bar.cancel()
    settle(widget)
    assert not widget.bar.is_running
    is_missing = any(part.key not in widget.bar.results for part in widget.parts())
    assert widget.bar.measure_button.isVisible() == is_missing


def test_patches_follow_the_slide_until_the_user_says_otherwise_and_the_report_has_them_too(opened, viewer, settle):
    widget = opened(DistributionsWidget)
    assert widget.patch_box.value == 64
    assert "24 whole patches of 64 px, and for 0 of the paper's 512 px" in widget.patch_note.text().replace(
        "\u200b", ""
    )
    assert widget.report_choices(None).settings.patch_px is None
    widget.patch_box.value = 100
    viewer.layers.remove("QD · tumour.predicted")
    settle(widget)
    assert widget.patch_box.value == 100
    assert widget.report_choices(None).settings.patch_px == 100


def test_without_a_probe_distributions_show_the_prediction_alone(opened, viewer, slides):
    without_probe(viewer, slides)
    widget = opened(DistributionsWidget)
    assert widget.real is None
    assert widget._compared == []
    assert widget.histogram.nothing.startswith("There is no real image")
    names = {(violin.panel, violin.name) for violin in widget.violins.violins}
    assert names == {("DAPI", "tumour"), ("CD31", "tumour"), ("QD", "QD · tumour.predicted")}
    found = next(found for source, found in widget._patches if source.colour is not None)
    side = int(widget.patch_box.value)
    pixels = np.asarray(slides[1].levels[0][0])[:side, 128 : 128 + side]
    assert found.totals[0, 0, 128 // side] == pixels.sum()


def test_without_a_probe_penetration_is_that_of_the_prediction(opened, viewer, slides, settle, measure):
    without_probe(viewer, slides)
    widget = opened(PenetrationWidget)
    measure(widget)
    assert {one.image for one in widget.profiles} == {"QD · tumour.predicted"}
    show(viewer, slides[0])
    alone = [one.d50_um for one in widget.profiles if one.area == "tissue"]
    settle(widget)
    measure(widget)
    both = {one.image: one.d50_um for one in widget.profiles if one.area == "tissue"}
    assert "QD · tumour" in both
    assert both["QD · tumour.predicted"] == pytest.approx(alone[0], nan_ok=True)


@pytest.mark.parametrize("kind", [RoiCorrelationWidget, ThresholdMiouWidget])
def test_without_a_probe_nothing_is_compared_and_one_sentence_says_so(opened, viewer, slides, kind):
    without_probe(viewer, slides)
    widget = opened(kind)
    assert widget.pair_form.pair is None
    assert "imaged probe" in widget.pair_form.note_label.text()
    assert widget.message == ""


def test_only_finished_tiles_of_a_prediction_count_at_every_level(opened, viewer, slides):
    real, predicted = slides
    shape = (700, 1100)
    real, predicted = compared_slides(shape=shape)
    cells = np.array([[True, False, False], [False, False, True]])
    viewer.layers.clear()
    show(viewer, real)
    show(viewer, replace(predicted, read_finished=lambda: FinishedTiles(cells)))
    widget = opened(ThresholdMiouWidget)
    inside = np.kron(cells, np.ones((512, 512), bool))[: shape[0], : shape[1]]
    tissue = widget.tissue.mask.within(slice(0, shape[0]), slice(0, shape[1]))
    (overlap,) = widget.overlaps()
    assert overlap.is_full
    assert overlap.counts.n == (inside & tissue).sum()
    first = widget._overview.overlaps[0]
    assert first.counts.n == overlap.counts.n
    levels = widget._overview.levels
    whole = inside.reshape(350, 2, 550, 2).all(axis=(1, 3))
    assert not (levels.labels(levels.whole(1), 0, 0.0).astype(bool) & ~whole).any()


def test_problems_have_a_colour_that_can_be_read_in_both_themes(qtbot, monkeypatch):
    for theme, colours, background in (("dark", ON_DARK, "#23242b"), ("light", ON_LIGHT, "#ebe7e6")):
        monkeypatch.setattr("napari.current_viewer", lambda theme=theme: SimpleNamespace(theme=theme))
        label = ToneLabel(PROBLEM)
        qtbot.addWidget(label)
        label.say("It cannot be.")
        label.ensurePolished()
        assert label.palette().color(QPalette.ColorRole.WindowText).name() == colours[PROBLEM]
        assert all(contrast(colour, background) >= 4.5 for colour in colours.values())


def contrast(*colours):
    """Of two colours, as WCAG has it."""

    def luminance(colour):
        parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    high, low = sorted(map(luminance, colours), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("kind", [DistributionsWidget, RoiCorrelationWidget])
def test_tab_goes_through_what_can_be_seen_and_comes_back(opened, kind, qtbot):
    widget = opened(kind)
    widget.activateWindow()
    widget.pair_form.real_box.native.setFocus()
    qtbot.waitUntil(lambda: QApplication.focusWidget() is not None, timeout=10_000)
    seen = []
    for _ in range(60):
        seen.append(QApplication.focusWidget())
        assert seen[-1].isVisible()
        if len(seen) > 3 and seen[-1] is widget.pair_form.real_box.native:
            break
        QTest.keyClick(seen[-1], Qt.Key.Key_Tab)
    assert seen[-1] is widget.pair_form.real_box.native
    assert len(set(map(id, seen[:-1]))) == len(seen) - 1

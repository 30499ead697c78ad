from types import SimpleNamespace

import numpy as np
import pytest

from napari_hrpn.analysis import iou_at, iou_curve, pair_counts
from napari_hrpn.plugin.threshold_miou.curves import MEAN_IOU, Curve, OverlapCurves, chance_level, tied_spans
from support.settling import WAIT_MS

random = np.random.default_rng(0)
REAL = random.integers(1, 250, 20_000).astype(np.uint8)
REAL[:6000] = 0
POINTS = iou_curve(pair_counts(REAL, np.roll(REAL, 1)))


@pytest.fixture
def curves(qtbot):
    curves = OverlapCurves()
    qtbot.addWidget(curves)
    curves.resize(420, 240)
    curves.show()
    curves.show_curves([Curve("HRPN", "#56b4e9", POINTS), Curve("GANDA", "#e69f00", POINTS[::-1][::-1])], "tissue")
    curves.set_percentile(90.0)
    qtbot.waitUntil(lambda: curves.is_drawn, timeout=WAIT_MS)
    return curves


def mouse(curves, x, *, buttons=(), button=None):
    axes = curves.figure.axes[0]
    place = axes.transData.transform((x, 0.5))
    inside = axes if 0 <= x <= 100 else None
    return SimpleNamespace(xdata=x, x=place[0], y=place[1], inaxes=inside, button=button, buttons=frozenset(buttons))


def test_each_prediction_has_its_line_colour_and_place_in_the_legend(curves):
    (axes,) = curves.figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["HRPN"].get_color() == "#56b4e9"
    assert lines["GANDA"].get_color() == "#e69f00"
    np.testing.assert_array_equal(lines["HRPN"].get_ydata(), [point.iou for point in POINTS])
    np.testing.assert_array_equal(lines["chance"].get_ydata(), [point.chance for point in POINTS])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["chance", "HRPN", "GANDA"]


def test_ties_are_grey(curves):
    (first, *_) = tied_spans(POINTS)
    # 30 % of the pixels are zero; at 0 all pixels reach the threshold in any image
    assert first == (1, 29)
    assert len(curves.figure.axes[0].patches) == len(tied_spans(POINTS))


def test_the_other_metric_has_its_own_chance_level(curves, qtbot):
    curves.use_metric(MEAN_IOU)
    qtbot.waitUntil(lambda: curves.figure.axes[0].get_title("left").startswith("mean"), timeout=WAIT_MS)
    lines = {line.get_label(): line for line in curves.figure.axes[0].lines}
    np.testing.assert_array_equal(lines["HRPN"].get_ydata(), [point.mean_iou for point in POINTS])
    # of two masks of one size that have nothing to do with each other
    masks = random.random((2, 400_000)) < 0.3
    of_chance = iou_at(pair_counts(*masks.astype(np.uint8)), 1)
    assert chance_level(of_chance, MEAN_IOU) == pytest.approx(of_chance.mean_iou, abs=0.005)


def test_the_line_is_dragged_and_moves(curves, qtbot):
    dragged = []
    curves.dragged.connect(dragged.append)
    curves.pressed(mouse(curves, 40.0, button=1))
    curves._drag(mouse(curves, 42.0, buttons=(1,)))
    curves._drag(mouse(curves, 50.0))
    curves.pressed(mouse(curves, 60.0, button=3))
    # a quick hand does not stop at the end of the axes
    curves._drag(mouse(curves, -7.0, buttons=(1,)))
    assert dragged == [40.0, pytest.approx(42.0), 0.0]
    curves.set_percentile(42.0)
    (line,) = curves.marks()
    assert list(line.get_xdata()) == [42.0, 42.0]


def test_moving_the_line_changes_the_picture_without_drawing_all_anew(curves, qtbot):
    before = np.asarray(curves.canvas.buffer_rgba()).copy()
    drawn = []
    curves.canvas.mpl_connect("draw_event", lambda event: drawn.append(event))
    curves.set_percentile(20.0)
    after = np.asarray(curves.canvas.buffer_rgba())
    assert (before != after).any()
    curves.set_percentile(90.0)
    np.testing.assert_array_equal(np.asarray(curves.canvas.buffer_rgba()), before)
    assert drawn == []


def test_words_under_the_mouse(curves):
    words = curves.words_at(mouse(curves, 80.2))
    assert f"HRPN: {POINTS[80].iou:.3f}" in words
    assert "n = 20,000" in words
    assert "tied" in curves.words_at(mouse(curves, 12))


def test_a_saved_figure_shows_the_line_too(curves):
    figure = curves.figure_to_save()
    assert not any(line.get_animated() for line in figure.axes[0].lines)
    assert len(figure.axes[0].lines) == 4

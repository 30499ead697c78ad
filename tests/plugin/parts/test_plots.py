"""The matplotlib canvas of the plots: drawn when visible, in the colours of a theme, with tooltips; saved figures."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from qtpy.QtWidgets import QToolTip

from napari_hrpn.plugin.parts.plot import ON_PAPER, Ink, Plot, dress, explain, number_log_axis, say_in, short
from napari_hrpn.plugin.parts.saving import write_figure
from support.settling import WAIT_MS


class Line(Plot):
    """A line, with a dot as its mark."""

    def __init__(self, panels=(1, 1)):
        super().__init__(120)
        self.panels, self.values, self.drawings, self.dot = panels, [1.0, 3.0, 2.0], [], None

    def draw_on(self, figure, ink):
        self.drawings.append((figure, ink))
        for axes in figure.subplots(*self.panels, squeeze=False).ravel():
            axes.plot(self.values, color=ink.text, label="a_$1$")
            dress(axes, ink, across="time", up="value", title="All of it")
            explain(axes, ink)
            (dot,) = axes.plot([0], [1], "o", animated=True)
        if figure is self.figure:
            self.dot = dot

    def marks(self):
        return [] if self.dot is None else [self.dot]

    def words_at(self, event):
        return f"value {event.ydata:.0f}" if event.xdata > 1 else ""


@pytest.fixture
def plot(qtbot):
    made = Line()
    qtbot.addWidget(made)
    made.resize(300, 200)
    return made


@pytest.fixture
def drawn(plot, qtbot):
    plot.show()
    qtbot.waitUntil(lambda: plot.is_drawn, timeout=WAIT_MS)
    return plot


def colours(axes):
    return {to_hex(axes.get_facecolor()), to_hex(axes.lines[0].get_color()), to_hex(axes.xaxis.label.get_color())}


def test_a_hidden_plot_is_drawn_when_it_is_shown_and_once_for_many_changes(plot, qtbot):
    for value in range(20):
        plot.values = [value, value]
        plot.redraw_soon()
    assert plot.drawings == []
    assert plot.is_drawn
    plot.show()
    qtbot.waitUntil(lambda: plot.is_drawn, timeout=WAIT_MS)
    assert len(plot.drawings) == 1
    for value in range(20):
        plot.values = [value, value]
        plot.redraw_soon()
    assert not plot.is_drawn
    qtbot.waitUntil(lambda: plot.is_drawn, timeout=WAIT_MS)
    assert len(plot.drawings) == 2
    assert list(plot.figure.axes[0].lines[0].get_ydata()) == [19, 19]


def test_a_theme_colours_all_and_a_saved_figure_is_dark_on_white(drawn, qtbot):
    drawn.set_colours("#112233", "#ddeeff")
    qtbot.waitUntil(lambda: drawn.is_drawn, timeout=WAIT_MS)
    assert colours(drawn.figure.axes[0]) == {"#112233", "#ddeeff"}
    assert to_hex(drawn.figure.get_facecolor()) == "#112233"
    saved = drawn.figure_to_save()
    assert saved is not drawn.figure
    assert colours(saved.axes[0]) == {ON_PAPER.background, ON_PAPER.text}
    assert to_hex(saved.get_facecolor()) == ON_PAPER.background
    # the same numbers, and the plot on the screen stays as it is
    np.testing.assert_array_equal(saved.axes[0].lines[0].get_ydata(), drawn.values)
    assert drawn.drawings[-1] == (saved, ON_PAPER)
    assert colours(drawn.figure.axes[0]) == {"#112233", "#ddeeff"}


def test_a_saved_figure_has_the_shape_of_the_canvas(drawn, tmp_path):
    from matplotlib.image import imread

    write_figure(drawn.figure_to_save(), tmp_path / "plot.png")
    height, width = imread(tmp_path / "plot.png").shape[:2]
    assert (width, height) == (2 * drawn.canvas.width(), 2 * drawn.canvas.height())


def test_a_plot_that_was_never_shown_can_be_saved(plot):
    figure = plot.figure_to_save()
    assert list(figure.axes[0].lines[0].get_ydata()) == plot.values
    assert plot.figure.axes == []


def test_the_tooltip_is_that_of_the_value_under_the_mouse(drawn, monkeypatch):
    shown = []
    monkeypatch.setattr(QToolTip, "showText", lambda _, words, *__: shown.append(words))
    monkeypatch.setattr(QToolTip, "hideText", lambda: shown.append(None))
    axes = drawn.figure.axes[0]
    for inside, xdata in ((axes, 1.5), (axes, 0.5), (None, 1.5)):
        event = SimpleNamespace(inaxes=inside, xdata=xdata, ydata=2.0)
        drawn.canvas.callbacks.process("motion_notify_event", event)
    assert shown == ["value 2", None, None]


def test_a_mark_moves_without_drawing_the_plot_again(drawn, qtbot):
    def picture():
        return np.array(drawn.canvas.buffer_rgba())[..., :3].astype(int)

    before, number = picture(), len(drawn.drawings)
    drawn.dot.set_data([1], [2])
    drawn.redraw_marks()
    after = picture()
    assert len(drawn.drawings) == number
    changed = np.argwhere((before != after).any(axis=-1))[:, ::-1]
    places = drawn.figure.axes[0].transData.transform([(0, 1), (1, 2)])
    places[:, 1] = before.shape[0] - places[:, 1]
    nearest = np.linalg.norm(changed[:, None] - places[None], axis=-1)
    # where the dot was and where it is, and nowhere else
    assert nearest.min(axis=1).max() < 12
    assert (nearest.min(axis=0) < 3).all()
    drawn.dot.set_data([0], [1])
    drawn.redraw_marks()
    np.testing.assert_array_equal(picture(), before)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 900), st.integers(1, 700))
def test_axes_leave_room_for_their_labels_at_any_size(rows, columns, width, height):
    figure = Figure()
    figure.subplots(rows, columns)
    plot = SimpleNamespace(row_gap_px=Plot.row_gap_px)
    Plot.arrange(plot, figure, width, height)
    boxes = [axes.get_position() for axes in figure.axes]
    assert all(box.width > 0 and box.height > 0 for box in boxes)
    assert all(0 <= box.x0 < box.x1 <= 1 and 0 <= box.y0 < box.y1 <= 1 for box in boxes)
    if width > 80 * columns and height > 90 * rows:
        # distances in pixels do not depend on the size
        assert boxes[0].x0 * width == pytest.approx(62)
        assert (1 - boxes[0].y1) * height == pytest.approx(34)
        if rows > 1:
            assert (boxes[0].y0 - boxes[columns].y1) * height == pytest.approx(Plot.row_gap_px)
        if columns > 1:
            assert (boxes[1].x0 - boxes[0].x1) * width == pytest.approx(72)


def test_an_empty_figure_is_arranged_without_harm():
    figure = Figure()
    say_in(figure, "Nothing is measured yet.", ON_PAPER)
    Plot.arrange(SimpleNamespace(row_gap_px=Plot.row_gap_px), figure, 300, 200)
    (words,) = figure.texts
    assert (words.get_text(), words.get_color()) == ("Nothing is measured yet.", ON_PAPER.text)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.text(max_size=40), st.integers(3, 30))
def test_a_short_name_keeps_both_ends_and_fits(name, longest):
    shown = short(name, longest)
    if len(name) <= longest:
        assert shown == name
    else:
        assert len(shown) == longest
        start, end = (longest - 1) - (longest - 1) // 2, (longest - 1) // 2
        assert (shown[:start], shown[start], shown[start + 1 :]) == (name[:start], "…", name[-end:])


@pytest.mark.parametrize(("low", "high"), [(1, 9), (3, 700), (1e-6, 1e-3), (1, 1e9)])
def test_a_logarithmic_axis_has_short_numbers_that_are_right(low, high):
    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot([0, 1, 2], [0, low, high])
    number_log_axis(axes)
    figure.canvas.draw()
    assert axes.get_yscale() == "log"
    ticks = [
        (axis_ticks, label.get_text())
        for axis_ticks, label in [
            *zip(axes.yaxis.get_majorticklocs(), axes.yaxis.get_majorticklabels(), strict=True),
            *zip(axes.yaxis.get_minorticklocs(), axes.yaxis.get_minorticklabels(), strict=True),
        ]
        if label.get_text()
    ]
    assert ticks
    for value, text in ticks:
        plain = text.replace("\N{MINUS SIGN}", "-")
        assert float(plain) == pytest.approx(value, rel=1e-5)
        assert not re.search(r"e[+-]?0", plain)


def test_axes_have_two_sides_and_words_in_one_colour():
    figure, ink = Figure(), Ink("#101010", "#fafafa")
    axes = figure.add_subplot()
    axes.plot([1, 2], label="one")
    dress(axes, ink, across="x", up="y", title="t")
    explain(axes, ink)
    assert [side for side, spine in axes.spines.items() if spine.get_visible()] == ["left", "bottom"]
    words = [axes.xaxis.label, axes.yaxis.label, *axes.get_legend().get_texts()]
    assert [word.get_text() for word in words] == ["x", "y", "one"]
    assert {to_hex(word.get_color()) for word in words} == {ink.text}
    assert axes.get_title(loc="left") == "t"

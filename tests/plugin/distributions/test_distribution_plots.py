"""Violins, histograms and Q-Q plots hold exactly the values of the pixels: against NumPy and pandas."""

import weakref
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from napari_hrpn.analysis import compare_distributions, quantile_pairs
from napari_hrpn.analysis.counts.intensity_histogram import ValueCounts
from napari_hrpn.core import drive
from napari_hrpn.plugin.distributions.measurement import (
    MEAN,
    TOTAL,
    Comparison,
    PatchSource,
    heterogeneity_records,
    patch_records,
    patches_part,
    room_words,
    violins,
)
from napari_hrpn.plugin.distributions.value_plots import (
    SIZES,
    Compared,
    HistogramPlot,
    QuantilePlot,
    size_records,
)
from napari_hrpn.plugin.distributions.violin_plot import Violin, ViolinPlot
from napari_hrpn.plugin.parts.plot import ON_PAPER
from support.compared import slide_of_pixels

SHAPE, SIDE = (100, 130), 32
COLOURS = ("#56b4e9", "#e69f00")


@pytest.fixture(scope="module")
def pixels():
    random = np.random.default_rng(3)
    return random.gamma(4, 9, (3, *SHAPE)).astype(np.uint8)


def counted(image):
    return ValueCounts(np.bincount(image.ravel(), minlength=256))


def compared(real, predictions):
    found = []
    for (name, image), colour in zip(predictions.items(), COLOURS, strict=False):
        one, other = counted(real), counted(image)
        comparison = Comparison(one, other, compare_distributions(one, other), quantile_pairs(one, other))
        found.append(Compared(name, colour, comparison))
    return found


def drawn(plot):
    figure = Figure(figsize=(6, 4))
    FigureCanvasAgg(figure)
    plot.draw_on(figure, ON_PAPER)
    return figure


@pytest.fixture
def show(qtbot, pixels):
    def run(kind):
        plot = kind()
        qtbot.addWidget(plot)
        plot.show_images("QD · tumour", compared(pixels[0], {"HRPN": pixels[1], "GANDA": pixels[2] // 2}))
        return plot

    return run


@pytest.mark.parametrize("is_log", [False, True])
def test_each_pixel_is_in_one_bin_of_its_image(show, pixels, is_log):
    plot = show(HistogramPlot)
    plot.set_log(is_log)
    edges = plot.histogram.edges
    for counts, image in zip(plot.histogram.counts, (pixels[0], pixels[1], pixels[2] // 2), strict=True):
        expected, _ = np.histogram(image, edges)
        np.testing.assert_array_equal(counts, expected)
        assert counts.sum() == image.size
    (axes,) = drawn(plot).axes
    steps = axes.patches
    np.testing.assert_array_equal([step.get_data().values for step in steps], plot.histogram.counts)
    assert [to_hex(step.get_edgecolor()) for step in steps] == [ON_PAPER.text, *COLOURS]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [f"{name}, n = 13,000" for name in ("QD · tumour", "HRPN", "GANDA")]
    assert axes.get_yscale() == ("log" if is_log else "linear")


def test_the_rows_of_the_histogram_are_its_bins(show, pixels):
    plot = show(HistogramPlot)
    frame = pd.DataFrame(plot.rows())
    assert list(frame) == ["from", "to", "QD · tumour", "HRPN", "GANDA"]
    np.testing.assert_array_equal(frame["to"][:-1], frame["from"][1:])
    np.testing.assert_array_equal(frame[["QD · tumour", "HRPN", "GANDA"]].T, plot.histogram.counts)
    assert frame["from"].iloc[0] <= pixels.min()
    assert frame["to"].iloc[-1] >= pixels[:2].max()


def test_the_tooltip_of_the_histogram_counts_the_bin_under_the_mouse(show, pixels):
    plot = show(HistogramPlot)
    plot.is_whole = True
    plot.set_log(True)
    low, high = plot.histogram.edges[[20, 21]]
    for xdata in (low, (low + high) / 2):
        words = plot.words_at(SimpleNamespace(xdata=xdata)).split("\n")
        assert words[0] == f"grey level {low:g} to {high:g}"
        numbers = [int(line.split(": ")[1].replace(",", "")) for line in words[1:]]
        images = (pixels[0], pixels[1], pixels[2] // 2)
        assert numbers == [((image >= low) & (image < high)).sum() for image in images]
    assert plot.words_at(SimpleNamespace(xdata=plot.histogram.edges[-1])) == ""
    assert plot.words_at(SimpleNamespace(xdata=plot.histogram.edges[0] - 1)) == ""


def test_points_of_the_quantile_plot_are_the_percentiles(show, pixels):
    plot = show(QuantilePlot)
    frame = pd.DataFrame(plot.rows())
    (axes,) = drawn(plot).axes
    points = [line for line in axes.lines if line.get_marker() == "o"]
    fits = [line for line in axes.lines if line.get_linestyle() == "-" and line.get_marker() != "o"]
    images = {"HRPN": pixels[1], "GANDA": pixels[2] // 2}
    for (name, image), line, fit, colour in zip(images.items(), points, fits, COLOURS, strict=True):
        of_one = frame[frame["prediction"] == name]
        np.testing.assert_array_equal(line.get_xdata(), of_one["real"])
        np.testing.assert_array_equal(line.get_ydata(), of_one["predicted"])
        # integers: half of a grey level is the width of a bin
        expected = np.percentile(image, of_one["percentile"], method="inverted_cdf")
        assert np.abs(of_one["predicted"] - expected).max() <= 0.5
        assert to_hex(line.get_color()) == to_hex(fit.get_color()) == colour
        slope = np.diff(fit.get_ydata())[0] / np.diff(fit.get_xdata())[0]
        sizes = next(one.comparison.sizes for one in plot._compared if one.name == name)
        assert slope == pytest.approx(sizes.qq_slope)
    diagonal = next(line for line in axes.lines if line.get_linestyle() == "--")
    np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())


def test_the_tooltip_of_the_quantile_plot_is_that_of_the_nearest_point(show):
    plot = show(QuantilePlot)
    figure = drawn(plot)
    (axes,) = figure.axes
    row = plot.rows()[50]
    x, y = axes.transData.transform((row["real"], row["predicted"]))
    words = plot.words_at(SimpleNamespace(inaxes=axes, x=x, y=y))
    assert words.startswith(f"{row['prediction']}\npercentile ")
    assert f"real {row['real']:g}, predicted {row['predicted']:g}" in words
    assert plot.words_at(SimpleNamespace(inaxes=axes, x=x - 400, y=y + 400)) == ""


@pytest.mark.parametrize("kind", [HistogramPlot, QuantilePlot])
def test_without_images_a_plot_says_why_and_has_no_rows(qtbot, kind):
    plot = kind()
    qtbot.addWidget(plot)
    plot.nothing = "There is no real image."
    plot.show_images("real", [])
    figure = drawn(plot)
    assert [text.get_text() for text in figure.texts] == ["There is no real image."]
    assert figure.axes == []
    assert plot.rows() == []
    assert plot.words_at(SimpleNamespace(xdata=1.0)) == ""


def test_one_grey_level_can_be_drawn(qtbot):
    plot = HistogramPlot()
    qtbot.addWidget(plot)
    flat = np.full(SHAPE, 7, np.uint8)
    plot.show_images("real", compared(flat, {"HRPN": flat}))
    low, high = drawn(plot).axes[0].get_xlim()
    assert low <= 7 < high
    assert plot.histogram.counts.sum() == 2 * flat.size


def test_the_table_of_sizes_has_the_numbers_of_numpy(pixels):
    (record,) = size_records(compared(pixels[0], {"HRPN": pixels[1]}), "tissue")
    assert set(SIZES) <= set(record)
    real, predicted = (np.sort(image.ravel().astype(float)) for image in pixels[:2])
    assert record["wasserstein"] == pytest.approx(np.abs(real - predicted).mean())
    levels = np.arange(256)
    steps = [np.searchsorted(values, levels, side="right") / values.size for values in (real, predicted)]
    assert record["kolmogorov_smirnov"] == pytest.approx(np.abs(steps[0] - steps[1]).max())
    assert (record["region"], record["n_real"], record["n_predicted"]) == ("tissue", real.size, predicted.size)


@pytest.fixture
def measured(pixels):
    """Two slides of which one has two channels, and their patches."""
    found = []
    for title, channels, colour in (("tumour", pixels[:2], None), ("tumour HRPN", pixels[2:], COLOURS[0])):
        names = ("DAPI", "QD")[-len(channels) :]
        slide = slide_of_pixels(channels, f"{title}.tif", names)
        source = PatchSource(title, slide, tuple(range(len(names))), names, weakref.ref(slide), colour)
        found.append((source, drive(patches_part(source, SIDE, 0.5, None).begin({}))))
    return found


def patches(image):
    """Corner and pixels of each patch of which at least a half lies on the slide."""
    for y in range(0, SHAPE[0], SIDE):
        for x in range(0, SHAPE[1], SIDE):
            patch = image[y : y + SIDE, x : x + SIDE]
            if patch.size >= SIDE * SIDE / 2:
                yield y, x, patch.astype(int)


def test_violins_hold_the_sum_and_the_mean_of_each_patch(measured, pixels):
    for quantity, summed in ((TOTAL, np.sum), (MEAN, np.mean)):
        shown = violins(measured, quantity)
        assert [(one.panel, one.name) for one in shown] == [
            ("DAPI", "tumour"),
            ("QD", "tumour"),
            ("QD", "tumour HRPN"),
        ]
        for violin, image in zip(shown, pixels, strict=True):
            expected = list(patches(image))
            np.testing.assert_allclose(violin.values, [summed(patch) for *_, patch in expected], rtol=1e-12)
            for index, (y, x, patch) in enumerate(expected):
                (found,) = violin.patches_at(y // SIDE, x // SIDE)
                assert found.index == index
                assert found.value == violin.values[index]
                box = found.box
                assert (box.y0, box.x0, box.height, box.width) == (y, x, *patch.shape)
            assert violin.patches_at(99, 0) == []


def test_rows_of_patches_and_of_heterogeneity_agree_with_pandas(measured, pixels):
    frame = pd.DataFrame(patch_records(measured))
    records = heterogeneity_records(measured)
    assert [(record["channel"], record["tumour"]) for record in records] == [
        ("DAPI", "tumour"),
        ("QD", "tumour"),
        ("QD", "tumour HRPN"),
    ]
    for record, image in zip(records, pixels, strict=True):
        rows = frame[(frame["channel"] == record["channel"]) & (frame["tumour"] == record["tumour"])]
        for (_, row), (y, x, patch) in zip(rows.iterrows(), patches(image), strict=True):
            assert (row["y_px"], row["x_px"], row["pixels"], row["total"]) == (y, x, patch.size, patch.sum())
            assert row["mean"] == pytest.approx(patch.mean())
        assert record["patches"] == len(rows)
        assert record["mean"] == pytest.approx(rows["mean"].mean())
        assert record["cv"] == pytest.approx(rows["mean"].std(ddof=1) / rows["mean"].mean(), rel=1e-9)
        pairs = np.abs(np.subtract.outer(rows["mean"].to_numpy(), rows["mean"].to_numpy()))
        gini = pairs.sum() / (2 * len(rows) ** 2 * rows["mean"].mean())
        assert record["gini"] == pytest.approx(gini, rel=1e-9)


@pytest.fixture
def violin_plot(qtbot, measured):
    plot = ViolinPlot()
    qtbot.addWidget(plot)
    plot.show_violins(violins(measured, MEAN), "mean intensity")
    plot.figure.clear()
    plot.draw_on(plot.figure, ON_PAPER)
    plot.canvas.draw()
    return plot


def test_each_patch_is_one_point_of_its_violin(violin_plot):
    shown = iter(violin_plot.violins)
    titles = []
    for axes in violin_plot.figure.axes:
        titles.append(axes.get_title(loc="left"))
        points = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_ydata())]
        for position, line in enumerate(points):
            violin = next(shown)
            np.testing.assert_array_equal(line.get_ydata(), violin.values)
            assert np.abs(line.get_xdata() - position).max() < 0.4
            assert len(np.unique(line.get_xdata())) == len(violin.values)
            medians = [other for other in axes.lines if other.get_marker() != "o"][2 * position : 2 * position + 2]
            assert {float(value) for other in medians for value in other.get_ydata()} == {np.median(violin.values)}
            label = axes.get_xticklabels()[position].get_text()
            assert label.endswith(f"n = {len(violin.values)}")
    assert titles == ["DAPI", "QD"]
    assert next(shown, None) is None


def test_the_mouse_finds_the_patch_of_every_point(violin_plot):
    picked = []
    violin_plot.picked.connect(picked.append)
    axes = violin_plot.figure.axes[1]
    for violin in violin_plot.violins[1:]:
        line = next(line for line in axes.lines if np.array_equal(line.get_ydata(), violin.values))
        for index, point in enumerate(line.get_xydata()):
            x, y = axes.transData.transform(point)
            event = SimpleNamespace(inaxes=axes, x=x, y=y)
            patch = violin_plot.patch_at(event)
            assert (patch.violin, patch.index) == (violin, index)
            corner = f"row {patch.box.y0}, column {patch.box.x0} px: {violin.values[index]:.6g}"
            assert violin_plot.words_at(event) == f"{violin.name}, QD\n{corner}"
            violin_plot.pressed(event)
            assert picked[-1] == patch
    number = len(picked)
    nowhere = SimpleNamespace(inaxes=axes, x=-500, y=-500)
    violin_plot.pressed(nowhere)
    assert (violin_plot.patch_at(nowhere), violin_plot.words_at(nowhere), len(picked)) == (None, "", number)


def test_the_patch_under_the_mouse_is_reported_once(violin_plot):
    pointed = []
    violin_plot.pointed.connect(pointed.append)
    (axes, *_), violin = violin_plot.figure.axes, violin_plot.violins[0]
    line = next(line for line in axes.lines if np.array_equal(line.get_ydata(), violin.values))
    x, y = axes.transData.transform(line.get_xydata()[3])
    # the mouse goes to a point, moves a little, and leaves
    for inside, moved in ((axes, 0), (axes, 0.1), (None, 0)):
        event = SimpleNamespace(inaxes=inside, x=x + moved, y=y, xdata=0, ydata=0)
        violin_plot.canvas.callbacks.process("motion_notify_event", event)
    assert pointed == [violin.patches_at(*violin.cells[3])[0], None]


def test_marks_lie_on_the_points_of_their_patches(violin_plot):
    violin = violin_plot.violins[2]
    wanted = [violin.patches_at(*violin.cells[index])[0] for index in (1, 4)]
    violin_plot.mark(wanted)
    marks = np.concatenate([mark.get_xydata() for mark in violin_plot.marks()])
    axes = violin_plot.figure.axes[1]
    line = next(line for line in axes.lines if np.array_equal(line.get_ydata(), violin.values))
    np.testing.assert_array_equal(marks, line.get_xydata()[[1, 4]])
    violin_plot.mark([])
    assert sum(len(mark.get_xydata()) for mark in violin_plot.marks()) == 0


def test_an_empty_violin_and_a_violin_of_one_patch_are_drawn(qtbot, measured):
    source = measured[0][0]
    plot = ViolinPlot()
    qtbot.addWidget(plot)
    few = [
        Violin("QD", source, np.array(values), tuple((0, x) for x in range(len(values))), 8) for values in ([], [3.0])
    ]
    plot.show_violins(few, "mean")
    axes = drawn(plot).axes[0]
    assert [label.get_text().split("\n")[1] for label in axes.get_xticklabels()] == ["n = 0", "n = 1"]


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from([16, 64, 100, 512]))
def test_the_note_counts_the_patches_that_fit(height, width, side):
    words = room_words((height, width), side)
    fits = {edge: sum(1 for _ in range(edge, height + 1, edge)) * (width // edge) for edge in (side, 512)}
    if side == 512:
        assert words == ""
    else:
        assert f"{width} x {height} px" in words
        assert f"room for {fits[side]} whole patches of {side} px, and for {fits[512]} of" in words

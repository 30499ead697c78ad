"""What is drawn of a profile: only shells with pixels enough, from zero, or a thousandth of the brightest."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from napari_hrpn.analysis import penetration
from napari_hrpn.plugin.parts.plot import ON_PAPER
from napari_hrpn.plugin.penetration.profile_plot import ProfilePlot


@pytest.fixture
def drawn(qtbot):
    def run(distance_um, images, *, is_log):
        plot = ProfilePlot()
        qtbot.addWidget(plot)
        plot.show_profiles(penetration(distance_um, images), {"predicted": "#ff0000"})
        plot.set_log(is_log)
        figure = Figure()
        plot.draw_on(figure, ON_PAPER)
        return figure.axes

    return run


def test_lines_are_the_means_of_shells_with_pixels_enough(drawn):
    distance = np.concatenate([np.linspace(0.1, 99.9, 10_000), [200.0]])[None]
    image = 1000 * np.exp(-distance / 30)
    upper, lower = drawn(distance, {"real": image, "predicted": image / 2}, is_log=False)
    real, predicted = upper.lines
    np.testing.assert_array_equal(real.get_xdata(), np.arange(20) * 5 + 2.5)
    np.testing.assert_allclose(np.divide(predicted.get_ydata(), real.get_ydata()), 0.5)
    assert upper.get_xlim() == (0, 100)
    assert upper.get_ylim()[0] == 0
    assert lower.patches[0].get_data().values.sum() == 10_000
    assert [text.get_text() for text in upper.get_legend().get_texts()] == ["real", "predicted"]


def test_profile_below_the_background_is_seen(drawn):
    distance = np.linspace(0.1, 99.9, 10_000)[None]
    upper, _ = drawn(distance, {"real": 50 - distance}, is_log=False)
    assert upper.get_ylim()[0] < -45


def test_logarithm_shows_three_orders_of_magnitude(drawn):
    distance = np.linspace(0.1, 99.9, 10_000)[None]
    upper, _ = drawn(distance, {"real": 1e6 * np.exp(-distance / 4)}, is_log=True)
    assert upper.get_yscale() == "log"
    assert upper.get_ylim()[0] == pytest.approx(1e-3 * np.max(upper.lines[0].get_ydata()))
    dark, _ = drawn(distance, {"real": np.zeros_like(distance)}, is_log=True)
    assert dark.get_yscale() == "linear"

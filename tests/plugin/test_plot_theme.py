from napari.utils.theme import get_theme
from qtpy.QtWidgets import QWidget

from napari_hrpn.plugin.parts.plot import PlotTheme


class FakePlot:
    def __init__(self):
        self.colours = []

    def set_colours(self, background, text):
        self.colours.append((background, text))


def colours_of(name):
    theme = get_theme(name)
    return theme.background.as_hex(), theme.text.as_hex()


def test_plots_follow_the_theme_until_it_is_stopped(make_napari_viewer, qtbot):
    viewer, owner, plots = make_napari_viewer(), QWidget(), [FakePlot(), FakePlot()]
    qtbot.addWidget(owner)
    viewer.theme = "dark"
    theme = PlotTheme(owner, viewer, plots)
    viewer.theme = "light"
    theme.stop()
    viewer.theme = "dark"
    for plot in plots:
        assert plot.colours == [colours_of("dark"), colours_of("light")]

"""Profile plot of real and predicted probe over the distance from the nearest vessel, with pixels per shell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_hrpn.plugin.parts.plot import Ink, Plot, dress, explain, number_log_axis, say_in, short

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from napari_hrpn.analysis import Penetration

_HEIGHT_PX = 350
_LONGEST_NAME = 30
_HEIGHT_RATIOS = (2.2, 1.0)
_LEAST_LOG_SHARE = 1e-3
_NOTHING = "Press Measure to show the probe over the distance from vessels."


class ProfilePlot(Plot):
    """Mean grey level of each shell in the upper panel, number of its pixels in the lower one."""

    # the two panels share the distances between them
    row_gap_px = 25

    def __init__(self) -> None:
        super().__init__(_HEIGHT_PX)
        self.is_log = False
        self._profiles: Sequence[Penetration] = ()
        self._colours: Mapping[str, str] = {}

    def show_profiles(self, profiles: Sequence[Penetration], colours: Mapping[str, str]) -> None:
        """Show other profiles."""
        self._profiles, self._colours = profiles, colours
        self.redraw_soon()

    def set_log(self, is_log: bool) -> None:
        """Show the logarithm of the grey levels: an exponential decrease is a straight line."""
        self.is_log = is_log
        self.redraw_soon()

    def draw_on(self, figure: Figure, ink: Ink) -> None:
        """Draw a line per image, and a bar per shell."""
        if not self._profiles:
            say_in(figure, _NOTHING, ink)
            return
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=_HEIGHT_RATIOS)
        shown = self._shells_shown()
        for profile in self._profiles:
            shells = profile.shells[:shown]
            upper.plot(
                [(shell.from_um + shell.to_um) / 2 for shell in shells],
                [shell.mean for shell in shells],
                "o-",
                color=self._colours.get(profile.image, ink.text),
                markersize=3,
                linewidth=1.2,
                label=short(profile.image, _LONGEST_NAME),
            )
        first = self._profiles[0]
        edges = [shell.from_um for shell in first.shells[: shown + 1]]
        lower.stairs([shell.n for shell in first.shells[:shown]], edges, fill=True, color=ink.text, alpha=0.5)
        lowest, highest = upper.dataLim.intervaly
        if self.is_log and highest > 0:
            number_log_axis(upper)
            upper.set_ylim(bottom=max(upper.get_ylim()[0], _LEAST_LOG_SHARE * highest))
        else:
            upper.set_ylim(bottom=min(0, lowest))
        upper.set_xlim(0, edges[-1])
        lower.ticklabel_format(axis="y", scilimits=(-3, 4))
        dress(upper, ink, up="grey level", title=f"{first.area}, n = {first.n:,} pixels outside vessels")
        dress(lower, ink, across="distance from the nearest vessel, µm", up="pixels in shell")
        explain(upper, ink)

    def words_at(self, event: Any) -> str:  # noqa: ANN401 (matplotlib's event)
        """The shell under the mouse."""
        if not self._profiles or event.xdata < 0:
            return ""
        shells = self._profiles[0].shells[:-1]
        index = int(event.xdata // shells[0].to_um)
        if index >= len(shells):
            return ""
        lines = [f"{profile.image}: {profile.shells[index].mean:.4g}" for profile in self._profiles]
        return "\n".join([f"{shells[index].from_um:g} to {shells[index].to_um:g} µm, n = {shells[index].n:,}", *lines])

    def _shells_shown(self) -> int:
        """Number of shells that hold nearly all pixels; further shells have only a few."""
        shells, furthest = self._profiles[0].shells[:-1], self._profiles[0].range_um
        return sum(shell.to_um <= furthest for shell in shells) or len(shells)

"""Violin plot of the patches of slides: a panel per channel, a violin per tumour, a point per patch.

Each point belongs to a patch: the mouse on a point frames the patch in the viewer, and the other way round.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Signal

from napari_hrpn.core import Box
from napari_hrpn.plugin.parts.plot import LEFT_PX, RIGHT_PX, TEXT_POINTS, Ink, Plot, dress, say_in, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from numpy.typing import NDArray

    from napari_hrpn.plugin.distributions.measurement import PatchSource

_PANEL_PX = 205
_COLUMNS = 2
_WIDTH = 0.8
_SPREAD = 0.16
_NEAR_PX = 12
MARK_COLOUR = "#ffe14d"
_LETTER_PX = 7
_MOST_SIDE_BY_SIDE = 2
_NOTHING = "Press Measure to cut the slides into patches."


@dataclass(frozen=True, eq=False)
class Violin:
    """The patches of one channel of one slide."""

    panel: str  # name of the channel
    source: PatchSource
    values: NDArray[np.float64]  # one number per patch with enough tissue
    cells: tuple[tuple[int, int], ...]  # row and column of each patch in the grid of patches
    patch_px: int

    @property
    def name(self) -> str:
        """Name of the tumour."""
        return self.source.tumour

    def patches_at(self, row: int, column: int) -> list[Patch]:
        """The patch in a row and a column of the grid; none if it has too little tissue."""
        index = self._indices.get((row, column))
        return [] if index is None else [Patch(self, index)]

    @cached_property
    def _indices(self) -> dict[tuple[int, int], int]:
        return {cell: index for index, cell in enumerate(self.cells)}


@dataclass(frozen=True)
class Patch:
    """A patch of a violin."""

    violin: Violin
    index: int  # its number in the violin

    @property
    def box(self) -> Box:
        """Box of the patch on its slide."""
        (row, column), side = self.violin.cells[self.index], self.violin.patch_px
        height, width = self.violin.source.slide.shape
        return Box(row * side, min((row + 1) * side, height), column * side, min((column + 1) * side, width))

    @property
    def value(self) -> float:
        """Number that is plotted."""
        return float(self.violin.values[self.index])


class ViolinPlot(Plot):
    """Violins; `pointed` carries the `Patch` under the mouse, or None, and `picked` the one that was clicked on."""

    pointed = Signal(object)
    picked = Signal(object)

    def __init__(self) -> None:
        super().__init__(_PANEL_PX)
        self.violins: Sequence[Violin] = ()
        self.marked: Sequence[Patch] = ()
        self._quantity = ""
        self._under_mouse: Patch | None = None
        self._axes: dict[Axes, list[Violin]] = {}
        self._mark_lines: dict[str, Line2D] = {}
        for event in ("motion_notify_event", "figure_leave_event"):
            self.canvas.mpl_connect(event, self._point)

    def show_violins(self, violins: Sequence[Violin], quantity: str) -> None:
        """Show other violins."""
        self.violins, self.marked, self._quantity, self._under_mouse = violins, (), quantity, None
        self.canvas.setFixedHeight(_PANEL_PX * max(1, self._grid()[0]))
        self.redraw_soon()

    def mark(self, patches: Sequence[Patch]) -> None:
        """Mark patches, such as those under the mouse in the viewer."""
        if list(patches) != list(self.marked):
            self.marked = patches
            self._place_marks()
            self.redraw_marks()

    def draw_on(self, figure: Figure, ink: Ink) -> None:
        """Draw a panel per channel."""
        is_shown = figure is self.figure
        if is_shown:
            self._axes, self._mark_lines = {}, {}
        panels = self._panels()
        if not panels:
            say_in(figure, _NOTHING, ink)
            return
        grid = figure.subplots(*self._grid(), squeeze=False).ravel()
        for axes, panel in zip(grid, panels, strict=False):
            violins = [violin for violin in self.violins if violin.panel == panel]
            room_px = self.canvas.width() / self._grid()[1] - LEFT_PX - RIGHT_PX
            _draw_panel(axes, violins, ink, room_px)
            dress(axes, ink, up=self._quantity, title=panel)
            if is_shown:
                self._axes[axes] = violins
                (self._mark_lines[panel],) = axes.plot(
                    [], [], "o", markersize=9, color=MARK_COLOUR, markeredgecolor=ink.background, animated=True
                )
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        self._place_marks()

    def marks(self) -> list[Artist]:
        """A large dot for each marked patch."""
        return list(self._mark_lines.values())

    def patch_at(self, event: Any) -> Patch | None:  # noqa: ANN401 (matplotlib's event)
        """The patch whose point is nearest to the mouse; None if none is near."""
        nearest, patch = float(_NEAR_PX), None
        for position, violin in enumerate(self._axes.get(event.inaxes, ())):
            if len(violin.values):
                points = np.column_stack([position + _aside(len(violin.values)), violin.values])
                distances = np.hypot(*(event.inaxes.transData.transform(points) - (event.x, event.y)).T)
                if distances.min() < nearest:
                    nearest, patch = float(distances.min()), Patch(violin, int(distances.argmin()))
        return patch

    def words_at(self, event: Any) -> str:  # noqa: ANN401 (matplotlib's event)
        """Tumour, place and value of the patch under the mouse."""
        patch = self.patch_at(event)
        if patch is None:
            return ""
        corner = f"row {patch.box.y0}, column {patch.box.x0} px"
        return f"{patch.violin.name}, {patch.violin.panel}\n{corner}: {patch.value:.6g}"

    def pressed(self, event: Any) -> None:  # noqa: ANN401 (matplotlib's event)
        """Emit the patch that was clicked on."""
        patch = self.patch_at(event)
        if patch is not None:
            self.picked.emit(patch)

    def _point(self, event: Any) -> None:  # noqa: ANN401 (matplotlib's event)
        patch = self.patch_at(event)
        if patch != self._under_mouse:
            self._under_mouse = patch
            self.pointed.emit(patch)

    def _panels(self) -> list[str]:
        return list(dict.fromkeys(violin.panel for violin in self.violins))

    def _grid(self) -> tuple[int, int]:
        """Rows and columns of panels."""
        panels = self._panels()
        most = max((sum(one.panel == panel for one in self.violins) for panel in panels), default=1)
        columns = _COLUMNS if len(panels) > 1 and most <= _MOST_SIDE_BY_SIDE else 1
        return math.ceil(len(panels) / columns), columns

    def _place_marks(self) -> None:
        for violins in self._axes.values():
            points = [
                (position + _aside(len(violin.values))[patch.index], patch.value)
                for patch in self.marked
                for position, violin in enumerate(violins)
                if violin is patch.violin
            ]
            self._mark_lines[violins[0].panel].set_data(*np.array(points, float).reshape(-1, 2).T)


def _draw_panel(axes: Axes, violins: Sequence[Violin], ink: Ink, room_px: float) -> None:
    for position, violin in enumerate(violins):
        n = len(violin.values)
        if not n:
            continue
        colour = violin.source.colour or ink.text
        bodies = axes.violinplot([violin.values], [position], widths=_WIDTH, showextrema=False)["bodies"]
        for body in bodies:  # type: ignore[attr-defined]
            body.set(facecolor=colour, edgecolor=colour, alpha=0.35)
        size = 4.0 if n < 200 else 2.0
        axes.plot(position + _aside(n), violin.values, "o", color=colour, markersize=size, alpha=0.8, markeredgewidth=0)
        middle = float(np.median(violin.values))
        for ink_of_line, width in ((ink.background, 4.0), (ink.text, 1.5)):
            axes.plot(
                [position - _WIDTH / 4, position + _WIDTH / 4], [middle] * 2, "-", color=ink_of_line, linewidth=width
            )
    letters = max(5, int(room_px / _LETTER_PX / len(violins)))
    labels = [f"{short(violin.name, letters)}\nn = {len(violin.values)}" for violin in violins]
    axes.set_xticks(range(len(violins)), labels, fontsize=TEXT_POINTS)
    axes.set_xlim(-0.6, len(violins) - 0.4)
    axes.ticklabel_format(axis="y", scilimits=(-3, 4))


def _aside(n: int) -> NDArray[np.float64]:
    """Horizontal offsets of points from the middle of their violin, so that few hide others."""
    # a golden-ratio sequence spreads evenly, and is the same each time
    golden = (np.sqrt(5) - 1) / 2
    return np.asarray(_SPREAD * (2 * (np.arange(n) * golden % 1) - 1))

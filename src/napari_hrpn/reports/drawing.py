"""Drawing of a figure as PNG and SVG, with names as plain text."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.core.plain_text import no_device, printable
from napari_hrpn.slides.writers.output_path import partial_output

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Formatter
    from numpy.typing import NDArray

# characters of a line; a longer name would leave no room for the plot
_LONGEST_LINE = 100


def plain_text(figure: Figure) -> None:
    """Make a figure draw its texts literally, without math markup; only numbers at the axes are typeset.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Complete figure, before it is drawn; calling it again is harmless.
    """
    from matplotlib.text import Text

    numbers = {id(label) for label in _number_labels(figure)}
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if id(text) not in numbers:
            text.set_parse_math(False)
            words = text.get_text()
            if (shown := _shown(words)) != words:
                text.set_text(shown)


def _number_labels(figure: Figure) -> Iterator[Artist]:
    """Tick labels that matplotlib makes from numbers, such as powers of ten; names at ticks are made plain text."""
    from matplotlib.ticker import FixedFormatter, FuncFormatter

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            yield axis.offsetText
            formatter = axis.get_major_formatter()
            if not isinstance(formatter, FixedFormatter | FuncFormatter):
                for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                    yield from (tick.label1, tick.label2)
            elif getattr(getattr(formatter, "func", None), "func", None) is not _named:
                # ticks get their labels from the formatter at each drawing, so changing a label would not last
                axis.set_major_formatter(FuncFormatter(partial(_named, formatter)))


def _named(formatter: Formatter, value: float, place: int | None) -> str:
    return _shown(formatter(value, place))


def _shown(words: str) -> str:
    lines = words.split("\n")
    return "\n".join(
        line if len(line) <= _LONGEST_LINE and line.isprintable() else _short(printable(line)) for line in lines
    )


def _short(line: str) -> str:
    half = _LONGEST_LINE // 2
    return line if len(line) <= _LONGEST_LINE else f"{line[:half]} … {line[-half:]}"


_DPI = 130
REAL_COLOUR = "#222222"
# file systems allow 255 bytes; prefix, suffix and the name of a partial file come on top
_LONGEST_NAME_BYTES = 120


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure with its name, title and caption."""

    name: str
    title: str
    caption: str  # One or two sentences on what the figure shows
    figure: Figure


def write_drawing(drawing: Drawing, folder: Path) -> tuple[Path, Path]:
    """Write a figure as PNG and SVG; existing files are replaced."""
    import matplotlib as mpl

    figure = drawing.figure
    plain_text(figure)
    paths = folder / f"{drawing.name}.png", folder / f"{drawing.name}.svg"
    # with a date and random ids, an SVG would differ each time it is written; with a layout engine, even with "none",
    # savefig would draw everything twice for each file
    with mpl.rc_context(
        {"svg.hashsalt": drawing.name, "figure.autolayout": False, "figure.constrained_layout.use": False}
    ):
        if (engine := figure.get_layout_engine()) is not None:
            figure.dpi = _DPI
            engine.execute(figure)
            figure.set_layout_engine(None)
        for path, metadata in zip(paths, ({}, {"Date": None}), strict=True):
            with partial_output(path, None, overwrite=True) as partial:
                figure.savefig(partial, format=path.suffix[1:], dpi=_DPI, metadata=metadata)
    return paths


def file_name(text: str) -> str:
    """File name that every file system accepts, made from a text."""
    name = no_device(re.sub(r"[^\w.-]+", "-", text).strip("-.") or "prediction")
    whole = name.encode()
    if len(whole) <= _LONGEST_NAME_BYTES:
        return name
    return f"{whole[:_LONGEST_NAME_BYTES].decode(errors='ignore')}-{hashlib.sha256(whole).hexdigest()[:8]}"


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, *, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """Figure of a size in inches, and its panels row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(np.ravel(figure.subplots(rows, columns, squeeze=False, sharey=sharey)))


def draw_equality(axes: Axes, ends: Sequence[float] | NDArray[np.float64]) -> None:
    """Draw the line on which predicted equals real."""
    axes.plot(ends, ends, color=REAL_COLOUR, linestyle="--", linewidth=1)


def tidy(axes: Axes, x: str, y: str, title: str = "", *, has_legend: bool = False) -> None:
    """Label the axes of a plot and remove the top and right spines."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if title:
        axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    if has_legend:
        axes.legend(frameon=False, fontsize=8)

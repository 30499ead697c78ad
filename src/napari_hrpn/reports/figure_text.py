"""The words of a figure as they are: names are neither formulas nor commands, and short enough to leave room."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari_hrpn.core.plain_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from matplotlib.ticker import Formatter

_LONGEST_LINE = 100


def plain_text(figure: Figure) -> None:
    """Have a figure draw its words as they are; only the numbers at its axes are typeset.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Complete, before it is drawn; it may be done again.
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
    """Labels that matplotlib makes of numbers, such as powers of ten; names at ticks are made plain."""
    from matplotlib.ticker import FixedFormatter, FuncFormatter

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            yield axis.offsetText
            formatter = axis.get_major_formatter()
            if not isinstance(formatter, FixedFormatter | FuncFormatter):
                for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                    yield from (tick.label1, tick.label2)
            elif getattr(getattr(formatter, "func", None), "func", None) is not _named:
                # a tick takes its label from the formatter each time it is drawn
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

"""What was found in slides, in words that fit a form; what does not matter is said only where one points at it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from napari_hrpn.plugin.parts.messages import WARNING_MARK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_hrpn.analysis import Finding

_MOST_TITLES = _MOST_SENTENCES = 3
_TOOLTIP_LETTERS = 90
_INDENT = "    "


def warnings_of(findings: Iterable[Finding]) -> tuple[str, ...]:
    """What to do something about."""
    return tuple(finding.sentence for finding in findings if finding.matters)


def without_size(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """What was found, but for a missing pixel size, where a form says by itself which size is wanted."""
    return tuple(finding for finding in findings if finding.check != "pixel size")


def findings_tooltip(findings: Iterable[Finding]) -> tuple[str, ...]:
    """All that was found."""
    lines = (f"{WARNING_MARK if finding.matters else '–'} {finding.sentence}" for finding in findings)
    return tuple(textwrap.fill(line, _TOOLTIP_LETTERS, subsequent_indent=_INDENT) for line in lines)


def warnings_of_slides(slides: Sequence[tuple[str, Sequence[Finding]]]) -> tuple[str, ...]:
    """What to do something about in several slides, short enough for the edge of a form."""
    titles: dict[str, list[str]] = {}
    for title, findings in slides:
        for sentence in warnings_of(findings):
            titles.setdefault(sentence, []).append(title)
    told = [f"{_listed(about)}: {sentence}" for sentence, about in titles.items()]
    if len(told) > _MOST_SENTENCES:
        more = len(told) - _MOST_SENTENCES
        told[_MOST_SENTENCES:] = [f"{more} more: point at the slides with {WARNING_MARK} in the table."]
    return tuple(told)


def _listed(titles: Sequence[str]) -> str:
    if len(titles) <= _MOST_TITLES:
        return ", ".join(titles)
    return f"{', '.join(titles[:_MOST_TITLES])} and {len(titles) - _MOST_TITLES} more"

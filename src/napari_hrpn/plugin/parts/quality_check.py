"""Quality check of slides in the background, and its findings as warnings and tooltips of a form."""

from __future__ import annotations

import math
import textwrap
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from qtpy.QtCore import QObject, Signal

from napari_hrpn.core import Stopped, relayed
from napari_hrpn.plugin.background import NewestTask
from napari_hrpn.plugin.parts.messages import WARNING_MARK, sentence_of
from napari_hrpn.slides import ChannelRoles, SlideError

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Hashable, Iterable, Mapping, Sequence

    from napari_hrpn.analysis import Finding
    from napari_hrpn.core import Progress
    from napari_hrpn.slides import Slide

    _Findings: TypeAlias = tuple[Finding, ...]
    _Channels: TypeAlias = Mapping[str, int]

_ROLES = ("nuclei", "vessels", "probe")
_MOST_TITLES = _MOST_SENTENCES = 3
_TOOLTIP_LETTERS = 90
_INDENT = "    "


class QualityLook(QObject):
    """Checks slides one after the other in the background; nothing waits for it.

    `found` is emitted when `findings` has new results. They are kept for each slide and each choice of its channels.
    """

    found = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[Hashable, _Findings] = {}
        self._wanted: dict[Hashable, tuple[Slide, ChannelRoles | None]] = {}
        self._current: Hashable = None
        self._task = NewestTask()

    @property
    def is_looking(self) -> bool:
        """Whether a slide is being checked."""
        return self._task.is_busy

    def look_at(self, slides: Iterable[tuple[Slide, _Channels]]) -> None:
        """Check these slides, in place of those that were to be checked."""
        with_roles = [(slide, _roles(channels)) for slide, channels in slides]
        self._wanted = {_key(slide, roles): (slide, roles) for slide, roles in with_roles}
        if self._current not in self._wanted:
            self.abandon()
        self._go_on()

    def findings(self, slide: Slide, channels: _Channels) -> _Findings:
        """Findings of a slide that concern these channels; none before it is checked."""
        used = set(channels.values())
        known = self._known.get(_key(slide, _roles(channels)), ())
        return tuple(finding for finding in known if not used or used.issuperset(finding.channels))

    def abandon(self) -> None:
        """Stop checking; no signal is emitted any more."""
        self._current = None
        self._task.abandon()

    def _go_on(self) -> None:
        key = next((key for key in self._wanted if key not in self._known), None)
        if key is not None and not self.is_looking:
            self._current = key
            self._task.do(partial(_check, *self._wanted[key]), self._take, self._fail)

    def _take(self, findings: _Findings) -> None:
        self._known[self._current] = findings
        self.found.emit()
        self._go_on()

    def _fail(self, error: BaseException) -> None:
        # an unexpected error is shown once: without findings, the slide is not checked again
        sentence_of(error)
        self._take(())


def _check(
    slide: Slide, roles: ChannelRoles | None, stop: threading.Event
) -> Generator[Progress, None, _Findings | None]:
    from napari_hrpn.analysis import Finding, slide_quality

    try:
        checked = yield from relayed(slide_quality(slide, roles), lambda progress: progress, stop)
    except Stopped:
        return None
    except SlideError as error:
        return (Finding("reading", (), math.nan, "", True, str(error)),)
    return checked.findings


def _roles(channels: _Channels) -> ChannelRoles | None:
    """Roles for the check; None to guess them, if fewer than two are chosen or two share a channel."""
    known = {role: channels[role] for role in _ROLES if role in channels}
    return ChannelRoles(**known) if len(set(known.values())) == len(known) > 1 else None


def _key(slide: Slide, roles: ChannelRoles | None) -> Hashable:
    # dask gives arrays with the same content the same name; a slide that has got coarse levels is checked again
    return slide.levels[0].name, slide.stored_levels, slide.channel_names, slide.pixel_size_um, roles


def warnings_of(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Sentences of the findings that matter."""
    return tuple(finding.sentence for finding in findings if finding.matters)


def without_size(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings except a missing pixel size, for a form that shows the needed size itself."""
    return tuple(finding for finding in findings if finding.check != "pixel size")


def findings_tooltip(findings: Iterable[Finding]) -> tuple[str, ...]:
    """All findings, as lines of a tooltip."""
    lines = (f"{WARNING_MARK if finding.matters else '–'} {finding.sentence}" for finding in findings)
    return tuple(textwrap.fill(line, _TOOLTIP_LETTERS, subsequent_indent=_INDENT) for line in lines)


def warnings_of_slides(slides: Sequence[tuple[str, Sequence[Finding]]]) -> tuple[str, ...]:
    """Warnings of several slides, each sentence once and only the first few, so that they fit into a form."""
    titles: dict[str, list[str]] = {}
    for title, findings in slides:
        for sentence in warnings_of(findings):
            titles.setdefault(sentence, []).append(title)
    sentences = [f"{_listed(about)}: {sentence}" for sentence, about in titles.items()]
    if len(sentences) > _MOST_SENTENCES:
        more = len(sentences) - _MOST_SENTENCES
        sentences[_MOST_SENTENCES:] = [f"{more} more: see the tooltips of the slides with {WARNING_MARK} in the table."]
    return tuple(sentences)


def _listed(titles: Sequence[str]) -> str:
    more = len(titles) - _MOST_TITLES
    return ", ".join(titles[:_MOST_TITLES]) + (f" and {more} more" if more > 0 else "")

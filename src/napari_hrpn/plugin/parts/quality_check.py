"""Slides are looked at for what may spoil a prediction, one after the other, off the GUI thread; nothing waits for it.

What was found is kept for each slide and each choice of its channels.
"""

from __future__ import annotations

import contextlib
import math
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from qtpy.QtCore import QObject, Signal

from napari_hrpn.plugin.background import NewestTask
from napari_hrpn.plugin.parts.user_error import sentence_of
from napari_hrpn.slides import ChannelRoles, SlideError

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Hashable, Iterable, Mapping

    from napari_hrpn.analysis import Finding
    from napari_hrpn.slides import Slide

    Findings: TypeAlias = tuple[Finding, ...]
    Channels: TypeAlias = Mapping[str, int]

_ROLES = ("nuclei", "vessels", "probe")


class QualityLook(QObject):
    """Looks at slides in the background.

    `found` says that `findings` knows more now.
    """

    found = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[Hashable, Findings] = {}
        self._wanted: dict[Hashable, tuple[Slide, ChannelRoles | None]] = {}
        self._current: Hashable = None
        self._task = NewestTask()

    @property
    def is_looking(self) -> bool:
        """Whether there is a slide of which nothing is known yet."""
        return self._task.is_busy

    def look_at(self, wanted: Iterable[tuple[Slide, Channels]]) -> None:
        """Look at slides, and at no others any more."""
        asked = [(slide, _roles(channels)) for slide, channels in wanted]
        self._wanted = {_key(slide, roles): (slide, roles) for slide, roles in asked}
        if self._current not in self._wanted:
            self.abandon()
        self._go_on()

    def findings(self, slide: Slide, channels: Channels) -> Findings:
        """What is known of a slide."""
        used = set(channels.values())
        known = self._known.get(_key(slide, _roles(channels)), ())
        return tuple(finding for finding in known if not used or used.issuperset(finding.channels))

    def abandon(self) -> None:
        """Look no further; no signal comes any more."""
        self._current = None
        self._task.abandon()

    def _go_on(self) -> None:
        key = next((key for key in self._wanted if key not in self._known), None)
        if key is not None and not self.is_looking:
            self._current = key
            self._task.do(partial(_look, *self._wanted[key]), self._take, self._fail)

    def _take(self, findings: Findings) -> None:
        self._known[self._current] = findings
        self.found.emit()
        self._go_on()

    def _fail(self, error: BaseException) -> None:
        # napari shows it once, and the slide is not looked at again
        sentence_of(error)
        self._take(())


def _look(
    slide: Slide, roles: ChannelRoles | None, stop: threading.Event
) -> Generator[None, None, tuple[Finding, ...] | None]:
    from napari_hrpn.analysis import Finding, slide_quality

    with contextlib.closing(slide_quality(slide, roles)) as look:
        while not stop.is_set():
            try:
                next(look)
            except StopIteration as end:
                findings: Findings = end.value.findings
                return findings
            except SlideError as error:
                return (Finding("reading", (), math.nan, "", True, str(error)),)
            yield
    return None


def _roles(channels: Channels) -> ChannelRoles | None:
    """Roles that are compared with each other; None where they are to be guessed."""
    known = {role: channels[role] for role in _ROLES if role in channels}
    return ChannelRoles(**known) if len(set(known.values())) == len(known) > 1 else None


def _key(slide: Slide, roles: ChannelRoles | None) -> Hashable:
    # dask calls arrays that hold the same by the same name; a slide that has got coarse levels is worth another look
    return slide.levels[0].name, slide.stored_levels, slide.channel_names, slide.pixel_size_um, roles

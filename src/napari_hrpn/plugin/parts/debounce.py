"""What is done once for all that changes in a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer

if TYPE_CHECKING:
    from collections.abc import Callable


def soon(owner: QObject, act: Callable[[], object], delay_ms: int = 0) -> QTimer:
    """A timer that acts once after it was started last."""
    timer = QTimer(owner)
    timer.setSingleShot(True)
    timer.setInterval(delay_ms)
    timer.timeout.connect(act)
    return timer

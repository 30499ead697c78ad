"""Waiting for what a widget does by itself: for a state, however slow the machine is, and never for a time."""

from qtpy.QtWidgets import QApplication

WAIT_MS = 120_000
"""Longest wait for a state; on a machine that others use, a second of work may take a minute."""


def settle(qtbot, widget):
    """Wait until a widget has read, measured and shown all that follows from what was done."""

    def is_settled():
        # what was done may still be on its way as an event
        QApplication.processEvents()
        return widget.is_settled

    qtbot.waitUntil(is_settled, timeout=WAIT_MS)


def draw(viewer):
    """Let napari draw now what is in view: only then it chooses the level that it shows."""
    viewer.screenshot(canvas_only=True, flash=False)

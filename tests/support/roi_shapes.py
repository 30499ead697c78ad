"""Rectangles as napari keeps them, and threads that are still alive."""

import threading

import numpy as np


def box(y0: float, y1: float, x0: float, x1: float) -> np.ndarray:
    """A rectangle that holds these pixels, in coordinates of a layer's data."""
    return np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]], float) - 0.5


def own_threads() -> list[threading.Thread]:
    """Threads of the package that are alive."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("napari-hrpn")]

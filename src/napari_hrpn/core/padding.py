"""Which pixel stands in for one beyond the slide's border."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def reflected(start: int, stop: int, size: int) -> NDArray[np.intp]:
    """Indices start to stop, those outside 0 to size mirrored at the border pixels.

    The border pixel itself is not repeated, as in numpy's "reflect" padding, however far the range reaches.

    Parameters
    ----------
    start, stop : int
        Half-open range; may reach beyond 0 and `size`.
    size : int
        Pixels there are, at least one.

    Returns
    -------
    numpy.ndarray
        stop - start indices in 0 to size - 1.
    """
    period = max(1, 2 * (size - 1))
    position = np.arange(start, stop) % period
    return np.minimum(position, period - position) if size > 1 else np.zeros(stop - start, np.intp)

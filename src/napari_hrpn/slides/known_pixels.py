"""Which pixels are grey levels: the one rule for slides of floating point, whose pixels may be anything.

NaN, infinity and what lies beyond 1e12 (no detector counts so far, but programs write such numbers for "no data") are
not. Statistics of a slide leave them out, a coarser pixel is the mean of those that are, and a network is shown the
background of the channel in their place. Integers are never looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LARGEST = 1e12


def known_pixels(pixels: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Find the pixels that are grey levels.

    Parameters
    ----------
    pixels : numpy.ndarray
        Of any shape and type.

    Returns
    -------
    numpy.ndarray of bool or None
        None where all are.
    """
    if pixels.dtype.kind != "f":
        return None
    # also False for NaN
    known: NDArray[np.bool_] = np.abs(pixels) <= _LARGEST
    return None if known.all() else known


def with_known_pixels(pixels: NDArray[Any], fill: Sequence[float]) -> NDArray[Any]:
    """Put a grey level in the place of pixels that are none.

    Parameters
    ----------
    pixels : numpy.ndarray
        Shape (c, y, x).
    fill : sequence of float
        One per channel.

    Returns
    -------
    numpy.ndarray
        The same array where there are none.
    """
    known = known_pixels(pixels)
    return pixels if known is None else np.where(known, pixels, np.asarray(fill, pixels.dtype)[:, None, None])

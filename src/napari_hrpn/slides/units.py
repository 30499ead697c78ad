"""Lengths in micrometres, from whatever unit a file uses; and which of them may be the size of a pixel."""

from __future__ import annotations

import math

SMALLEST_PIXEL_UM = 0.01
LARGEST_PIXEL_UM = 100.0
LARGEST_PRINTED_PIXEL_UM = 20.0
MOST_ANISOTROPY = 10.0

_MICROMETRES = {
    "pm": 1e-6,
    "picometer": 1e-6,
    "å": 1e-4,
    "angstrom": 1e-4,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "µm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "micrometer": 1.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "dm": 1e5,
    "decimeter": 1e5,
    "m": 1e6,
    "meter": 1e6,
    "thou": 25.4,
    "pt": 25_400 / 72,
    "in": 25_400.0,
    "inch": 25_400.0,
    "ft": 304_800.0,
    "foot": 304_800.0,
    "yd": 914_400.0,
    "yard": 914_400.0,
}


def micrometres(value: float | str | None, unit: str | None) -> float | None:
    """A length in µm.

    Parameters
    ----------
    value : float, str or None
        The number.
    unit : str or None
        Name or symbol of its unit, such as "nm", "micron", "micrometer", "cm", "inch".

    Returns
    -------
    float or None
        In µm, also where it can be no length; None where number or unit say nothing, such as "pixel".
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    # three ways to write the micro sign are in use: U+00B5, U+03BC, and an escape that was never undone
    text = (
        (unit or "")
        .strip()
        .replace("\\u00b5", "µ")
        .replace("\\u00B5", "µ")
        .replace("μ", "µ")
        .lower()
        .replace("metre", "meter")
    )
    factor = _MICROMETRES.get(text) or _MICROMETRES.get(text.removesuffix("s"))
    return None if factor is None else number * factor


def usable_pixel_size(size: tuple[float, float] | None) -> tuple[float, float] | None:
    """A pixel size that a microscope may have: the one rule on which sizes reach the rest of the package.

    Parameters
    ----------
    size : tuple of float or None
        Height and width of a pixel in µm.

    Returns
    -------
    tuple of float or None
        The same; None where a side is not from 0.01 to 100 µm, or one is more than 10 times the other.
    """
    if size is None:
        return None
    sides = float(size[0]), float(size[1])
    if not all(SMALLEST_PIXEL_UM <= side <= LARGEST_PIXEL_UM for side in sides):
        return None
    return sides if max(sides) <= MOST_ANISOTROPY * min(sides) else None


def expected_pixel_size() -> str:
    """Say what `usable_pixel_size` accepts.

    Returns
    -------
    str
        A clause for a sentence.
    """
    return (
        f"{SMALLEST_PIXEL_UM:g} to {LARGEST_PIXEL_UM:g} µm and sides that differ by a factor of "
        f"{MOST_ANISOTROPY:g} at most"
    )


def printed_pixel_size(resolution: float, unit: str | None) -> float | None:
    """Pixel size from dots per unit, which is often that of a printer and then says nothing.

    Parameters
    ----------
    resolution : float
        Pixels per unit.
    unit : str or None
        "cm" or "inch".

    Returns
    -------
    float or None
        In µm; None where it is no size that a microscope has.
    """
    if not math.isfinite(resolution) or resolution <= 0:
        return None
    size = micrometres(1 / resolution, unit)
    if size is None or not SMALLEST_PIXEL_UM <= size <= LARGEST_PRINTED_PIXEL_UM:
        return None
    return size

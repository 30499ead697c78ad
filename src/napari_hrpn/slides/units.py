"""Lengths in micrometres, from whatever unit a file uses; a size that no microscope has counts as unknown."""

from __future__ import annotations

import math

SMALLEST_PIXEL_UM = 0.001
LARGEST_PRINTED_PIXEL_UM = 20.0

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
        In µm; None where number or unit say nothing, such as "pixel".
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
    if factor is None or not math.isfinite(number) or number <= 0:
        return None
    return number * factor


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

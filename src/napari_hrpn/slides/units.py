"""Units of length in files, converted to micrometres, and the valid range of pixel sizes."""

from __future__ import annotations

import math

_SMALLEST_PIXEL_UM = 0.01
_LARGEST_PIXEL_UM = 100.0
_LARGEST_PRINTED_PIXEL_UM = 20.0
_MOST_ANISOTROPY = 10.0

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


# units that mean that the size is not known
_NO_UNITS = ("", "none", "pixel", "pixels", "px", "reference frame", "referenceframe", "arbitrary units", "unknown")


def micrometres(value: float | str | None, unit: str | None) -> float | None:
    """A length in µm; None if the number or the unit is not understood."""
    number = _number(value)
    if number is None:
        return None
    # three spellings of the micro sign are in use: U+00B5, U+03BC, and an escape sequence that was not decoded
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
    """A pixel size if a microscope can have it, else None; the only place of this rule."""
    if size is None:
        return None
    sides = float(size[0]), float(size[1])
    if not all(_SMALLEST_PIXEL_UM <= side <= _LARGEST_PIXEL_UM for side in sides):
        return None
    return sides if max(sides) <= _MOST_ANISOTROPY * min(sides) else None


def expected_pixel_size() -> str:
    """Sizes that `usable_pixel_size` accepts, in words."""
    return (
        f"{_SMALLEST_PIXEL_UM:g} to {_LARGEST_PIXEL_UM:g} µm and sides that differ by a factor of "
        f"{_MOST_ANISOTROPY:g} at most"
    )


def _number(value: float | str | None) -> float | None:
    """A number that may be written with a decimal comma; None if it is ambiguous or no number."""
    if isinstance(value, str):
        value = value.strip()
        if value.count(",") == 1 and "." not in value:
            value = value.replace(",", ".")
        if "_" in value:
            return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


Length = tuple[float | str | None, str | None]


def read_pixel_size(height: Length, width: Length) -> tuple[tuple[float, float] | None, str]:
    """Pixel size from two numbers with units, and words about the part that was not understood."""
    sides = [micrometres(*height), micrometres(*width)]
    for side, (value, unit) in zip(sides, (height, width), strict=True):
        if side is None and value not in (None, "") and (unit or "").strip().lower() not in _NO_UNITS:
            return None, f"a pixel of {str(value)[:40]!r} {str(unit)[:40]}"
    if sides[0] is None or sides[1] is None:
        missing = [name for name, side in zip(("height", "width"), sides, strict=True) if side is None]
        found = next((side for side in sides if side is not None), None)
        return (None, "") if found is None else ((found, found), f"no {missing[0]} of a pixel, so it counts as square")
    return (sides[0], sides[1]), ""


def printed_pixel_size(resolution: float, unit: str | None) -> float | None:
    """Pixel size from dots per unit; None if it is the resolution of a printer, as it often is."""
    if not math.isfinite(resolution) or resolution <= 0:
        return None
    size = micrometres(1 / resolution, unit)
    if size is None or not _SMALLEST_PIXEL_UM <= size <= _LARGEST_PRINTED_PIXEL_UM:
        return None
    return size

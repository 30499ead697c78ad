"""Findings of a quality check: a number, whether it matters, and a sentence about its effect on a prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_hrpn.analysis.quality.channel_shift import ChannelShift
    from napari_hrpn.analysis.quality.cross_talk import CrossTalk
    from napari_hrpn.analysis.quality.grey_levels import GreyLevels
    from napari_hrpn.analysis.quality.stitching import Stitching
    from napari_hrpn.slides import Slide

_SEEN_SATURATION, _MUCH_SATURATION = 5e-4, 1e-3
_SEEN_ZEROS, _MANY_ZEROS = 0.01, 0.2
_GAPS = 1.15
_FEW_LEVELS = 16
_SEEN_SHIFT_PX, _LARGE_SHIFT_PX = 0.5, 1.0
_MUCH_CROSS_TALK = 0.05
_SEEN_DEPTH, _DEEP = 0.02, 0.05


@dataclass(frozen=True)
class Finding:
    """One finding of a quality check.

    Attributes
    ----------
    check : str
        "photograph", "pixel size", "not a number", "constant", "saturation", "zeros", "bit depth", "shift",
        "cross-talk" or "stitching".
    channels : tuple of int
        Channels that the finding concerns; empty for all of them.
    value : float
        Measured number, in `unit`.
    unit : str
        Such as "share of pixels", "bits" or "px".
    matters : bool
        Whether the user should solve the problem before predicting or training.
    sentence : str
        What was found, and its effect on a prediction.
    """

    check: str
    channels: tuple[int, ...]
    value: float
    unit: str
    matters: bool
    sentence: str


def findings_of(
    slide: Slide,
    levels: Sequence[GreyLevels],
    pixels: int,
    shifts: Sequence[ChannelShift],
    cross_talk: Sequence[CrossTalk],
    stitching: Sequence[Stitching],
) -> tuple[Finding, ...]:
    """Findings about a slide, those that matter first."""
    found = list(_about_slide(slide))
    if not slide.is_brightfield:
        for channel, name in enumerate(slide.channel_names):
            found += _about_unknown(channel, name, pixels - levels[channel].n, pixels)
            found += _about_grey_levels(channel, name, levels[channel], slide.dtype)
        found += [finding for shift in shifts for finding in _about_shift(shift, slide.channel_names)]
        found += [_about_leak(pair, slide.channel_names) for pair in cross_talk if pair.is_found]
        found += [_about_seams(seam, slide) for seam in stitching if seam.is_found and seam.depth >= _SEEN_DEPTH]
    return tuple(sorted(found, key=lambda finding: not finding.matters))


def _about_slide(slide: Slide) -> Iterator[Finding]:
    if slide.is_brightfield:
        yield Finding(
            *("photograph", (), 1.0, "slide", True),
            "The slide is a colour photograph, not fluorescence: a network that was trained on fluorescence channels "
            "cannot predict anything from it.",
        )
    if slide.pixel_size_um is None:
        yield Finding(
            *("pixel size", (), math.nan, "µm", True),
            "The file has no pixel size: nuclei and vessels may be larger or smaller than those a network was trained "
            "on, and then a prediction is wrong without any sign of it.",
        )


def _about_unknown(channel: int, name: str, unknown: int, pixels: int) -> Iterator[Finding]:
    if unknown:
        yield Finding(
            *("not a number", (channel,), unknown / pixels, "share of pixels", True),
            f"{name}: {unknown:,} of the {pixels:,} checked pixels are NaN, infinite or beyond 1e12: for a prediction "
            "they are replaced by the background, so that it is not valid at and around them; training refuses them.",
        )


def _about_grey_levels(channel: int, name: str, levels: GreyLevels, dtype: np.dtype) -> Iterator[Finding]:
    if not levels.n:
        return
    if levels.levels <= 1:
        yield Finding(
            *("constant", (channel,), levels.lowest, "grey level", True),
            f"{name} is the same everywhere: nothing can be predicted or learned from it.",
        )
        return
    if levels.saturated >= _SEEN_SATURATION:
        yield Finding(
            *("saturation", (channel,), levels.saturated, "share of pixels", levels.saturated >= _MUCH_SATURATION),
            f"{name}: {_percent(levels.saturated)} of the pixels are saturated at {levels.highest:g}: differences "
            "between bright places are lost, and a prediction is too low or too even there.",
        )
    if levels.zeros >= _SEEN_ZEROS:
        yield Finding(
            *("zeros", (channel,), levels.zeros, "share of pixels", levels.zeros >= _MANY_ZEROS),
            f"{name}: {_percent(levels.zeros)} of the pixels are 0: faint signal was cut off, so a network cannot "
            "distinguish faint signal from none there.",
        )
    yield from _about_bits(channel, name, levels, dtype)


def _about_bits(channel: int, name: str, levels: GreyLevels, dtype: np.dtype) -> Iterator[Finding]:
    if levels.bits_used is None:
        return
    stored = 8 * dtype.itemsize
    if levels.spacing >= _GAPS:
        yield Finding(
            *("bit depth", (channel,), float(levels.bits_used), "bits", levels.bits_used < stored),
            f"{name}: only one grey level in {levels.spacing:.3g} occurs, so only {levels.bits_used} of {stored} bits "
            "are used: the contrast was stretched after recording, fine steps are lost, and such grey levels differ "
            "from those of unprocessed slides that a network was trained on.",
        )
    elif levels.typical_levels <= _FEW_LEVELS:
        yield Finding(
            *("bit depth", (channel,), float(levels.typical_levels), "grey levels", False),
            f"{name}: 98 % of the pixels lie within {levels.typical_levels} grey levels: one level is a coarse step "
            "here, and the agreement of a prediction cannot be measured more finely.",
        )


def _about_shift(shift: ChannelShift, names: Sequence[str]) -> Iterator[Finding]:
    distance = math.hypot(*shift.shift_px)
    if not distance >= _SEEN_SHIFT_PX:
        return
    down, right = shift.shift_px
    in_um = "" if shift.shift_um is None else f" ({math.hypot(*shift.shift_um):.2g} µm)"
    yield Finding(
        *("shift", (shift.first, shift.second), distance, "px", distance >= _LARGE_SHIFT_PX),
        f"{names[shift.second]} is displaced by {distance:.1f} px{in_um} against {names[shift.first]}, {abs(down):.1f} "
        f"px {'down' if down >= 0 else 'up'} and {abs(right):.1f} px to the {'right' if right >= 0 else 'left'}: a "
        "network learns the shift with the biology, and metrics that compare pixels become worse.",
    )


def _about_leak(leak: CrossTalk, names: Sequence[str]) -> Finding:
    return Finding(
        *("cross-talk", (leak.source, leak.target), leak.share, "share", leak.share >= _MUCH_CROSS_TALK),
        f"{_percent(leak.share)} of the fine structure of {names[leak.source]} appears in {names[leak.target]} "
        "everywhere: either its light leaks through, and a network learns to copy it, or both stains are in the same "
        "place; a control slide with a single stain shows which is true.",
    )


def _about_seams(seam: Stitching, slide: Slide) -> Finding:
    size = slide.pixel_size_um
    in_um = "" if size is None else f" ({seam.period_px * size[seam.axis == 'x']:.0f} µm)"
    return Finding(
        *("stitching", (), seam.period_px, "px", seam.depth >= _DEEP),
        f"The brightness varies by {_percent(seam.depth)} with a period of {seam.period_px:.0f} px{in_um} along "
        f"{seam.axis}, like stitched camera fields: a prediction has the same pattern, and patches differ for no "
        "biological reason.",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"

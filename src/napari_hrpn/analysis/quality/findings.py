"""Findings of a quality check: the number, whether it matters, and what it does to a prediction, in a sentence."""

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
    """One thing that a quality check found.

    Attributes
    ----------
    check : str
        "photograph", "pixel size", "not a number", "constant", "saturation", "zeros", "bit depth", "shift",
        "cross-talk" or "stitching".
    channels : tuple of int
        The channels it is about; empty for all of them.
    value : float
        The number that was found, in `unit`.
    unit : str
        Such as "share of pixels", "bits" or "px".
    matters : bool
        Whether to do something about it before predicting or training.
    sentence : str
        What was found and what it does to a prediction.
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
    leaks: Sequence[CrossTalk],
    seams: Sequence[Stitching],
) -> tuple[Finding, ...]:
    """Say what there is to say."""
    found = list(_about_slide(slide))
    if not slide.is_brightfield:
        for channel, name in enumerate(slide.channel_names):
            found += _about_unknown(channel, name, pixels - levels[channel].n, pixels)
            found += _about_grey_levels(channel, name, levels[channel], slide.dtype)
        found += [finding for shift in shifts for finding in _about_shift(shift, slide.channel_names)]
        found += [_about_leak(leak, slide.channel_names) for leak in leaks if leak.is_found]
        found += [_about_seams(seam, slide) for seam in seams if seam.is_found and seam.depth >= _SEEN_DEPTH]
    return tuple(sorted(found, key=lambda finding: not finding.matters))


def _about_slide(slide: Slide) -> Iterator[Finding]:
    if slide.is_brightfield:
        yield Finding(
            *("photograph", (), 1.0, "slide", True),
            "The slide is a colour photograph, not fluorescence: nothing that a network learnt from stained channels "
            "holds for it.",
        )
    if slide.pixel_size_um is None:
        yield Finding(
            *("pixel size", (), math.nan, "µm", True),
            "The file does not say its pixel size: nuclei and vessels may be larger or smaller than those a network "
            "was trained on, and a prediction would be wrong without showing it.",
        )


def _about_unknown(channel: int, name: str, unknown: int, pixels: int) -> Iterator[Finding]:
    if unknown:
        yield Finding(
            *("not a number", (channel,), unknown / pixels, "share of pixels", True),
            f"{name}: {unknown:,} of the {pixels:,} pixels that were looked at are NaN, infinite or beyond 1e12: a "
            "network is shown the background there, and what it predicts around them is not known; training refuses "
            "them.",
        )


def _about_grey_levels(channel: int, name: str, levels: GreyLevels, dtype: np.dtype) -> Iterator[Finding]:
    if not levels.n:
        return
    if levels.levels <= 1:
        yield Finding(
            *("constant", (channel,), levels.lowest, "grey level", True),
            f"{name} is the same everywhere: there is nothing in it to predict from or to learn.",
        )
        return
    if levels.saturated >= _SEEN_SATURATION:
        yield Finding(
            *("saturation", (channel,), levels.saturated, "share of pixels", levels.saturated >= _MUCH_SATURATION),
            f"{name}: {_percent(levels.saturated)} of the pixels are at the largest value, {levels.highest:g}: "
            "differences between bright places are lost, and a prediction is too low or too even there.",
        )
    if levels.zeros >= _SEEN_ZEROS:
        yield Finding(
            *("zeros", (channel,), levels.zeros, "share of pixels", levels.zeros >= _MANY_ZEROS),
            f"{name}: {_percent(levels.zeros)} of the pixels are 0: faint signal below the cut is lost, so a network "
            "cannot tell little from nothing there.",
        )
    yield from _about_bits(channel, name, levels, dtype)


def _about_bits(channel: int, name: str, levels: GreyLevels, dtype: np.dtype) -> Iterator[Finding]:
    if levels.bits_used is None:
        return
    stored = 8 * dtype.itemsize
    if levels.spacing >= _GAPS:
        yield Finding(
            *("bit depth", (channel,), float(levels.bits_used), "bits", levels.bits_used < stored),
            f"{name}: only one grey level in {levels.spacing:.3g} occurs, so {levels.bits_used} bits of {stored} hold "
            "them all: the image was stretched after it was recorded, fine steps are lost, and a network trained on "
            "slides as the camera gave them does not know such grey levels.",
        )
    elif levels.typical_levels <= _FEW_LEVELS:
        yield Finding(
            *("bit depth", (channel,), float(levels.typical_levels), "grey levels", False),
            f"{name}: 98 % of the pixels lie within {levels.typical_levels} grey levels: steps of one level are coarse "
            "here, and no prediction can be compared with it more finely.",
        )


def _about_shift(shift: ChannelShift, names: Sequence[str]) -> Iterator[Finding]:
    distance = math.hypot(*shift.shift_px)
    if not distance >= _SEEN_SHIFT_PX:
        return
    down, right = shift.shift_px
    in_um = "" if shift.shift_um is None else f" ({math.hypot(*shift.shift_um):.2g} µm)"
    yield Finding(
        *("shift", (shift.first, shift.second), distance, "px", distance >= _LARGE_SHIFT_PX),
        f"{names[shift.second]} lies {distance:.1f} px{in_um} from {names[shift.first]}, {abs(down):.1f} "
        f"{'down' if down >= 0 else 'up'} and {abs(right):.1f} {'right' if right >= 0 else 'left'}: a network learns "
        "the shift along with the biology, and numbers that compare pixels suffer.",
    )


def _about_leak(leak: CrossTalk, names: Sequence[str]) -> Finding:
    return Finding(
        *("cross-talk", (leak.source, leak.target), leak.share, "share", leak.share >= _MUCH_CROSS_TALK),
        f"{_percent(leak.share)} of the fine structure of {names[leak.source]} shows in {names[leak.target]} all over: "
        "either its light leaks through, and a network learns to copy it, or the stains do sit in the same place; "
        "a slide with one stain alone tells which.",
    )


def _about_seams(seam: Stitching, slide: Slide) -> Finding:
    size = slide.pixel_size_um
    in_um = "" if size is None else f" ({seam.period_px * size[seam.axis == 'x']:.0f} µm)"
    return Finding(
        *("stitching", (), seam.period_px, "px", seam.depth >= _DEEP),
        f"The light rises and falls by {_percent(seam.depth)} every {seam.period_px:.0f} px{in_um} along {seam.axis}, "
        "like the fields of a camera: a prediction follows it, and patches differ for no biological reason.",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"

"""Quick quality check of a slide, from a sample of blocks of the tissue and one coarse level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis.quality.channel_shift import ChannelShift, channel_shifts
from napari_hrpn.analysis.quality.cross_talk import COARSEST_PIXEL_UM, CrossTalk, cross_talk
from napari_hrpn.analysis.quality.findings import Finding, findings_of
from napari_hrpn.analysis.quality.grey_levels import GreyLevels, grey_levels
from napari_hrpn.analysis.quality.stitching import Stitching, stitching
from napari_hrpn.analysis.tissue.tissue_mask import tissue_mask
from napari_hrpn.core import Box, Progress
from napari_hrpn.slides import guess_roles, with_known_pixels

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_hrpn.slides import ChannelRoles, RegionMask, Slide

_BLOCK_PX = 512
_MOST_BLOCKS = 32
_MOST_COMPUTED_PX = 32 * 2**20
"""A level that is not stored is only computed if its source level has at most so many pixels."""
_COARSE_PX = 2048
_TISSUE_PIXEL_UM = 8.0
_LEAST_TISSUE = 0.5


def _is_affordable(slide: Slide, level: int) -> bool:
    """Whether a whole level can be read within seconds."""
    read = slide.levels[min(level, slide.stored_levels - 1)]
    return bool(math.prod(read.shape[1:]) <= _MOST_COMPUTED_PX)


def _coarse_level(slide: Slide) -> int | None:
    """Coarsest level that still shows camera fields."""
    large = [index for index, level in enumerate(slide.levels) if max(level.shape[1:]) >= _COARSE_PX]
    level = max(large, default=0)
    return level if _is_affordable(slide, level) else None


def _quick_tissue(slide: Slide, nuclei: int | None) -> RegionMask | None:
    """Tissue mask of a slide, if it can be found within seconds."""
    return tissue_mask(slide, nuclei or 0) if _is_affordable(slide, slide.level_for(_TISSUE_PIXEL_UM)) else None


def _sample_boxes(slide: Slide, tissue: RegionMask | None) -> list[tuple[slice, slice]]:
    """Blocks of full resolution to check, on tissue if it is known."""
    starts = [_starts(size) for size in slide.shape]
    edges = [min(_BLOCK_PX, size) for size in slide.shape]
    boxes = [(slice(y, y + edges[0]), slice(x, x + edges[1])) for y in starts[0] for x in starts[1]]
    if tissue is not None:
        shares = [tissue.share(Box(y.start, y.stop, x.start, x.stop)) for y, x in boxes]
        smallest_share = min(_LEAST_TISSUE, max(shares))
        boxes = [box for box, share in zip(boxes, shares, strict=True) if share >= smallest_share]
    chosen = np.random.default_rng(0).permutation(len(boxes))[:_MOST_BLOCKS]
    return [boxes[index] for index in sorted(chosen)]


def _starts(size: int) -> list[int]:
    """Where blocks begin along an axis: the last one ends at the border, so neighbours may overlap a little."""
    count = math.ceil(size / _BLOCK_PX)
    return [round(start) for start in np.linspace(0, max(0, size - _BLOCK_PX), count)]


_MOST_COMPARED = 4


@dataclass(frozen=True)
class SlideQuality:
    """Result of a quality check of a slide.

    Attributes
    ----------
    findings : tuple of Finding
        Problems that were found, those that matter first; empty if there are none.
    channel_names : tuple of str
        Names of all channels.
    grey_levels : tuple of GreyLevels
        Grey levels of each channel in the checked blocks.
    shifts : tuple of ChannelShift
        Shifts between the compared channels.
    cross_talk : tuple of CrossTalk
        Cross-talk for each ordered pair of them; empty if it was not measured.
    stitching : tuple of Stitching
        Stitching patterns along y and x; empty if they were not measured.
    not_checked : tuple of str
        Checks that were left out and why, one sentence each.
    blocks, pixels : int
        Number of checked blocks of full resolution, and of their pixels.
    """

    findings: tuple[Finding, ...]
    channel_names: tuple[str, ...]
    grey_levels: tuple[GreyLevels, ...]
    shifts: tuple[ChannelShift, ...]
    cross_talk: tuple[CrossTalk, ...]
    stitching: tuple[Stitching, ...]
    not_checked: tuple[str, ...]
    blocks: int
    pixels: int


def slide_quality(slide: Slide, roles: ChannelRoles | None = None) -> Generator[Progress, None, SlideQuality]:
    """Check grey levels, pixel size, channel shift, cross-talk and stitching of a slide.

    At most 32 blocks of 512 px are read at full resolution, on tissue if it can be found, and one coarse level. All
    shares are those of the blocks.

    Parameters
    ----------
    slide : Slide
        The slide.
    roles : ChannelRoles, optional
        Roles of the channels; guessed from their names by default. Channels with a role are compared with each other,
        or the first four channels if fewer than two have a role.

    Yields
    ------
    Progress
        Before each step.

    Returns
    -------
    SlideQuality
        The findings and the numbers behind them.

    Raises
    ------
    SlideError
        If the slide cannot be read.
    """
    roles = roles or guess_roles(slide.channel_names)
    compared = _compared(slide, roles)
    yield Progress(0, 1, "finding the tissue")
    tissue = _quick_tissue(slide, roles.nuclei)
    boxes = _sample_boxes(slide, tissue)
    total, blocks = len(boxes) + 3, []
    for done, (rows, columns) in enumerate(boxes):
        yield Progress(done, total, "reading blocks")
        blocks.append(np.asarray(slide.levels[0][:, rows, columns].compute()))
    yield Progress(len(boxes), total, "comparing channels")
    levels = tuple(
        grey_levels(np.stack([block[channel] for block in blocks])) for channel in range(len(slide.channel_names))
    )
    lowest = [0.0 if math.isnan(found.lowest) else found.lowest for found in levels]
    blocks = [with_known_pixels(block, lowest) for block in blocks]
    shifts = () if slide.is_brightfield else channel_shifts(blocks, compared, slide.pixel_size_um)
    yield Progress(len(boxes) + 1, total, "measuring cross-talk")
    why_no_cross_talk = _why_no_cross_talk(slide, compared)
    cross_talk_of_pairs = () if why_no_cross_talk else cross_talk(blocks, compared, _positions(compared, shifts))
    yield Progress(len(boxes) + 2, total, "checking the stitching")
    level, pixels = _coarse_level(slide), sum(block[0].size for block in blocks)
    patterns: tuple[Stitching, ...] = () if level is None else stitching(slide, compared, level, tissue)
    return SlideQuality(
        findings=findings_of(slide, levels, pixels, shifts, cross_talk_of_pairs, patterns),
        channel_names=slide.channel_names,
        grey_levels=levels,
        shifts=shifts,
        cross_talk=cross_talk_of_pairs,
        stitching=patterns,
        not_checked=tuple(_not_checked(why_no_cross_talk, level, tissue is None)),
        blocks=len(boxes),
        pixels=pixels,
    )


def _compared(slide: Slide, roles: ChannelRoles) -> list[int]:
    known = [index for index in (roles.nuclei, roles.vessels, roles.probe) if index is not None]
    return known if len(known) > 1 else list(range(min(_MOST_COMPARED, len(slide.channel_names))))


def _positions(compared: Sequence[int], shifts: Sequence[ChannelShift]) -> list[tuple[float, float]]:
    """Displacement of each channel against the first; 0 if it cannot be measured."""
    known = {shift.second: shift.shift_px for shift in shifts if shift.first == compared[0] and not shift.reason}
    return [known.get(channel, (0.0, 0.0)) for channel in compared]


def _why_no_cross_talk(slide: Slide, compared: Sequence[int]) -> str:
    if slide.is_brightfield:
        return "the slide is a colour photograph"
    if len(compared) < 2:
        return "there is only one channel"
    pixel_um = max(slide.pixel_size_um or (0.0,))
    if pixel_um > COARSEST_PIXEL_UM:
        return f"pixels of {pixel_um:.3g} µm are too large to resolve single nuclei and vessel walls"
    return ""


def _not_checked(why_no_cross_talk: str, level: int | None, no_tissue: bool) -> list[str]:
    sentences = [f"Cross-talk was not measured: {why_no_cross_talk}."] if why_no_cross_talk else []
    if level is None:
        sentences.append("Stitching was not checked: the file has no coarse levels; `napari-hrpn convert` adds them.")
    if no_tissue:
        sentences.append("Blocks were taken from the whole slide: without coarse levels the tissue was not detected.")
    return sentences

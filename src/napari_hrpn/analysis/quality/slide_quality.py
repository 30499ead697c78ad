"""Quality check of a slide within seconds: a sample of blocks over the tissue, and a coarse level."""

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
"""A level that the file does not hold is only computed from one of no more pixels."""
_COARSE_PX = 2048
_TISSUE_PIXEL_UM = 8.0
_LEAST_TISSUE = 0.5


def _is_affordable(slide: Slide, level: int) -> bool:
    """Whether a level can be read whole in seconds."""
    read = slide.levels[min(level, slide.stored_levels - 1)]
    return bool(math.prod(read.shape[1:]) <= _MOST_COMPUTED_PX)


def _coarse_level(slide: Slide) -> int | None:
    """Coarsest level that still shows camera fields."""
    large = [index for index, level in enumerate(slide.levels) if max(level.shape[1:]) >= _COARSE_PX]
    level = max(large, default=0)
    return level if _is_affordable(slide, level) else None


def _quick_tissue(slide: Slide, nuclei: int | None) -> RegionMask | None:
    """Tissue of a slide, if it can be found in seconds."""
    return tissue_mask(slide, nuclei or 0) if _is_affordable(slide, slide.level_for(_TISSUE_PIXEL_UM)) else None


def _sample_boxes(slide: Slide, tissue: RegionMask | None) -> list[tuple[slice, slice]]:
    """Blocks to look at, at full resolution."""
    starts = [_starts(size) for size in slide.shape]
    edges = [min(_BLOCK_PX, size) for size in slide.shape]
    boxes = [(slice(y, y + edges[0]), slice(x, x + edges[1])) for y in starts[0] for x in starts[1]]
    if tissue is not None:
        shares = [tissue.share(Box(y.start, y.stop, x.start, x.stop)) for y, x in boxes]
        least = min(_LEAST_TISSUE, max(shares))
        boxes = [box for box, share in zip(boxes, shares, strict=True) if share >= least]
    chosen = np.random.default_rng(0).permutation(len(boxes))[:_MOST_BLOCKS]
    return [boxes[index] for index in sorted(chosen)]


def _starts(size: int) -> list[int]:
    """Where blocks begin along an axis: the last one ends at the edge, so neighbours may overlap a little."""
    count = math.ceil(size / _BLOCK_PX)
    return [round(start) for start in np.linspace(0, max(0, size - _BLOCK_PX), count)]


_MOST_COMPARED = 4


@dataclass(frozen=True)
class SlideQuality:
    """What a quality check of a slide found.

    Attributes
    ----------
    findings : tuple of Finding
        What is worth saying, what matters first; empty where all is well.
    channel_names : tuple of str
        Names of all channels.
    grey_levels : tuple of GreyLevels
        Of each channel, in the blocks that were looked at.
    shifts : tuple of ChannelShift
        Between the channels that were compared.
    cross_talk : tuple of CrossTalk
        For each ordered pair of them; empty where it was not looked for.
    stitching : tuple of Stitching
        Along y and x; empty where it was not looked for.
    not_checked : tuple of str
        What was not looked for and why, one sentence each.
    blocks, pixels : int
        Blocks of full resolution that were looked at, and their pixels.
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
    """Check a slide: grey levels, pixel size, channel shift, cross-talk, stitching.

    At most 32 blocks of 512 px are read at full resolution, on tissue where that can be found, and one coarse
    level: the shares that are found are those of the blocks.

    Parameters
    ----------
    slide : Slide
        The slide.
    roles : ChannelRoles, optional
        What the channels show; guessed from their names where left out. Those with a role are compared with each
        other, or the first four if fewer than two have one.

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
    yield Progress(0, 1, "looking for tissue")
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
    dark = [0.0 if math.isnan(found.lowest) else found.lowest for found in levels]
    blocks = [with_known_pixels(block, dark) for block in blocks]
    shifts = () if slide.is_brightfield else channel_shifts(blocks, compared, slide.pixel_size_um)
    yield Progress(len(boxes) + 1, total, "looking for cross-talk")
    why_no_cross_talk = _why_no_cross_talk(slide, compared)
    leaks = () if why_no_cross_talk else cross_talk(blocks, compared, _positions(compared, shifts))
    yield Progress(len(boxes) + 2, total, "looking for seams")
    level, pixels = _coarse_level(slide), sum(block[0].size for block in blocks)
    seams: tuple[Stitching, ...] = () if level is None else stitching(slide, compared, level, tissue)
    return SlideQuality(
        findings=findings_of(slide, levels, pixels, shifts, leaks, seams),
        channel_names=slide.channel_names,
        grey_levels=levels,
        shifts=shifts,
        cross_talk=leaks,
        stitching=seams,
        not_checked=tuple(_not_checked(why_no_cross_talk, level, tissue is None)),
        blocks=len(boxes),
        pixels=pixels,
    )


def _compared(slide: Slide, roles: ChannelRoles) -> list[int]:
    known = [index for index in (roles.nuclei, roles.vessels, roles.probe) if index is not None]
    return known if len(known) > 1 else list(range(min(_MOST_COMPARED, len(slide.channel_names))))


def _positions(compared: Sequence[int], shifts: Sequence[ChannelShift]) -> list[tuple[float, float]]:
    """How far each channel is displaced against the first, 0 where that cannot be told."""
    known = {shift.second: shift.shift_px for shift in shifts if shift.first == compared[0] and not shift.reason}
    return [known.get(channel, (0.0, 0.0)) for channel in compared]


def _why_no_cross_talk(slide: Slide, compared: Sequence[int]) -> str:
    if slide.is_brightfield:
        return "the slide is a colour photograph"
    if len(compared) < 2:
        return "there is only one channel"
    pixel_um = max(slide.pixel_size_um or (0.0,))
    if pixel_um > COARSEST_PIXEL_UM:
        return f"pixels of {pixel_um:.3g} µm do not show single nuclei and vessel walls"
    return ""


def _not_checked(why_no_cross_talk: str, level: int | None, no_tissue: bool) -> list[str]:
    said = [f"Cross-talk was not looked for: {why_no_cross_talk}."] if why_no_cross_talk else []
    if level is None:
        said.append("Seams were not looked for: the file has no coarse levels; `napari-hrpn convert` adds them.")
    if no_tissue:
        said.append("Blocks were taken from all over the slide: without coarse levels the tissue was not looked for.")
    return said

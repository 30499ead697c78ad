"""Split of slides into training, validation and test: whole tumours, never patches."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis import tissue_mask
from napari_hrpn.core.errors import TrainingError
from napari_hrpn.slides import RegionMask
from napari_hrpn.training.entries import TrainingSlide

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

_GAP_PX = 64
_VALIDATION_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class Split:
    """Slides by what they are for.

    Attributes
    ----------
    train, validation, test : tuple of TrainingSlide
        No tumour is in two of them, but where a single tumour had to be cut; then its slides occur in the first
        two, with regions that do not touch.
    note : str
        How the validation slides were chosen, in one sentence.
    """

    train: tuple[TrainingSlide, ...]
    validation: tuple[TrainingSlide, ...]
    test: tuple[TrainingSlide, ...]
    note: str


def split_slides(slides: Sequence[TrainingSlide], validate: str | None = None) -> Split:
    """Divide slides into training, validation and test, tumour by tumour.

    Parameters
    ----------
    slides : sequence of TrainingSlide
        Each with its part in its entry; the slides of a tumour whose part is "auto" follow its other ones.
    validate : str, optional
        The tumour that validates, whatever the entries say of it. Where neither this nor an entry names one, the
        last tumour is held out in natural order (T2 before T10), of those with the part "auto" if there are any;
        of a single tumour, a quarter of each slide along its longer side, beyond a gap of 64 px.

    Returns
    -------
    Split
        With at least one slide to train on and one to validate on.

    Raises
    ------
    TrainingError
        If a tumour would be on two sides, nothing is left to train on, there is no tumour of that name, or a
        single tumour is too small to be cut.
    """
    tumours = sorted({slide.entry.tumour_id for slide in slides}, key=_natural)
    if validate is not None and validate not in tumours:
        named = ", ".join(tumours) or "none"
        msg = f"there is no tumour {validate!r} to validate on; expected one of those of the slides: {named}."
        raise TrainingError(msg)
    parts = {tumour: _part(tumour, slides) for tumour in tumours if tumour != validate}
    if validate is not None:
        parts[validate] = "validation"
    trainable = [tumour for tumour in tumours if parts[tumour] in ("auto", "train")]
    if not trainable:
        msg = f"none of {len(slides)} slides is left to train on; expected at least one whose part is train or auto."
        raise TrainingError(msg)
    if "validation" in parts.values():
        return _by_part(slides, parts, f"Validated on {_named(parts, 'validation')}, as asked for.")
    if len(trainable) == 1:
        return _cut_single(slides, parts, trainable[0])
    held_out = ([tumour for tumour in trainable if parts[tumour] == "auto"] or trainable)[-1]
    note = f"Validated on {held_out}, the last of {len(trainable)} tumours, as none was named for it."
    return _by_part(slides, {**parts, held_out: "validation"}, note)


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Order in which people count: T2 before T10."""
    pieces = re.split(r"(\d+)", name.casefold())
    return [(piece.isdecimal(), int(piece) if piece.isdecimal() else 0, piece) for piece in pieces] + [(True, 0, name)]


def _part(tumour: str, slides: Iterable[TrainingSlide]) -> str:
    named = {slide.entry.part for slide in slides if slide.entry.tumour_id == tumour} - {"auto"}
    if len(named) > 1:
        sides = " and ".join(sorted(named, reverse=True))
        msg = f"tumour {tumour} has slides for {sides}; expected all of a tumour in one part: give them the same."
        raise TrainingError(msg)
    return named.pop() if named else "auto"


def _named(parts: Mapping[str, str], part: str) -> str:
    return ", ".join(tumour for tumour, its_part in parts.items() if its_part == part)


def _by_part(slides: Sequence[TrainingSlide], parts: Mapping[str, str], note: str) -> Split:
    def of(*names: str) -> tuple[TrainingSlide, ...]:
        return tuple(slide for slide in slides if parts[slide.entry.tumour_id] in names)

    return Split(of("auto", "train"), of("validation"), of("test"), note)


def _cut_single(slides: Sequence[TrainingSlide], parts: Mapping[str, str], tumour: str) -> Split:
    whole = _by_part(slides, parts, "")
    cut = [halves for slide in whole.train if (halves := _cut(slide)) is not None]
    if not cut:
        msg = (
            f"{tumour} is the only tumour to train on and its regions are too small to hold out a part of them for "
            "validation; expected more than one tumour, or larger regions."
        )
        raise TrainingError(msg)
    cut_slides = [first.slide for first, _ in cut]
    uncut = [slide for slide in whole.train if slide.slide not in cut_slides]
    note = (
        f"Validated on a part of {tumour}, the only tumour to train on: the last quarter of each slide along its "
        f"longer side, {_GAP_PX} px or more from what is trained on; other tumours may be predicted less well."
    )
    return Split((*(first for first, _ in cut), *uncut), tuple(second for _, second in cut), whole.test, note)


def _cut(slide: TrainingSlide) -> tuple[TrainingSlide, TrainingSlide] | None:
    """The part of a slide to train on and the part to validate on; None where there is no room for both."""
    tissue = tissue_mask(slide.slide, slide.inputs[0])
    regions = slide.regions or RegionMask(np.ones_like(tissue.mask), tissue.downsample)
    common = regions.intersected(tissue)
    there = common if common.mask.any() else regions
    bounds = there.bounds(slide.slide.shape)
    axis = 0 if bounds.height >= bounds.width else 1
    if (edges := _cut_edges(there.mask.sum(axis=1 - axis), there.downsample[axis])) is None:
        return None
    halves = (_between(regions, axis, 0.0, edges[0]), _between(regions, axis, edges[1], np.inf))
    if not all(half.mask.any() for half in halves):
        return None
    return replace(slide, regions=halves[0]), replace(slide, regions=halves[1])


def _cut_edges(profile: NDArray[np.integer], pixel: float) -> tuple[float, float] | None:
    """Full-resolution row or column where training ends and where validation begins.

    `profile` has the area in each row or column of a mask whose pixels are `pixel` full-resolution pixels wide.
    """
    gap = int(np.ceil(_GAP_PX / pixel))
    area = np.concatenate([[0], np.cumsum(profile)]).astype(np.float64)
    before, after = area[:-gap], area[-1] - area[gap:]
    possible = (before > 0) & (after > 0)
    if not possible.any():
        return None
    share = after[possible] / (before[possible] + after[possible])
    cut = int(np.flatnonzero(possible)[np.abs(share - _VALIDATION_SHARE).argmin()])
    return cut * pixel, (cut + gap) * pixel


def _between(regions: RegionMask, axis: int, low: float, high: float) -> RegionMask:
    """What of some regions lies, by whole pixels of the mask, between two rows or columns of the slide."""
    starts = np.arange(regions.mask.shape[axis]) * regions.downsample[axis]
    inside = (starts >= low - 1e-6) & (starts + regions.downsample[axis] <= high + 1e-6)
    return RegionMask(regions.mask & (inside[:, None] if axis == 0 else inside), regions.downsample)

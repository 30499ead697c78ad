"""Everything that a training is refused for, before any time is spent: one sentence each, the cheapest looks first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_hrpn.slides import local_path
from napari_hrpn.training.check_pixels import check_pixels
from napari_hrpn.training.check_places import check_disk, check_outside, check_run_folder, check_writable
from napari_hrpn.training.errors import TrainingError
from napari_hrpn.training.near_duplicates import near_copies
from napari_hrpn.training.open_entries import open_entry
from napari_hrpn.training.patch_cache import patch_cache_bytes
from napari_hrpn.training.patch_grid import count_patches
from napari_hrpn.training.run_folder import RunFolder
from napari_hrpn.training.splits import split_slides
from napari_hrpn.training.swapped_channels import swapped_channels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari_hrpn.training.entries import SlideEntry, TrainingSlide
    from napari_hrpn.training.settings import TrainingSettings
    from napari_hrpn.training.splits import Split

_SMALLEST_SIDE_PX = 64
_PIXEL_SIZE_TOLERANCE = 0.05
_FEW_PIXELS = 1_000_000
"""Fewer to learn from, and a network of two million weights may learn them by heart."""


@dataclass(frozen=True, eq=False)
class Checked:
    """What the checks found where nothing is refused.

    Attributes
    ----------
    split : Split
        The opened slides, by what they are for.
    warnings : tuple of str
        One sentence each; training goes on.
    cache_bytes : int
        Disk that cutting the patches will still take.
    """

    split: Split
    warnings: tuple[str, ...]
    cache_bytes: int


def check_training(
    entries: Sequence[SlideEntry],
    settings: TrainingSettings,
    folder: Path,
    validate: str | None = None,
    cache: Path | None = None,
) -> Checked:
    """Open the slides of a training and refuse what cannot end well.

    Parameters
    ----------
    entries : sequence of SlideEntry
        The slides.
    settings : TrainingSettings
        How they are trained on.
    folder : pathlib.Path
        Of the run.
    validate : str, optional
        Tumour to validate on.
    cache : pathlib.Path, optional
        Where patches are kept; in the run's folder where left out.

    Returns
    -------
    Checked
        The split, what is worth a warning, and the disk space that patches will take. Nothing was written.

    Raises
    ------
    TrainingError
        In one sentence: what was found, what was expected, what to do.
    SlideError
        When a slide or its regions cannot be read.
    """
    if not entries:
        msg = "there are no slides to train on, expected at least one with the inputs and the target; add some."
        raise TrainingError(msg)
    cache = cache or RunFolder(folder).patches
    check_run_folder(folder)
    check_writable(cache, "the patches")
    slides = tuple(open_entry(entry, settings) for entry in entries)
    _check_each_once(slides)
    for place in (folder, cache):
        check_outside(place, [local_path(slide.slide.source) for slide in slides])
    _check_sizes(slides)
    _check_alike(slides)
    split = split_slides(slides, validate)
    _check_patches(split.train, "learn from", settings)
    _check_patches(split.validation, "validate on", settings)
    cut = (*split.train, *split.validation)
    cache_bytes = patch_cache_bytes(cut, settings, cache)
    check_disk(folder, cache, cache_bytes)
    for slide in cut:
        check_pixels(slide, settings)
    return Checked(split, tuple(_warnings(slides, split, settings)), cache_bytes)


def _check_each_once(slides: Sequence[TrainingSlide]) -> None:
    seen: set[object] = set()
    for slide in (each.slide for each in slides):
        plane = (slide.source.resolve(), slide.series, slide.z, slide.t)
        if plane in seen:
            msg = f"{slide.source.name} is listed twice, expected every slide once; take one of the two off the list."
            raise TrainingError(msg)
        seen.add(plane)


def _check_sizes(slides: Sequence[TrainingSlide]) -> None:
    for slide in slides:
        height, width = slide.slide.shape
        if min(height, width) < _SMALLEST_SIDE_PX:
            msg = (
                f"{_name(slide)} has {width} x {height} px, expected at least {_SMALLEST_SIDE_PX} px a side to learn "
                "from; take it off the list."
            )
            raise TrainingError(msg)


def _check_alike(slides: Sequence[TrainingSlide]) -> None:
    first = slides[0]
    sized = next((slide for slide in slides if slide.slide.pixel_size_um), first)
    for slide in slides:
        if slide.slide.dtype != first.slide.dtype:
            msg = (
                f"{_name(first)} has pixels of type {first.slide.dtype} but {_name(slide)} of type "
                f"{slide.slide.dtype}, expected one type for all slides; convert them, or train on each kind alone."
            )
            raise TrainingError(msg)
        if not _same_size(sized.slide.pixel_size_um, slide.slide.pixel_size_um):
            msg = (
                f"{_name(sized)} has pixels of {_size(sized)} but {_name(slide)} of {_size(slide)}, expected the same "
                f"within {_PIXEL_SIZE_TOLERANCE:.0%}; resample them, or train on each kind alone."
            )
            raise TrainingError(msg)


def _same_size(one: tuple[float, float] | None, other: tuple[float, float] | None) -> bool:
    if one is None or other is None:
        return True
    return all(abs(b / a - 1) <= _PIXEL_SIZE_TOLERANCE for a, b in zip(one, other, strict=True))


def _check_patches(part: Sequence[TrainingSlide], purpose: str, settings: TrainingSettings) -> None:
    if any(count_patches(slide, settings) for slide in part):
        return
    wanted = [f"{settings.minimum_overlap:.0%} in the regions"] if any(slide.entry.regions for slide in part) else []
    wanted += [f"{settings.minimum_tissue:.0%} on tissue"] if settings.minimum_tissue else []
    condition = f", expected some with at least {' and '.join(wanted)}" if wanted else ""
    remedy = "larger regions or slides" if any(slide.entry.regions for slide in part) else "larger slides or more"
    msg = (
        f"there is no patch of {settings.patch_px} px to {purpose} in {_names(part)}{condition}; take smaller patches, "
        f"{remedy}."
    )
    raise TrainingError(msg)


def _warnings(slides: Sequence[TrainingSlide], split: Split, settings: TrainingSettings) -> Iterator[str]:
    yield from near_copies(split)
    yield from _other_roles(slides, settings)
    yield from swapped_channels(slides)
    unsized = [slide for slide in slides if slide.slide.pixel_size_um is None]
    if unsized:
        yield (
            f"{_names(unsized)} {'does' if len(unsized) == 1 else 'do'} not say the pixel size: see to it that all "
            "slides have the same, and that the checkpoint is used on such slides alone."
        )
    for slide in (*split.train, *split.validation):
        if not count_patches(slide, settings):
            yield f"{_name(slide)} gives no patch of {settings.patch_px} px: its regions are too small, or too few."
    patches = sum(count_patches(slide, settings) for slide in split.train)
    if patches * settings.patch_px**2 < _FEW_PIXELS:
        yield (
            f"there {'is' if patches == 1 else 'are'} only {patches} patch{'' if patches == 1 else 'es'} of "
            f"{settings.patch_px} px to learn from: the network may learn them by heart rather than what is common."
        )


def _other_roles(slides: Sequence[TrainingSlide], settings: TrainingSettings) -> Iterator[str]:
    """Channels of one name that have different roles in different slides."""
    roles: dict[str, dict[str, str]] = {}
    for slide in slides:
        for role, channel in zip((*settings.channels, settings.target), (*slide.inputs, slide.target), strict=True):
            roles.setdefault(slide.slide.channel_names[channel], {}).setdefault(role, _name(slide))
    for name, found in roles.items():
        if len(found) > 1:
            told = " but ".join(f"{role} in {slide}" for role, slide in found.items())
            yield f"the channel {name} is taken for {told}: see to it that every channel has its role."


def _name(slide: TrainingSlide) -> str:
    return slide.slide.source.name


def _names(slides: Sequence[TrainingSlide]) -> str:
    return ", ".join(dict.fromkeys(map(_name, slides)))


def _size(slide: TrainingSlide) -> str:
    size = slide.slide.pixel_size_um or (0.0, 0.0)
    return f"{size[0]:.4g} µm" if abs(size[0] / size[1] - 1) < 1e-3 else f"{size[1]:.4g} x {size[0]:.4g} µm"

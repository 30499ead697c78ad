"""Checks before a training: they refuse bad slides, settings and folders in one sentence, the fastest checks first."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.core.errors import TrainingError
from napari_hrpn.slides import local_path
from napari_hrpn.slides.resampling import PIXEL_SIZE_TOLERANCE, has_pixel_size, pixel_size_words
from napari_hrpn.training.data.network_grid import on_network_grid
from napari_hrpn.training.data.patch_cutting import patch_cache_bytes
from napari_hrpn.training.data.patch_sampler import count_patches
from napari_hrpn.training.entries import open_entry, split_slides
from napari_hrpn.training.pixel_checks import check_pixels, near_copies, swapped_channels
from napari_hrpn.training.run_folder import RunFolder
from napari_hrpn.training.start import start_warnings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_hrpn.models import Checkpoint
    from napari_hrpn.settings import TrainingSettings
    from napari_hrpn.training.entries import SlideEntry, Split, TrainingSlide

_SMALLEST_SIDE_PX = 64
_FEW_PIXELS = 1_000_000
"""With fewer pixels to learn from, a network of two million weights may memorise them."""
_CHECKPOINT_BYTES = 150_000_000
"""Weights, averages and the optimiser's state of either network, twice: a new file is written beside the old one."""


@dataclass(frozen=True, eq=False)
class Checked:
    """Result of the checks of a training that can begin.

    Attributes
    ----------
    split : Split
        The opened slides of training, validation and test.
    warnings : tuple of str
        One sentence each; training goes on.
    cache_bytes : int
        Disk that cutting the patches will still take.
    start : Checkpoint or None
        The checkpoint that the training begins with.
    """

    split: Split
    warnings: tuple[str, ...]
    cache_bytes: int
    start: Checkpoint | None = None


def check_training(
    entries: Sequence[SlideEntry],
    settings: TrainingSettings,
    folder: Path,
    validate: str | None = None,
    cache: Path | None = None,
) -> Checked:
    """Open the slides of a training and refuse those that cannot be trained on.

    Parameters
    ----------
    entries : sequence of SlideEntry
        The slides.
    settings : TrainingSettings
        Settings of the training.
    folder : pathlib.Path
        Folder of the run.
    validate : str, optional
        Tumour to validate on.
    cache : pathlib.Path, optional
        Folder of the patches; by default one in the run's folder.

    Returns
    -------
    Checked
        The split, warnings, and the disk space that patches will take. Nothing was written.

    Raises
    ------
    TrainingError
        In one sentence: what was found, what was expected, what to do.
    SlideError
        When a slide or its regions cannot be read.
    CheckpointError
        When the checkpoint to start from cannot be read.
    """
    if not entries:
        msg = "there are no slides to train on, expected at least one with the inputs and the target; add some."
        raise TrainingError(msg)
    cache = cache or RunFolder(folder).patches
    _check_run_folder(folder)
    start = RunFolder(folder).started_from(settings)
    _check_writable(cache, "the patches")
    opened = tuple(open_entry(entry, settings) for entry in entries)
    slides = tuple(on_network_grid(slide, settings) for slide in opened)
    _check_each_once(slides)
    for written in (folder, cache):
        _check_outside(written, [local_path(slide.slide.source) for slide in slides])
    _check_sizes(slides, settings)
    _check_alike(slides)
    split = split_slides(slides, validate)
    cut = (*split.train, *split.judged_on)
    patches = {slide: count_patches(slide, settings) for slide in cut}
    for part, purpose in ((split.train, "learn from"), (split.judged_on, "validate on")):
        if not any(patches[slide] for slide in part):
            raise _no_patch(part, purpose, settings)
    cache_bytes = patch_cache_bytes(cut, settings, cache)
    _check_disk(folder, cache, cache_bytes)
    used = [slide for slide in opened if any(slide.entry is part.entry for part in cut)]
    for slide in used:
        check_pixels(slide, settings)
    warnings = [*_warnings(slides, split, settings, patches), *_warnings_of_start(start, split, settings)]
    return Checked(split, (*swapped_channels(opened), *warnings), cache_bytes, start)


def _check_run_folder(folder: Path) -> None:
    """Refuse a folder that cannot hold a run, or holds something else."""
    _check_writable(folder, "the run")
    run = RunFolder(folder)
    if run.request() is None and (foreign := run.foreign_file()):
        msg = f"{folder} holds {foreign} but no training; choose a new or an empty folder for the run."
        raise TrainingError(msg)


def _check_writable(folder: Path, what: str) -> None:
    """Refuse a folder that cannot be made or written."""
    above = _nearest_existing(folder)
    if not above.is_dir():
        msg = f"{above} is a file, expected a folder for {what}; choose another name."
        raise TrainingError(msg)
    try:
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        msg = f"{folder} cannot be written ({error.strerror}); choose another folder for {what}."
        raise TrainingError(msg) from error


def _check_outside(folder: Path, sources: Iterable[Path]) -> None:
    """Refuse a folder inside a slide that is itself a folder, such as OME-Zarr: slides are never written to."""
    resolved = folder.resolve()
    for source in sources:
        if source.resolve() in (resolved, *resolved.parents):
            msg = f"{folder} lies inside the slide {source.name}, which is only read; choose another folder."
            raise TrainingError(msg)


def _check_disk(folder: Path, cache: Path, cache_bytes: int) -> None:
    """Refuse a training that needs more space than its disks have."""
    needed: dict[int, int] = {}
    for path, size in ((folder, _CHECKPOINT_BYTES), (cache, cache_bytes)):
        above = _nearest_existing(path)
        # run and patches may be on one disk: their sizes are added up
        disk = above.stat().st_dev
        needed[disk] = needed.get(disk, 0) + size
        free = shutil.disk_usage(above).free
        if needed[disk] > free:
            msg = (
                f"the disk of {path} has {_gigabytes(free)} free but {_gigabytes(needed[disk])} are needed, "
                f"{_gigabytes(cache_bytes)} of it for patches; free some space, or keep the patches on another disk "
                "(on the command line with --cache FOLDER)."
            )
            raise TrainingError(msg)


def _nearest_existing(folder: Path) -> Path:
    absolute = folder.absolute()
    return next(path for path in (absolute, *absolute.parents) if path.exists())


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"


def _check_each_once(slides: Sequence[TrainingSlide]) -> None:
    seen: set[object] = set()
    for slide in (training_slide.slide for training_slide in slides):
        plane = (slide.source.resolve(), slide.series, slide.z, slide.t)
        if plane in seen:
            msg = f"{slide.source.name} is listed twice, expected every slide once; take one of the two off the list."
            raise TrainingError(msg)
        seen.add(plane)


def _check_sizes(slides: Sequence[TrainingSlide], settings: TrainingSettings) -> None:
    at = "" if settings.pixel_um is None else f" at {settings.pixel_um:g} µm"
    for slide in slides:
        height, width = slide.slide.shape
        if min(height, width) < _SMALLEST_SIDE_PX:
            msg = (
                f"{_name(slide)} has {width} x {height} px{at}, expected at least {_SMALLEST_SIDE_PX} px a side to "
                "learn from; take it off the list."
            )
            raise TrainingError(msg)


def _check_alike(slides: Sequence[TrainingSlide]) -> None:
    first = slides[0]
    sized = next((slide for slide in slides if slide.slide.pixel_size_um), first)
    for slide in slides:
        if slide.slide.dtype != first.slide.dtype:
            msg = (
                f"{_name(first)} has pixels of type {first.slide.dtype} but {_name(slide)} of type "
                f"{slide.slide.dtype}, expected one type for all slides; convert them, or train on each type alone."
            )
            raise TrainingError(msg)
        if not _same_size(sized.slide.pixel_size_um, slide.slide.pixel_size_um):
            msg = (
                f"{_name(sized)} has pixels of {_size(sized)} but {_name(slide)} of {_size(slide)}, expected the same "
                f"within {PIXEL_SIZE_TOLERANCE:.0%}; state the pixel size at which the network works (--pixel-um on "
                "the command line), to which they are resampled, or train on each size alone."
            )
            raise TrainingError(msg)


def _same_size(one: tuple[float, float] | None, other: tuple[float, float] | None) -> bool:
    return one is None or other is None or np.allclose(other, one, rtol=PIXEL_SIZE_TOLERANCE, atol=0)


def _no_patch(part: Sequence[TrainingSlide], purpose: str, settings: TrainingSettings) -> TrainingError:
    shares = [f"{settings.minimum_overlap:.0%} in the regions"] if any(slide.entry.regions for slide in part) else []
    shares += [f"{settings.minimum_tissue:.0%} on tissue"] if settings.minimum_tissue else []
    condition = f", expected some with at least {' and '.join(shares)}" if shares else ""
    remedy = "larger regions or slides" if any(slide.entry.regions for slide in part) else "larger slides or more"
    return TrainingError(
        f"there is no patch of {settings.patch_px} px to {purpose} in {_names(part)}{condition}; take smaller patches, "
        f"{remedy}."
    )


def _warnings(
    slides: Sequence[TrainingSlide], split: Split, settings: TrainingSettings, patches: Mapping[TrainingSlide, int]
) -> Iterator[str]:
    yield from near_copies(split)
    yield from _other_roles(slides, settings)
    unsized = [slide for slide in slides if slide.slide.pixel_size_um is None]
    if unsized:
        yield (
            f"{_names(unsized)} {'has' if len(unsized) == 1 else 'have'} no pixel size: make sure that all slides "
            "have the same one, and use the checkpoint only on slides with that pixel size."
        )
    oblong = [slide for slide in slides if (size := slide.slide.pixel_size_um) and not has_pixel_size(size, size[0])]
    if oblong:
        yield (
            f"{_names(oblong)}: pixels of {_size(oblong[0])} are not square, and a checkpoint keeps one pixel size, so "
            "that a prediction of such slides will warn; state the pixel size at which the network works (--pixel-um "
            "on the command line), to which they are resampled."
        )
    for slide, count in patches.items():
        if not count:
            yield f"{_name(slide)} gives no patch of {settings.patch_px} px: its regions are too small, or too few."
    to_learn = sum(patches[slide] for slide in split.train)
    if to_learn * settings.patch_px**2 < _FEW_PIXELS:
        yield (
            f"there {'is' if to_learn == 1 else 'are'} only {to_learn} patch{'' if to_learn == 1 else 'es'} of "
            f"{settings.patch_px} px to learn from: the network may memorise them, and predict other slides poorly."
        )


def _warnings_of_start(start: Checkpoint | None, split: Split, settings: TrainingSettings) -> Iterator[str]:
    if start is not None:
        sizes = (slide.slide.pixel_size_um for slide in split.train)
        size = next((size for size in sizes if size is not None), None)
        held_out = (slide.entry.tumour_id for slide in (*split.validation, *split.test))
        yield from start_warnings(start.card, settings, size, held_out)


def _other_roles(slides: Sequence[TrainingSlide], settings: TrainingSettings) -> Iterator[str]:
    """Warn of channels of one name that have different roles in different slides."""
    roles: dict[str, dict[str, str]] = {}
    for slide in slides:
        for role, channel in zip((*settings.channels, settings.target), (*slide.inputs, slide.target), strict=True):
            roles.setdefault(slide.slide.channel_names[channel], {}).setdefault(role, _name(slide))
    for name, slides_by_role in roles.items():
        if len(slides_by_role) > 1:
            uses = " but ".join(f"as {role} in {slide}" for role, slide in slides_by_role.items())
            yield f"the channel {name} is used {uses}: make sure that every channel has the right role."


def _name(slide: TrainingSlide) -> str:
    return slide.slide.source.name


def _names(slides: Sequence[TrainingSlide]) -> str:
    return ", ".join(dict.fromkeys(map(_name, slides)))


def _size(slide: TrainingSlide) -> str:
    return pixel_size_words(slide.slide.pixel_size_um or (0.0, 0.0))

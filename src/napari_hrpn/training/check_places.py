"""Whether a run can be written where it shall be: folders, permission, disk space. Nothing is left behind by a look."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from napari_hrpn.training.errors import TrainingError
from napari_hrpn.training.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterable

_CHECKPOINT_BYTES = 150_000_000
"""Weights, averages and the optimiser's state of either network, each beside the file that it replaces."""

OF_A_RUN = {"patches", "regions"}
OF_THE_SYSTEM = {"Thumbs.db", "desktop.ini"}


def check_run_folder(folder: Path) -> None:
    """Refuse a folder that cannot hold a run, or holds something else."""
    check_writable(folder, "the run")
    if not folder.is_dir() or RunFolder(folder).request() is not None:
        return
    names = (path.name for path in sorted(folder.iterdir()))
    foreign = [name for name in names if not name.startswith(".") and name not in OF_A_RUN | OF_THE_SYSTEM]
    if foreign:
        msg = f"{folder} holds {foreign[0]} but no training; choose a new or an empty folder for the run."
        raise TrainingError(msg)


def check_writable(folder: Path, what: str) -> None:
    """Refuse a place where no folder can be made or written."""
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


def check_outside(folder: Path, sources: Iterable[Path]) -> None:
    """Refuse a place inside a slide, which is only read."""
    place = folder.resolve()
    for source in sources:
        if source.resolve() in (place, *place.parents):
            msg = f"{folder} lies inside the slide {source.name}, which is only read; choose another folder."
            raise TrainingError(msg)


def check_disk(folder: Path, cache: Path, cache_bytes: int) -> None:
    """Refuse to begin what the disk cannot hold."""
    wanted: dict[int, int] = {}
    for place, size in ((folder, _CHECKPOINT_BYTES), (cache, cache_bytes)):
        above = _nearest_existing(place)
        disk = above.stat().st_dev
        wanted[disk] = wanted.get(disk, 0) + size
        free = shutil.disk_usage(above).free
        if wanted[disk] > free:
            msg = (
                f"the disk of {place} has {_gigabytes(free)} free but {_gigabytes(wanted[disk])} are needed, "
                f"{_gigabytes(cache_bytes)} of it for patches; free some space, or keep the patches on another disk "
                "(on the command line with --cache FOLDER)."
            )
            raise TrainingError(msg)


def _nearest_existing(place: Path) -> Path:
    """Find what exists of a path."""
    whole = Path(place).absolute()
    return next(path for path in (whole, *whole.parents) if path.exists())


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"

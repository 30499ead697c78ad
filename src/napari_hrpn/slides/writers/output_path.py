"""Output paths of slides: an output is complete or absent.

The rule: incomplete output is in a folder next to the output that only this program uses, one process at a time. Files
that a killed process left there are deleted when the same output is written again. Nothing else is ever deleted, except
a complete OME-Zarr of this program that is to be replaced.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout

from napari_hrpn.core.files import LOCK, held_lock, patiently
from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.predictions import FINISHED, PYRAMID_TYPE
from napari_hrpn.slides.zarr_arrays import read_attributes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filelock import BaseFileLock

    from napari_hrpn.slides.location import Location

REPLACED = ".replaced"
_METADATA = {"zarr.json", ".zattrs", ".zgroup"}
# files that file managers create in any folder
_LEFT_BY_SYSTEMS = {".DS_Store", "Thumbs.db", "desktop.ini"}
LEFT_BY_ZARR = re.compile(r"(\d+|c|zarr)\.[0-9a-f]{32}\.partial")
"""Temporary name of a file that zarr is writing."""
_OF_ARRAYS = re.compile(rf"(c|\d+|\.lock|zarr\.json|\.zarray|\.zattrs|{LEFT_BY_ZARR.pattern})")
_TRIES = 20
_SECONDS_BETWEEN_TRIES = 0.05
_ATTEMPT = re.compile(r"[0-9a-f]{32}")
# Windows makes no folder with a path of so many characters, unless long paths are enabled; files may have 12 more
_LONG_PATH = 248
_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def partial_output(path: Path, source: Location | None, *, overwrite: bool) -> Iterator[Path]:
    """Give a temporary path to write to; the output gets its final name if the block succeeds.

    Files of an earlier attempt are deleted first, and those of this attempt if the block fails.
    """
    _check(path, source, overwrite)
    with writing_errors(path), _attempt(path) as attempt:
        yield attempt / path.name
        _check(path, source, overwrite)
        _publish(attempt, path)


def check_output(path: Path, source: Location | None, *, overwrite: bool) -> None:
    """Refuse an output that exists, belongs to the slide or cannot be written, before anything is computed for it."""
    _check(path, source, overwrite)
    with writing_errors(path):
        above = next(folder for folder in path.absolute().parents if folder.exists())
        with tempfile.TemporaryFile(dir=above):
            pass


@contextmanager
def writing_errors(path: Path) -> Iterator[None]:
    """Turn errors of the operating system while writing into a `SlideError` of one sentence."""
    try:
        yield
    except OSError as error:
        raise SlideError(_sentence(path, error)) from error


def remove(path: Path) -> None:
    """Delete a file or a folder, if it exists."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    for tries_left in reversed(range(_TRIES)):
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            return
        except OSError:
            # threads that write to the folder may not have ended yet
            if tries_left == 0:
                raise
            time.sleep(_SECONDS_BETWEEN_TRIES)
        else:
            return


def _partial_folder(path: Path) -> Path:
    """Folder next to an output in which it is written."""
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8]
    return path.with_name(f"{path.name[:40]}-{digest}.partial")


@contextmanager
def locked_output(path: Path) -> Iterator[Path]:
    """Lock an output against other processes, without a lock file in the output itself."""
    folder = _partial_folder(path)
    with writing_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _locked(folder, path)
    try:
        with writing_errors(path):
            _clear(folder, path)
        yield folder
    finally:
        _give_up(folder, lock)


@contextmanager
def _attempt(path: Path) -> Iterator[Path]:
    """A new folder to write in, which is deleted at the end."""
    with locked_output(path) as folder:
        attempt = folder / uuid.uuid4().hex
        try:
            attempt.mkdir()
            yield attempt
        finally:
            # an error here must not hide an earlier one, which the user needs
            with suppress(OSError):
                remove(attempt)


def _locked(folder: Path, path: Path) -> BaseFileLock | None:
    for tries_left in reversed(range(_TRIES)):
        try:
            folder.mkdir(exist_ok=True)
            return held_lock(folder / LOCK)
        except Timeout as error:
            msg = f"{path} is being written by another program; wait for its end, or choose another name."
            raise SlideError(msg) from error
        except FileNotFoundError:
            # another process has just ended and deleted the folder
            if tries_left == 0:
                raise
    raise AssertionError


def _give_up(folder: Path, lock: BaseFileLock | None) -> None:
    if os.name != "nt":
        # deleted while it is held, so that a process that opens it later makes a new file
        with suppress(OSError):
            (folder / LOCK).unlink()
    if lock is not None:
        lock.release()
    with suppress(OSError):
        if os.name == "nt":
            (folder / LOCK).unlink()
        folder.rmdir()


def _clear(folder: Path, path: Path) -> None:
    """Delete files of killed processes; an older output that was being replaced gets its name back."""
    for attempt in folder.iterdir():
        if not _ATTEMPT.fullmatch(attempt.name):
            continue
        replaced = attempt / REPLACED
        if replaced.exists() and not path.exists():
            patiently(replaced.rename, path)
        remove(attempt)


def _sentence(path: Path, error: OSError) -> str:
    if error.errno in _FULL:
        return f"The disk of {path} is full: free some space or choose another place for the output."
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return (
            f"{path} cannot be written, permission denied: close it in other programs, or choose another place for the "
            "output."
        )
    # Windows says of a path that is too long that it does not exist
    if error.errno == errno.ENAMETOOLONG or (error.errno == errno.ENOENT and len(str(error.filename)) >= _LONG_PATH):
        return f"{path} could not be written, as its path is too long for this system: choose a shorter one."
    reason = error.strerror or str(error)
    return f"{path} could not be written ({reason}): choose another place for the output or try again."


def _check(path: Path, source: Location | None, overwrite: bool) -> None:
    if isinstance(source, Path) and source.exists():
        output, slide = path.resolve(), source.resolve()
        # the names of one file may differ, as many systems do not distinguish upper and lower case
        is_same = output == slide or (output.exists() and output.samefile(slide))
        if is_same or slide in output.parents or output in slide.parents:
            raise SlideError(
                f"The output {path} is the slide {source} itself, or one is inside the other: choose another name."
            )
    if not path.exists() and not path.is_symlink():
        return
    if not overwrite:
        raise SlideError(f"{path} exists already: choose another name, or overwrite it.")
    if path.is_dir():
        _check_replaceable(path)


def _publish(attempt: Path, path: Path) -> None:
    written = attempt / path.name
    if not path.is_dir() and not (written.is_dir() and path.exists()):
        patiently(written.replace, path)
        return
    # a folder cannot be replaced in one step: the old one is kept until the new one has its name
    replaced = patiently(path.rename, attempt / REPLACED)
    try:
        patiently(written.rename, path)
    except BaseException:
        patiently(replaced.rename, path)
        raise


def _check_replaceable(folder: Path) -> None:
    """Refuse to replace a folder unless this program wrote everything in it."""
    arrays = _arrays(folder)
    if not arrays:
        msg = f"{folder} is a folder but not an OME-Zarr of this program, so it is kept: choose another name."
        raise SlideError(msg)
    for place, folders, files in os.walk(folder):
        inside = Path(place).relative_to(folder)
        for name in (*folders, *files):
            is_known = bool(_OF_ARRAYS.fullmatch(name)) if inside.parts else name in {*_METADATA, *arrays}
            if name not in _LEFT_BY_SYSTEMS and (not is_known or Path(place, name).is_symlink()):
                found = (inside / name).as_posix()
                raise SlideError(
                    f"{folder} holds {found}, which this program did not write, so it is kept: move that, or choose a "
                    "new name."
                )


def _arrays(folder: Path) -> set[str]:
    """Names of the arrays of an image that this program wrote; empty for other folders."""
    try:
        (image,) = read_attributes(folder)["multiscales"]
        levels = {str(dataset["path"]) for dataset in image["datasets"]}
        return levels | {FINISHED} if image["type"] == PYRAMID_TYPE else set()
    except SlideError:
        raise
    except (KeyError, TypeError, ValueError):
        return set()

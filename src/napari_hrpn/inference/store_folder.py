"""The folder of a prediction: it is there whole or not at all, and one program at a time writes it.

On a disk it is renamed into place, and locked. In object storage nothing is renamed or locked: there it is a prediction
as soon as its last object, the metadata of the group, is written, and no longer once that is gone.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, SoftFileLock, Timeout

from napari_hrpn.inference.errors import PredictionError
from napari_hrpn.slides.place import is_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from filelock import BaseFileLock
    from upath import UPath

    from napari_hrpn.slides import Place

ROOT = "zarr.json"
BEGUN = ".begun"
"""Object that is there while a prediction is put in place or taken away; alone, it was left by a program that died."""
LOCK = Path("finished", ".lock")
"""In the folder of an array, where nobody lists files: in that of the group, zarr would warn of it."""


def is_free(path: Place) -> bool:
    """Whether a prediction may be put in place without taking anything away.

    Parameters
    ----------
    path : pathlib.Path or UPath
        Where there is no prediction.

    Returns
    -------
    bool
        Also where one was begun in object storage and never became one.
    """
    if isinstance(path, Path):
        return not path.exists()
    return is_file(path / BEGUN) or not path.fs.exists(path.path)


def put_in_place(path: Place, fill: Callable[[Path], None]) -> None:
    """Make a folder appear whole.

    Parameters
    ----------
    path : pathlib.Path or UPath
        A place that is free.
    fill : callable
        Makes a folder that does not exist yet, with all that is to be in it.
    """
    if not isinstance(path, Path):
        _upload(path, fill)
        return
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        fill(partial)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def take_away(path: Place) -> None:
    """Remove a prediction.

    Parameters
    ----------
    path : pathlib.Path or UPath
        One that nobody else writes; a prediction is put in its place next.

    Raises
    ------
    PredictionError
        If another program writes it.
    """
    if isinstance(path, Path):
        lock, replaced = held(path), path.with_name(f"{path.name}.{os.getpid()}.replaced")
        if os.name == "nt":
            # which renames no folder in which a file is open
            release(lock)
        try:
            path.rename(replaced)
        finally:
            release(lock)
        shutil.rmtree(replaced)
    else:
        _begin(path)
        path.fs.rm_file((path / ROOT).path)


def held(path: Place) -> BaseFileLock | None:
    """Keep other programs from writing a prediction, until `release` or the end of this program, however it ends.

    Parameters
    ----------
    path : pathlib.Path or UPath
        A prediction.

    Returns
    -------
    filelock.BaseFileLock or None
        None where nothing can be locked: in object storage, on some network shares, in folders of others.

    Raises
    ------
    PredictionError
        If another program, or another run in this one, writes it.
    """
    if not isinstance(path, Path):
        return None
    lock: BaseFileLock = FileLock(path / LOCK, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        msg = f"{path} is being written by another program; wait for its end, or choose another place for the output."
        raise PredictionError(msg) from error
    except (OSError, NotImplementedError):
        return None
    if isinstance(lock, SoftFileLock):
        # what is taken where the share knows no locks, and would outlive a program that is killed
        lock.release()
        return None
    return lock


def release(lock: BaseFileLock | None) -> None:
    """Let others write.

    Parameters
    ----------
    lock : filelock.BaseFileLock or None
        What `held` gave.
    """
    if lock is not None:
        lock.release()


def _upload(path: UPath, fill: Callable[[Path], None]) -> None:
    store, prefix = path.fs, path.path
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole")
        fill(whole)
        objects = {
            f"{prefix}/{file.relative_to(whole).as_posix()}": file.read_bytes()
            for file in whole.rglob("*")
            if file.is_file()
        }
    root = objects.pop((path / ROOT).path)
    _begin(path)
    # pieces of an earlier prediction would be taken for pieces of this one
    if left := [name for name in store.find(prefix) if not name.endswith(f"/{BEGUN}")]:
        store.rm(left)
    store.pipe(objects)
    store.pipe_file((path / ROOT).path, root)
    store.rm_file((path / BEGUN).path)


def _begin(path: UPath) -> None:
    path.fs.pipe_file((path / BEGUN).path, b"napari-hrpn puts a prediction in place here, or takes one away.\n")

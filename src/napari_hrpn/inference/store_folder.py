"""The folder of a prediction: it is there whole or not at all, and one program at a time writes it.

On a disk it is renamed into place, and locked. In object storage nothing is renamed or locked: there it is a prediction
as soon as its last object, the metadata of the group, is written, and no longer once that is gone.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout

from napari_hrpn.core.files import held_lock
from napari_hrpn.inference.errors import PredictionError
from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.location import is_file
from napari_hrpn.slides.metadata import FINISHED
from napari_hrpn.slides.writers.output_path import LEFT_BY_ZARR, partial_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from filelock import BaseFileLock
    from upath import UPath

    from napari_hrpn.slides import Location

_ROOT = "zarr.json"
BEGUN = ".begun"
"""Object that is there while a prediction is put in place or taken away; alone, it was left by a program that died."""
_LOCK = Path(FINISHED, ".lock")
"""In the folder of an array, where nobody lists files: in that of the group, zarr would warn of it."""


def is_free(path: Location) -> bool:
    """Whether a prediction may be put in place without taking anything away."""
    if isinstance(path, Path):
        return not path.exists()
    return is_file(path / BEGUN) or not path.fs.exists(path.path)


def put_in_place(path: Location, fill: Callable[[Path], None], *, overwrite: bool = False) -> None:
    """Make a folder appear whole."""
    if not isinstance(path, Path):
        if overwrite:
            _begin(path)
            path.fs.rm_file((path / _ROOT).path)
        _upload(path, fill)
        return
    lock = held(path) if overwrite else None
    if os.name == "nt":
        # which renames no folder in which a file is open
        release(lock)
    try:
        with partial_output(path, None, overwrite=overwrite) as partial:
            fill(partial)
    except SlideError as error:
        raise PredictionError(str(error)) from error
    finally:
        release(lock)


def check_links(path: Location) -> None:
    """Refuse a prediction with links in it: what is written through them may be another's file."""
    for name in _names_in(path):
        if isinstance(path, Path) and name.is_symlink():
            msg = (
                f"{path} holds a link ({name.relative_to(path).as_posix()}), expected the files themselves; copy it "
                "with what its links lead to, as `cp -rL` does, or choose another place for the output."
            )
            raise PredictionError(msg)


def clear_left(path: Location) -> None:
    """Remove the files that zarr was writing when a program was killed."""
    for name in _names_in(path):
        if LEFT_BY_ZARR.fullmatch(name.name):
            name.unlink(missing_ok=True)


def _names_in(path: Location) -> Iterator[Path]:
    """All that is in a folder; nothing at an address, where there are no links and no files that are half written."""
    for place, folders, files in os.walk(path) if isinstance(path, Path) else ():
        yield from (Path(place, name) for name in (*folders, *files))


def held(path: Location) -> BaseFileLock | None:
    """Keep other programs from writing a prediction, until `release` or the end of this program, however it ends."""
    if not isinstance(path, Path):
        return None
    try:
        return held_lock(path / _LOCK)
    except Timeout as error:
        msg = f"{path} is being written by another program; wait for its end, or choose another place for the output."
        raise PredictionError(msg) from error
    except OSError:
        return None


def release(lock: BaseFileLock | None) -> None:
    """Let others write."""
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
    root = objects.pop((path / _ROOT).path)
    _begin(path)
    # pieces of an earlier prediction would be taken for pieces of this one
    if left := [name for name in store.find(prefix) if not name.endswith(f"/{BEGUN}")]:
        store.rm(left)
    store.pipe(objects)
    store.pipe_file((path / _ROOT).path, root)
    store.rm_file((path / BEGUN).path)


def _begin(path: UPath) -> None:
    path.fs.pipe_file((path / BEGUN).path, b"napari-hrpn puts a prediction in place here, or takes one away.\n")

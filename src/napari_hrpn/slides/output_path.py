"""Where a slide may be written: a result appears whole under its name, or not at all."""

from __future__ import annotations

import errno
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_hrpn.slides.errors import SlideError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_hrpn.slides.place import Place


@contextmanager
def partial_output(path: Path, source: Place | None, *, overwrite: bool) -> Iterator[Path]:
    """Hand out a path beside `path` to write to; it takes the final name when the block ends well.

    What is left of an earlier attempt is removed first; what this one wrote is removed where the block fails.

    Parameters
    ----------
    path : pathlib.Path
        Final file or folder.
    source : pathlib.Path, UPath or None
        The slide that is read, which the output must not touch; None where nothing is.
    overwrite : bool
        Whether an output that exists may be replaced.

    Yields
    ------
    pathlib.Path
        ``NAME.partial`` in the folder of `path`; it does not exist yet, its folder does.

    Raises
    ------
    SlideError
        Where the output exists, would touch the input, or cannot be written.
    """
    _check(path, source, overwrite)
    partial = path.with_name(f"{path.name}.partial")
    with writing_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(partial)
        try:
            yield partial
            _check(path, source, overwrite)
            _publish(partial, path)
        except BaseException:
            remove(partial)
            raise


@contextmanager
def writing_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write into one sentence.

    Parameters
    ----------
    path : pathlib.Path
        What the user asked to be written.

    Raises
    ------
    SlideError
        For a full disk, missing permission and the like.
    """
    try:
        yield
    except OSError as error:
        raise SlideError(_sentence(path, error)) from error


def remove(path: Path) -> None:
    """Delete a file or a whole folder, if it is there.

    Parameters
    ----------
    path : pathlib.Path
        What is to go.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sentence(path: Path, error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"The disk of {path} is full: free some space or choose another place for the output."
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"{path} cannot be written for lack of permission: choose another place for the output."
    reason = error.strerror or str(error)
    return f"{path} could not be written ({reason}): choose another place for the output or try again."


def _check(path: Path, source: Place | None, overwrite: bool) -> None:
    if isinstance(source, Path) and source.exists():
        output, slide = path.resolve(), source.resolve()
        if output == slide or slide in output.parents or output in slide.parents:
            raise SlideError(
                f"The output {path} lies on or in the slide {source} it is made from: choose another name."
            )
    if not path.exists() and not path.is_symlink():
        return
    if not overwrite:
        raise SlideError(f"{path} exists already: choose another name or ask for it to be overwritten.")
    if path.is_dir() and not any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs")):
        raise SlideError(f"{path} is a folder but not an OME-Zarr, so it stays: choose another name.")


def _publish(partial: Path, path: Path) -> None:
    if not path.is_dir():
        partial.replace(path)
        return
    # a folder cannot be replaced in one step: the old one keeps existing beside until the new one is in place
    old = path.with_name(f"{path.name}.replaced")
    remove(old)
    path.rename(old)
    partial.rename(path)
    remove(old)

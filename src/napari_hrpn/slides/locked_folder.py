"""One program at a time works in a folder: the system gives the lock back even when that program is killed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK = ".lock"


@contextmanager
def locked_folder(folder: Path, refusal: type[ValueError], doing: str, purpose: str) -> Iterator[None]:
    """Keep other programs from doing the same in a folder at the same time.

    Parameters
    ----------
    folder : pathlib.Path
        Made where it is not there; its ``.lock`` stays.
    refusal : type of ValueError
        Error of the room that asks, raised with a sentence for the user where the folder is taken or cannot be written.
    doing : str
        What another program may be doing, such as "training in".
    purpose : str
        What the folder is for, such as "run".
    """
    # a generator may be closed in another thread than the one it was begun in
    lock = FileLock(folder / LOCK, thread_local=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        msg = f"another program is {doing} {folder}; wait for it, or choose another folder."
        raise refusal(msg) from error
    except OSError as error:
        msg = f"{folder} cannot be written ({error.strerror}); choose another folder for the {purpose}."
        raise refusal(msg) from error
    try:
        yield
    finally:
        lock.release()

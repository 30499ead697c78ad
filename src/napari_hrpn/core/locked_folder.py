"""One program at a time works in a folder: the system gives the lock back even when that program is killed."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, SoftFileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from filelock import BaseFileLock

LOCK = ".lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


def held_lock(path: Path) -> BaseFileLock | None:
    """Take a lock without waiting for it."""
    # a generator may be closed in another thread than the one it was begun in
    lock: BaseFileLock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except NotImplementedError:
        return None
    except OSError as error:
        if isinstance(error, Timeout) or error.errno not in _NO_LOCKS:
            raise
        return None
    if isinstance(lock, SoftFileLock):
        # filelock takes it where there are no locks; it would outlive a program that is killed
        lock.release()
        return None
    return lock


@contextmanager
def locked_folder(folder: Path, refusal: type[ValueError], doing: str, purpose: str) -> Iterator[None]:
    """Keep other programs from doing the same in a folder at the same time."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = held_lock(folder / LOCK)
    except Timeout as error:
        msg = f"another program is {doing} {folder}; wait for it, or choose another folder."
        raise refusal(msg) from error
    except OSError as error:
        msg = f"{folder} cannot be written ({error.strerror}); choose another folder for the {purpose}."
        raise refusal(msg) from error
    try:
        yield
    finally:
        if lock is not None:
            lock.release()

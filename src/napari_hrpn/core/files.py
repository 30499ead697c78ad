"""Files that are replaced in one step, folders that one program uses at a time, and JSON that is read back."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from filelock import FileLock, SoftFileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from filelock import BaseFileLock

LOCK = ".lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
_LEFT_AFTER_SECONDS = 3600
"""No file takes so long to write: what is older was left by a program that was killed."""


@contextmanager
def replaced_file(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Hand out a path beside `path` to write to; it takes its name when the block ends well, and goes when it fails."""
    _clear(path)
    partial = _partial(path, os.getpid())
    try:
        yield partial
        if sync:
            # Windows flushes no file that is open for reading alone
            with partial.open("r+b") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _partial(path: Path, pid: int) -> Path:
    # by the number behind that of the process it is known for one of ours
    digest = hashlib.sha256(os.fsencode(f"{path.name} {pid}")).hexdigest()[:8]
    return path.with_name(f"{path.name}.{pid}-{digest}.partial")


def _clear(path: Path) -> None:
    with suppress(OSError):
        for name in os.listdir(path.parent):  # noqa: PTH208 (names are all that it takes)
            pid = name.removeprefix(f"{path.name}.").partition("-")[0]
            if name.endswith(".partial") and pid.isdecimal() and _partial(path, int(pid)).name == name:
                left = path.with_name(name)
                if time.time() - left.stat().st_mtime > _LEFT_AFTER_SECONDS:
                    left.unlink()


def held_lock(path: Path) -> BaseFileLock | None:
    """Take a lock without waiting for it; None where the system has no locks that end with the program."""
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


def saved_json(path: Path, refusal: type[ValueError]) -> dict[str, Any] | None:
    """Read JSON that the program wrote; None where there is none."""
    if path.exists() and not path.is_file():
        # a pipe would be waited for, and a device may have no end
        msg = f"{path} is no file; delete it to have it made again."
        raise refusal(msg)
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path} cannot be read ({getattr(error, 'strerror', None) or error}); delete it to have it made again."
        raise refusal(msg) from error
    if not isinstance(found, dict):
        msg = f"{path} holds something else than expected; delete it to have it made again."
        raise refusal(msg)
    return found


def save_json(path: Path, content: object) -> None:
    """Write JSON in one step; its folder is made where it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def differing(found: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Fields in which the request that something was made from differs from the one that is made now."""
    return sorted(name for name in found.keys() | asked.keys() if found.get(name) != asked.get(name))

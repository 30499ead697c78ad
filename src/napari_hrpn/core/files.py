"""Atomic file writes, folders that one program uses at a time, and JSON files of the program."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import FileLock, SoftFileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from filelock import BaseFileLock

LOCK = ".lock"
# on macOS, ENOTSUP is not EOPNOTSUPP
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
_LEFT_AFTER_SECONDS = 3600
"""Age from which a partial file counts as left by a killed program, since no write takes that long."""
_TRIES = 20
_SECONDS_BETWEEN_TRIES = 0.05
_Result = TypeVar("_Result")


def patiently(act: Callable[..., _Result], *arguments: object) -> _Result:
    """Call a function that replaces a file, again and again for a second: Windows refuses it while the file is read."""
    for _ in range(_TRIES - 1):
        try:
            return act(*arguments)
        except PermissionError as error:
            # object storage, whose errors name no file, would refuse it again
            if error.filename is None:
                raise
        time.sleep(_SECONDS_BETWEEN_TRIES)
    return act(*arguments)


@contextmanager
def replaced_file(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Temporary path beside `path` to write to; it replaces `path` when the block succeeds, else it is deleted."""
    _delete_left_partials(path)
    partial = _partial(path, os.getpid())
    try:
        yield partial
        if sync:
            # Windows cannot flush a file that is open for reading only
            with partial.open("r+b") as file:
                os.fsync(file.fileno())
        try:
            patiently(partial.replace, path)
        except PermissionError as error:
            reason = f"{error.strerror}; perhaps another program has it open"
            raise PermissionError(error.errno, reason, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def _partial(path: Path, pid: int) -> Path:
    # the digest proves that the file is ours, so that no file of the user is ever deleted
    digest = hashlib.sha256(os.fsencode(f"{path.name} {pid}")).hexdigest()[:8]
    return path.with_name(f"{path.name}.{pid}-{digest}.partial")


def _delete_left_partials(path: Path) -> None:
    with suppress(OSError):
        for name in os.listdir(path.parent):  # noqa: PTH208 (only names are needed, and folders may be large)
            pid = name.removeprefix(f"{path.name}.").partition("-")[0]
            if name.endswith(".partial") and pid.isdecimal() and _partial(path, int(pid)).name == name:
                left = path.with_name(name)
                if time.time() - left.stat().st_mtime > _LEFT_AFTER_SECONDS:
                    left.unlink()


def held_lock(path: Path) -> BaseFileLock | None:
    """Take a lock without waiting for it; None where the system has no locks that end with the program."""
    # a generator may be closed, and so release its lock, in another thread than the one that started it
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
        # filelock falls back to it where the system has no locks; its lock file would outlive a killed program
        lock.release()
        return None
    return lock


@contextmanager
def locked_folder(folder: Path, refusal: type[ValueError], doing: str, purpose: str) -> Iterator[None]:
    """Hold the lock of a folder, so that no other program works in it at the same time."""
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
    """Content of a JSON file that the program wrote; None if there is no file."""
    if path.exists() and not path.is_file():
        # reading a pipe would block, and a device may have no end
        msg = f"{path} is not a file; delete it to have it made again."
        raise refusal(msg)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path} cannot be read ({getattr(error, 'strerror', None) or error}); delete it to have it made again."
        raise refusal(msg) from error
    if not isinstance(content, dict):
        msg = f"{path} holds something other than expected; delete it to have it made again."
        raise refusal(msg)
    return content


def save_json(path: Path, content: object) -> None:
    """Write JSON in one step; makes its folder if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def differing(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of the fields in which the request of an earlier run differs from the present one."""
    return sorted(name for name in earlier.keys() | now.keys() if earlier.get(name) != now.get(name))

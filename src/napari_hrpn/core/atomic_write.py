"""Files that are replaced in one step: under its name there is the old one or the new one, whole."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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

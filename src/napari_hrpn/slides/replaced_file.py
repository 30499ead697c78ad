"""Files that are replaced in one step: under its name there is the old one or the new one, whole."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def replaced_file(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Hand out a path beside `path` to write to; it takes its name when the block ends well, and goes when it fails.

    Parameters
    ----------
    path : pathlib.Path
        Final file, in a folder that is there.
    sync : bool
        Wait until the disk has it, so that a power cut leaves no empty file.

    Yields
    ------
    pathlib.Path
        ``NAME.PID.partial``, so that programs that write the same file do not meet; only one that was killed leaves it.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        if sync:
            # Windows flushes no file that is open for reading alone
            with partial.open("r+b") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)

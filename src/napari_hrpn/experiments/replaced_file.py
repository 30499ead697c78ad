"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Hand out a path beside `path` to write to; it takes its name when the block ends well.

    Parameters
    ----------
    path : pathlib.Path
        Final file; one that is there is replaced in one step. Its folder is made.

    Yields
    ------
    pathlib.Path
        With the same ending, so that writers that go by it know what to write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)

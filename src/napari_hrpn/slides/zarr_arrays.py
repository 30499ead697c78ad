"""Zarr arrays opened for reading, their chunks decoded by zarrs, which takes half the time, where it is installed.

The rule: it is set for our own arrays only, in a context, and never in a fork, where the threads of zarrs are missing.
"""

from __future__ import annotations

import os
import threading
import warnings
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_hrpn.slides.place import is_file, zarr_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    import zarr

    from napari_hrpn.slides.place import Place

ZARRS = "zarrs.ZarrsCodecPipeline"

# zarr's settings are those of the whole process: two at once could leave them changed
_setting = threading.Lock()
_forked = threading.Event()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked.set)


def open_zarr_array(place: Place) -> zarr.Array[Any]:
    """Open an array for reading.

    Parameters
    ----------
    place : pathlib.Path or UPath
        Its folder.

    Returns
    -------
    zarr.Array
        Of either version of the format.
    """
    import zarr

    if isinstance(place, Path):
        if _can_have_zarrs():
            with _decoded_by_zarrs():
                array = zarr.open_array(place, mode="r")
            # it knows this machine's byte order only
            if array.dtype.isnative:
                return array
        return zarr.open_array(place, mode="r")
    # asked for both versions at once, zarr fails where a store forbids to read what is not there
    version: Literal[2, 3] = 3 if is_file(place / "zarr.json") else 2
    return zarr.open_array(zarr_store(place), mode="r", zarr_format=version)


def _can_have_zarrs() -> bool:
    # what a program opened before it forks is not to be read in the fork
    return find_spec("zarrs") is not None and not _forked.is_set()


@contextmanager
def _decoded_by_zarrs() -> Iterator[None]:
    import zarr

    with _setting, zarr.config.set({"codec_pipeline.path": ZARRS}), warnings.catch_warnings():
        # what it cannot decode it leaves to zarr
        warnings.filterwarnings("ignore", "Array is unsupported by ZarrsCodecPipeline")
        yield

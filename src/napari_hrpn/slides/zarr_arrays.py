"""Zarr arrays opened for reading, their chunks decoded by zarrs, which takes half the time, where it is installed.

The rule: it is set for our own arrays only, in a context, and never in a fork, where the threads of zarrs are missing.
What it refuses is left to zarr, which has the last word.
"""

from __future__ import annotations

import json
import os
import threading
import warnings
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_hrpn.slides.location import is_file, zarr_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import zarr
    from numpy.typing import NDArray

    from napari_hrpn.slides.location import Location

    ZarrArray = zarr.Array[Any]

_ZARRS = "zarrs.ZarrsCodecPipeline"
# what some programs add to it says how it was written, not how it is read
_SETTINGS_OF_BLOSC = {"typesize", "cname", "clevel", "shuffle", "blocksize"}

# zarr's settings are those of the whole process: two at once could leave them changed
_setting = threading.Lock()
_forked = threading.Event()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked.set)


def open_zarr_array(place: Location) -> ZarrArray:
    """Open an array for reading."""
    import zarr

    if isinstance(place, Path):
        return _opened(lambda: zarr.open_array(place, mode="r"))
    # asked for both versions at once, zarr fails where a store forbids to read what is not there
    version: Literal[2, 3] = 3 if is_file(place / "zarr.json") else 2
    return zarr.open_array(zarr_store(place), mode="r", zarr_format=version)


def open_changed(array: ZarrArray, **changes: object) -> ZarrArray:
    """Open an array again as if its metadata said something else."""
    import zarr

    content: dict[str, Any] = {**array.metadata.to_dict(), **changes}
    return _opened(lambda: zarr.Array.from_dict(array.store_path, content))


def open_without_settings(folder: Path, content: dict[str, Any]) -> ZarrArray:
    """Open an array of which blosc has settings that zarr does not know and need not know."""
    import zarr
    from zarr.core.sync import sync
    from zarr.storage._common import make_store_path

    store = sync(make_store_path(folder, mode="r"))
    understood = json.loads(json.dumps(content), object_hook=_without_settings)
    return _opened(lambda: zarr.Array.from_dict(store, understood))


def read_zarr(array: ZarrArray, key: tuple[Any, ...]) -> NDArray[Any]:
    """Read a part of an array."""
    from zarr.core.array import AsyncArray

    try:
        return np.asarray(array[key])
    except Exception:
        if not _has_zarrs(array):
            raise
        plain = AsyncArray(metadata=array.metadata, store_path=array.store_path)
        return np.asarray(type(array)(plain)[key])


def _opened(open_it: Callable[[], ZarrArray]) -> ZarrArray:
    if _can_have_zarrs():
        try:
            with _quietly({"codec_pipeline.path": _ZARRS}):
                array = open_it()
            # it knows this machine's byte order only
            if array.dtype.isnative:
                return array
        except Exception:
            pass
    with _quietly({}):
        return open_it()


def _has_zarrs(array: ZarrArray) -> bool:
    return type(array.async_array.codec_pipeline).__name__ == _ZARRS.rpartition(".")[2]


def _without_settings(entry: dict[str, Any]) -> dict[str, Any]:
    settings = entry.get("configuration")
    if entry.get("name") != "blosc" or not isinstance(settings, dict):
        return entry
    return {**entry, "configuration": {name: settings[name] for name in _SETTINGS_OF_BLOSC & settings.keys()}}


def _can_have_zarrs() -> bool:
    # what a program opened before it forks is not to be read in the fork
    return find_spec("zarrs") is not None and not _forked.is_set()


@contextmanager
def _quietly(settings: dict[str, str]) -> Iterator[None]:
    """Have zarr open something with settings of ours; what it says of how others wrote it is not for users."""
    import zarr

    with _setting, zarr.config.set(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

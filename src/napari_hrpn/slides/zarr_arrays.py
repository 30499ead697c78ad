"""Zarr arrays opened for reading, by zarrs if it is installed, with the actual names of their chunks.

The rule for zarrs, which takes half the time of zarr: it is enabled for arrays of this package only, in a context, and
never in a forked process, where its threads are missing. Arrays that it refuses are read by zarr.

The rule for chunks: a missing chunk reads as the fill value, so chunks under an unexpected name would silently be
black. Therefore names are checked. Neither metadata nor links may lead out of a store.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import re
import threading
import warnings
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.slides.errors import SlideError, reading_errors
from napari_hrpn.slides.location import ZARR_METADATA, Location, fetched, stamp, zarr_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import zarr
    from numpy.typing import NDArray
    from zarr.storage import StorePath

    ZarrArray = zarr.Array[Any]

_ZARRS = "zarrs.ZarrsCodecPipeline"
# settings that zarr knows; others, which some programs add, do not affect reading
_SETTINGS_OF_BLOSC = {"typesize", "cname", "clevel", "shuffle", "blocksize"}

_LARGEST_METADATA_BYTES = 8 * 2**20
_MOST_SAMPLES = 64
_MOST_NAMES_LISTED = 10_000
_NAMES_OF_2: tuple[dict[str, Any], ...] = ({"dimension_separator": "."}, {"dimension_separator": "/"})
_NAMES_OF_3: tuple[dict[str, Any], ...] = tuple(
    {"chunk_key_encoding": {"name": name, "configuration": {"separator": separator}}}
    for name, separator in itertools.product(("default", "v2"), "/.")
)
_CHUNK = re.compile(r"(?:c[/.])?\d+(?:[/.]\d+)*")
# settings of zarr belong to the whole process: two threads at once could leave them changed
_setting = threading.Lock()
_forked = threading.Event()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked.set)


def open_zarr_array(place: Location) -> ZarrArray:
    """Open an array for reading, ignoring settings of blosc that zarr does not know."""
    from zarr.storage import LocalStore, StorePath

    content = json.loads(json.dumps(array_metadata(place)), object_hook=_without_settings)
    store = zarr_store(place)
    return _opened(StorePath(LocalStore(store, read_only=True) if isinstance(store, Path) else store), content)


def array_metadata(place: Location) -> dict[str, Any]:
    """Read the metadata of an array."""
    new = read_metadata(place / "zarr.json")
    return (read_metadata(place / ".zarray") or {}) if new is None else new


def read_attributes(folder: Location) -> dict[str, Any]:
    """Read the attributes of a group, including those of OME-Zarr 0.5, which are one level deeper."""
    new = read_metadata(folder / "zarr.json")
    attributes = (read_metadata(folder / ".zattrs") or {}) if new is None else new.get("attributes", {})
    if not isinstance(attributes, dict):
        return {}
    ome = attributes.get("ome")
    return {**attributes, **ome} if isinstance(ome, dict) else attributes


def read_metadata(path: Location) -> dict[str, Any] | None:
    """Read a metadata file; None if there is none."""
    with reading_errors(f"{path} cannot be read as JSON"):
        if not isinstance(path, Path):
            text = fetched(path)
        elif not path.is_file():
            text = None
        else:
            with path.open("rb") as file:
                text = file.read(_LARGEST_METADATA_BYTES + 1)
        if text is None:
            return None
        if len(text) > _LARGEST_METADATA_BYTES:
            raise SlideError(f"{path} is larger than 8 MiB, expected the metadata of an image: convert it again.")
        # json detects the encoding of bytes
        content = json.loads(text)
    return content if isinstance(content, dict) else {}


def _opened(store: StorePath, content: dict[str, Any]) -> ZarrArray:
    import zarr

    # not in a forked process, where the threads of zarrs are missing
    if isinstance(store.store, zarr.storage.LocalStore) and find_spec("zarrs") is not None and not _forked.is_set():
        try:
            with _quietly({"codec_pipeline.path": _ZARRS}):
                array = zarr.Array.from_dict(store, content)
            # zarrs supports the byte order of this machine only
            if array.dtype.isnative:
                return array
        except Exception:
            pass
    with _quietly({}):
        return zarr.Array.from_dict(store, content)


def _has_zarrs(array: ZarrArray) -> bool:
    return type(array.async_array.codec_pipeline).__name__ == _ZARRS.rpartition(".")[2]


def _without_settings(entry: dict[str, Any]) -> dict[str, Any]:
    settings = entry.get("configuration")
    if entry.get("name") != "blosc" or not isinstance(settings, dict):
        return entry
    return {**entry, "configuration": {name: settings[name] for name in _SETTINGS_OF_BLOSC & settings.keys()}}


@contextmanager
def _quietly(settings: dict[str, str]) -> Iterator[None]:
    """Open something in zarr with other settings and without its warnings, which are not meant for users."""
    import zarr

    with _setting, zarr.config.set(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def as_stored(array: ZarrArray, place: Location) -> tuple[ZarrArray, float]:
    """Array with the actual names of its chunks, and the share of its chunks that are stored."""
    if not isinstance(place, Path):
        return _as_stored_remotely(array, place)
    grid = _grid(array)
    if share := _share(array, place, grid):
        return array, share
    stored = _first_chunk(place)
    if stored is None:
        return array, 0.0
    numbers = tuple(map(int, re.findall(r"\d+", stored)))
    for other in _others(array):
        if len(numbers) == array.ndim and _key(other, numbers) == stored:
            return other, max(_share(other, place, grid), 1 / math.prod(grid))
    return array, 0.0


def array_reader(array: ZarrArray, place: Location, root: Location) -> Callable[[tuple[Any, ...]], NDArray[Any]]:
    """Function that reads a part of an array and refuses chunks that are links out of their store."""
    from zarr.core.array import AsyncArray

    check = _link_check(array, place, root) if isinstance(place, Path) and isinstance(root, Path) else None

    def read(key: tuple[Any, ...]) -> NDArray[Any]:
        """Pixels at indices and slices."""
        if check is not None:
            check(key)
        try:
            return np.asarray(array[key])
        except Exception:
            if not _has_zarrs(array):
                raise
            plain = AsyncArray(metadata=array.metadata, store_path=array.store_path)
            return np.asarray(type(array)(plain)[key])

    return read


def _link_check(array: ZarrArray, place: Path, root: Path) -> Callable[[Sequence[int | slice]], None]:
    edges, folder_of_array = array.shards or array.chunks, str(place)
    checked: set[str] = set()

    def check(key: Sequence[int | slice]) -> None:
        """Refuse a part if one of its chunks is a link out of the store."""
        ranges = [
            range(part.start // edge, -(-part.stop // edge)) if isinstance(part, slice) else (part // edge,)
            for part, edge in zip(key, edges, strict=True)
        ]
        for numbers in itertools.product(*ranges):
            path = os.path.join(folder_of_array, _key(array, numbers))  # noqa: PTH118 (of many chunks)
            folder = os.path.dirname(path)  # noqa: PTH120
            if folder not in checked:
                _refuse_outside(folder, root)
                checked.add(folder)
            if os.path.islink(path):  # noqa: PTH114
                _refuse_outside(path, root)

    return check


def _as_stored_remotely(array: ZarrArray, place: Location) -> tuple[ZarrArray, float]:
    middle = tuple(count // 2 for count in _grid(array))
    for candidate in _others(array):
        try:
            if stamp(place / _key(candidate, middle)):  # type: ignore[arg-type]
                return candidate, 1.0
        except SlideError:
            # the server does not list its content
            break
    return array, 1.0


def _grid(array: ZarrArray) -> tuple[int, ...]:
    return tuple(-(-length // edge) for length, edge in zip(array.shape, array.shards or array.chunks, strict=True))


def _key(array: ZarrArray, numbers: tuple[int, ...]) -> str:
    return str(array.metadata.encode_chunk_key(numbers))


def _others(array: ZarrArray) -> Iterator[ZarrArray]:
    """The array with each possible kind of chunk names, beginning with the declared one."""
    yield array
    for names in _NAMES_OF_2 if array.metadata.zarr_format == 2 else _NAMES_OF_3:
        yield _opened(array.store_path, {**array.metadata.to_dict(), **names})


def _share(array: ZarrArray, place: Path, grid: tuple[int, ...]) -> float:
    if math.prod(grid) <= _MOST_SAMPLES:
        sample = list(itertools.product(*map(range, grid)))
    else:
        chance = random.Random(0)
        sample = [tuple(map(chance.randrange, grid)) for _ in range(_MOST_SAMPLES)]
    return sum((place / _key(array, numbers)).exists() for numbers in sample) / len(sample)


def _first_chunk(place: Path) -> str | None:
    """Name of any stored chunk, found without listing more than 10,000 files."""
    names = (Path(folder, name).relative_to(place).as_posix() for folder, _, files in os.walk(place) for name in files)
    return next((name for name in itertools.islice(names, _MOST_NAMES_LISTED) if _CHUNK.fullmatch(name)), None)


def check_inside(place: Location, root: Location) -> None:
    """Refuse a folder that is outside its store because of a link."""
    if isinstance(place, Path) and isinstance(root, Path):
        for path in (place, *(place / name for name in ZARR_METADATA)):
            _refuse_outside(str(path), root)


def _refuse_outside(path: str, root: Path) -> None:
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise SlideError(
            f"{root.name} has a link that leads out of it ({path}), expected all pixels inside: copy it together with "
            "the linked files, for example by `cp -rL`."
        )


def inner_place(folder: Location, name: object) -> Location:
    """Folder in a store at the path that its metadata state."""
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise SlideError(
            f"{folder.name} lists the path {shown(name)}, expected the name of a folder inside: convert it again."
        )
    words = str(name)
    is_elsewhere = (
        "://" in words
        or "\0" in words
        or any(".." in kind(words).parts or kind(words).anchor for kind in (PurePosixPath, PureWindowsPath))
    )
    if is_elsewhere:
        raise SlideError(
            f"{folder.name} lists the path {shown(words)}, which leads out of it, expected a folder inside: convert it "
            "again."
        )
    return folder / words if words else folder


def shown(value: object) -> str:
    """A value as JSON, shortened to 60 characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:60]} …"

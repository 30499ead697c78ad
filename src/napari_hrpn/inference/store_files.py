"""Files of a prediction store: created whole, written by one program at a time, checked when it is resumed.

On a disk the folder is renamed into place and locked. Object storage has neither renames nor locks: there a prediction
exists from the moment its last object, the metadata of the group, is written until that object is deleted.
"""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
import zarr
from filelock import Timeout
from zarr.codecs import Crc32cCodec

from napari_hrpn.core.errors import PredictionError
from napari_hrpn.core.files import differing, held_lock
from napari_hrpn.settings import CELL_PX
from napari_hrpn.slides import SlideError, as_location
from napari_hrpn.slides.location import address_errors, is_file, zarr_store
from napari_hrpn.slides.predictions import FINGERPRINT, FINISHED, RECORD
from napari_hrpn.slides.writers.ome_zarr_writer import level_shapes
from napari_hrpn.slides.writers.output_path import LEFT_BY_ZARR, partial_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray
    from upath import UPath

    from napari_hrpn.slides import Location
    from napari_hrpn.slides.location import PlaceLike

BEGUN = ".begun"
"""Object that exists while a prediction is created or replaced; a killed program may leave it behind."""
METADATA = "its metadata are not those that were written"
_ROOT = "zarr.json"
_LOCK = Path(FINISHED, ".lock")
"""Lock in the folder of an array: in the folder of the group, zarr would warn of an unknown file."""
_THREADS = 8
_CRC_BYTES = 4


def recorded_request(path: PlaceLike) -> dict[str, Any] | None:
    """Request that an existing prediction was made from; None if there is no prediction."""
    location = as_location(path)
    with address_errors(location):
        try:
            return dict(_record(location)["request"])
        except (AttributeError, LookupError, TypeError, ValueError, FileNotFoundError, NotADirectoryError):
            return None


def is_request(earlier: Mapping[str, Any] | None, request: Mapping[str, Any]) -> bool:
    """Whether a prediction was made from a request."""
    return earlier is not None and not _differing(earlier, request)


def _differing(earlier: Mapping[str, Any], request: Mapping[str, Any]) -> list[str]:
    # a prediction of an earlier version, without a fingerprint, may be resumed
    return [name for name in differing(earlier, request) if name != FINGERPRINT or name in earlier]


def _record(path: Location) -> dict[str, Any]:
    record: Any = zarr.open_group(zarr_store(path), mode="r", zarr_format=3).attrs[RECORD]
    return dict(record)


def prepare(
    path: Location, request: Mapping[str, Any], title: str, fill: Callable[[Path], None], *, overwrite: bool
) -> None:
    """Create a prediction, unless one that was made from the same request exists."""
    earlier = recorded_request(path)
    if is_request(earlier, request):
        return
    is_there = earlier is not None or not _is_free(path)
    if is_there:
        _refuse_another(path, earlier, request, title, overwrite=overwrite)
    if isinstance(path, Path):
        _put_in_place(path, fill, overwrite=is_there)
    else:
        _upload(path, fill, overwrite=is_there)


def _refuse_another(
    path: Location, found: dict[str, Any] | None, request: Mapping[str, Any], title: str, *, overwrite: bool
) -> None:
    """Refuse to replace anything but a prediction, and a different prediction unless `overwrite` is set."""
    if found is None:
        msg = f"{path} exists already and is not a prediction; choose another path for the output."
        raise PredictionError(msg)
    if overwrite:
        return
    changed = _differing(found, request)
    earlier = {**found, "checkpoint": _named(found, str(_record(path).get("title", "")))}
    now = {**request, "checkpoint": _named(request, title)}
    changes = [_change_words(key.replace("_", " "), earlier.get(key), now.get(key)) for key in changed]
    if {"slide", FINGERPRINT} & set(changed):
        changes.append("so from another slide, or from this one before it changed")
    msg = f"{path} holds a prediction made with {', '.join(changes)}; choose another output (-o), or overwrite it."
    raise PredictionError(msg)


def _change_words(name: str, earlier: object, now: object) -> str:
    """What has changed, with both values unless they are records or hashes, which would say nothing."""
    parts = [part for value in (earlier, now) if isinstance(value, list) for part in value]
    is_long = isinstance(earlier, dict) or isinstance(now, dict) or any(isinstance(part, str | dict) for part in parts)
    return f"{name} other than now" if is_long else f"{name} {earlier} instead of {now}"


def _named(request: Mapping[str, Any], title: str) -> str:
    return f"'{title}' ({request.get('checkpoint')})" if title else str(request.get("checkpoint"))


def _is_free(path: Location) -> bool:
    """Whether a prediction may be created without replacing anything."""
    if isinstance(path, Path):
        return not path.exists()
    return is_file(path / BEGUN) or not path.fs.exists(path.path)


def _put_in_place(path: Path, fill: Callable[[Path], None], *, overwrite: bool) -> None:
    with held(path) if overwrite else ExitStack() as lock:
        if os.name == "nt":
            # Windows cannot rename a folder in which a file is open
            lock.close()
        try:
            with partial_output(path, None, overwrite=overwrite) as partial:
                fill(partial)
        except SlideError as error:
            raise PredictionError(str(error)) from error


def _upload(path: UPath, fill: Callable[[Path], None], *, overwrite: bool) -> None:
    store, prefix, root = path.fs, path.path, (path / _ROOT).path
    if overwrite:
        _begin(path)
        store.rm_file(root)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole")
        fill(whole)
        files = [file for file in whole.rglob("*") if file.is_file()]
        objects = {f"{prefix}/{file.relative_to(whole).as_posix()}": file.read_bytes() for file in files}
    metadata = objects.pop(root)
    _begin(path)
    # chunks of an earlier prediction would be taken for chunks of this one
    if left := [name for name in store.find(prefix) if not name.endswith(f"/{BEGUN}")]:
        store.rm(left)
    store.pipe(objects)
    store.pipe_file(root, metadata)
    store.rm_file((path / BEGUN).path)


def _begin(path: UPath) -> None:
    path.fs.pipe_file((path / BEGUN).path, b"napari-hrpn puts a prediction in place here, or takes one away.\n")


def check_links(path: Location) -> None:
    """Refuse a prediction that contains links, since writing through a link could change a file elsewhere."""
    for name in _names_in(path):
        if name.is_symlink():
            msg = (
                f"{path} holds a link ({name.relative_to(str(path)).as_posix()}), expected the files themselves; copy "
                "it with the targets of its links, as `cp -rL` does, or choose another path for the output."
            )
            raise PredictionError(msg)


def _names_in(path: Location) -> Iterator[Path]:
    """Files and folders in a folder; none at an address, where links and half-written files do not exist."""
    for parent, folders, files in os.walk(path) if isinstance(path, Path) else ():
        yield from (Path(parent, name) for name in (*folders, *files))


def held(path: Location) -> ExitStack:
    """Lock a prediction against writing by other programs, until this is closed or the program ends in any way."""
    lock, at_end = None, ExitStack()
    with suppress(OSError):
        try:
            lock = held_lock(path / _LOCK) if isinstance(path, Path) else None
        except Timeout as error:
            msg = (
                f"{path} is being written by another program; wait for its end, or choose another path for the output."
            )
            raise PredictionError(msg) from error
    if lock is not None:
        at_end.callback(lock.release)
        for name in _names_in(path):
            # zarr leaves temporary files when a program is killed during a write
            if LEFT_BY_ZARR.fullmatch(name.name):
                name.unlink(missing_ok=True)
    return at_end


def damaged(path: Location, why: str) -> PredictionError:
    """Error for a prediction that cannot be resumed."""
    return PredictionError(
        f"{path} is a prediction whose files are damaged ({why[:160]}); delete that folder, or choose another output."
    )


class _FormError(ValueError):
    """Metadata or arrays are not as they were written; the message says which."""


def checked_arrays(path: Location, group: zarr.Group) -> tuple[tuple[zarr.Array[Any], ...], zarr.Array[Any]]:
    """Levels of a prediction and its record of finished tiles, after a check of everything that the code relies on."""
    try:
        return _checked_arrays(group)
    except _FormError as error:
        raise damaged(path, str(error)) from error
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError, OSError) as error:
        raise damaged(path, METADATA) from error


def _checked_arrays(group: zarr.Group) -> tuple[tuple[zarr.Array[Any], ...], zarr.Array[Any]]:
    ome: Any = group.attrs["ome"]
    record: Any = group.attrs[RECORD]
    _expect(isinstance(record["request"], dict), "its record does not say what it was made from")
    channels = ome["omero"]["channels"]
    _expect(bool(channels) and all(isinstance(channel["window"], dict) for channel in channels), "it has no channel")
    names = [dataset["path"] for dataset in ome["multiscales"][0]["datasets"]]
    # any other name, such as ../x, could lead out of the folder
    _expect(bool(names) and names == [str(level) for level in range(len(names))], f"its levels are called {names}")
    levels = tuple(_array(group, name) for name in names)
    finest = levels[0]
    _expect(finest.ndim == 3 and finest.shape[0] == len(channels), f"its pixels have the shape {finest.shape}")
    for level, shape in zip(levels, level_shapes(finest.shape), strict=True):
        name = f"level {level.basename}"
        _expect(level.shape == shape, f"{name} has the shape {level.shape}, expected {shape}")
        _expect(level.chunks == (1, CELL_PX, CELL_PX), f"{name} has chunks of {level.chunks}")
        _expect(level.dtype == finest.dtype, f"{name} is of type {level.dtype}")
        _expect(level.metadata.encode_chunk_key((0, 1, 2)) == "c/0/1/2", f"{name} has other file names")
        _expect(level.fill_value == 0, f"{name} is filled with {level.fill_value}")
    finished, cells = _array(group, FINISHED), tuple(-(-size // CELL_PX) for size in finest.shape[1:])
    _expect(finished.shape == cells, f"its record of finished tiles has the shape {finished.shape}, expected {cells}")
    _expect(finished.dtype == np.uint8, f"its record of finished tiles is of type {finished.dtype}")
    return tuple(level.with_config({"write_empty_chunks": True}) for level in levels), finished


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    if not isinstance(array, zarr.Array):
        msg = f"{name} is no array"
        raise _FormError(msg)
    return array


def _expect(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise _FormError(otherwise)


def bad_chunks(folder: Location, level: zarr.Array[Any], done: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Rows and columns of the chunks of a level that hold finished cells, but are missing or damaged.

    Damaged chunks are deleted. Predictions of earlier versions are not checked: they have no checksums, and store no
    chunks of zeros.
    """
    if not isinstance(folder, Path) or not any(isinstance(codec, Crc32cCodec) for codec in level.compressors):
        return []
    rows, columns = (np.arange(0, size, 1 << int(level.basename)) for size in done.shape)
    expected = np.logical_or.reduceat(np.logical_or.reduceat(done, rows, axis=0), columns, axis=1)
    chunks = list(np.ndindex(expected.shape))
    with ThreadPoolExecutor(_THREADS) as pool:
        planes = [
            list(pool.map(_is_good, (_chunk_file(folder, level, channel, chunk) for chunk in chunks)))
            for channel in range(level.shape[0])
        ]
        are_good = np.logical_and.reduce(planes)
    return [chunk for chunk, is_good in zip(chunks, are_good, strict=True) if expected[chunk] and not is_good]


def _chunk_file(folder: Path, level: zarr.Array[Any], channel: int, chunk: tuple[int, ...]) -> Path:
    return folder / level.basename / level.metadata.encode_chunk_key((channel, *chunk))


def _is_good(file: Path) -> bool:
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return False
    stored = int.from_bytes(content[-_CRC_BYTES:], "little")
    if len(content) > _CRC_BYTES and google_crc32c.value(content[:-_CRC_BYTES]) == stored:
        return True
    # zarr reads a chunk before it writes a part of it, which would fail on a damaged one
    file.unlink()
    return False

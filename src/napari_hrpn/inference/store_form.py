"""Whether a prediction on disk has the form that the program gives it, and what of it is missing or damaged."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
from zarr import Array
from zarr.codecs import Crc32cCodec

from napari_hrpn.inference.errors import PredictionError
from napari_hrpn.inference.settings import CELL_PX
from napari_hrpn.slides.metadata import FINISHED, RECORD
from napari_hrpn.slides.writers.ome_zarr_writer import level_shapes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import zarr
    from numpy.typing import NDArray

    from napari_hrpn.slides import Location

    Chunk = tuple[int, int]
    """Row and column of a chunk."""

_THREADS = 8
_CRC_BYTES = 4
METADATA = "its metadata are not those that were written"


class _FormError(ValueError):
    """Something is not as it was written; the message says what."""


def checked_arrays(path: Location, group: zarr.Group) -> tuple[tuple[zarr.Array[Any], ...], zarr.Array[Any]]:
    """Take the arrays out of a prediction's group, after a look at all that the program relies on."""
    try:
        return _checked_arrays(group)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError, OSError) as error:
        raise damaged(path, str(error) if isinstance(error, _FormError) else METADATA) from error


def damaged(path: Location, why: str) -> PredictionError:
    """The sentence for a prediction that cannot be gone on with."""
    return PredictionError(
        f"{path} is a prediction whose files are damaged ({why[:160]}); delete that folder, or choose another output."
    )


def _checked_arrays(group: zarr.Group) -> tuple[tuple[zarr.Array[Any], ...], zarr.Array[Any]]:
    ome: Any = group.attrs["ome"]
    record: Any = group.attrs[RECORD]
    _expect(isinstance(record["request"], dict), "its record does not say what it was made from")
    _expect(isinstance(ome["omero"]["channels"][0]["window"], dict), "it has no channel")
    names = [dataset["path"] for dataset in ome["multiscales"][0]["datasets"]]
    # any other name may lead out of the folder
    _expect(bool(names) and names == [str(level) for level in range(len(names))], f"its levels are called {names}")
    levels = tuple(_array(group, name) for name in names)
    finest = levels[0]
    _expect(finest.ndim == 3 and finest.shape[0] == 1, f"its pixels have the shape {finest.shape}")
    for level, shape in zip(levels, level_shapes(finest.shape), strict=True):
        _expect(level.shape == shape, f"level {level.basename} has the shape {level.shape}, expected {shape}")
        _expect(level.chunks == (1, CELL_PX, CELL_PX), f"level {level.basename} has chunks of {level.chunks}")
        _expect(level.dtype == finest.dtype, f"level {level.basename} is of type {level.dtype}")
        _expect(level.metadata.encode_chunk_key((0, 1, 2)) == "c/0/1/2", f"level {level.basename} has other file names")
        _expect(level.fill_value == 0, f"level {level.basename} is filled with {level.fill_value}")
    finished, cells = _array(group, FINISHED), tuple(-(-size // CELL_PX) for size in finest.shape[1:])
    _expect(finished.shape == cells, f"its record of finished tiles has the shape {finished.shape}, expected {cells}")
    _expect(finished.dtype == np.uint8, f"its record of finished tiles is of type {finished.dtype}")
    return tuple(level.with_config({"write_empty_chunks": True}) for level in levels), finished


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    _expect(isinstance(array, Array), f"{name} is no array")
    assert isinstance(array, Array)
    return array


def _expect(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise _FormError(otherwise)


def has_checksums(levels: Sequence[zarr.Array[Any]]) -> bool:
    """Whether finished chunks are all on disk with a checksum; predictions of earlier versions leave out zeros."""
    return all(any(isinstance(codec, Crc32cCodec) for codec in level.compressors) for level in levels)


def bad_chunks(folder: Path, level: zarr.Array[Any], expected: NDArray[np.bool_]) -> list[Chunk]:
    """Find the chunks of a level that are missing or damaged, and remove what is damaged."""
    chunks = list(np.ndindex(expected.shape))
    with ThreadPoolExecutor(_THREADS) as pool:
        files = (folder / level.basename / level.metadata.encode_chunk_key((0, *chunk)) for chunk in chunks)
        are_good = list(pool.map(_is_good, files))
    return [chunk for chunk, is_good in zip(chunks, are_good, strict=True) if expected[chunk] and not is_good]


def _is_good(file: Path) -> bool:
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return False
    stored = int.from_bytes(content[-_CRC_BYTES:], "little")
    if len(content) > _CRC_BYTES and google_crc32c.value(content[:-_CRC_BYTES]) == stored:
        return True
    # a part of a chunk is not written over what cannot be read
    file.unlink()
    return False


def covering_chunks(done: NDArray[np.bool_], level: int) -> NDArray[np.bool_]:
    """Which chunks of a level hold finished cells."""
    step = 1 << level
    rows, columns = (np.arange(0, size, step) for size in done.shape)
    found: NDArray[np.bool_] = np.logical_or.reduceat(np.logical_or.reduceat(done, rows, axis=0), columns, axis=1)
    return found

"""Which chunks of a Zarr array are stored: under the names that its metadata declare, or under others.

A chunk that is not there reads as the fill value: one that is looked for under a wrong name is black without a word.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.inner_location import is_inside, leads_out
from napari_hrpn.slides.location import stamp
from napari_hrpn.slides.zarr_arrays import open_changed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import zarr

    from napari_hrpn.slides.location import Location

    ZarrArray = zarr.Array[Any]

_MOST_SAMPLES = 64
_MOST_NAMES_LISTED = 10_000
_NAMES_OF_2: tuple[dict[str, Any], ...] = ({"dimension_separator": "."}, {"dimension_separator": "/"})
_NAMES_OF_3: tuple[dict[str, Any], ...] = tuple(
    {"chunk_key_encoding": {"name": name, "configuration": {"separator": separator}}}
    for name, separator in itertools.product(("default", "v2"), "/.")
)
_CHUNK = re.compile(r"(?:c[/.])?\d+(?:[/.]\d+)*")


def as_stored(array: ZarrArray, place: Location) -> tuple[ZarrArray, float]:
    """Open an array under the names that its chunks have."""
    if not isinstance(place, Path):
        return _as_stored_far_away(array, place)
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


class ChunkLinks:
    """Refuses to read chunks that are links out of a store."""

    def __init__(self, array: ZarrArray, place: Location, root: Location) -> None:
        self._array = array
        self._place = place
        self._root = root
        self._top = os.path.realpath(root) if isinstance(root, Path) else ""
        self._edges = array.shards or array.chunks
        self._checked: set[str] = set()

    def check(self, key: Sequence[int | slice]) -> None:
        """Look at the chunks that a part of the array meets."""
        if not isinstance(self._place, Path):
            return
        ranges = [
            range(part.start // edge, -(-part.stop // edge)) if isinstance(part, slice) else (part // edge,)
            for part, edge in zip(key, self._edges, strict=True)
        ]
        for numbers in itertools.product(*ranges):
            path = os.path.join(self._place, _key(self._array, numbers))  # noqa: PTH118 (of many chunks)
            self._check(path)

    def _check(self, path: str) -> None:
        folder = os.path.dirname(path)  # noqa: PTH120
        if folder not in self._checked:
            if not is_inside(os.path.realpath(folder), self._top):
                raise SlideError(leads_out(self._root, folder))
            self._checked.add(folder)
        if os.path.islink(path) and not is_inside(os.path.realpath(path), self._top):  # noqa: PTH114
            raise SlideError(leads_out(self._root, path))


def _as_stored_far_away(array: ZarrArray, place: Location) -> tuple[ZarrArray, float]:
    middle = tuple(count // 2 for count in _grid(array))
    for candidate in _others(array):
        try:
            if stamp(place / _key(candidate, middle)):  # type: ignore[arg-type]
                return candidate, 1.0
        except SlideError:
            # a server that does not say what it holds
            break
    return array, 1.0


def _grid(array: ZarrArray) -> tuple[int, ...]:
    return tuple(-(-length // edge) for length, edge in zip(array.shape, array.shards or array.chunks, strict=True))


def _key(array: ZarrArray, numbers: tuple[int, ...]) -> str:
    return str(array.metadata.encode_chunk_key(numbers))


def _others(array: ZarrArray) -> Iterator[ZarrArray]:
    """The array with other names for its chunks; the declared names come first."""
    yield array
    for names in _NAMES_OF_2 if array.metadata.zarr_format == 2 else _NAMES_OF_3:
        yield open_changed(array, **names)


def _share(array: ZarrArray, place: Path, grid: tuple[int, ...]) -> float:
    if math.prod(grid) <= _MOST_SAMPLES:
        sample = list(itertools.product(*map(range, grid)))
    else:
        chance = random.Random(0)
        sample = [tuple(map(chance.randrange, grid)) for _ in range(_MOST_SAMPLES)]
    return sum((place / _key(array, numbers)).exists() for numbers in sample) / len(sample)


def _first_chunk(place: Path) -> str | None:
    """Name of any chunk that is stored, as far as there is no need to list a great many files."""
    names = (Path(folder, name).relative_to(place).as_posix() for folder, _, files in os.walk(place) for name in files)
    return next((name for name in itertools.islice(names, _MOST_NAMES_LISTED) if _CHUNK.fullmatch(name)), None)

"""Store of a predicted slide on disk or in object storage: OME-Zarr 0.5 with a record of its finished tiles.

A tile is recorded as finished only after its pixels are written: if the program is killed, at most the tiles in flight
are lost. The store records what it is made from, so that tiles of different networks or slides never mix. Every chunk
ends in a checksum: missing and damaged chunks are found and made again when the prediction is resumed.
"""

from __future__ import annotations

import math
import warnings
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from napari_hrpn.core.errors import PredictionError
from napari_hrpn.core.files import patiently
from napari_hrpn.inference import store_files as files
from napari_hrpn.settings import CELL_PX
from napari_hrpn.slides import SlideWarning, as_location, colour_in_folder, contrast_limits, open_slide
from napari_hrpn.slides.location import address_errors, check_writable, zarr_store
from napari_hrpn.slides.metadata import multiscales_metadata
from napari_hrpn.slides.predictions import FINISHED, RECORD
from napari_hrpn.slides.pyramid import halve
from napari_hrpn.slides.writers.ome_zarr_writer import create_levels, level_shapes, write_part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_hrpn.core import Box
    from napari_hrpn.slides import Location, Slide
    from napari_hrpn.slides.location import PlaceLike

_UNTOUCHED = (0.0, 1.0)
"""Contrast of a prediction until it is complete."""
_FURTHER_COLOUR = "FFFFFF"


class PredictionStore:
    """A prediction that is filled tile by tile, with its channels side by side.

    `PredictionStore.open` opens one for recording tiles, under a lock until `close`. The constructor takes no lock: it
    is for reading, and for workers that write chunks while another process records. The pixels are in the zarr arrays
    `levels`, shape (c, y, x), finest first.

    Parameters
    ----------
    path : pathlib.Path or UPath
        Folder of the store.
    """

    def __init__(self, path: Location) -> None:
        self.path = path
        self._lock = ExitStack()
        try:
            self._group = zarr.open_group(zarr_store(path), mode="r+", zarr_format=3)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise files.damaged(path, files.METADATA) from error
        self.levels, self._finished = files.checked_arrays(path, self._group)
        try:
            self._done: NDArray[np.bool_] = np.asarray(self._finished[:]) > 0
        except (RuntimeError, ValueError) as error:
            raise files.damaged(path, "its record of finished tiles cannot be decoded") from error

    @classmethod
    def open(
        cls,
        path: PlaceLike,
        slide: Slide,
        request: Mapping[str, Any],
        *,
        dtype: np.dtype,
        name: str,
        further: tuple[str, ...] = (),
        title: str = "",
        trained_on: tuple[str, ...] = (),
        overwrite: bool = False,
    ) -> PredictionStore:
        """Create a store, or open the one that an earlier run left.

        Parameters
        ----------
        path : str, pathlib.Path or UPath
            Folder, usually ``.ome.zarr``, or its address in object storage.
        slide : Slide
            Gives height, width and pixel size.
        request : mapping
            Everything that decides the pixels, as JSON; a store made from another request is refused.
        dtype : numpy.dtype
            Type of the predicted pixels.
        name : str
            Name of the predicted channel.
        further : tuple of str
            Names of further channels: the standard deviation of the prediction, and the distance from the training.
        title : str
            Title of the checkpoint, for people.
        trained_on : tuple of str
            Names of the tumours that the networks were trained on or chosen by, of which a prediction is no test.
        overwrite : bool
            Replace a prediction made from another request.

        Returns
        -------
        PredictionStore
            With the tiles that are finished already; until it is closed, other programs cannot open it for recording.

        Raises
        ------
        PredictionError
            If there is something else at `path`, another program writes it, or it cannot be written.
        SlideError
            If `path` is an address that cannot be reached or written.
        """
        path = as_location(path)
        check_writable(path)
        with _sentences(path, "cannot be written", "choose a folder that you may write to"):
            channels = (name, *further)
            record = {"title": title, **({"trained_on": [*trained_on]} if trained_on else {}), "request": dict(request)}
            fill = partial(_fill, slide, record, dtype, channels, path.name.split(".")[0])
            files.prepare(path, request, title, fill, overwrite=overwrite)
            return cls._held(path, (len(channels), *slide.shape), dtype)

    @classmethod
    def _held(cls, path: Location, shape: tuple[int, ...], dtype: np.dtype) -> PredictionStore:
        files.check_links(path)
        with files.held(path) as lock:
            store = cls(path)
            if store.levels[0].shape != shape or store.levels[0].dtype != dtype:
                raise files.damaged(path, f"its pixels are {store.levels[0].shape} of type {store.levels[0].dtype}")
            store._mend()
            store._lock = lock.pop_all()
        return store

    def _mend(self) -> None:
        """Mark tiles with missing or damaged chunks as unfinished, and complete metadata that a killed run left."""
        if self._done.any():
            bad = files.bad_chunks(self.path, self.levels[0], self._done)
            for chunk in bad:
                self._done[chunk] = False
            for number, level in enumerate(self.levels[1:], start=1):
                for chunk in files.bad_chunks(self.path, level, self._done):
                    self._halve_again(number, chunk)
            if bad:
                self._finished[:] = self._done.astype(np.uint8)
        is_marked_complete = bool(self._record.get("complete"))
        window = self._ome["omero"]["channels"][0]["window"]
        # the contrast of all channels is written at once
        has_contrast = (window.get("start"), window.get("end")) != _UNTOUCHED
        if self.complete and not (is_marked_complete and has_contrast):
            self._record_complete()
        elif is_marked_complete and not self.complete:
            self._update(is_complete=False)

    def _halve_again(self, level: int, chunk: tuple[int, ...]) -> None:
        y, x = (CELL_PX * index for index in chunk)
        finer = self.levels[level - 1][:, 2 * y : 2 * (y + CELL_PX), 2 * x : 2 * (x + CELL_PX)]
        self.levels[level][:, y : y + CELL_PX, x : x + CELL_PX] = halve(np.asarray(finer))

    def close(self) -> None:
        """Release the lock, so that other programs may write; reading needs no lock."""
        self._lock.close()

    @property
    def request(self) -> dict[str, Any]:
        """Everything that decides the pixels."""
        return dict(self._record["request"])

    @property
    def title(self) -> str:
        """Title of the checkpoint; empty for predictions of earlier versions."""
        return str(self._record.get("title", ""))

    @property
    def complete(self) -> bool:
        """Whether every pixel of the slide is predicted."""
        return bool(self._done.all())

    def finished(self, core: Box) -> bool:
        """Whether a core is on disk."""
        return bool(self._done[_cells(core)].all())

    def write(self, core: Box, pixels: NDArray[np.generic]) -> NDArray[np.generic] | None:
        """Write the chunks of a core that no other core shares; `record` writes the shared ones.

        So many processes can write cores at once, as long as a single one records them.

        Parameters
        ----------
        core : Box
            Starts on a multiple of 512 px, and ends on one or at the slide's edge.
        pixels : numpy.ndarray
            Shape (c, y, x), or (y, x) if there is one channel; of the store's type.

        Returns
        -------
        numpy.ndarray or None
            Pixels of the core on the finest level whose chunks it shares, shape (c, y, x), for `record`; None if it
            shares none.
        """
        unshared = self._unshared_levels(core)
        with _sentences(self.path, "could not be written", "finished tiles are kept: run it again"):
            coarsest = write_part(pixels.reshape(-1, *pixels.shape[-2:]), (0, core.y0, core.x0), self.levels[:unshared])
        return halve(coarsest) if unshared < len(self.levels) else None

    def record(self, core: Box, shared: NDArray[np.generic] | None) -> None:
        """Write a core on the levels whose chunks it shares, then record that it is finished.

        Parameters
        ----------
        core : Box
            A core that `write` has written.
        shared : numpy.ndarray or None
            Pixels that `write` returned.
        """
        unshared = self._unshared_levels(core)
        with _sentences(self.path, "could not be written", "finished tiles are kept: run it again"):
            if shared is not None:
                write_part(shared, (0, core.y0 >> unshared, core.x0 >> unshared), self.levels[unshared:])
            patiently(self._finished.__setitem__, _cells(core), 1)
            self._done[_cells(core)] = True
            if self.complete:
                self._record_complete()

    def _unshared_levels(self, core: Box) -> int:
        """Number of levels, finest first, on which a core shares no chunk with another core."""
        spans = zip((core.y0, core.x0), (core.y1, core.x1), self.levels[0].shape[1:], strict=True)
        edges = [edge for start, stop, size in spans for edge in (start, stop if stop < size else start)]
        shared = (level for level in range(len(self.levels)) if math.gcd(*edges) % (CELL_PX << level))
        return next(shared, len(self.levels))

    def forget(self) -> None:
        """Mark all tiles as unfinished, since it is no longer known which slide they show."""
        with _sentences(self.path, "could not be written", "delete that folder"):
            self._done[:] = False
            self._finished[:] = 0
            self._update(is_complete=False)

    def _record_complete(self) -> None:
        """Record in the metadata that the prediction is complete, and its contrast, both in one write."""
        with warnings.catch_warnings():
            # opening it warns that it is not complete, which it will be in a moment
            warnings.simplefilter("ignore", SlideWarning)
            limits = contrast_limits(open_slide(self.path))
        ome = self._ome
        for channel, (low, high) in zip(ome["omero"]["channels"], limits, strict=True):
            channel["window"] |= {"start": low, "end": high}
        self._update(is_complete=True, ome=ome)

    def _update(self, *, is_complete: bool, **attributes: Any) -> None:  # noqa: ANN401 (JSON)
        changed = {RECORD: {**self._record, "complete": is_complete}, **attributes}
        patiently(self._group.update_attributes, changed)

    @property
    def _ome(self) -> dict[str, Any]:
        ome: Any = self._group.attrs["ome"]
        return dict(ome)

    @property
    def _record(self) -> dict[str, Any]:
        record: Any = self._group.attrs[RECORD]
        return dict(record)


@contextmanager
def _sentences(path: Location, what: str, advice: str) -> Iterator[None]:
    with address_errors(path):
        try:
            yield
        except OSError as error:
            msg = f"{path} {what} ({error.strerror or error}); {advice}."
            raise PredictionError(msg) from error


def _fill(
    slide: Slide, record: dict[str, Any], dtype: np.dtype, channels: Sequence[str], name: str, folder: Path
) -> None:
    """Write an empty prediction: metadata, levels without pixels, and the record of finished tiles."""
    shapes = level_shapes((len(channels), *slide.shape))
    create_levels(folder, shapes, dtype, with_checksums=True)
    group = zarr.open_group(folder, mode="r+")
    cells = tuple(-(-size // CELL_PX) for size in slide.shape)
    codecs = [ZstdCodec(level=1), Crc32cCodec()]
    group.create_array(FINISHED, shape=cells, chunks=cells, dtype="uint8", compressors=codecs)
    colours = [
        colour_in_folder(folder, record["request"]).lstrip("#").upper(),
        *[_FURTHER_COLOUR] * (len(channels) - 1),
    ]
    group.attrs["ome"] = multiscales_metadata(name, shapes, channels, slide.pixel_size_um, colours, dtype=dtype)
    group.attrs[RECORD] = {"kind": "prediction", "complete": False, **record}


def _cells(core: Box) -> tuple[slice, slice]:
    return (
        slice(core.y0 // CELL_PX, -(-core.y1 // CELL_PX)),
        slice(core.x0 // CELL_PX, -(-core.x1 // CELL_PX)),
    )

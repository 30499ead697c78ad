"""Predictions on disk: their record of slide and checkpoint, their colours, and their finished tiles."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.settings.prediction import CELL_PX
from napari_hrpn.slides.errors import SlideError, reading_errors
from napari_hrpn.slides.location import address_errors, as_location, zarr_store
from napari_hrpn.slides.zarr_arrays import read_attributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.slides.location import Location, PlaceLike
    from napari_hrpn.slides.slide import Slide

# marks an image as written by this program
PYRAMID_TYPE = "mean of 2x2 pixels"
# key of the record among the attributes of a prediction, name of the array of finished tiles, and key of a hash of
# the slide's pixels in a request, which predictions of earlier versions do not have
RECORD, FINISHED, FINGERPRINT = "napari_hrpn", "finished", "fingerprint"
PREDICTION_COLOURS = ("#cc00ff", "#2fd5e0", "#e0c53a", "#a8744a", "#8f5fa0")
"""Distinct from each other for all kinds of colour vision, and from the red, green and blue of the stains."""


@dataclass(frozen=True)
class PredictionRecord:
    """Record in the metadata of a prediction."""

    slide: str  # identity of the predicted slide; empty if not recorded
    checkpoint: str  # hash of the checkpoint; empty if not recorded
    title: str  # title of the checkpoint; empty if not recorded
    colour: str  # such as "#cc00ff"
    complete: bool  # whether the whole slide is predicted
    request: dict[str, Any]  # everything that decides the pixels
    trained_on: tuple[str, ...] = ()  # tumours that the networks were trained on or chosen by; empty if not recorded


def prediction_record(place: PlaceLike) -> PredictionRecord | None:
    """Read the record of a prediction in a folder, without reading pixels.

    Parameters
    ----------
    place : str, pathlib.Path or UPath
        Folder or address of an OME-Zarr.

    Returns
    -------
    PredictionRecord or None
        None if the folder holds no prediction of this package.
    """
    try:
        found = read_attributes(as_location(place))
    except SlideError:
        return None
    record = found.get(RECORD)
    request = record.get("request") if isinstance(record, dict) else None
    if not isinstance(record, dict) or not isinstance(request, dict):
        return None
    return PredictionRecord(
        slide=str(request.get("slide", "")),
        checkpoint=str(request.get("checkpoint", "")),
        title=str(record.get("title") or ""),
        colour=_written_colour(found) or _prediction_colour(str(request.get("checkpoint", ""))),
        complete=record.get("complete") is True,
        request=request,
        trained_on=tuple(map(str, record.get("trained_on") or ())),
    )


def colour_in_folder(place: PlaceLike, request: Mapping[str, Any]) -> str:
    """Colour of a prediction that exists or will be made.

    Parameters
    ----------
    place : str, pathlib.Path or UPath
        Folder of the prediction.
    request : mapping
        Request of the prediction, with the hashes "slide" and "checkpoint".

    Returns
    -------
    str
        Its recorded colour, or else one that no other prediction of the slide in the same folder has.
    """
    place = as_location(place)
    slide, checkpoint = str(request.get("slide", "")), str(request.get("checkpoint", ""))
    own = prediction_record(place)
    if own is not None and own.checkpoint == checkpoint:
        return own.colour
    beside = sorted(place.parent.glob("*.zarr")) if isinstance(place, Path) and place.parent.is_dir() else []
    records = (prediction_record(other) for other in beside if other != place)
    return _prediction_colour(checkpoint, [one.colour for one in records if one is not None and one.slide == slide])


def distinct_colours(preferred: Sequence[str | None]) -> tuple[str, ...]:
    """Colours of predictions that are shown together.

    Parameters
    ----------
    preferred : sequence of str or None
        Colour that each prediction already has; None if it has none.

    Returns
    -------
    tuple of str
        Preferred colours, replaced where an earlier prediction has the same; all different if there are enough colours.
    """
    chosen = ["" if colour in preferred[:index] else colour or "" for index, colour in enumerate(preferred)]
    for index, colour in enumerate(chosen):
        chosen[index] = colour or _prediction_colour("", chosen)
    return tuple(chosen)


def prediction_colours(slides: Sequence[Slide]) -> tuple[str, ...]:
    """Colours of predictions in one figure: those of their layers, if these differ.

    Parameters
    ----------
    slides : sequence of Slide
        The predictions.

    Returns
    -------
    tuple of str
        One colour for each prediction.
    """
    records = [prediction_record(slide.source) for slide in slides]
    return distinct_colours([None if record is None else record.colour for record in records])


def _prediction_colour(checkpoint: str, taken: Iterable[str] = ()) -> str:
    """The first free colour, beginning with the one that belongs to the checkpoint; that one if no colour is free."""
    count, used = len(PREDICTION_COLOURS), set(taken)
    try:
        first = int(checkpoint, 16) % count
    except ValueError:
        first = 0
    turned = PREDICTION_COLOURS[first:] + PREDICTION_COLOURS[:first]
    return next((colour for colour in turned if colour not in used), turned[0])


def _written_colour(attributes: Mapping[str, Any]) -> str | None:
    try:
        written = f"#{attributes['omero']['channels'][0]['color']}".lower()
    except (KeyError, IndexError, TypeError):
        return None
    return written if written in PREDICTION_COLOURS else None


@dataclass(frozen=True, eq=False)
class FinishedTiles:
    """The tiles of an unfinished prediction that are on disk, or the part of a prediction that may be measured.

    Attributes
    ----------
    cells : numpy.ndarray of bool, shape (y, x)
        Squares of the slide; True where they are predicted.
    tile_px : int
        Side of a tile, a multiple of `cell_px`.
    origin : tuple of int
        Row and column of the slide at which the pixels of this part begin.
    cell_px : int
        Side of the squares; that of the squares of a prediction store if not given.
    left_out : str
        Words on the squares that are predicted and not measured; empty if there are none.
    """

    cells: NDArray[np.bool_]
    tile_px: int = CELL_PX
    origin: tuple[int, int] = (0, 0)
    cell_px: int = CELL_PX
    left_out: str = ""

    @property
    def tiles(self) -> NDArray[np.bool_]:
        """Whether each tile is finished, shape (rows, columns)."""
        rows, columns = (np.arange(0, size, self.tile_px // self.cell_px) for size in self.cells.shape)
        whole = np.logical_and.reduceat(self.cells, rows, axis=0)
        return np.asarray(np.logical_and.reduceat(whole, columns, axis=1))

    @property
    def number(self) -> int:
        """Number of finished tiles."""
        return int(self.tiles.sum())

    @property
    def total(self) -> int:
        """Number of tiles of the slide."""
        return self.tiles.size

    @property
    def words(self) -> str:
        """Sentence about the measured tiles, such as "2 of 16 tiles are predicted; only these are measured"."""
        if self.left_out:
            return self.left_out
        if not self.number:
            return f"none of {self.total} tiles is predicted; there is nothing to measure"
        verb, which = ("is", "this one is") if self.number == 1 else ("are", "these are")
        return f"{self.number} of {self.total} tiles {verb} predicted; only {which} measured"

    @property
    def digest(self) -> str:
        """Hash of 16 hexadecimal digits that changes with every tile."""
        facts = repr((self.cells.shape, self.tile_px, self.origin))
        return hashlib.sha256(facts.encode() + np.packbits(self.cells).tobytes()).hexdigest()[:16]

    @property
    def facts(self) -> dict[str, Any]:
        """Numbers of tiles, or words on what is left out, for JSON."""
        if self.left_out:
            return {"left_out": self.left_out, "digest": self.digest}
        return {"finished": self.number, "total": self.total, "tile_px": self.tile_px, "digest": self.digest}

    def within(self, rows: slice, columns: slice, downsample: tuple[float, float] = (1.0, 1.0)) -> NDArray[np.bool_]:
        """Which pixels of a rectangle of a level are predicted.

        Parameters
        ----------
        rows, columns : slice
            With a start and a stop, in pixels of the level.
        downsample : tuple of float
            Full-resolution pixels per pixel of that level, along y and x.

        Returns
        -------
        numpy.ndarray of bool
            Shape (rows, columns); a coarse pixel is predicted where every fine pixel under it is.
        """
        if downsample == (1.0, 1.0):
            y, x = (
                np.clip((np.arange(part.start, part.stop) + first) // self.cell_px, 0, size - 1)
                for part, first, size in zip((rows, columns), self.origin, self.cells.shape, strict=True)
            )
            return np.asarray(self.cells[y][:, x])
        edges = zip((rows, columns), downsample, strict=True)
        return self.between(*(np.arange(part.start, part.stop + 1) * step for part, step in edges))

    def between(self, y: NDArray[Any], x: NDArray[Any]) -> NDArray[np.bool_]:
        """Which rectangles between edges in full-resolution pixels are predicted completely."""
        sums = self._sums
        (top, bottom), (left, right) = (
            (
                np.clip(np.floor((edges[:-1] + first) / self.cell_px), 0, size - 1).astype(np.intp),
                np.clip(np.ceil((edges[1:] + first) / self.cell_px), 1, size).astype(np.intp),
            )
            for edges, first, size in zip((y, x), self.origin, self.cells.shape, strict=True)
        )
        found = sums[bottom][:, right] - sums[top][:, right] - sums[bottom][:, left] + sums[top][:, left]
        return np.asarray(found == np.multiply.outer(bottom - top, right - left))

    @cached_property
    def _sums(self) -> NDArray[np.int64]:
        """Number of predicted squares above and to the left of each corner."""
        return np.pad(self.cells.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))

    def cut(self, rows: slice, columns: slice) -> FinishedTiles:
        """The same tiles in coordinates of a part of the slide.

        Parameters
        ----------
        rows, columns : slice
            Rows and columns of the part, each with a start.

        Returns
        -------
        FinishedTiles
            Pixels are counted from the part's first one.
        """
        return replace(self, origin=(self.origin[0] + rows.start, self.origin[1] + columns.start))


def in_all(found: Iterable[FinishedTiles | None]) -> FinishedTiles | None:
    """Tiles that are finished in all of several images of one slide.

    Parameters
    ----------
    found : iterable of FinishedTiles or None
        Finished tiles of each image; None for a complete one.

    Returns
    -------
    FinishedTiles or None
        None if all images are complete.
    """
    unfinished = [tiles for tiles in found if tiles is not None]
    if not unfinished:
        return None
    cell_px, shape = min((tiles.cell_px, tiles.cells.shape) for tiles in unfinished)
    cells = np.ones(shape, bool)
    for tiles in unfinished:
        times = tiles.cell_px // cell_px
        cells &= tiles.cells.repeat(times, axis=0).repeat(times, axis=1)[: shape[0], : shape[1]]
    left_out = "; ".join(dict.fromkeys(tiles.words for tiles in unfinished if tiles.left_out))
    if left_out and not all(tiles.left_out for tiles in unfinished):
        left_out += "; elsewhere, only tiles that all predictions have are measured"
    return FinishedTiles(cells, max(tiles.tile_px for tiles in unfinished), unfinished[0].origin, cell_px, left_out)


def finished_tiles(path: Location) -> FinishedTiles | None:
    """Read which tiles of a prediction are finished at this moment.

    Parameters
    ----------
    path : pathlib.Path or UPath
        Folder of the prediction.

    Returns
    -------
    FinishedTiles or None
        None if the prediction is complete.

    Raises
    ------
    SlideError
        If its record of finished tiles is not valid.
    """
    import zarr

    found = (
        f"{path.name} is an unfinished prediction that has to be predicted again, because its record of "
        "finished tiles cannot be read"
    )
    with reading_errors(found), address_errors(path):
        group = zarr.open_group(zarr_store(path), mode="r", zarr_format=3)
        record: Any = group.attrs[RECORD]
        if record["complete"]:
            return None
        array, level = (group[name] for name in (FINISHED, "0"))
        assert isinstance(array, zarr.Array)
        assert isinstance(level, zarr.Array)
        tile_px = record["request"].get("core") or CELL_PX
        expected = tuple(-(-size // CELL_PX) for size in level.shape[-2:])
        if array.shape != expected or not isinstance(tile_px, int) or tile_px < 1 or tile_px % CELL_PX:
            msg = f"{array.shape} squares and tiles of {tile_px} px instead of {expected} squares of {CELL_PX} px"
            raise ValueError(msg)
        return FinishedTiles(np.asarray(array[:]) > 0, tile_px)

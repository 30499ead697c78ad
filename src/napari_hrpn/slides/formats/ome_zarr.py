"""OME-Zarr 0.1 to 0.5 and the layout of bioformats2raw: metadata make a folder one, not its name."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_hrpn.slides.errors import SlideError, SlideWarning
from napari_hrpn.slides.finished_tiles import finished_tiles
from napari_hrpn.slides.formats.ome_zarr_levels import Level, opened_array, opened_levels
from napari_hrpn.slides.formats.ome_zarr_metadata import (
    ListedLevel,
    Multiscale,
    listed_images,
    parse_image,
    read_attributes,
    read_metadata,
)
from napari_hrpn.slides.inner_location import check_inside, inner_place
from napari_hrpn.slides.location import Location, holds_zarr, is_file
from napari_hrpn.slides.metadata import RECORD
from napari_hrpn.slides.plane_selection import SeriesInfo, choose_plane, choose_series
from napari_hrpn.slides.slide_builder import RawImage, assemble
from napari_hrpn.slides.units import usable_pixel_size
from napari_hrpn.slides.zarr_arrays import read_zarr

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_hrpn.slides.finished_tiles import FinishedTiles
    from napari_hrpn.slides.slide import Slide

_MOST_CHANNELS_OF_A_BARE_ARRAY = 16


class _ZarrLevel:
    """One plane of a zarr array with axes out of t, c, z, y, x."""

    def __init__(self, level: Level, axes: str, z: int, t: int) -> None:
        self._array = level.array
        self._links = level.links
        self._axes = axes
        self._plane = {"z": z, "t": t}
        sizes = dict(zip(axes, level.array.shape, strict=True))
        pieces = dict(zip(axes, level.array.chunks, strict=True))
        self.shape = (sizes.get("c", 1), sizes["y"], sizes["x"])
        self.chunks = (pieces.get("c", 1), pieces["y"], pieces["x"])
        self.dtype = np.dtype(level.array.dtype)

    def read(self, channels: slice, rows: slice, columns: slice) -> np.ndarray:
        """Pixels of a block, of shape (c, y, x)."""
        wanted: dict[str, Any] = {**self._plane, "c": channels, "y": rows, "x": columns}
        key = tuple(wanted[axis] for axis in self._axes)
        self._links.check(key)
        block = read_zarr(self._array, key)
        kept = [axis for axis in self._axes if axis in "cyx"]
        block = block.transpose([kept.index(axis) for axis in "cyx" if axis in kept])
        return block if "c" in kept else block[np.newaxis]


class _Entry(NamedTuple):
    """An image as it is listed: its group, the attributes of that, and what they say of the image."""

    folder: Location
    attributes: dict[str, Any]
    entry: dict[str, Any]


def open_ome_zarr(path: Location, *, series: int | None, z: int | None, t: int | None) -> Slide:
    """A slide from an OME-Zarr folder."""
    images = _images(path)
    chosen = choose_series(path.name, len(images), series, lambda: _described(images, path))
    image = _image(images[chosen])
    unfinished = _unfinished_prediction(image.folder)
    axes, levels = opened_levels(image, path)
    sizes = dict(zip(axes, levels[0].array.shape, strict=True))
    _warn_of_names(image, sizes.get("c", 1))
    chosen_z = choose_plane(path.name, "z", sizes.get("z", 1), z)
    chosen_t = choose_plane(path.name, "t", sizes.get("t", 1), t)
    sources = tuple(_ZarrLevel(level, axes, _scaled_z(level, axes, sizes, chosen_z), chosen_t or 0) for level in levels)
    found = RawImage(path, sources, image.names, levels[0].pixel_size_um, chosen, chosen_z, chosen_t)
    return replace(assemble(found), read_finished=unfinished)


def _unfinished_prediction(folder: Location) -> Callable[[], FinishedTiles | None] | None:
    """What reads the finished tiles of a prediction that is not complete; a warning says how many there are."""
    record = read_attributes(folder).get(RECORD)
    if not isinstance(record, dict) or record.get("complete") is not False:
        return None
    if found := finished_tiles(folder):
        words = f"{folder.name} is a prediction that is not finished: {found.words}. Predict again to go on."
        warnings.warn(words, SlideWarning, stacklevel=2)
    return partial(finished_tiles, folder)


def series_of_ome_zarr(path: Location) -> tuple[SeriesInfo, ...]:
    """The images of an OME-Zarr folder."""
    return _described(_images(path), path)


def _described(images: Sequence[_Entry], path: Location) -> tuple[SeriesInfo, ...]:
    found = []
    for index, listed in enumerate(images):
        image = _image(listed)
        axes, levels = opened_levels(image, path)
        sizes = dict(zip(axes, levels[0].array.shape, strict=True))
        shape = (sizes.get("c", 1), sizes["y"], sizes["x"])
        size = usable_pixel_size(levels[0].pixel_size_um)
        found.append(SeriesInfo(index, image.title, shape, size, sizes.get("z", 1), sizes.get("t", 1)))
    return tuple(found)


def _warn_of_names(image: Multiscale, channels: int) -> None:
    if image.names and len(image.names) != channels:
        warnings.warn(
            f"{image.folder.name} names {len(image.names)} channels but holds {channels}, and the names are given in "
            "turn: check which channel is which.",
            SlideWarning,
            stacklevel=2,
        )


def _scaled_z(level: Level, axes: str, sizes: dict[str, int], z: int | None) -> int:
    """The plane of a coarser level that may have fewer of them."""
    if not z:
        return 0
    planes: int = level.array.shape[axes.index("z")]
    return min(planes - 1, z * planes // sizes["z"])


def _images(path: Location) -> list[_Entry]:
    check_inside(path, path)
    attributes = read_attributes(path)
    if "plate" in attributes or "well" in attributes:
        raise SlideError(
            f"{path.name} is a plate of many fields, expected one slide: open one of the fields inside it, "
            "such as its folder A/1/0."
        )
    if attributes.get("multiscales") is not None:
        return [_Entry(path, attributes, entry) for entry in listed_images(path, attributes)]
    images = []
    for folder in _conversion_folders(path, attributes):
        check_inside(folder, path)
        inner = read_attributes(folder)
        images += [_Entry(folder, inner, entry) for entry in listed_images(folder, inner)]
    if images:
        return images
    if is_file(path / ".zarray") or (read_metadata(path / "zarr.json") or {}).get("node_type") == "array":
        return [_Entry(path, {}, {})]
    raise SlideError(
        f"{path.name} is a Zarr group without the metadata of an image, expected OME-Zarr 0.1 to 0.5: "
        "open the folder inside it that holds the image, or convert it again."
    )


def _conversion_folders(path: Location, attributes: dict[str, Any]) -> list[Location]:
    """Folders of the images of a bioformats2raw conversion, which numbers them."""
    listed = attributes.get("series")
    if not listed and _is_folder(path / "OME"):
        listed = read_attributes(path / "OME").get("series")
    if isinstance(listed, list):
        return [place for name in listed if _is_folder(place := inner_place(path, name))]
    if "bioformats2raw.layout" not in attributes and not _is_folder(path / "OME"):
        return []
    if not isinstance(path, Path):
        return list(itertools.takewhile(holds_zarr, (path / str(number) for number in itertools.count())))
    numbers = sorted(int(folder.name) for folder in path.iterdir() if folder.name.isdecimal() and folder.is_dir())
    return [path / str(number) for number in numbers]


def _is_folder(place: Location) -> bool:
    """Whether there is a folder; at an address, one with metadata, as nothing else can be seen there."""
    return place.is_dir() if isinstance(place, Path) else holds_zarr(place)


def _image(listed: _Entry) -> Multiscale:
    return parse_image(*listed) if listed.entry else _bare_array(listed.folder)


def _bare_array(path: Location) -> Multiscale:
    """A plain zarr array, which can only be a plane or a few channels of one."""
    array = opened_array(path, path)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[0] > _MOST_CHANNELS_OF_A_BARE_ARRAY):
        raise SlideError(
            f"{path.name} is a plain Zarr array of shape {tuple(array.shape)}, expected (y, x) or (c, y, x): "
            "convert it to OME-Zarr, which names its axes."
        )
    return Multiscale(path, "cyx"[-array.ndim :], (ListedLevel(""),), (), path.name)

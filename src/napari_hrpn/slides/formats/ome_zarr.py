"""OME-Zarr 0.1 to 0.5, also in the layout of bioformats2raw, recognised by its metadata."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.slides.errors import SlideError, warn
from napari_hrpn.slides.formats.ome_zarr_levels import (
    Level,
    Multiscale,
    listed_images,
    opened_array,
    opened_levels,
    parse_image,
)
from napari_hrpn.slides.lazy_pixels import PixelSource
from napari_hrpn.slides.location import Location, holds_zarr, is_file
from napari_hrpn.slides.predictions import RECORD, finished_tiles
from napari_hrpn.slides.slide_builder import RawImage, SeriesInfo, assemble, choose_plane, choose_series
from napari_hrpn.slides.units import usable_pixel_size
from napari_hrpn.slides.zarr_arrays import check_inside, inner_place, read_attributes, read_metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_hrpn.slides.predictions import FinishedTiles
    from napari_hrpn.slides.slide import Slide

    # an image as listed: its group, the attributes of the group, and their entry for the image
    _Entry = tuple[Location, dict[str, Any], dict[str, Any]]

_MOST_CHANNELS_OF_A_BARE_ARRAY = 16


def read_slide(path: Location, *, series: int | None, z: int | None, t: int | None) -> Slide:
    """Read a slide from an OME-Zarr folder."""
    images = _images(path)
    chosen = choose_series(path.name, len(images), series, lambda: _described(images, path))
    image = _image(images[chosen])
    unfinished = _unfinished_prediction(image.folder)
    levels = opened_levels(image, path)
    sizes = levels[0].sizes
    if image.names and len(image.names) != sizes.get("c", 1):
        warn(
            f"{image.folder.name} names {len(image.names)} channels but holds {sizes.get('c', 1)}, and the names are "
            "assigned in order: check which channel is which."
        )
    chosen_z = choose_plane(path.name, "z", sizes.get("z", 1), z)
    chosen_t = choose_plane(path.name, "t", sizes.get("t", 1), t)
    # a coarser level may have fewer planes
    planes = [level.sizes.get("z", 1) for level in levels]
    sources = tuple(
        _source(level, {"z": min(count - 1, (chosen_z or 0) * count // planes[0]), "t": chosen_t or 0})
        for level, count in zip(levels, planes, strict=True)
    )
    found = RawImage(path, sources, image.names, levels[0].pixel_size_um, chosen, chosen_z, chosen_t)
    return replace(assemble(found), read_finished=unfinished)


def read_series(path: Location) -> tuple[SeriesInfo, ...]:
    """List the images of an OME-Zarr folder."""
    return _described(_images(path), path)


def image_folder(path: Location, series: int) -> Location:
    """Folder of one of the images."""
    return _images(path)[series][0]


def _described(images: Sequence[_Entry], path: Location) -> tuple[SeriesInfo, ...]:
    found = []
    for index, image in enumerate(map(_image, images)):
        finest = opened_levels(image, path)[0]
        sizes, size = finest.sizes, usable_pixel_size(finest.pixel_size_um)
        shape = (sizes.get("c", 1), sizes["y"], sizes["x"])
        found.append(SeriesInfo(index, image.title, shape, size, sizes.get("z", 1), sizes.get("t", 1)))
    return tuple(found)


def _source(level: Level, plane: dict[str, int]) -> PixelSource:
    """One plane of a zarr array whose axes are some of t, c, z, y, x."""
    axes = list(level.sizes)
    kept = [axis for axis in axes if axis in "cyx"]

    def read(channels: slice, rows: slice, columns: slice) -> np.ndarray:
        selection: dict[str, Any] = {**plane, "c": channels, "y": rows, "x": columns}
        block = level.read(tuple(selection[axis] for axis in axes))
        block = block.transpose([kept.index(axis) for axis in "cyx" if axis in kept])
        return block if "c" in kept else block[np.newaxis]

    chunks = dict(zip(axes, level.array.chunks, strict=True))
    return PixelSource(
        (level.sizes.get("c", 1), level.sizes["y"], level.sizes["x"]),
        np.dtype(level.array.dtype),
        (chunks.get("c", 1), chunks["y"], chunks["x"]),
        read,
    )


def _unfinished_prediction(folder: Location) -> Callable[[], FinishedTiles | None] | None:
    """Function that reads the finished tiles of an incomplete prediction, with a warning; None for other images."""
    record = read_attributes(folder).get(RECORD)
    if not isinstance(record, dict) or record.get("complete") is not False:
        return None
    if found := finished_tiles(folder):
        warn(f"{folder.name} is a prediction that is not finished: {found.words}. Predict again to resume it.")
    return partial(finished_tiles, folder)


def _images(path: Location) -> list[_Entry]:
    check_inside(path, path)
    attributes = read_attributes(path)
    if "plate" in attributes or "well" in attributes:
        raise SlideError(
            f"{path.name} is a plate of many fields, expected one slide: open one of the fields inside it, "
            "such as its folder A/1/0."
        )
    if attributes.get("multiscales") is not None:
        return [(path, attributes, entry) for entry in listed_images(path, attributes)]
    images = []
    for folder in _conversion_folders(path, attributes):
        check_inside(folder, path)
        inner = read_attributes(folder)
        images += [(folder, inner, entry) for entry in listed_images(folder, inner)]
    if images:
        return images
    if is_file(path / ".zarray") or (read_metadata(path / "zarr.json") or {}).get("node_type") == "array":
        return [(path, {}, {})]
    raise SlideError(
        f"{path.name} is a Zarr group without the metadata of an image, expected OME-Zarr 0.1 to 0.5: "
        "open the folder inside it that holds the image, or convert it again."
    )


def _conversion_folders(path: Location, attributes: dict[str, Any]) -> list[Location]:
    """Folders of the images of a bioformats2raw conversion, which are numbered."""
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
    """Whether a folder exists; at an address only a folder with metadata can be detected."""
    return place.is_dir() if isinstance(place, Path) else holds_zarr(place)


def _image(listed: _Entry) -> Multiscale:
    folder, _, entry = listed
    if entry:
        return parse_image(*listed)
    # a plain array opens only as a plane, or as a plane with a few channels
    array = opened_array(folder, folder)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[0] > _MOST_CHANNELS_OF_A_BARE_ARRAY):
        raise SlideError(
            f"{folder.name} is a plain Zarr array of shape {tuple(array.shape)}, expected (y, x) or (c, y, x): "
            "convert it to OME-Zarr, which names its axes."
        )
    return Multiscale(folder, "cyx"[-array.ndim :], (("", None),), (), folder.name)

"""OME-Zarr 0.4, 0.5 and the layout of bioformats2raw: metadata make a folder one, not its name."""

from __future__ import annotations

import itertools
import json
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.slides.assembly import Findings, assemble
from napari_hrpn.slides.errors import SlideError, SlideWarning
from napari_hrpn.slides.lazy import reason
from napari_hrpn.slides.place import Place, fetched, holds_zarr, is_file
from napari_hrpn.slides.planes import SeriesInfo, choose_plane, choose_series
from napari_hrpn.slides.units import micrometres, usable_pixel_size
from napari_hrpn.slides.zarr_arrays import open_zarr_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    import zarr

    from napari_hrpn.slides.slide import Slide

    ZarrArray = zarr.Array[Any]

LARGEST_METADATA_BYTES = 64 * 2**20
MOST_LEVELS = 64


class ZarrLevel:
    """One plane of a zarr array with axes out of t, c, z, y, x.

    Parameters
    ----------
    array : zarr.Array
        The stored level.
    axes : str
        A letter per axis, in the order of the array.
    z, t : int
        The plane.
    """

    def __init__(self, array: ZarrArray, axes: str, z: int, t: int) -> None:
        self._array = array
        self._axes = axes
        self._plane = {"z": z, "t": t}
        sizes = dict(zip(axes, array.shape, strict=True))
        pieces = dict(zip(axes, array.chunks, strict=True))
        self.shape = (sizes.get("c", 1), sizes["y"], sizes["x"])
        self.chunks = (pieces.get("c", 1), pieces["y"], pieces["x"])
        self.dtype = np.dtype(array.dtype)

    def read(self, channels: slice, rows: slice, columns: slice) -> np.ndarray:
        """Pixels of a block, of shape (c, y, x)."""
        wanted: dict[str, Any] = {**self._plane, "c": channels, "y": rows, "x": columns}
        block = np.asarray(self._array[tuple(wanted[axis] for axis in self._axes)])
        kept = [axis for axis in self._axes if axis in "cyx"]
        block = block.transpose([kept.index(axis) for axis in "cyx" if axis in kept])
        return block if "c" in kept else block[np.newaxis]


@dataclass(frozen=True)
class Multiscale:
    """One image of an OME-Zarr, as its metadata describe it.

    Attributes
    ----------
    folder : pathlib.Path or UPath
        The group.
    axes : str
        Lower-case letters out of t, c, z, y, x.
    paths : tuple of str
        The levels' folders, finest first.
    pixel_size_um : tuple of float or None
        Height and width of a pixel.
    names : tuple of str
        Of the channels; empty where the file says nothing.
    title : str
        What the file calls the image.
    """

    folder: Place
    axes: str
    paths: tuple[str, ...]
    pixel_size_um: tuple[float, float] | None
    names: tuple[str, ...]
    title: str


def open_ome_zarr(path: Place, *, series: int | None, z: int | None, t: int | None) -> Slide:
    """A slide from an OME-Zarr folder.

    Parameters
    ----------
    path : pathlib.Path or UPath
        The group, or the folder of a bioformats2raw conversion.
    series : int or None
        Which of its images; None takes the largest, with a warning if there are several.
    z, t : int or None
        Which plane; None takes the middle of a stack and the first of a time series, with a warning.

    Returns
    -------
    Slide
        Lazy.

    Raises
    ------
    SlideError
        If it is no OME-Zarr, or a plate, or damaged.
    """
    images = _images(path)
    chosen = choose_series(path.name, len(images), series, lambda: _described(images))
    image = images[chosen]
    _warn_of_unfinished_prediction(image.folder)
    arrays = _arrays(image)
    sizes = dict(zip(image.axes, arrays[0].shape, strict=True))
    chosen_z = choose_plane(path.name, "z", sizes.get("z", 1), z)
    chosen_t = choose_plane(path.name, "t", sizes.get("t", 1), t)
    sources = [
        ZarrLevel(array, image.axes, _scaled_z(array, image.axes, sizes, chosen_z), chosen_t or 0) for array in arrays
    ]
    return assemble(Findings(path, tuple(sources), image.names, image.pixel_size_um, chosen, chosen_z, chosen_t))


def _warn_of_unfinished_prediction(folder: Place) -> None:
    record = _attributes(folder).get("napari_hrpn")
    if isinstance(record, dict) and record.get("complete") is False:
        warnings.warn(
            f"{folder.name} is a prediction that is not finished: what is missing reads as 0; predict again to go on.",
            SlideWarning,
            stacklevel=2,
        )


def series_of_ome_zarr(path: Place) -> tuple[SeriesInfo, ...]:
    """The images of an OME-Zarr folder.

    Parameters
    ----------
    path : pathlib.Path or UPath
        The folder.

    Returns
    -------
    tuple of SeriesInfo
        In their order.

    Raises
    ------
    SlideError
        If it is no OME-Zarr.
    """
    return _described(_images(path))


def _described(images: Sequence[Multiscale]) -> tuple[SeriesInfo, ...]:
    found = []
    for index, image in enumerate(images):
        sizes = dict(zip(image.axes, _arrays(image)[0].shape, strict=True))
        shape = (sizes.get("c", 1), sizes["y"], sizes["x"])
        size = usable_pixel_size(image.pixel_size_um)
        found.append(SeriesInfo(index, image.title, shape, size, sizes.get("z", 1), sizes.get("t", 1)))
    return tuple(found)


def _scaled_z(array: ZarrArray, axes: str, sizes: dict[str, int], z: int | None) -> int:
    """The plane of a coarser level that may have fewer of them."""
    if not z:
        return 0
    planes: int = array.shape[axes.index("z")]
    return min(planes - 1, z * planes // sizes["z"])


def _images(path: Place) -> list[Multiscale]:
    attributes = _attributes(path)
    if "plate" in attributes or "well" in attributes:
        raise SlideError(
            f"{path.name} is a plate of many fields, expected one slide: open one of the fields inside it, "
            "such as its folder A/1/0."
        )
    if "multiscales" in attributes:
        return _multiscales(path, attributes)
    folders = _conversion_folders(path, attributes)
    images = [image for folder in folders for image in _multiscales(folder, _attributes(folder))]
    if images:
        return images
    if _is_array(path):
        return [_bare_array(path)]
    raise SlideError(
        f"{path.name} is a Zarr group without the metadata of an image, expected OME-Zarr 0.4 or 0.5: "
        "open the folder inside it that holds the image, or convert it again."
    )


def _conversion_folders(path: Place, attributes: dict[str, Any]) -> list[Place]:
    """Folders of the images of a bioformats2raw conversion, which numbers them."""
    listed = attributes.get("series")
    if not listed and _is_folder(path / "OME"):
        listed = _attributes(path / "OME").get("series")
    if isinstance(listed, list):
        return [path / str(name) for name in listed if _is_folder(path / str(name))]
    if "bioformats2raw.layout" not in attributes and not _is_folder(path / "OME"):
        return []
    if not isinstance(path, Path):
        return list(itertools.takewhile(holds_zarr, (path / str(number) for number in itertools.count())))
    numbers = sorted(int(folder.name) for folder in path.iterdir() if folder.name.isdecimal() and folder.is_dir())
    return [path / str(number) for number in numbers]


def _is_folder(place: Place) -> bool:
    """Whether there is a folder; at an address, one with metadata, as nothing else can be seen there."""
    return place.is_dir() if isinstance(place, Path) else holds_zarr(place)


def _attributes(folder: Place) -> dict[str, Any]:
    """Attributes of a group: those of version 0.5 lie one level deeper."""
    new = _json(folder / "zarr.json")
    attributes = (_json(folder / ".zattrs") or {}) if new is None else new.get("attributes", {})
    if not isinstance(attributes, dict):
        return {}
    ome = attributes.get("ome")
    return {**attributes, **ome} if isinstance(ome, dict) else attributes


def _json(path: Place) -> dict[str, Any] | None:
    """What a metadata file says; None where there is none."""
    if isinstance(path, Path) and not path.is_file():
        return None
    if isinstance(path, Path) and path.stat().st_size > LARGEST_METADATA_BYTES:
        raise SlideError(f"{path} is larger than 64 MiB, expected the metadata of an image: convert it again.")
    try:
        text = path.read_bytes() if isinstance(path, Path) else fetched(path)
        if text is None:
            return None
        content = json.loads(text.decode("utf-8"))
    except SlideError:
        raise
    except PermissionError as error:
        raise SlideError(f"{path} may not be read by you, expected readable metadata: ask its owner.") from error
    except (ValueError, RecursionError, OSError) as error:
        raise SlideError(f"{path} cannot be read as JSON ({reason(error)}).") from error
    return content if isinstance(content, dict) else {}


def _multiscales(folder: Place, attributes: dict[str, Any]) -> list[Multiscale]:
    try:
        return [_multiscale(folder, attributes, entry) for entry in attributes.get("multiscales", [])]
    except SlideError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise SlideError(
            f"{folder.name} has OME-Zarr metadata that are not understood ({type(error).__name__}: {error}), "
            "expected version 0.4 or 0.5: convert it again."
        ) from error


def _multiscale(folder: Place, attributes: dict[str, Any], entry: dict[str, Any]) -> Multiscale:
    described = entry.get("axes") or [{"name": name} for name in "tczyx"]
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in described]
    letters = "".join(str(axis["name"]).lower() for axis in axes)
    if not set(letters) <= set("tczyx") or not set("yx") <= set(letters) or len(set(letters)) < len(axes):
        raise SlideError(
            f"{folder.name} has the axes {', '.join(str(axis['name']) for axis in axes)}, expected y and "
            "x and of t, c, z each at most once: convert it again."
        )
    datasets = entry["datasets"][:MOST_LEVELS]
    paths = tuple(str(dataset["path"]) for dataset in datasets)
    omero = attributes.get("omero") or {}
    names = tuple(
        "" if channel.get("label") is None else str(channel["label"]) for channel in omero.get("channels", [])
    )
    return Multiscale(
        folder,
        letters,
        paths,
        _pixel_size(axes, letters, entry, datasets[0]),
        names,
        str(entry.get("name") or folder.name),
    )


def _pixel_size(
    axes: list[dict[str, Any]], letters: str, entry: dict[str, Any], finest: dict[str, Any]
) -> tuple[float, float] | None:
    scale = np.ones(len(letters))
    for step in [*finest.get("coordinateTransformations", []), *entry.get("coordinateTransformations", [])]:
        if step.get("type") == "scale" and "scale" in step:
            scale = scale * np.asarray(step["scale"], float)
    sizes = [micrometres(scale[letters.index(axis)], axes[letters.index(axis)].get("unit")) for axis in "yx"]
    if sizes[0] is None or sizes[1] is None:
        return None
    return sizes[0], sizes[1]


def _is_array(path: Place) -> bool:
    return is_file(path / ".zarray") or (_json(path / "zarr.json") or {}).get("node_type") == "array"


def _bare_array(path: Place) -> Multiscale:
    """A plain zarr array, which can only be a plane or a few channels of one."""
    array = _open_array(path)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[0] > 16):
        raise SlideError(
            f"{path.name} is a plain Zarr array of shape {tuple(array.shape)}, expected (y, x) or (c, y, x): "
            "convert it to OME-Zarr, which names its axes."
        )
    return Multiscale(path, "cyx"[-array.ndim :], ("",), None, (), path.name)


def _arrays(image: Multiscale) -> list[ZarrArray]:
    if not image.paths:
        raise SlideError(f"{image.folder.name} lists no levels, expected at least one: convert it again.")
    arrays = [_open_array(image.folder / path if path else image.folder) for path in image.paths]
    for array in arrays:
        if array.ndim != len(image.axes):
            raise SlideError(
                f"{image.folder.name} has levels with {array.ndim} axes but names {len(image.axes)}, "
                "expected as many: convert it again."
            )
    return arrays


def _open_array(folder: Place) -> ZarrArray:
    if isinstance(folder, Path) and not folder.is_dir():
        raise SlideError(
            f"{folder.parent.name} lists the level {folder.name} that is not there, expected all of "
            "them: copy it again."
        )
    try:
        array = open_zarr_array(folder)
    except Exception as error:
        raise SlideError(f"{folder.parent.name}/{folder.name} cannot be opened ({reason(error)}).") from error
    if math.prod(array.shape) == 0:
        raise SlideError(f"{folder.parent.name}/{folder.name} is empty, expected at least one pixel: convert it again.")
    return array

"""Zeiss CZI through pylibCZIrw, an optional extra; the library scales the coarser levels when read."""

from __future__ import annotations

import importlib.util
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from napari_hrpn.slides.assembly import Findings, assemble
from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.lazy import reason
from napari_hrpn.slides.ome_xml import parse_xml
from napari_hrpn.slides.planes import SeriesInfo, choose_plane, choose_series
from napari_hrpn.slides.units import micrometres, usable_pixel_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pylibCZIrw.czi import CziReader

    from napari_hrpn.slides.slide import Slide

CHUNK = 1024
SMALLEST_LEVEL = 1024
_TYPES = {
    "Gray8": np.uint8,
    "Gray16": np.uint16,
    "Gray32Float": np.float32,
    "Bgr24": np.uint8,
    "Bgr48": np.uint16,
}


class CZILevel:
    """One level of one scene.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    place : dict
        Scene, Z and T that are taken.
    corner : tuple of int
        Top and left of the scene in pixels of the finest level.
    shape : tuple of int
        Channels, height, width of this level.
    dtype : numpy.dtype
        Type of a pixel.
    factor : int
        Pixels of the finest level along one of this level.
    """

    def __init__(
        self,
        path: Path,
        place: dict[str, int],
        corner: tuple[int, int],
        shape: tuple[int, int, int],
        dtype: np.dtype,
        factor: int,
    ) -> None:
        self._path = path
        self._place = place
        self._corner = corner
        self._factor = factor
        self.shape = shape
        self.dtype = dtype
        self.chunks = (1, CHUNK, CHUNK)

    def read(self, channels: slice, rows: slice, columns: slice) -> np.ndarray:
        """Pixels of a block, of shape (c, y, x)."""
        factor = self._factor
        top, left = self._corner[0] + rows.start * factor, self._corner[1] + columns.start * factor
        height, width = rows.stop - rows.start, columns.stop - columns.start
        plane = {axis: index for axis, index in self._place.items() if axis != "scene"}
        blocks = []
        with _opened(self._path) as file:
            for channel in range(self.shape[0])[channels]:
                block = file.read(
                    roi=(left, top, width * factor, height * factor),
                    plane={**plane, "C": channel},
                    scene=self._place.get("scene"),
                    zoom=1 / factor,
                )
                blocks.append(_fitted(block[..., :1].max(axis=-1), height, width))
        return np.stack(blocks).astype(self.dtype, copy=False)


def _fitted(block: np.ndarray, height: int, width: int) -> np.ndarray:
    """A block whose size the library rounded differently, cut or repeated at its edge by a pixel."""
    missing = max(0, height - block.shape[0]), max(0, width - block.shape[1])
    if any(missing):
        block = np.pad(block, ((0, missing[0]), (0, missing[1])), mode="edge")
    return block[:height, :width]


def open_czi(path: Path, *, series: int | None, z: int | None, t: int | None) -> Slide:
    """A slide from a CZI.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    series : int or None
        Which of its scenes; None takes the largest, with a warning if there are several.
    z, t : int or None
        Which plane; None takes the middle of a stack and the first of a time series, with a warning.

    Returns
    -------
    Slide
        Lazy.

    Raises
    ------
    SlideError
        If pylibCZIrw is not installed or the file cannot be read.
    """
    with _opened(path) as file:
        scenes = _scenes(file)
        chosen = choose_series(path.name, len(scenes), series, lambda: _described(file, path))
        number, box = scenes[chosen]
        bounds = file.total_bounding_box
        chosen_z = choose_plane(path.name, "z", _length(bounds, "Z"), z)
        chosen_t = choose_plane(path.name, "t", _length(bounds, "T"), t)
        place = {"Z": chosen_z or 0, "T": chosen_t or 0} | ({} if number is None else {"scene": number})
        dtype = _dtype(file, path)
        names, size = _metadata(file, path)
    channels = _length(bounds, "C")
    sources = [
        CZILevel(path, place, (box.y, box.x), (channels, -(-box.h // factor), -(-box.w // factor)), dtype, factor)
        for factor in _factors(max(box.h, box.w))
    ]
    return assemble(Findings(path, tuple(sources), names, size, chosen, chosen_z, chosen_t))


def series_of_czi(path: Path) -> tuple[SeriesInfo, ...]:
    """The scenes of a CZI.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    tuple of SeriesInfo
        In their order.

    Raises
    ------
    SlideError
        If it cannot be read.
    """
    with _opened(path) as file:
        return _described(file, path)


def _described(file: CziReader, path: Path) -> tuple[SeriesInfo, ...]:
    bounds = file.total_bounding_box
    size = usable_pixel_size(_metadata(file, path)[1])
    return tuple(
        SeriesInfo(
            index,
            f"Scene {index}",
            (_length(bounds, "C"), box.h, box.w),
            size,
            _length(bounds, "Z"),
            _length(bounds, "T"),
        )
        for index, (_, box) in enumerate(_scenes(file))
    )


@contextmanager
def _opened(path: Path) -> Iterator[CziReader]:
    if importlib.util.find_spec("pylibCZIrw") is None:
        raise SlideError(
            f'{path.name} is a Zeiss CZI, which takes one more package: run `pip install "napari-hrpn[czi]"`.'
        )
    from pylibCZIrw import czi

    try:
        with czi.open_czi(str(path)) as file:
            yield file
    except SlideError:
        raise
    except Exception as error:
        raise SlideError(f"{path.name} cannot be read as a CZI ({reason(error)}).") from error


def _scenes(file: CziReader) -> list[tuple[int | None, Any]]:
    """Number and rectangle of each scene; one without number where there are none."""
    scenes = sorted(file.scenes_bounding_rectangle.items())
    return scenes or [(None, file.total_bounding_rectangle)]


def _length(bounds: dict[str, tuple[int, int]], axis: str) -> int:
    first, last = bounds.get(axis, (0, 1))
    return max(1, last - first)


def _factors(longest: int) -> list[int]:
    return [2**level for level in range(1 + max(0, math.ceil(math.log2(longest / SMALLEST_LEVEL))))]


def _dtype(file: CziReader, path: Path) -> np.dtype:
    types = set(file.pixel_types.values())
    if len(types) != 1 or not types <= {"Gray8", "Gray16", "Gray32Float"}:
        raise SlideError(
            f"{path.name} holds pixels of type {', '.join(sorted(types))}, expected one grey type "
            "for all channels: export it as OME-TIFF."
        )
    return np.dtype(_TYPES[types.pop()])


def _metadata(file: CziReader, path: Path) -> tuple[tuple[str, ...], tuple[float, float] | None]:
    root = parse_xml(file.raw_metadata, path.name)
    channels = root.findall(".//Information/Image/Dimensions/Channels/Channel")
    names = tuple(channel.get("Name") or channel.findtext("Fluor") or "" for channel in channels)
    sizes = [_distance(root, axis) for axis in "YX"]
    if sizes[0] is None or sizes[1] is None:
        return names, None
    return names, (sizes[0], sizes[1])


def _distance(root: ElementTree.Element, axis: str) -> float | None:
    """Pixel size along an axis, which a CZI keeps in metres."""
    return micrometres(root.findtext(f".//Scaling/Items/Distance[@Id='{axis}']/Value"), "m")

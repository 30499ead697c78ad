"""A folder with one single-channel TIFF per stain, named after it: DAPI.tif, SpGreen.tif, SpOrange.tif."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.errors import SlideError, SlideWarning
from napari_hrpn.slides.file_name import slide_name
from napari_hrpn.slides.formats.tiff import find_in_tiff
from napari_hrpn.slides.guarded_array import BrightestSample, accepted_dtype
from napari_hrpn.slides.plane_selection import SeriesInfo, choose_series
from napari_hrpn.slides.slide_builder import RawImage, assemble
from napari_hrpn.slides.units import usable_pixel_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_hrpn.slides.guarded_array import PixelSource
    from napari_hrpn.slides.slide import Slide

TIFF_SUFFIXES = (".tif", ".tiff")
_OTHER_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".svs", ".ndpi", ".qptiff", ".nd2", ".czi", ".jp2")
_MOST_STAINS = 64


class _StackedStains:
    """Levels of several files, one above the other as channels."""

    def __init__(self, stains: Sequence[PixelSource], dtype: np.dtype) -> None:
        self._stains = tuple(stains)
        self.shape = (len(self._stains), *stains[0].shape[1:])
        self.dtype = dtype
        self.chunks = (1, *stains[0].chunks[1:])

    def read(self, channels: slice, rows: slice, columns: slice) -> np.ndarray:
        """Pixels of a block, of shape (c, y, x)."""
        blocks = [stain.read(slice(0, 1), rows, columns) for stain in self._stains[channels]]
        return np.concatenate(blocks).astype(self.dtype, copy=False)


def open_stain_folder(path: Path, *, series: int | None, z: int | None, t: int | None) -> Slide:
    """A slide from a folder of single-stain TIFFs."""
    choose_series(path.name, 1, series, tuple)
    files = _stain_files(path)
    found = [find_in_tiff(file, series=None, z=z, t=t) for file in files]
    stains = [_one_channel(stain) for stain in found]
    _check_sizes(path, files, stains)
    dtype = np.result_type(*(accepted_dtype(stain[0].dtype, file) for stain, file in zip(stains, files, strict=True)))
    levels = []
    for level in range(min(len(stain) for stain in stains)):
        sources = [stain[level] for stain in stains]
        if len({source.shape for source in sources}) > 1:
            break
        levels.append(_StackedStains(sources, dtype))
    said = [stain.pixel_size_um for stain in found if stain.pixel_size_um is not None]
    sizes = [size for size in said if usable_pixel_size(size)] or said
    if len({(round(y, 6), round(x, 6)) for y, x in said}) > 1:
        warnings.warn(
            f"The files in {path.name} disagree on the pixel size and the first that can be is taken: check it.",
            SlideWarning,
            stacklevel=2,
        )
    return assemble(
        RawImage(
            path,
            tuple(levels),
            [_stain_name(file) for file in files],
            sizes[0] if sizes else None,
            0,
            found[0].z,
            found[0].t,
        )
    )


def series_of_stain_folder(path: Path) -> tuple[SeriesInfo, ...]:
    """The one slide of a folder."""
    slide = open_stain_folder(path, series=0, z=0, t=0)
    channels, height, width = slide.levels[0].shape
    return (SeriesInfo(0, path.name, (channels, height, width), slide.pixel_size_um),)


def _stain_files(path: Path) -> list[Path]:
    try:
        files = sorted((file for file in path.iterdir() if file.is_file()), key=lambda file: file.name.casefold())
    except OSError as error:
        raise SlideError(f"{path.name} cannot be listed ({error.strerror}): ask for the permission.") from error
    visible = [file for file in files if not file.name.startswith(".")]
    stains = [file for file in visible if file.suffix.lower() in TIFF_SUFFIXES]
    others = [file.name for file in visible if file.suffix.lower() in _OTHER_IMAGES]
    if not 1 <= len(stains) <= _MOST_STAINS:
        raise SlideError(
            f"The folder {path.name} holds {len(stains)} TIFF files and is no OME-Zarr, expected one TIFF "
            "per stain (DAPI.tif, SpGreen.tif, SpOrange.tif): open the file inside it."
        )
    if others:
        warnings.warn(
            f"Of the folder {path.name} only the TIFF files are taken as stains, not {', '.join(others[:3])}"
            f"{' and others' if len(others) > 3 else ''}: move them elsewhere to be rid of this.",
            SlideWarning,
            stacklevel=2,
        )
    return stains


def _stain_name(file: Path) -> str:
    return slide_name(file)


def _one_channel(found: RawImage) -> tuple[PixelSource, ...]:
    channels = found.sources[0].shape[0]
    if channels == 1:
        return tuple(found.sources)
    if channels == 3 and found.names and tuple(found.names) == ("Red", "Green", "Blue"):
        return tuple(BrightestSample(source) for source in found.sources)
    raise SlideError(
        f"{found.path.name} has {channels} channels, expected a folder of TIFFs with one stain each: open "
        "the file itself."
    )


def _check_sizes(path: Path, files: Sequence[Path], stains: Sequence[Sequence[PixelSource]]) -> None:
    sizes = {stain[0].shape[1:]: file.name for file, stain in zip(files, stains, strict=True)}
    if len(sizes) > 1:
        told = ", ".join(f"{name} has {width} x {height} px" for (height, width), name in sizes.items())
        raise SlideError(f"The TIFFs in {path.name} differ in size ({told}), expected one size: export them alike.")

"""Folder of single-channel TIFFs, one per stain and named after it, such as DAPI.tif, SpGreen.tif, SpOrange.tif."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.errors import SlideError, reading_errors, warn
from napari_hrpn.slides.formats import FILE_SUFFIXES, STAIN_SUFFIXES, slide_name
from napari_hrpn.slides.formats.tiff import find_in_tiff
from napari_hrpn.slides.lazy_pixels import PixelSource, accepted_dtype
from napari_hrpn.slides.slide_builder import COLOURS, RawImage, SeriesInfo, assemble, choose_series
from napari_hrpn.slides.units import usable_pixel_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_hrpn.slides.slide import Slide

_OTHER_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".jp2", *FILE_SUFFIXES)
_MOST_STAINS = 64


def read_slide(path: Path, *, series: int | None, z: int | None, t: int | None) -> Slide:
    """Read a slide from a folder of single-stain TIFFs."""
    choose_series(path.name, 1, series, tuple)
    files = _stain_files(path)
    found = [find_in_tiff(file, series=None, z=z, t=t) for file in files]
    stains = [_one_channel(stain) for stain in found]
    _check_sizes(path, files, stains)
    dtype = np.result_type(*(accepted_dtype(stain[0].dtype, file) for stain, file in zip(stains, files, strict=True)))
    levels: list[PixelSource] = []
    for sources in zip(*stains, strict=False):
        if len({source.shape for source in sources}) > 1:
            break
        levels.append(_stacked(sources, dtype))
    stated_sizes = [stain.pixel_size_um for stain in found if stain.pixel_size_um is not None]
    sizes = [size for size in stated_sizes if usable_pixel_size(size)] or stated_sizes
    if len({(round(y, 6), round(x, 6)) for y, x in stated_sizes}) > 1:
        warn(f"The files in {path.name} have different pixel sizes and the first valid one is used: check it.")
    names, size = [slide_name(file) for file in files], sizes[0] if sizes else None
    return assemble(RawImage(path, tuple(levels), names, size, 0, found[0].z, found[0].t))


def _stacked(stains: Sequence[PixelSource], dtype: np.dtype) -> PixelSource:
    """Levels of several files, stacked as channels."""

    def read(channels: slice, rows: slice, columns: slice) -> np.ndarray:
        blocks = [stain.read(slice(0, 1), rows, columns) for stain in stains[channels]]
        return np.concatenate(blocks).astype(dtype, copy=False)

    first = stains[0]
    return PixelSource((len(stains), *first.shape[1:]), dtype, (1, *first.chunks[1:]), read)


def read_series(path: Path) -> tuple[SeriesInfo, ...]:
    """List the single slide of a folder."""
    slide = read_slide(path, series=0, z=0, t=0)
    channels, height, width = slide.levels[0].shape
    return (SeriesInfo(0, path.name, (channels, height, width), slide.pixel_size_um),)


def _stain_files(path: Path) -> list[Path]:
    with reading_errors(f"{path.name} cannot be listed"):
        files = sorted((file for file in path.iterdir() if file.is_file()), key=lambda file: file.name.casefold())
    visible = [file for file in files if not file.name.startswith(".")]
    stains = [file for file in visible if file.suffix.lower() in STAIN_SUFFIXES]
    others = [file.name for file in visible if file not in stains and file.suffix.lower() in _OTHER_IMAGES]
    if not 1 <= len(stains) <= _MOST_STAINS:
        raise SlideError(
            f"The folder {path.name} holds {len(stains)} TIFF files and is no OME-Zarr, expected one TIFF "
            "per stain (DAPI.tif, SpGreen.tif, SpOrange.tif): open the file inside it."
        )
    if others:
        warn(
            f"Of the folder {path.name} only the TIFF files are opened as stains, not {', '.join(others[:3])}"
            f"{' and others' if len(others) > 3 else ''}: move them elsewhere to avoid this warning."
        )
    return stains


def _one_channel(found: RawImage) -> tuple[PixelSource, ...]:
    channels = found.sources[0].shape[0]
    if channels == 1:
        return tuple(found.sources)
    if channels == 3 and tuple(found.names) == COLOURS:
        return tuple(source.brightest() for source in found.sources)
    raise SlideError(
        f"{found.path.name} has {channels} channels, expected a folder of TIFFs with one stain each: open "
        "the file itself."
    )


def _check_sizes(path: Path, files: Sequence[Path], stains: Sequence[Sequence[PixelSource]]) -> None:
    sizes = {stain[0].shape[1:]: file.name for file, stain in zip(files, stains, strict=True)}
    if len(sizes) > 1:
        listed = ", ".join(f"{name} has {width} x {height} px" for (height, width), name in sizes.items())
        raise SlideError(f"The TIFFs in {path.name} differ in size ({listed}), expected one size: export them alike.")

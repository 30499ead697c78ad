"""TIFF in all its dialects (OME, ImageJ, QPTIFF, NDPI, SVS, plain): its pages become channels."""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.assembly import COLOURS, Findings, assemble
from napari_hrpn.slides.brightfield import light_background, warn_of_brightfield
from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.lazy import BrightestSample, reason
from napari_hrpn.slides.ome_xml import ome_images
from napari_hrpn.slides.planes import SeriesInfo, choose_plane, choose_series
from napari_hrpn.slides.tiff_layout import Layout, layout_of, stored_levels
from napari_hrpn.slides.tiff_metadata import channel_names, pixel_size_um, stain_of_ndpi
from napari_hrpn.slides.tiff_structure import check_pages
from napari_hrpn.slides.units import usable_pixel_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tifffile import TiffFile, TiffPageSeries

    from napari_hrpn.slides.lazy import PixelSource
    from napari_hrpn.slides.slide import Slide

# the other series of these are thumbnails, labels and overviews
ONE_SLIDE_KINDS = ("svs", "ndpi", "qpi", "bif", "philips")
_REDUCED_OR_MASK = 0b101


def open_tiff(path: Path, *, series: int | None, z: int | None, t: int | None) -> Slide:
    """A slide from a TIFF.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    series : int or None
        Which of its images; None takes the largest, with a warning if there are several.
    z, t : int or None
        Which plane; None takes the middle of a stack and the first of a time series, with a warning.

    Returns
    -------
    Slide
        Lazy; the file is not held open.

    Raises
    ------
    SlideError
        If it cannot be opened honestly.
    """
    found = find_in_tiff(path, series=series, z=z, t=t)
    if found.is_brightfield:
        warn_of_brightfield(path.name)
    return assemble(found)


def find_in_tiff(path: Path, *, series: int | None, z: int | None, t: int | None) -> Findings:
    """The stored levels of a TIFF, with what it says about them.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    series : int or None
        Which of its images; None takes the largest, with a warning if there are several.
    z, t : int or None
        As in `open_tiff`.

    Returns
    -------
    Findings
        Not yet completed to a slide.

    Raises
    ------
    SlideError
        If it cannot be opened honestly.
    """
    with _opened(path) as tif:
        slides = _slides_in(tif)
        chosen = choose_series(path.name, len(slides), series, lambda: [*map(_sketch, count(), slides)])
        image = slides[chosen]
        layout = layout_of(image, path)
        _check_imagej(tif, layout, path)
        chosen_z = choose_plane(path.name, "z", layout.count("Z"), z)
        chosen_t = choose_plane(path.name, "t", layout.count("T"), t)
        sources = tuple(stored_levels(image, layout, (chosen_z or 0, chosen_t or 0), path))
        names = channel_names(tif, image, path.name)
        size = pixel_size_um(tif, image, path.name)
        is_colour = layout.samples == 3 and image.keyframe.photometric in (2, 6)
        stain = stain_of_ndpi(image) if is_colour else None
    _try_a_piece(sources[-1], path)
    is_brightfield = False
    if stain is not None:
        sources, names = tuple(BrightestSample(source) for source in sources), (stain,)
    elif is_colour:
        names = names if len(names) == sources[0].shape[0] else COLOURS
        is_brightfield = sources[0].shape[0] == 3 and light_background(sources[-1], path)
    return Findings(path, sources, names, size, chosen, chosen_z, chosen_t, is_brightfield=is_brightfield)


def series_of_tiff(path: Path) -> tuple[SeriesInfo, ...]:
    """The images of a TIFF.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    tuple of SeriesInfo
        In the order of the file.

    Raises
    ------
    SlideError
        If it cannot be read.
    """
    with _opened(path) as tif:
        return tuple(_describe(tif, image, index, path) for index, image in enumerate(_slides_in(tif)))


def _sketch(index: int, image: TiffPageSeries) -> SeriesInfo:
    """Name and size of an image, which need nothing to be understood."""
    page = image.keyframe
    return SeriesInfo(index, image.name or f"Image {index}", (1, page.imagelength, page.imagewidth), None)


def _describe(tif: TiffFile, image: TiffPageSeries, index: int, path: Path) -> SeriesInfo:
    layout = layout_of(image, path)
    page = image.keyframe
    return SeriesInfo(
        index=index,
        name=_sketch(index, image).name,
        shape=(1 if stain_of_ndpi(image) else layout.count("C") * layout.samples, page.imagelength, page.imagewidth),
        pixel_size_um=usable_pixel_size(pixel_size_um(tif, image, path.name)),
        z_planes=layout.count("Z"),
        timepoints=layout.count("T"),
    )


@contextmanager
def _opened(path: Path) -> Iterator[TiffFile]:
    """The file, parsed and checked, with the parser's own log kept from the user."""
    import tifffile

    check_pages(path)
    with _quiet_parser():
        try:
            with tifffile.TiffFile(path) as tif:
                _check_description(tif, path)
                yield tif
        except SlideError:
            raise
        except Exception as error:
            raise SlideError(f"{path.name} cannot be read as a TIFF ({reason(error)}).") from error


@contextmanager
def _quiet_parser() -> Iterator[None]:
    log = logging.getLogger("tifffile")

    def refuse(record: logging.LogRecord) -> bool:  # noqa: ARG001
        return False

    log.addFilter(refuse)
    try:
        yield
    finally:
        log.removeFilter(refuse)


def _check_description(tif: TiffFile, path: Path) -> None:
    """Refuse hostile OME-XML before the parser makes room for what it claims."""
    if len(tif.pages) and tif.is_ome and tif.ome_metadata:
        ome_images(tif.ome_metadata, path.name)


def _check_imagej(tif: TiffFile, layout: Layout, path: Path) -> None:
    """Refuse an ImageJ stack that was cut short, which the parser takes for a smaller one."""
    described = (tif.imagej_metadata or {}).get("images", 1)
    held = math.prod(layout.lengths)
    if isinstance(described, int) and described > held:
        raise SlideError(
            f"{path.name} holds {held} of the {described} images that ImageJ wrote, expected all of them: copy it "
            "again from where it came."
        )


def _slides_in(tif: TiffFile) -> list[TiffPageSeries]:
    series = list(tif.series)
    if not series:
        raise SlideError(f"{tif.filename} is a TIFF without an image, expected one: export it again.")
    if series[0].kind in ONE_SLIDE_KINDS:
        return series[:1]
    whole = [image for image in series if not image.keyframe.subfiletype & _REDUCED_OR_MASK]
    largest = max((_area(image) for image in whole), default=0)
    # smaller copies and masks of an image are none of their own
    return [image for image in series if image in whole or _area(image) > largest]


def _area(image: TiffPageSeries) -> int:
    return int(image.keyframe.imagelength * image.keyframe.imagewidth)


def _try_a_piece(source: PixelSource, path: Path) -> None:
    """Read one pixel, to learn at once that a compression is unknown or the pieces are garbage."""
    piece = math.prod(source.chunks) * np.dtype(source.dtype).itemsize
    if piece > 2**24:
        return
    try:
        source.read(slice(0, 1), slice(0, 1), slice(0, 1))
    except SlideError:
        raise
    except Exception as error:
        raise SlideError(f"{path.name} holds pixels that cannot be decoded ({reason(error)}).") from error

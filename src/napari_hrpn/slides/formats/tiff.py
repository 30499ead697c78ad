"""TIFF in all its dialects (OME, ImageJ, QPTIFF, NDPI, SVS, plain): its pages become channels."""

from __future__ import annotations

import logging
import math
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import count
from operator import index
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.errors import SlideError, reading_errors, warn
from napari_hrpn.slides.formats.ome_xml import ome_xml_of
from napari_hrpn.slides.formats.tiff_metadata import metadata_of, stain_of_ndpi
from napari_hrpn.slides.formats.tiff_pixels import Layout, layout_of, stored_levels
from napari_hrpn.slides.formats.tiff_validation import check_mixture, check_pages
from napari_hrpn.slides.lazy_pixels import brightest_sample
from napari_hrpn.slides.slide_builder import (
    COLOURS,
    RawImage,
    SeriesInfo,
    assemble,
    choose_plane,
    choose_series,
    light_background,
)
from napari_hrpn.slides.units import usable_pixel_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tifffile import TiffFile, TiffPageSeries

    from napari_hrpn.slides.lazy_pixels import PixelSource
    from napari_hrpn.slides.slide import Slide

_DIALECTS = (
    *("shaped", "lsm", "mmstack", "ome", "imagej", "ndtiff", "fluoview", "stk", "sis", "svs", "scn", "qpi", "bif"),
    *("avs", "eer", "philips", "scanimage", "nih", "mdgel", "micromanager", "metaseries"),
)
# the other series of these are thumbnails, labels and overviews
_ONE_SLIDE_KINDS = ("svs", "ndpi", "qpi", "bif", "philips")
_REDUCED_OR_MASK = 0b101
_ZERO_IS_WHITE = 0
_COLOUR = (2, 6)  # red, green, blue; brightness and two of colour
_LARGEST_TRIED_BYTES = 2**24


def read_slide(path: Path, *, series: int | None, z: int | None, t: int | None) -> Slide:
    """A slide from a TIFF."""
    return assemble(find_in_tiff(path, series=series, z=z, t=t))


def find_in_tiff(path: Path, *, series: int | None, z: int | None, t: int | None) -> RawImage:
    """The stored levels of a TIFF, with what it says about them."""
    with _opened(path) as tif:
        slides = _slides_in(tif)
        chosen = choose_series(path.name, len(slides), series, lambda: [*map(_sketch, count(), slides)])
        image = slides[chosen]
        layout = layout_of(image, path)
        _check_described_planes(tif, image, layout, path)
        chosen_z = choose_plane(path.name, "z", layout.count("Z"), z)
        chosen_t = choose_plane(path.name, "t", layout.count("T"), t)
        plane, is_rgb = (chosen_z or 0, chosen_t or 0), image.keyframe.photometric in _COLOUR
        sources = stored_levels(image, layout, plane, path)
        if layout.samples == 4 and is_rgb and light_background(sources[-1], path):
            layout = replace(layout, samples=3, alpha=layout.alpha + 1)
            sources = stored_levels(image, layout, plane, path)
        _warn_of_samples(layout, image, path)
        said = metadata_of(tif, image, sources[0].shape[0], path.name)
        is_colour = layout.samples == 3 and is_rgb
        stain = stain_of_ndpi(image) if is_colour else None
    for sentence in said.unread:
        warn(sentence)
    _try_a_piece(sources[-1], path)
    names, is_brightfield = said.names, False
    if stain is not None:
        sources, names = tuple(brightest_sample(source) for source in sources), (stain,)
    elif is_colour:
        names = names if len(names) == sources[0].shape[0] else COLOURS
        is_brightfield = sources[0].shape[0] == 3 and light_background(sources[-1], path)
    return RawImage(path, sources, names, said.pixel_size_um, chosen, chosen_z, chosen_t, is_brightfield=is_brightfield)


def read_series(path: Path) -> tuple[SeriesInfo, ...]:
    """The images of a TIFF."""
    with _opened(path) as tif:
        return tuple(_describe(tif, image, number, path) for number, image in enumerate(_slides_in(tif)))


def _sketch(number: int, image: TiffPageSeries) -> SeriesInfo:
    """Name and size of an image, which need nothing to be understood."""
    page = image.keyframe
    return SeriesInfo(number, image.name or f"Image {number}", (1, page.imagelength, page.imagewidth), None)


def _describe(tif: TiffFile, image: TiffPageSeries, number: int, path: Path) -> SeriesInfo:
    layout, sketch = layout_of(image, path), _sketch(number, image)
    channels = 1 if stain_of_ndpi(image) else layout.count("C") * layout.samples
    return replace(
        sketch,
        shape=(channels, *sketch.shape[1:]),
        pixel_size_um=usable_pixel_size(metadata_of(tif, image, channels, path.name).pixel_size_um),
        z_planes=layout.count("Z"),
        timepoints=layout.count("T"),
    )


@contextmanager
def _opened(path: Path) -> Iterator[TiffFile]:
    """The file, parsed and checked, with the parser's own log kept from the user."""
    import tifffile

    check_pages(path)
    with _quiet_parser(), reading_errors(f"{path.name} cannot be read as a TIFF"), ExitStack() as stack:
        tif = stack.enter_context(tifffile.TiffFile(path))
        check_mixture(tif, path)
        text = ome_xml_of(tif, path)
        if text is not None and text != tif.ome_metadata:
            tif = stack.enter_context(tifffile.TiffFile(path, omexml=text))
        if not _makes_sense(tif, path):
            tif = stack.enter_context(tifffile.TiffFile(path, **{f"is_{name}": False for name in _DIALECTS}))
        yield tif


def _makes_sense(tif: TiffFile, path: Path) -> bool:
    """Whether the parser understands what the descriptions say; a warning says where it does not."""
    try:
        for image in tif.series:
            tuple(map(index, image.get_shape(False)))
    except (ValueError, TypeError, KeyError, AttributeError):
        if tif.is_ndpi:
            raise
        warn(
            f"{path.name} describes its image in a way that is not understood: its pages are taken as they lie, check "
            "the channels."
        )
        return False
    return True


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


def _slides_in(tif: TiffFile) -> list[TiffPageSeries]:
    series = list(tif.series)
    if not series:
        raise SlideError(f"{tif.filename} is a TIFF without an image, expected one: export it again.")
    if series[0].kind in _ONE_SLIDE_KINDS:
        return series[:1]
    whole = [image for image in series if not image.keyframe.subfiletype & _REDUCED_OR_MASK]
    largest = max((_area(image) for image in whole), default=0)
    # smaller copies and masks of an image are none of their own
    return [image for image in series if image in whole or _area(image) > largest]


def _area(image: TiffPageSeries) -> int:
    return int(image.keyframe.imagelength * image.keyframe.imagewidth)


def _check_described_planes(tif: TiffFile, image: TiffPageSeries, layout: Layout, path: Path) -> None:
    """Refuse an ImageJ stack that was cut short, which the parser takes for a smaller one; warn of uncounted planes."""
    written = (tif.imagej_metadata or {}).get("images", 1)
    described, held = math.prod(layout.lengths), len(tif.pages)
    if isinstance(written, int) and written > max(described, held):
        raise SlideError(
            f"{path.name} holds {max(described, held)} of the {written} images that ImageJ wrote, expected all of "
            "them: copy it again from where it came."
        )
    if image.kind not in ("ome", "imagej") or len(tif.series) > 1 or image.is_multifile or held <= described:
        return
    beyond, page = tif.pages[described].aspage(), image.keyframe
    if (beyond.shape, beyond.subfiletype) == (page.shape, page.subfiletype):
        warn(
            f"{path.name} holds {held} planes, of which its description counts {described} and no more are opened: "
            "check that none is missing."
        )


def _warn_of_samples(layout: Layout, image: TiffPageSeries, path: Path) -> None:
    if image.keyframe.photometric == _ZERO_IS_WHITE:
        warn(
            f"{path.name} says that 0 is white, so what is bright has low values, which are opened as stored: invert "
            "them in the program that wrote it."
        )
    if layout.alpha:
        warn(
            f"{path.name} has {layout.alpha + layout.samples} samples in a pixel, of which the last "
            f"{'is' if layout.alpha == 1 else f'{layout.alpha} are'} left out as transparency: export a stain as a "
            "channel of its own."
        )


def _try_a_piece(source: PixelSource, path: Path) -> None:
    """Read one pixel, to learn at once that a compression is unknown or the pieces are garbage."""
    if math.prod(source.chunks) * np.dtype(source.dtype).itemsize <= _LARGEST_TRIED_BYTES:
        with reading_errors(f"{path.name} holds pixels that cannot be decoded"):
            source.read(slice(0, 1), slice(0, 1), slice(0, 1))

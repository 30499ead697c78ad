"""Slides of 3DHISTECH (MRXS), Olympus (VSI) and Philips (iSyntax), read by fastslide (optional extra `scanners`).

The rule: what the library writes to standard error about tiles is an error here, because it fills in the background
where it cannot read a tile. It decodes in one thread, because where photographs overlap the last one decoded wins.
"""

from __future__ import annotations

import importlib.util
import os
import re
import tempfile
import threading
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.slides.errors import SlideError, warn
from napari_hrpn.slides.lazy_pixels import PixelSource
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
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fastslide import FastSlide, Image, SlideImageView

    from napari_hrpn.slides.slide import Slide

_FOLDERS = {".mrxs": "{}", ".vsi": "_{}_"}  # names of the folders beside the files that have the pixels
_CHUNK = 512
_CACHE_BYTES = 64 * 2**20
_KEPT_OPEN = 4
_BIT_DEPTHS = (8, 16)
_UNREAD_TILE = re.compile(r"Failed to (?:read|write|decode).*|Tile at .* failed.*")
_NOT_SHOWN = re.compile(r"skipped \d+ .*tile")
_LONGEST_REASON = 160
_IN_USE = threading.Lock()
# smallest and largest values with which the library neither hangs nor ends the program
_RANGES = {
    "CameraImageDivisionsPerSide": (1, 64),
    "IMAGENUMBER_X": (1, 100_000),
    "IMAGENUMBER_Y": (1, 100_000),
    "DIGITIZER_WIDTH": (1, 65_536),
    "DIGITIZER_HEIGHT": (1, 65_536),
    "OVERLAP_X": (-65_536, 65_536),
    "OVERLAP_Y": (-65_536, 65_536),
}
_VALUE = re.compile(rf"^\s*({'|'.join(_RANGES)})\s*=\s*(\S*)", re.MULTILINE)
_LONGEST_INDEX = 16 << 20


def read_slide(path: Path, *, series: int | None, z: int | None, t: int | None) -> Slide:
    """Read a slide of a scanner."""
    slide, said = _opened(path, path.stat().st_mtime_ns)
    images = list(slide.images)
    chosen = choose_series(path.name, len(images), series, lambda: _described(images))
    image = images[chosen]
    chosen_z = choose_plane(path.name, "z", image.z_count, z)
    chosen_t = choose_plane(path.name, "t", image.t_count, t)
    if _NOT_SHOWN.search(said):
        warn(f"{path.name} has planes that the reader does not know, which are left out: export them as OME-TIFF.")
    plane = chosen_z or 0, chosen_t or 0
    pixel = _read(path, image, image.level_count - 1, (0, 0, 1, 1), *plane)
    sources = tuple(
        _level(path, (chosen, level, *plane), size, _channels_first(pixel))
        for level, size in enumerate(image.level_dimensions)
    )
    is_colour = pixel.format.name in ("RGB", "RGBA")
    names = COLOURS if is_colour else _names(image)
    is_brightfield = is_colour and light_background(sources[-1], path)
    size = _pixel_size(image)
    return assemble(RawImage(path, sources, names, size, chosen, chosen_z, chosen_t, is_brightfield=is_brightfield))


def read_series(path: Path) -> tuple[SeriesInfo, ...]:
    """List the images of a slide of a scanner."""
    slide, _ = _opened(path, path.stat().st_mtime_ns)
    return _described(list(slide.images))


def _described(images: Sequence[SlideImageView]) -> tuple[SeriesInfo, ...]:
    return tuple(
        SeriesInfo(
            index,
            image.name,
            (image.num_channels, *image.dimensions[::-1]),
            usable_pixel_size(_pixel_size(image)),
            image.z_count,
            image.t_count,
        )
        for index, image in enumerate(images)
    )


@lru_cache(maxsize=_KEPT_OPEN)
def _opened(path: Path, _changed: int) -> tuple[FastSlide, str]:
    """A file, kept open because its index is read at the beginning; and what the library said of it."""
    if importlib.util.find_spec("fastslide") is None:
        raise SlideError(
            f"{path.name} is a slide of a scanner, which needs one more package: run `pip install "
            '"napari-hrpn[scanners]"`.'
        )
    folder = _FOLDERS.get(path.suffix.lower(), "").format(path.stem)
    if not path.with_name(folder or path.name).exists():
        raise SlideError(
            f"{path.name} has no pixels in itself, expected them in a folder {folder} beside it: copy that folder too."
        )
    _check_index(path.parent / folder / "Slidedat.ini")
    # the library reads this when it makes its threads
    os.environ["NUM_THREADS"] = "1"
    from fastslide import FastSlide

    with _listening(path) as said:
        slide = FastSlide.from_file_path(path, cache=_CACHE_BYTES)
    bits = slide.properties.get("bit_depth", _BIT_DEPTHS[0])
    if bits not in _BIT_DEPTHS:
        raise SlideError(
            f"{path.name} states a depth of {bits} bits, expected 8 or 16: export it as OME-TIFF from the scanner's "
            "program."
        )
    return slide, "".join(said)


def _level(path: Path, position: tuple[int, int, int, int], size: tuple[int, int], pixel: np.ndarray) -> PixelSource:
    """A level, at an image, level, plane and time point, with so many columns and rows."""
    (series, level, *plane), (width, height), count = position, size, len(pixel)

    def read(channels: slice, rows: slice, columns: slice) -> np.ndarray:
        slide, _ = _opened(path, path.stat().st_mtime_ns)
        box = columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start
        return _channels_first(_read(path, slide.images[series], level, box, *plane))[channels]

    return PixelSource((count, height, width), pixel.dtype, (count, _CHUNK, _CHUNK), read)


def _read(path: Path, image: SlideImageView, level: int, box: tuple[int, int, int, int], z: int, t: int) -> Image:
    """Pixels from a column and row on, so many columns and rows."""
    with _listening(path):
        return image.read_region(box[:2], level, box[2:], z, t)


def _channels_first(image: Image) -> np.ndarray:
    """Pixels of shape (c, y, x), without transparency."""
    pixels = np.array(image.numpy())
    if image.is_interleaved:
        pixels = np.moveaxis(pixels.reshape(image.height, image.width, image.channels), -1, 0)
    return pixels[:3] if image.format.name == "RGBA" else pixels


def _names(image: SlideImageView) -> list[str]:
    """Names of the channels; none where they are not in the encoding that the library expects."""
    try:
        return [str(channel.get("name", "")) for channel in image.channel_metadata]
    except UnicodeDecodeError:
        return [""] * image.num_channels


def _check_index(path: Path) -> None:
    """Refuse an MRXS with numbers for which the library would hang or end the program."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        text = file.read(_LONGEST_INDEX).decode("latin-1")
    for key, value in _VALUE.findall(text):
        low, high = _RANGES[key]
        try:
            is_usable = low <= float(value) <= high
        except ValueError:
            is_usable = False
        if not is_usable:
            raise SlideError(
                f"{path.parent.name}/{path.name} has {key} {value[:_LONGEST_REASON]!r}, expected {low:,} to {high:,}: "
                "the file is damaged, copy it again from its source."
            )


def _pixel_size(image: SlideImageView) -> tuple[float, float] | None:
    x, y = image.mpp
    return (y, x) if x and y else None


@contextmanager
def _listening(path: Path) -> Iterator[list[str]]:
    """What the library writes to standard error; its errors, also those that it only writes, are errors of one line."""
    said: list[str] = []
    with _IN_USE, tempfile.TemporaryFile() as file:
        try:
            with _standard_error(file.fileno()):
                yield said
        except Exception as error:
            # more lines say where in the library
            raise _unreadable(path, str(error).partition("\n")[0].rpartition("': ")[2]) from error
        file.seek(0)
        said.append(file.read().decode("utf-8", "replace"))
    if unread := _UNREAD_TILE.search(said[0]):
        raise _unreadable(path, unread.group())
    if said[0] and not _NOT_SHOWN.search(said[0]):
        # what other threads wrote meanwhile
        with suppress(OSError):
            os.write(2, said[0].encode())


def _unreadable(path: Path, reason: str) -> SlideError:
    return SlideError(
        f"{path.name} cannot be read ({reason[:_LONGEST_REASON]}): its files may be damaged or some missing, copy all "
        "of them again from their source."
    )


@contextmanager
def _standard_error(target: int) -> Iterator[None]:
    """Standard error of the process goes to an open file."""
    try:
        kept = os.dup(2)
    except OSError:  # a program in a window on Windows has none
        kept = None
    os.dup2(target, 2)
    try:
        yield
    finally:
        if kept is None:
            os.close(2)
        else:
            os.dup2(kept, 2)
            os.close(kept)

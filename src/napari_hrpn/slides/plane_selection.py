"""One plane out of a stack: which one is taken when nobody says, and what the user is told."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_hrpn.slides.errors import SlideError, SlideWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# what formats call the pictures that they store beside the slide
_PICTURE_BESIDE = re.compile(r"\b(thumbnail|label|macro|map|preview|overview|barcode)\b", re.IGNORECASE)


@dataclass(frozen=True)
class SeriesInfo:
    """One of the images of a file.

    Attributes
    ----------
    index : int
        What to give `open_slide` as `series`.
    name : str
        What the file calls it.
    shape : tuple of int
        Channels, height, width.
    pixel_size_um : tuple of float or None
        Height and width of a pixel in µm.
    z_planes : int
        Planes of its stack.
    timepoints : int
        Images of its time series.
    """

    index: int
    name: str
    shape: tuple[int, int, int]
    pixel_size_um: tuple[float, float] | None
    z_planes: int = 1
    timepoints: int = 1


def choose_plane(source: str, axis: str, count: int, asked: int | None) -> int | None:
    """Index of the plane to take along z or t."""
    if not count:
        raise SlideError(f"{source} has 0 images, expected at least one: export it again.")
    if asked is not None and not 0 <= asked < count:
        raise SlideError(
            f"{source} has {count} {_planes(axis, count)}, expected {axis} from 0 to {count - 1} but got {asked}."
        )
    if count == 1:
        return None
    if asked is not None:
        return asked
    taken = count // 2 if axis == "z" else 0
    warnings.warn(
        f"{source} has {count} {_planes(axis, count)} and {axis}={taken} is taken: give {axis} from 0 to "
        f"{count - 1} for another.",
        SlideWarning,
        stacklevel=2,
    )
    return taken


def _planes(axis: str, count: int) -> str:
    noun = "plane" if axis == "z" else "time point"
    return noun if count == 1 else noun + "s"


def choose_series(source: str, count: int, asked: int | None, images: Callable[[], Sequence[SeriesInfo]]) -> int:
    """Which of the images of a file to take."""
    if not count:
        raise SlideError(f"{source} has 0 images, expected at least one: export it again.")
    if asked is not None and not 0 <= asked < count:
        raise SlideError(
            f"{source} has {count} image{'s' if count != 1 else ''}, expected series from 0 to {count - 1} "
            f"but got {asked}."
        )
    if asked is not None or count == 1:
        return asked or 0
    found = images()
    slides = [image for image in found if not _PICTURE_BESIDE.search(image.name)] or found
    taken = max(slides, key=lambda image: image.shape[1] * image.shape[2])
    warnings.warn(
        f"{source} has {count} images and image {taken.index} ({taken.shape[2]} x {taken.shape[1]} px) is taken: "
        f"give series from 0 to {count - 1} for another.",
        SlideWarning,
        stacklevel=2,
    )
    return taken.index

"""Whole-slide image with lazy pixels, channel names and pixel size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.units import expected_pixel_size, usable_pixel_size

if TYPE_CHECKING:
    from collections.abc import Callable

    import dask.array as da
    import numpy as np

    from napari_hrpn.slides.location import Location
    from napari_hrpn.slides.predictions import FinishedTiles


@dataclass(frozen=True, eq=False)
class Slide:
    """A two-dimensional multichannel image as a pyramid of lazy arrays.

    Attributes
    ----------
    levels : tuple of dask.array.Array
        Pyramid levels of shape (c, y, x), finest first. Nothing is read until it is computed.
    channel_names : tuple of str
        One name per channel, in the order of the first axis.
    pixel_size_um : tuple of float or None
        Height and width of a full-resolution pixel in µm; None if the file states none.
    source : pathlib.Path or UPath
        File or folder of the slide, or its address in object storage.
    series : int
        Index of the image in a file with several.
    z, t : int or None
        Index of the plane in a stack or time series; None if the file has only one. `z` is "max" for the maximum over
        all planes.
    stored_levels : int
        Number of `levels` that are in the file; the others are computed from the level before when they are read.
    is_brightfield : bool
        Whether the channels are the red, green and blue of a colour photograph.
    pixel_size_is_given : bool
        Whether a user stated the pixel size, and not the file.
    read_finished : callable or None
        Function that reads the finished tiles of a prediction that was not complete when it was opened; else None.
    """

    levels: tuple[da.Array, ...]
    channel_names: tuple[str, ...]
    pixel_size_um: tuple[float, float] | None
    source: Location
    series: int = 0
    z: int | str | None = None
    t: int | None = None
    stored_levels: int = 1
    is_brightfield: bool = False
    pixel_size_is_given: bool = False
    read_finished: Callable[[], FinishedTiles | None] | None = None

    @property
    def finished(self) -> FinishedTiles | None:
        """Tiles of an unfinished prediction that are on disk at this moment; None if all pixels are."""
        return None if self.read_finished is None else self.read_finished()

    def cut(self, rows: slice, columns: slice) -> Slide:
        """A part of the slide, at full resolution only.

        Parameters
        ----------
        rows, columns : slice
            Rows and columns, each with a start and a stop.

        Returns
        -------
        Slide
            Slide of one level; its finished tiles are those of this moment.
        """
        finished, finest = self.finished, self.levels[0][:, rows, columns]
        part = None if finished is None else finished.cut(rows, columns)
        return replace(self, levels=(finest,), stored_levels=1, read_finished=None if part is None else lambda: part)

    @property
    def dtype(self) -> np.dtype:
        """Pixel type."""
        dtype: np.dtype = self.levels[0].dtype
        return dtype

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the finest level in pixels."""
        _, height, width = self.levels[0].shape
        return height, width

    def downsample(self, level: int) -> tuple[float, float]:
        """Full-resolution pixels per pixel of a level, along y and x."""
        height, width = self.levels[level].shape[1:]
        return self.shape[0] / height, self.shape[1] / width

    def level_for(self, pixel_size_um: float, assumed_um: float = 0.3) -> int:
        """Coarsest level whose pixels are no larger than a size in µm.

        Parameters
        ----------
        pixel_size_um : float
            Largest pixel size in µm.
        assumed_um : float
            Full-resolution pixel size of a slide that has none.

        Returns
        -------
        int
            Index into `levels`; 0 if even the finest is coarser.
        """
        finest = max(self.pixel_size_um or (assumed_um, assumed_um))
        fits = [i for i in range(len(self.levels)) if finest * max(self.downsample(i)) <= pixel_size_um * 1.01]
        return max(fits, default=0)

    def with_pixel_size(self, um: float | tuple[float, float]) -> Slide:
        """The same slide with a pixel size that the user states, instead of that of its file.

        Parameters
        ----------
        um : float or tuple of float
            Height and width of a full-resolution pixel in µm, or one number for both.

        Returns
        -------
        Slide
            A copy, with `pixel_size_is_given` if the size differs from that of the file.

        Raises
        ------
        SlideError
            If a microscope cannot have this pixel size.
        """
        height, width = um if isinstance(um, tuple) else (um, um)
        size = usable_pixel_size((height, width))
        if size is None:
            raise SlideError(
                f"A pixel size of {width:.4g} x {height:.4g} µm was given for {self.source.name}, expected "
                f"{expected_pixel_size()}: give the size of a pixel in µm."
            )
        return self if size == self.pixel_size_um else replace(self, pixel_size_um=size, pixel_size_is_given=True)

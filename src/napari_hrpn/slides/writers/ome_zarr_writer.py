"""A slide as OME-Zarr 0.5, in memory that does not grow with it; metadata come last, so no part opens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da

from napari_hrpn.slides.contrast import contrast_limits
from napari_hrpn.slides.errors import SlideError
from napari_hrpn.slides.location import local_path, user_path
from napari_hrpn.slides.metadata import channel_colors, multiscales_metadata
from napari_hrpn.slides.units import expected_pixel_size, usable_pixel_size
from napari_hrpn.slides.writers.output_path import partial_output
from napari_hrpn.slides.writers.pyramid_blocks import WriteReport, block_grid, copy_block, create_levels, level_shapes

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import zarr

    from napari_hrpn.slides.slide import Slide


def write_ome_zarr(slide: Slide, path: str | Path, *, overwrite: bool = False) -> Generator[WriteReport, None, Path]:
    """Write a slide with a pyramid of its own as an OME-Zarr 0.5 group.

    Only the finest level of the slide is read; the coarser ones are halved from it down to 512 px, whatever
    the slide has stored. Closing the generator early leaves nothing behind.

    Parameters
    ----------
    slide : Slide
        What to write.
    path : str or pathlib.Path
        The new folder, by custom named ``NAME.ome.zarr``.
    overwrite : bool
        Whether an OME-Zarr of that name may be replaced.

    Yields
    ------
    WriteReport
        After each block.

    Returns
    -------
    pathlib.Path
        The folder written.

    Raises
    ------
    SlideError
        Where the output exists, lies on the input, or cannot be written, or the slide cannot be read.
    """
    import zarr

    path = user_path(local_path(path))
    with partial_output(path, slide.source, overwrite=overwrite) as folder:
        levels = create_levels(folder, level_shapes(slide.levels[0].shape), slide.dtype)
        yield from copy_pyramid(slide, levels)
        group = zarr.open_group(folder, mode="r+")
        group.attrs["ome"] = _attributes(slide, levels, path.name.removesuffix(".zarr").removesuffix(".ome"))
    return path


def copy_pyramid(slide: Slide, levels: Sequence[zarr.Array[Any]]) -> Generator[WriteReport, None, None]:
    """Fill the levels of a new pyramid from the finest level of a slide."""
    size = slide.pixel_size_um
    if size is not None and usable_pixel_size(size) is None:
        raise SlideError(
            f"{slide.source.name} has pixels of {size[0]:g} x {size[1]:g} µm, expected {expected_pixel_size()}: give "
            "the right size, or None."
        )
    source = slide.levels[0]
    grid = block_grid(source)
    for index in range(len(grid)):
        copy_block(source, levels, grid.box(index), coarser_only=False)
        yield WriteReport(index + 1, len(grid))


def _attributes(slide: Slide, levels: Sequence[zarr.Array[Any]], name: str) -> dict[str, Any]:
    written = tuple(da.from_array(level, chunks=level.chunks, name=False) for level in levels)
    return multiscales_metadata(
        name,
        [level.shape for level in levels],
        slide.channel_names,
        slide.pixel_size_um,
        channel_colors(slide.channel_names, is_brightfield=slide.is_brightfield),
        contrast_limits(replace(slide, levels=written, stored_levels=len(written))),
        dtype=slide.dtype,
    )

"""What is cut from one slide, and how it is read: blocks of whole chunks, each once, so that memory stays constant."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.core import rounded_up
from napari_hrpn.slides import slide_identity
from napari_hrpn.training.cached_patches import CHOSEN, FORMAT, NOT_YET, PATCHES, patches_header, read_cells
from napari_hrpn.training.errors import TrainingError
from napari_hrpn.training.patch_grid import cell_px, patches_in, selected_cells

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_hrpn.training.entries import TrainingSlide
    from napari_hrpn.training.settings import TrainingSettings

_BLOCK_PX = 2048


@dataclass(frozen=True, eq=False)
class SlideCut:
    """What is to be cut from one slide, and the folder it goes to."""

    slide: TrainingSlide
    cells: NDArray[np.void]  # Records as of `selected_cells`
    cell_px: int  # Side of a cell
    folder: Path  # Named by all that decides the pixels

    @classmethod
    def of(cls, slide: TrainingSlide, settings: TrainingSettings, folder: Path) -> SlideCut:
        """Choose the cells of a slide, for a cache in `folder`."""
        cells, side = selected_cells(slide, settings), cell_px(settings)
        facts = (FORMAT, slide_identity(slide.slide), slide.inputs, slide.target, side, slide.slide.shape)
        key = hashlib.sha256(repr(facts).encode() + cells.tobytes()).hexdigest()[:16]
        return cls(slide, cells, side, folder / key)

    @property
    def name(self) -> str:
        """Name of the slide's file."""
        return self.slide.entry.path.name

    @property
    def channels(self) -> tuple[int, ...]:
        """Inputs and, last, the target."""
        return (*self.slide.inputs, self.slide.target)

    @property
    def patch_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns."""
        return len(self.channels), self.cell_px, self.cell_px

    @property
    def patch_bytes(self) -> int:
        """Size of a patch on disk."""
        return int(np.prod(self.patch_shape)) * self.slide.slide.dtype.itemsize

    @cached_property
    def header(self) -> bytes:
        """Beginning of the file, as if no cell were blank."""
        return patches_header((len(self.cells), *self.patch_shape), self.slide.slide.dtype)

    def check(self, settings: TrainingSettings) -> None:
        """Refuse a slide that gives no patch."""
        if patches_in(self.cells, self.slide, settings):
            return
        where = []
        if self.slide.regions is not None:
            where.append(f"{settings.minimum_overlap:.0%} of it in the annotated regions")
        if settings.minimum_tissue > 0:
            where.append(f"{settings.minimum_tissue:.0%} of it tissue")
        msg = (
            f"{self.name} has no patch of {settings.patch_px} px with {' and '.join(where)}; take larger regions, "
            "smaller patches or a lower minimum."
        )
        raise TrainingError(msg)

    def begun(self) -> NDArray[np.void]:
        """Cells as an earlier run left them; none looked at where it left nothing that can be gone on with."""
        fresh = np.zeros(len(self.cells), CHOSEN)
        for field in self.cells.dtype.names or ():
            fresh[field] = self.cells[field]
        fresh["patch"] = NOT_YET
        found = read_cells(self.folder)
        path = self.folder / PATCHES
        if found is None or len(found) != len(fresh) or not path.is_file():
            return fresh
        needed = len(self.header) + np.count_nonzero(found["patch"] >= 0) * self.patch_bytes
        return found if path.stat().st_size >= needed else fresh

    def blocks(self) -> list[NDArray[np.intp]]:
        """Cells that are read together, by their numbers, in the order of the slide's own chunks."""
        chunks = self.slide.slide.levels[0].chunks[1:]
        height, width = (rounded_up(max(_BLOCK_PX, *sizes), self.cell_px) for sizes in chunks)
        row, column = self.cells["y0"] // height, self.cells["x0"] // width
        block = row * (self.slide.slide.shape[1] // width + 1) + column
        return [np.flatnonzero(block == number) for number in np.unique(block)]

    def read(self, cells: NDArray[np.void]) -> Iterator[NDArray[np.generic] | None]:
        """Patches of neighbouring cells, read at once; None for one whose inputs are all zero."""
        top, left = int(cells["y0"].min()), int(cells["x0"].min())
        bottom, right = int((cells["y0"] + cells["height"]).max()), int((cells["x0"] + cells["width"]).max())
        wanted = sorted(set(self.channels))
        block = self.slide.slide.levels[0][:, top:bottom, left:right][wanted].compute(scheduler="threads")
        order = [wanted.index(channel) for channel in self.channels]
        for _, _, y0, x0, height, width in cells[list(self.cells.dtype.names or ())].tolist():
            patch = np.zeros(self.patch_shape, block.dtype)
            for channel, source in enumerate(order):
                patch[channel, :height, :width] = block[source, y0 - top : y0 - top + height, x0 - left :][:, :width]
            yield patch if patch[:-1].any() else None

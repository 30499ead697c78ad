"""Every choice of a prediction, and the only home of its defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from napari_hrpn.inference.errors import PredictionError
from napari_hrpn.slides.finished_tiles import SQUARE_PX

if TYPE_CHECKING:
    from napari_hrpn.core import Box

CELL_PX = SQUARE_PX
"""Side of the squares in which a prediction is stored; cores are multiples of it."""


@dataclass(frozen=True)
class PredictionSettings:
    """How a slide is predicted.

    Attributes
    ----------
    halo : int or None
        Pixels around a tile's core that the network only looks at. None: its measured receptive field, with which
        tiles equal the whole.
    core : int or None
        Side of a tile's core in pixels, a multiple of 512. None: as large as the memory allows.
    largest_core : int or None
        Where `core` is None: no core is larger, a multiple of 512 px. None: 1,024 px on a CPU and 4,096 px elsewhere
        for somebody who waits for the first tile, else 4,096 and 8,192 px. A prediction that is gone on with keeps its
        core.
    memory_gb : float or None
        Memory that one tile may take. None: a quarter of what is free, 4 GB at most on a CPU.
    padding : {"reflect", "zero"}
        What the network sees beyond the slide's border: the slide mirrored, or grey level zero.
    precision : {"fp32", "bf16", "fp16"}
        Arithmetic inside the network; the last layer is always fp32. Half precision errs by 0.2 % of the range on
        average, up to 10 % at single pixels.
    device : str
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    skip_blank : bool
        Fill what holds no tissue with the network's answer to the slide's background, rather than run it there.
    resample : bool
        Show the slide to the network at the pixel size that it was trained on; the result has the slide's own.
    output : {"float32", "probe"}
        Type of the predicted pixels: as they come, or rounded and clipped to the pixel type trained on.
    region : Box or None
        Predict only the tiles that meet this box of full-resolution pixels.
    """

    halo: int | None = None
    core: int | None = None
    largest_core: int | None = None
    memory_gb: float | None = None
    padding: Literal["reflect", "zero"] = "reflect"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    device: str = "auto"
    skip_blank: bool = True
    resample: bool = False
    output: Literal["float32", "probe"] = "float32"
    region: Box | None = None

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                msg = f"{name} is {getattr(self, name)!r}; expected one of {', '.join(allowed)}."
                raise PredictionError(msg)
        for name in ("core", "largest_core"):
            side = getattr(self, name)
            if side is not None and (side < CELL_PX or side % CELL_PX):
                what = name.replace("_", " ")
                msg = f"{what} is {side} px; expected a multiple of {CELL_PX} px, the edge of a stored chunk."
                raise PredictionError(msg)
        if self.halo is not None and self.halo < 0:
            msg = f"halo is {self.halo} px; expected 0 or more."
            raise PredictionError(msg)
        if self.memory_gb is not None and not self.memory_gb > 0:
            msg = f"memory is {self.memory_gb} GB; expected more than 0."
            raise PredictionError(msg)


_CHOICES = {
    "padding": ("reflect", "zero"),
    "precision": ("fp32", "bf16", "fp16"),
    "output": ("float32", "probe"),
}

"""Settings of a prediction: tiles, padding, precision, device and pixel type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from napari_hrpn.core import Box
from napari_hrpn.core.errors import PredictionError
from napari_hrpn.core.options import Option, check_options

CELL_PX = 512
"""Side of the chunks in which a prediction is stored; cores are multiples of it, so that no chunk has two writers."""


@dataclass(frozen=True)
class PredictionSettings:
    """How a slide is predicted.

    Attributes
    ----------
    region : Box or None
        Predict only the tiles that meet this box of full-resolution pixels.
    """

    halo: Annotated[
        int | None,
        Option(
            title="Halo",
            help="Pixels around a tile that the network sees as well. If not given, its measured receptive field, with "
            "which tiles fit together exactly.",
            minimum=0,
            step=32,
            unit="px",
            flag="--halo",
            metavar="PX",
        ),
    ] = None
    core: Annotated[
        int | None,
        Option(
            title="Tile",
            help="Side of a tile, a multiple of 512. Larger tiles take less time per pixel and more memory. If not "
            "given, as large as the memory allows.",
            minimum=CELL_PX,
            multiple=CELL_PX,
            unit="px",
            flag="--core",
            metavar="PX",
        ),
    ] = None
    largest_core: Annotated[
        int | None,
        Option(
            title="Largest tile",
            help="Largest side of a tile that is chosen by the free memory. If not given, 1,024 px on a CPU and "
            "4,096 px on a GPU in napari, where the first tile should come soon, otherwise 4,096 and 8,192 px. A "
            "resumed prediction keeps its tiles.",
            minimum=CELL_PX,
            multiple=CELL_PX,
            unit="px",
        ),
    ] = None
    memory_gb: Annotated[
        float | None,
        Option(
            title="Memory",
            help="Memory that one tile may take. If not given, on a CPU a quarter of the free memory, at most 4 GB; "
            "on a GPU 60 % of it.",
            above=0,
            unit="GB",
            noun="memory",
            flag="--memory",
            metavar="GB",
        ),
    ] = None
    padding: Annotated[
        Literal["reflect", "zero"],
        Option(
            title="Padding",
            help="What the network sees beyond the slide's border: the slide mirrored, or grey level zero.",
            titles={"reflect": "Mirrored", "zero": "Zero"},
        ),
    ] = "reflect"
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"],
        Option(
            title="Precision",
            help="Arithmetic inside the network, but for its last layer: fp32, bf16 or fp16. 16 bit is faster on some "
            "processors, and errs by 0.2 % of the range on average, up to 10 % at single pixels.",
            titles={"fp32": "32 bit, exact", "bf16": "16 bit, bfloat16", "fp16": "16 bit, float16"},
            flag="--precision",
            metavar="TYPE",
        ),
    ] = "fp32"
    device: Annotated[
        str,
        Option(
            title="Device",
            help="Processor that runs the network: auto, cpu, cuda, cuda:N or mps.",
            flag="--device",
            metavar="NAME",
        ),
    ] = "auto"
    skip_blank: Annotated[
        bool,
        Option(
            title="Skip blank glass",
            help="Fill areas without tissue with the network's output for the slide's background.",
            flag="--skip-blank/--no-skip-blank",
        ),
    ] = True
    resample: Annotated[
        bool,
        Option(
            title="Resample to the pixel size trained on",
            help="Resample the slide to the pixel size that the network was trained on. The prediction keeps the "
            "slide's own pixels.",
            flag="--resample",
        ),
    ] = False
    unlike: Annotated[
        bool,
        Option(
            title="Show where the slide is unlike the training",
            help="Add the channel unlike, with the distance of the network's features from those of its training "
            "slides: up to 1 as far as these are from each other, above 1 unlike all of them, 0 outside of the tissue.",
            flag="--unlike",
        ),
    ] = False
    output: Annotated[
        Literal["float32", "probe"],
        Option(
            title="Result",
            help="Pixel type of the result: float32, as the network gives it, or probe, rounded and clipped to the "
            "pixel type of the training slides.",
            titles={"float32": "32 bit floating point", "probe": "Integers, as trained on"},
            flag="--output-type",
            metavar="TYPE",
        ),
    ] = "float32"
    region: Box | None = None

    def __post_init__(self) -> None:
        check_options(self, PredictionError)

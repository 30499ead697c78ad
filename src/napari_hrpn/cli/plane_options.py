"""Options that several commands share: which image of a file, and how large its pixels are."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from napari_hrpn.cli.messages import CommandError

SeriesOption = Annotated[
    int | None, typer.Option("--series", metavar="N", help="Which image of a file with several; else the largest.")
]
ZOption = Annotated[
    int | None, typer.Option("--z", metavar="N", help="Which plane of a stack; the middle one if not given.")
]
TOption = Annotated[int | None, typer.Option("--t", metavar="N", help="Which point in time; the first if not given.")]
PixelSizeOption = Annotated[
    str | None,
    typer.Option("--pixel-size", metavar="UM", help="Pixel size in µm, or Y,X; what the file says if not given."),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an output that is there already.")]


def opening(series: int | None, z: int | None, t: int | None, pixel_size: str | None) -> dict[str, Any]:
    """How the slides of a command are opened."""
    size = None if pixel_size is None else _pixel_size(pixel_size)
    return {"series": series, "z": z, "t": t, "pixel_size_um": size}


def _pixel_size(text: str) -> tuple[float, float]:
    if re.fullmatch(r"\s*\d*,\d*\s*", text):
        msg = (
            f"the pixel size {text!r} is one number with a decimal comma or a pair of numbers; write "
            f"{text.replace(',', '.').strip()} for the one, or Y,X with a decimal point, such as 0.50,0.25."
        )
        raise CommandError(msg)
    try:
        height, *rest = (float(part) for part in text.split(","))
        (width,) = rest or [height]
    except ValueError:
        msg = f"the pixel size {text!r} is no number of µm and no pair Y,X of them, such as 0.2744 or 0.50,0.25."
        raise CommandError(msg) from None
    return height, width

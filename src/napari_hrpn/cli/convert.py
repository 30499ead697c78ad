"""``napari-hrpn convert``: a slide as OME-Zarr or pyramidal OME-TIFF, by the suffix of the output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_hrpn.cli.options import Overwrite, PlaneOptions, SlideArgument, opening
from napari_hrpn.cli.terminal import CommandError, follow, stop_on_signals

if TYPE_CHECKING:
    from napari_hrpn.slides import Slide


def convert(
    slide: SlideArgument,
    output: Annotated[str, typer.Argument(metavar="OUT", help="NAME.ome.zarr or NAME.ome.tif.")],
    plane: PlaneOptions,
    overwrite: Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write a slide as OME-Zarr or OME-TIFF with a pyramid, so that it opens and pans fast.

    The input is not changed. The output appears under its name once it is complete.

    \b
    Examples:
      napari-hrpn convert scan.nd2 scan.ome.zarr
      napari-hrpn convert "tumour 5" tumour5.ome.tif     a folder with DAPI.tif, SpGreen.tif, ...
      napari-hrpn convert stack.ome.tif plane.ome.zarr --z 12
    """  # noqa: D301
    from napari_hrpn.slides import local_path, open_slide

    path = local_path(output)
    check_slide_name(path)
    opened = open_slide(slide, **opening(plane))
    written = write_slide(opened, path, overwrite=overwrite)
    facts = {
        "slide": str(opened.source),
        "output": str(written),
        "shape": opened.shape,
        "channels": opened.channel_names,
        "pixel_size_um": opened.pixel_size_um,
    }
    typer.echo(json.dumps(facts, ensure_ascii=False) if as_json else f"wrote {written}")


def check_slide_name(path: Path) -> None:
    """Refuse an output whose suffix belongs to no format that can be written."""
    if path.suffix.lower() not in {".zarr", ".tif", ".tiff"}:
        msg = f"{path} has no suffix of a format that can be written; give a name that ends in .ome.zarr or .ome.tif."
        raise CommandError(msg)


def write_slide(slide: Slide, path: Path, *, overwrite: bool) -> Path:
    """Write a slide in the format of the path's suffix, and show progress."""
    from napari_hrpn.slides import write_ome_tiff, write_ome_zarr

    write = write_ome_zarr if path.suffix.lower() == ".zarr" else write_ome_tiff
    # a signal in the middle of a write would leave half an output, so it takes effect between two writes
    with stop_on_signals(f"Stopped; {path} was not written.") as stop:
        return follow(write(slide, path, overwrite=overwrite), f"writing {path.name}", stop=stop)

"""``napari-hrpn convert``: a slide as OME-Zarr or pyramidal OME-TIFF, by the suffix of the output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_hrpn.cli.options import OmeZarr, Overwrite, PlaneOptions, SlideArgument, opening
from napari_hrpn.cli.terminal import CommandError, follow, stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.slides import Slide


def convert(
    slide: SlideArgument,
    output: Annotated[str, typer.Argument(metavar="OUT", help="NAME.ome.zarr or NAME.ome.tif.")],
    plane: PlaneOptions,
    predicted: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="PREDICTED", help="Add the channels of a prediction of this slide; repeatable."),
    ] = None,
    ome_zarr: OmeZarr = None,
    overwrite: Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write a slide as OME-Zarr or OME-TIFF with a pyramid, so that it opens and pans fast.

    The input is not changed. The output appears under its name once it is complete. With --with, stains and predicted
    channels are one image, in which QuPath and Fiji can measure all of them.

    \b
    Examples:
      napari-hrpn convert scan.nd2 scan.ome.zarr
      napari-hrpn convert "tumour 5" tumour5.ome.tif     a folder with DAPI.tif, SpGreen.tif, ...
      napari-hrpn convert stack.ome.tif plane.ome.zarr --z 12
      napari-hrpn convert scan.nd2 both.ome.tif --with predicted/scan.predicted.ome.zarr
      napari-hrpn convert scan.nd2 scan.ome.zarr --ome-zarr 0.4     for QuPath and Bio-Formats
    """  # noqa: D301
    from napari_hrpn.slides import local_path, open_slide, with_predictions
    from napari_hrpn.slides.writers.output_path import check_output

    path = local_path(output)
    check_slide_name(path, ome_zarr)
    opened = open_slide(slide, **opening(plane))
    colors: Sequence[str] | None = None
    if predicted:
        predictions = [open_slide(one) for one in predicted]
        for prediction in predictions:
            check_output(path, prediction.source, overwrite=overwrite)
        opened, colors = with_predictions(opened, predictions)
    written = write_slide(opened, path, overwrite=overwrite, colors=colors, ome_zarr=ome_zarr)
    facts = {
        "slide": str(opened.source),
        "output": str(written),
        "shape": opened.shape,
        "channels": opened.channel_names,
        "pixel_size_um": opened.pixel_size_um,
    }
    typer.echo(json.dumps(facts, ensure_ascii=False) if as_json else f"wrote {written}")


def check_slide_name(path: Path, ome_zarr: str | None = None) -> None:
    """Refuse an output whose suffix belongs to no format that can be written, or a version that does not exist."""
    if path.suffix.lower() not in {".zarr", ".tif", ".tiff"}:
        msg = f"{path} has no suffix of a format that can be written; give a name that ends in .ome.zarr or .ome.tif."
        raise CommandError(msg)
    from napari_hrpn.slides.metadata import OLDER_VERSION, OME_ZARR_VERSION

    if ome_zarr not in (None, OLDER_VERSION, OME_ZARR_VERSION):
        msg = f"--ome-zarr is {ome_zarr!r}; expected {OLDER_VERSION} or {OME_ZARR_VERSION}."
        raise CommandError(msg)
    if ome_zarr and path.suffix.lower() != ".zarr":
        msg = f"--ome-zarr is about OME-Zarr, and {path} is a TIFF; leave it out, or end the name in .ome.zarr."
        raise CommandError(msg)


def write_slide(
    slide: Slide, path: Path, *, overwrite: bool, colors: Sequence[str] | None = None, ome_zarr: str | None = None
) -> Path:
    """Write a slide in the format of the path's suffix, and show progress."""
    from napari_hrpn.slides import write_ome_tiff, write_ome_zarr
    from napari_hrpn.slides.metadata import OME_ZARR_VERSION

    if path.suffix.lower() == ".zarr":
        steps = write_ome_zarr(slide, path, overwrite=overwrite, colors=colors, version=ome_zarr or OME_ZARR_VERSION)
    else:
        steps = write_ome_tiff(slide, path, overwrite=overwrite, colors=colors)
    # a signal in the middle of a write would leave half an output, so it takes effect between two writes
    with stop_on_signals(f"Stopped; {path} was not written.") as stop:
        return follow(steps, f"writing {path.name}", stop=stop)

"""``napari-hrpn phantom``: a synthetic tumour as a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_hrpn.cli.convert import check_slide_name, write_slide
from napari_hrpn.cli.options import OmeZarr, Overwrite
from napari_hrpn.cli.terminal import CommandError

if TYPE_CHECKING:
    from napari_hrpn.phantom import Phantom
    from napari_hrpn.slides import Slide

_CEILING_UP_TO_PX = 4096
"""Largest height and width for which the ceiling is computed, since that makes the phantom a second time."""

Seed = Annotated[int, typer.Option(metavar="N", help="Seed; each number makes a different tumour.")]


def phantom(
    output: Annotated[Path, typer.Argument(metavar="OUT", help="NAME.ome.tif or NAME.ome.zarr.")],
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="tiny, tumour, paper_like, stress, null, intravascular, extravasated or varied."
        ),
    ] = "tumour",
    size: Annotated[
        int | None, typer.Option(metavar="PX", help="Height and width; the preset's own if not given.")
    ] = None,
    seed: Seed = 1,
    noise_free: Annotated[
        Path | None, typer.Option(metavar="OUT2", help="Also write the probe image without camera noise.")
    ] = None,
    ome_zarr: OmeZarr = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a synthetic tumour: nuclei, vessels, and a probe that leaks from the vessels.

    The same preset, size and seed always give the same pixels. The R2 ceiling that is printed is what a
    perfect model would reach; the rest is camera noise.

    In intravascular the probe is still in its capillaries, in extravasated it has left them, and varied draws
    vessels, probe, stain and camera anew for each seed.

    \b
    Examples:
      napari-hrpn phantom tumour.ome.tif --size 8192 --seed 1
      napari-hrpn phantom dark.ome.zarr --preset paper_like --noise-free dark-truth.ome.zarr
    """  # noqa: D301
    from napari_hrpn.phantom import phantom_slide, r2_ceiling

    for path in filter(None, (output, noise_free)):
        check_slide_name(path, ome_zarr)
    # some file systems do not distinguish upper and lower case
    if noise_free is not None and str(noise_free.resolve()).casefold() == str(output.resolve()).casefold():
        msg = f"{output} is given for both images; give --noise-free another name."
        raise CommandError(msg)
    tumour = phantom_slide(preset, size=size, seed=seed)
    typer.echo(f"wrote {write_slide(tumour.slide, output, overwrite=overwrite, ome_zarr=ome_zarr)}")
    if noise_free is not None:
        written = write_slide(noise_free_slide(tumour), noise_free, overwrite=overwrite, ome_zarr=ome_zarr)
        typer.echo(f"wrote {written}")
    if max(tumour.slide.shape) <= _CEILING_UP_TO_PX:
        typer.echo(f"R2 ceiling {r2_ceiling(tumour):.3f}; in the tissue {r2_ceiling(tumour, tissue_only=True):.3f}")


def noise_free_slide(phantom: Phantom) -> Slide:
    """Noise-free probe image of a phantom as a slide."""
    from napari_hrpn.slides import coarser_levels

    finest = phantom.noise_free_probe[None]
    return replace(phantom.slide, levels=(finest, *coarser_levels(finest)), channel_names=("QD without noise",))

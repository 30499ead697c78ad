"""``napari-hrpn export`` and ``import``: checkpoints as model packages of bioimage.io, and back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_hrpn.cli.options import Chosen, Overwrite, PlaneOptions, StainOptions, opening
from napari_hrpn.cli.terminal import CommandError

if TYPE_CHECKING:
    from napari_hrpn.models import Checkpoint

_FORMAT = "bioimageio"


def export(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A .safetensors file, or the name of a bundled checkpoint.")
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT.zip", help="The package to write.")],
    channels: StainOptions,
    plane: PlaneOptions,
    file_format: Annotated[
        str, typer.Option("--format", metavar="NAME", help="bioimageio: a model package of bioimage.io, spec 0.5.")
    ] = _FORMAT,
    slide: Annotated[
        Path | None,
        typer.Option(metavar="SLIDE", help="Scale as on this slide; as on the training slides if not given."),
    ] = None,
    author: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Author of the model; repeat for each.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--license", metavar="SPDX", help="Licence of the model, such as CC-BY-4.0.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a checkpoint as a model package of bioimage.io, which ilastik, deepImageJ and others can run.

    The package takes grey levels and returns grey levels; it holds TorchScript and PyTorch weights, a test image and
    the card. A checkpoint that scales each slide from its own percentiles gets a fixed scaling there, from the slides
    it was trained on or from --slide: other programs would measure percentiles on tiles.

    \b
    Examples:
      napari-hrpn export mine.safetensors mine.zip --format bioimageio --author "Ada Doe" --license CC-BY-4.0
      napari-hrpn export synthetic for-scan-7.zip --slide scan7.nd2 --nuclei DAPI --vessels CD31
      bioimageio test mine.zip                           with bioimageio.core: run it on its test image
    """  # noqa: D301
    if file_format != _FORMAT:
        msg = f"--format is {file_format!r}; expected {_FORMAT}."
        raise CommandError(msg)
    _check_suffix(output, ".zip")
    for name in author or ():
        if not name.strip() or set(name) & set("/\\"):
            msg = f"--author is {name!r}; expected a name without slashes."
            raise CommandError(msg)
    if licence is not None and not re.fullmatch(r"[A-Za-z0-9.+-]+", licence):
        msg = f"--license is {licence!r}; expected an identifier of spdx.org/licenses, such as CC-BY-4.0."
        raise CommandError(msg)
    if slide is None and (channels or plane):
        msg = f"--{next(iter((*channels, *plane))).replace('_', '-')} is about a slide; give it together with --slide."
        raise CommandError(msg)
    from napari_hrpn.models import checkpoint_path, load_checkpoint
    from napari_hrpn.models.bioimageio import scaling_in_words, write_package

    path = checkpoint_path(checkpoint)
    network = load_checkpoint(path)
    ranges = None if slide is None else _ranges(network, slide, channels, plane)
    scaling = write_package(path, output, ranges, authors=author or (), licence=licence, overwrite=overwrite)
    typer.echo(f"wrote {output}, {output.stat().st_size / 1e6:.1f} MB")
    typer.echo(f"scaling: {scaling_in_words(network.card, scaling)}")
    if network.card.scaling.kind == "percentile":
        whose = "the training slides" if slide is None else slide.name
        typer.echo(
            f"  percentiles of {whose}; for a slide that was exposed otherwise, export again with --slide, since "
            "other programs cannot measure them"
        )


def import_(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE.zip", help="A package that export wrote.")],
    output: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="The checkpoint to write.")],
    overwrite: Overwrite = False,
) -> None:
    """Make a checkpoint from a model package of bioimage.io that export wrote.

    It is the very checkpoint that was exported. Code and pickles in the package are never opened, and packages of
    other architectures are refused.

    \b
    Examples:
      napari-hrpn import package.zip theirs.safetensors
      napari-hrpn predict slide.ome.tif -o predicted --checkpoint theirs.safetensors
    """  # noqa: D301
    _check_suffix(output, ".safetensors")
    from napari_hrpn.models.package_import import import_package

    card = import_package(package, output, overwrite=overwrite).card
    typer.echo(f"wrote {output}: {card.title}, {', '.join(card.input_roles)} -> {card.target}")


def _check_suffix(output: Path, suffix: str) -> None:
    if output.suffix.lower() != suffix:
        msg = f"the output {output} has the suffix {output.suffix!r}; give a name that ends in {suffix}."
        raise CommandError(msg)


def _ranges(network: Checkpoint, path: Path, channels: Chosen, plane: Chosen) -> tuple[tuple[float, float], ...]:
    """Percentiles of a slide, as a prediction of it measures them."""
    from napari_hrpn.inference.slide_scaling import slide_ranges
    from napari_hrpn.slides import find_channel, open_slide

    if network.card.scaling.kind == "fixed":
        msg = "the checkpoint scales all slides alike, so that the package needs none; leave out --slide."
        raise CommandError(msg)
    slide = open_slide(path, **opening(plane))
    return slide_ranges(slide, network, {role: find_channel(slide, name) for role, name in channels.items()})

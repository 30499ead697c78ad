"""``napari-hrpn what-if``: what network and physics associate with one vessel, as maps, numbers and a figure."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np
import typer

from napari_hrpn.cli.options import (
    ChannelOptions,
    Chosen,
    Classes,
    From,
    OutputFolder,
    Overwrite,
    PlaneOptions,
    SlideArgument,
    chosen_classes,
    opening,
)
from napari_hrpn.cli.predict import CheckpointOption
from napari_hrpn.cli.terminal import CommandError, follow, stop_on_signals
from napari_hrpn.settings import PredictionSettings
from napari_hrpn.settings.networks import SYNTHETIC
from napari_hrpn.settings.what_if import EDITS, WhatIfSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.inference import WhatIf
    from napari_hrpn.reports.what_if import WhatIfFolder
    from napari_hrpn.settings.what_if import Action
    from napari_hrpn.slides import Annotation, Slide


def what_if(
    slide: SlideArgument,
    output: OutputFolder,
    channels: ChannelOptions,
    prediction: Annotated[Chosen, From(PredictionSettings, "device", "precision", "resample")],
    chosen: Annotated[Chosen, From(WhatIfSettings)],
    plane: PlaneOptions,
    checkpoint: CheckpointOption = None,
    remove: Annotated[
        str | None, typer.Option(metavar="Y,X", help="Remove the vessel at this place, in µm from the upper left.")
    ] = None,
    roi: Annotated[
        Path | None, typer.Option(metavar="ROI.geojson", help="Remove the vessels in these outlines, as of QuPath.")
    ] = None,
    class_: Classes = None,
    add: Annotated[
        str | None, typer.Option(metavar="Y,X", help="Copy a vessel of the slide to this place, in µm.")
    ] = None,
    sham: Annotated[
        str | None, typer.Option(metavar="Y,X", help="Put texture without vessels at this place, in µm, as a check.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare a slide with the same slide without a vessel, or with one more.

    The network predicts both; diffusion and uptake, fitted to the imaged or else to the predicted probe, tell the
    vessel's share of it. Differences are what network and fit associate with the vessel, not what the vessel does.
    Writes into DIR: what-if.json, what-if.png and what-if.ome.zarr (prediction, both differences, noise).

    \b
    Examples:
      napari-hrpn what-if slide.ome.tif --remove 1204.5,880 -o without
      napari-hrpn what-if slide.ome.tif --roi vessel.geojson -o without --checkpoint mine.safetensors
      napari-hrpn what-if slide.ome.tif --add 950,1310 -o with
    """  # noqa: D301
    option, text = _one_of({"remove": remove, "roi": roi, "add": add, "sham": sham})
    classes = chosen_classes(class_, {"--roi": roi})
    named_place = None if roi is not None else _place(option, text)
    with stop_on_signals("Stopped; the numbers were not written.") as stop:
        from napari_hrpn.inference import CounterfactualNetwork
        from napari_hrpn.inference import what_if as compare
        from napari_hrpn.models import checkpoint_path, load_checkpoint
        from napari_hrpn.reports import roles_around
        from napari_hrpn.reports.what_if import WhatIfFolder
        from napari_hrpn.slides import as_location, find_channel, open_slide
        from napari_hrpn.slides.writers.output_path import check_output

        network = load_checkpoint(checkpoint_path(checkpoint or SYNTHETIC))
        opened = open_slide(as_location(slide), **opening(plane))
        named = {role: find_channel(opened, channel) for role, channel in channels.items()}
        probe = roles_around(opened, named).probe
        outlines = () if roi is None else _outlines(roi, opened, classes)
        place = named_place or _middle(outlines, opened)
        action, wanted = cast("Action", "remove" if option == "roi" else option), WhatIfSettings(**chosen)
        request = {
            **_identity(opened, plane),
            "checkpoint": network.digest,
            "channels": {**named, "probe": probe},
            "action": action,
            "place_um": list(place),
            "outlines": [outline.digest for outline in outlines],
            # the device decides no pixel
            "settings": {**asdict(wanted), **prediction, "device": None},
        }
        folder = WhatIfFolder(output)
        if folder.is_complete(request, overwrite=overwrite):
            typer.echo(f"already complete: {folder.numbers}")
            return
        check_output(folder.maps, opened.source, overwrite=True)
        inputs = {role: channel for role, channel in named.items() if role in network.card.stains}
        edited = CounterfactualNetwork(opened, network, output, PredictionSettings(**prediction), inputs)
        steps = compare(edited, action, place, wanted, outlines=outlines, probe=probe)
        result = follow(steps, f"comparing {opened.source.name}", stop=stop)
        follow(folder.write(result, opened, request), "writing", stop=stop)
    _print_numbers(result, folder)


def _identity(slide: Slide, plane: Chosen) -> dict[str, Any]:
    """What says which slide this is: its file, and the pixel size that the options state."""
    from napari_hrpn.slides import slide_identity

    size = opening(plane)["pixel_size_um"]
    return {"slide": slide_identity(slide), **({} if size is None else {"pixel_size_um": list(size)})}


def _one_of(actions: dict[str, str | Path | None]) -> tuple[str, str]:
    """Name and value of the one option that says what is edited."""
    given = [(name, str(value)) for name, value in actions.items() if value is not None]
    if len(given) != 1:
        words = " and ".join(f"--{name}" for name, _ in given) + " were given" if given else "no edit was given"
        msg = f"{words}; expected one of --remove, --roi, --add and --sham."
        raise CommandError(msg)
    return given[0]


def _place(option: str, text: str) -> tuple[float, float]:
    number = r"\s*(\d+(?:\.\d*)?|\.\d+)\s*"
    match = re.fullmatch(f"{number},{number}", text)
    if match is None:
        msg = f"--{option} is {text!r}; expected Y,X in µm from the slide's upper left corner, such as 1204.5,880."
        raise CommandError(msg)
    return float(match[1]), float(match[2])


def _outlines(path: Path, slide: Slide, classes: Sequence[str]) -> tuple[Annotation, ...]:
    from napari_hrpn.slides import included, read_geojson, warn_of_parts_beyond

    outlines = included(read_geojson(path, classes=classes))
    if not outlines:
        msg = f"{path.name} has only regions to exclude; expected outlines of vessels."
        raise CommandError(msg)
    warn_of_parts_beyond(outlines, slide.shape, path.name)
    return outlines


def _middle(outlines: Sequence[Annotation], slide: Slide) -> tuple[float, float]:
    """Middle of all outlines in µm."""
    low, high = (np.stack(corners) for corners in zip(*(outline.extent for outline in outlines), strict=True))
    y, x = (low.min(axis=0) + high.max(axis=0)) / 2 * np.array(slide.pixel_size_um or (1.0, 1.0))
    return float(y), float(x)


def _print_numbers(result: WhatIf, folder: WhatIfFolder) -> None:
    from napari_hrpn.analysis.tissue.vessel_edit import NO_NOISE

    numbers = result.numbers()
    typer.echo(f"{EDITS[result.action]}: {numbers['area_um2']:.0f} µm² edited")
    for shell in numbers["shells"]:
        if shell["n_px"]:
            share = shell["significant_share"]
            typer.echo(
                f"{shell['from_um']:g}-{shell['to_um']:g} µm from the vessel: network {shell['network']:+.2f}, physics "
                f"{shell['physics']:+.2f} grey levels" + ("" if share is None else f"; above the noise {share:.0%}")
            )
    if result.noise is None:
        typer.echo(NO_NOISE)
    if numbers["opposite_share"] is not None:
        typer.echo(f"of all pixels above the noise, {numbers['opposite_share']:.1%} have the opposite sign")
    fit = numbers["physics"]
    typer.echo(
        f"diffusion and uptake, fitted to the {fit['fitted_to']} probe: lambda {result.transport.length_words}; R2 "
        f"{fit['explained_variance']:.2f}, {fit['vessels']} vessels\n"
        f"maps        {folder.maps}\nfigure      {folder.figure}\nnumbers     {folder.numbers}"
    )

"""``napari-hrpn evaluate``: how good predictions of a slide are, and what the probe does in it, as one folder."""

from __future__ import annotations

import os
import warnings
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_hrpn.cli.options import ChannelOptions, Chosen, From, PlaneOptions, WorkerOptions, Workers, opening
from napari_hrpn.cli.terminal import CommandError, follow, stop_on_signals
from napari_hrpn.core import Progress
from napari_hrpn.settings import EvaluationSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.analysis import ProbeImage, SlideComparison
    from napari_hrpn.reports import WritingReport, WrittenEvaluation
    from napari_hrpn.slides import Annotation, ChannelRoles, Location, RegionMask, Slide


def evaluate(
    real: Annotated[
        str, typer.Argument(metavar="REAL", help="The slide in which the probe was imaged, or its address.")
    ],
    predicted: Annotated[
        list[str], typer.Argument(metavar="PREDICTED...", help="Predictions of it, of the same size.")
    ],
    output: Annotated[str, typer.Option("-o", "--output", metavar="DIR", help="Folder for everything that is made.")],
    channels: ChannelOptions,
    chosen: Annotated[Chosen, From(EvaluationSettings)],
    plane: PlaneOptions,
    workers: WorkerOptions,
    roi: Annotated[
        Path | None, typer.Option(metavar="ROIS.geojson", help="Regions of interest, as QuPath writes them.")
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(metavar="M", help="The tissue: GeoJSON or a label image; from the nuclei if not given."),
    ] = None,
    json: Annotated[Path | None, typer.Option(metavar="OUT.json", help="Write the numbers here too.")] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="What a prediction is called, once for each, in their order."),
    ] = None,
    tumour: Annotated[
        str | None, typer.Option(metavar="NAME", help="Tumour or animal of the slide; the slide's name if not given.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an evaluation of something else, and OUT.json.")
    ] = False,
) -> None:
    """Compare predictions of a slide with the imaged probe, in the tissue, the whole frame and regions.

    Writes into DIR: evaluation.html (one page that needs nothing else), evaluation.json, tables/ (CSV and Parquet),
    figures/ (PNG and SVG) and, with --roi, rois.geojson with the measurements. An evaluation that was stopped goes on
    when the same command is run again.

    \b
    Examples:
      napari-hrpn evaluate slide.ome.tif predicted/slide.predicted.ome.zarr -o evaluation
      napari-hrpn evaluate slide.ome.tif hrpn.ome.zarr ganda.ome.zarr --name HRPN --name GANDA -o evaluation
      napari-hrpn evaluate scan.nd2 predicted.ome.zarr --probe QD --roi rois.geojson --mask tissue.geojson -o evaluation
      napari-hrpn evaluate /shared/slide.ome.tif /shared/slide.ome.zarr -o evaluation --scheduler tcp://node1:8786
    """  # noqa: D301
    from napari_hrpn.analysis import looks_in_threads
    from napari_hrpn.reports import EvaluationRequest, write_evaluation
    from napari_hrpn.slides import as_location, local_path, open_slide, slide_name
    from napari_hrpn.slides.writers.output_path import partial_output

    processes, folder, settings = Workers(**workers), local_path(output), EvaluationSettings(**chosen)
    _check_json(json, folder, overwrite=overwrite)
    place, places = as_location(real), tuple(map(as_location, predicted))
    slide, names = open_slide(place, **opening(plane)), _names(places, place, name or [])
    comparison, how = _comparison(slide, channels, list(zip(names, places, strict=True)), roi, mask)
    others = {what: path for what, path in (("regions of interest", roi), ("tissue mask", mask)) if path is not None}
    request = EvaluationRequest(comparison, tumour or slide_name(place), how, settings, others)
    with stop_on_signals() as stop:
        try:
            with processes.connected("cpu") if processes else nullcontext() as client:
                looks = looks_in_threads
                if client is not None:
                    from napari_hrpn.inference.cluster import looks_on_workers

                    looks = looks_on_workers(
                        client, [image.slide for image in (comparison.real, *comparison.predictions)]
                    )
                steps = write_evaluation(request, folder, overwrite=overwrite, looks=looks)
                written = follow(steps, f"evaluating {slide.source.name}", _progress, stop)
        except KeyboardInterrupt:
            stop.leave()
    if json is not None and json.resolve() != written.json.resolve():
        with partial_output(json, None, overwrite=True) as partial:
            partial.write_bytes(written.json.read_bytes())
    _print_numbers(written)


def _check_json(path: Path | None, output: Path, *, overwrite: bool) -> None:
    """Refuse, before anything is measured, to replace a file that is not what would be written, or an odd place."""
    if path is None:
        return
    folder = next(place for place in path.absolute().parents if place.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        msg = f"{path} cannot be written, as {folder} is no folder that can be written to; choose another place for it."
        raise CommandError(msg)
    if not path.exists() or (overwrite and not path.is_dir()):
        return
    complete = output / "evaluation.json"
    if path.is_dir() or not complete.is_file() or complete.read_bytes() != path.read_bytes():
        msg = f"{path} exists already; choose another name for the JSON, or --overwrite it."
        raise CommandError(msg)


def _names(predicted: Sequence[Location], real: Location, given: Sequence[str]) -> list[str]:
    """What predictions are called: as the user says, or what tells them apart."""
    from napari_hrpn.reports import prediction_names
    from napari_hrpn.slides import slide_name

    if given:
        if len(given) != len(predicted):
            msg = f"--name was given {len(given)} times for {len(predicted)} predictions; give it once for each or not."
            raise CommandError(msg)
        return [name.strip() for name in given]
    names = prediction_names(predicted, real)
    if len(set(names)) < len(names):
        files = " and ".join(map(slide_name, predicted))
        msg = f"the predictions {files} cannot be told apart by their names; give each one with --name."
        raise CommandError(msg)
    return names


def _comparison(
    slide: Slide, channels: Chosen, predicted: Sequence[tuple[str, Location]], roi: Path | None, mask: Path | None
) -> tuple[SlideComparison, str]:
    """Open everything; returns what is compared, and how the tissue was found."""
    from napari_hrpn.analysis import ProbeImage, SlideComparison

    roles, probe = _roles(slide, channels)
    predictions = tuple(_prediction(path, name, slide, slide.channel_names[probe]) for name, path in predicted)
    # sizes are compared before any time is spent on the tissue
    compared = SlideComparison(ProbeImage("real", slide, probe), predictions, roles)
    rois = () if roi is None else _rois(roi, slide)
    tissue, glass, how = _tissue(slide, roles, mask)
    return replace(compared, tissue=tissue, glass=glass, rois=rois), how


def _roles(slide: Slide, channels: Chosen) -> tuple[ChannelRoles, int]:
    from napari_hrpn.reports import roles_around
    from napari_hrpn.slides import find_channel

    named = {role: find_channel(slide, channel) for role, channel in channels.items()}
    if len(set(named.values())) < len(named):
        words = " and ".join(f"--{role} {channel}" for role, channel in channels.items())
        msg = f"{words} name one channel of {slide.source.name} twice; expected another channel for each."
        raise CommandError(msg)
    roles = roles_around(slide, named)
    if roles.probe is None:
        there_are = ", ".join(f"{index} = {channel}" for index, channel in enumerate(slide.channel_names))
        msg = f"no channel of {slide.source.name} is known to show the probe; name one of {there_are} with --probe."
        raise CommandError(msg)
    return roles, roles.probe


def _prediction(path: Location, name: str, real: Slide, probe: str) -> ProbeImage:
    from napari_hrpn.analysis import ProbeImage
    from napari_hrpn.reports import other_slide_words
    from napari_hrpn.slides import SlideWarning, open_slide

    slide = open_slide(path)
    if len(slide.channel_names) > 1 and probe not in slide.channel_names:
        msg = (
            f"{path.name} has the channels {', '.join(slide.channel_names)}; expected a prediction with one channel, "
            f"or one that is called {probe} as in {real.source.name}."
        )
        raise CommandError(msg)
    if words := other_slide_words(slide, real):
        warnings.warn(words, SlideWarning, stacklevel=2)
    return ProbeImage(name, slide, slide.channel_names.index(probe) if len(slide.channel_names) > 1 else 0)


def _rois(path: Path, slide: Slide) -> tuple[Annotation, ...]:
    from napari_hrpn.reports import check_on_slide
    from napari_hrpn.slides import included, read_geojson, warn_of_parts_beyond

    rois = included(read_geojson(path))
    if not rois:
        msg = f"{path.name} has only regions to exclude; expected regions of interest (--mask takes away tissue)."
        raise CommandError(msg)
    check_on_slide(rois, slide, path.name)
    warn_of_parts_beyond(rois, slide.shape, path.name)
    return rois


def _tissue(slide: Slide, roles: ChannelRoles, mask: Path | None) -> tuple[RegionMask | None, RegionMask | None, str]:
    """The tissue, the glass, and how they were found."""
    from napari_hrpn.analysis import tissue_mask
    from napari_hrpn.reports import nuclei_words
    from napari_hrpn.slides import RegionMask, read_regions

    drawn = None if mask is None else read_regions(mask, slide.shape)
    found = glass = None
    how = f"no channel of {slide.source.name} is known to show nuclei, and no mask was given"
    if roles.nuclei is not None:
        found, how = tissue_mask(slide, roles.nuclei), nuclei_words(slide, roles.nuclei)
        glass = RegionMask(~found.mask, found.downsample)
    return (found, glass, how) if mask is None else (drawn, glass, f"from {mask.name}")


def _progress(report: WritingReport) -> Progress:
    return Progress(report.share, 1, report.step)


def _print_numbers(written: WrittenEvaluation) -> None:
    found = written.content
    if found is None:
        typer.echo(f"already complete: {written.page}")
        return
    for name, prediction in found["predictions"].items():
        region = prediction[prediction["region"]]
        words = ", ".join(
            f"{word} {'–' if region[key] is None else format(region[key], '.3f')}"
            for key, word in (("r2", "R2"), ("pearson_r", "r"), ("slope", "slope"), ("rmse", "RMSE"))
        )
        typer.echo(f"{name}, {prediction['region']}: {words}, n = {region['n']:,} px")
    if found["about"].get("measured"):
        typer.echo(f"not finished: {found['about']['measured']}")
    typer.echo(f"page        {written.page}\nnumbers     {written.json}")

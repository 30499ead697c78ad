"""``napari-hrpn evaluate``: agreement of predictions with the imaged probe, and its distribution, as one folder."""

from __future__ import annotations

import os
import warnings
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_hrpn.cli.options import (
    ChannelOptions,
    Chosen,
    Classes,
    From,
    PlaneOptions,
    WorkerOptions,
    Workers,
    chosen_classes,
    opening,
)
from napari_hrpn.cli.terminal import CommandError, follow, stop_on_signals
from napari_hrpn.core import Progress
from napari_hrpn.settings import EvaluationSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.analysis import ProbeImage
    from napari_hrpn.reports import EvaluationRequest, WritingReport, WrittenEvaluation
    from napari_hrpn.slides import Annotation, ChannelRoles, Location, RegionMask, Slide


def evaluate(
    real: Annotated[
        str, typer.Argument(metavar="REAL", help="The slide in which the probe was imaged, or its address.")
    ],
    predicted: Annotated[
        list[str], typer.Argument(metavar="PREDICTED...", help="Predictions of that slide, of the same size.")
    ],
    output: Annotated[str, typer.Option("-o", "--output", metavar="DIR", help="Folder for all output files.")],
    channels: ChannelOptions,
    chosen: Annotated[Chosen, From(EvaluationSettings)],
    plane: PlaneOptions,
    workers: WorkerOptions,
    roi: Annotated[
        Path | None, typer.Option(metavar="ROIS.geojson", help="Regions of interest, as QuPath exports them.")
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(metavar="M", help="Tissue as GeoJSON or label image; found from the nuclei if not given."),
    ] = None,
    class_: Classes = None,
    json: Annotated[Path | None, typer.Option(metavar="OUT.json", help="Also write the numbers here.")] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Name of a prediction; repeat for each, in the same order."),
    ] = None,
    tumour: Annotated[
        str | None, typer.Option(metavar="NAME", help="Tumour or animal of the slide; the slide's name if not given.")
    ] = None,
    calibrated: Annotated[
        bool,
        typer.Option("--calibrated", help="Apply the calibration beside each prediction; leave its regions out."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a different evaluation, and OUT.json.")
    ] = False,
) -> None:
    """Compare predictions of a slide with the imaged probe, in the tissue, the whole frame and regions.

    Writes into DIR: evaluation.html (one self-contained page), evaluation.json, tables/ (CSV and Parquet), figures/
    (PNG and SVG) and, with --roi, rois.geojson with the measurements. To resume an evaluation that was stopped or
    killed, run the same command again.

    \b
    Examples:
      napari-hrpn evaluate slide.ome.tif predicted/slide.predicted.ome.zarr -o evaluation
      napari-hrpn evaluate slide.ome.tif hrpn.ome.zarr ganda.ome.zarr --name HRPN --name GANDA -o evaluation
      napari-hrpn evaluate scan.nd2 predicted.ome.zarr --probe QD --roi rois.geojson --mask tissue.geojson -o evaluation
      napari-hrpn evaluate /shared/slide.ome.tif /shared/slide.ome.zarr -o evaluation --scheduler tcp://node1:8786
    """  # noqa: D301
    from napari_hrpn.analysis import count_in_threads
    from napari_hrpn.reports import write_evaluation
    from napari_hrpn.slides import as_location, local_path, open_slide
    from napari_hrpn.slides.writers.output_path import partial_output

    processes, folder, settings = Workers(**workers), local_path(output), EvaluationSettings(**chosen)
    classes = chosen_classes(class_, {"--roi": roi, "--mask": mask})
    _check_json(json, folder, overwrite=overwrite)
    if calibrated and processes:
        # workers open the files of predictions, which are not calibrated
        msg = "--calibrated is measured in one process; leave out --workers and --scheduler, or leave out --calibrated."
        raise CommandError(msg)
    if name and len(name) != len(predicted):
        msg = f"--name was given {len(name)} times for {len(predicted)} predictions; give it for each or for none."
        raise CommandError(msg)
    paths = tuple(map(as_location, predicted))
    slide = open_slide(as_location(real), **opening(plane))
    request = _request(slide, channels, paths, name, roi, mask, classes, tumour, settings, calibrated)
    # counting pixels needs no GPU
    with stop_on_signals() as stop, processes.connected("cpu") if processes else nullcontext() as client:
        block_map = count_in_threads
        if client is not None:
            from napari_hrpn.inference.cluster import count_on_workers

            images = request.comparison.real, *request.comparison.predictions
            block_map = count_on_workers(client, [image.slide for image in images])
        steps = write_evaluation(request, folder, overwrite=overwrite, block_map=block_map)
        written = follow(steps, f"evaluating {slide.source.name}", _progress, stop)
    # copied once the evaluation is complete, in one step
    if json is not None and json.resolve() != written.json.resolve():
        with partial_output(json, None, overwrite=True) as partial:
            partial.write_bytes(written.json.read_bytes())
    _print_numbers(written)


def _check_json(path: Path | None, output: Path, *, overwrite: bool) -> None:
    """Refuse, before anything is measured, a path that cannot be written or a file that must not be replaced."""
    if path is None:
        return
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        msg = f"{path} cannot be written, as {folder} is not a folder that you may write to; choose another path."
        raise CommandError(msg)
    if not path.exists() or (overwrite and not path.is_dir()):
        return
    # a copy that an earlier run of the same command made is not in the way
    complete = output / "evaluation.json"
    if path.is_dir() or not complete.is_file() or complete.read_bytes() != path.read_bytes():
        msg = f"{path} exists already; choose another name for the JSON, or --overwrite it."
        raise CommandError(msg)


def _request(
    slide: Slide,
    channels: Chosen,
    predicted: Sequence[Location],
    names: Sequence[str] | None,
    roi: Path | None,
    mask: Path | None,
    classes: Sequence[str],
    tumour: str | None,
    settings: EvaluationSettings,
    are_calibrated: bool,
) -> EvaluationRequest:
    """Open the slides and regions that are compared."""
    from napari_hrpn.analysis import ProbeImage, calibration_path
    from napari_hrpn.reports import evaluation_of
    from napari_hrpn.reports.evaluation_recipe import CALIBRATION, ROIS, TISSUE
    from napari_hrpn.slides import warn_of_parts_beyond

    roles, probe = known_roles(slide, channels)
    named = zip(predicted, names or [""] * len(predicted), strict=True)
    images = [open_prediction(path, title.strip(), slide, slide.channel_names[probe]) for path, title in named]
    others = {ROIS: roi, TISSUE: mask}
    if are_calibrated:
        images = [_calibrated(image, slide) for image in images]
    request = evaluation_of(
        ProbeImage("real", slide, probe),
        images,
        roles,
        settings,
        are_named=bool(names),
        rois=() if roi is None else read_rois(roi, classes),
        rois_from="" if roi is None else roi.name,
        tissue=None if mask is None else read_tissue(mask, slide, classes, is_alone=roi is None),
        tissue_words="" if mask is None else f"from {mask.name}",
        finds_tissue=True,
        tumour=tumour or "",
        files={what: path for what, path in others.items() if path is not None},
    )
    if roi is not None:
        warn_of_parts_beyond(request.comparison.rois, slide.shape, roi.name)
    if are_calibrated:
        kept = ((image.name, calibration_path(image.slide.source)) for image in request.comparison.predictions)
        request.files.update({f"{CALIBRATION} {title}": path for title, path in kept})
    return replace(request, classes=tuple(classes))


def known_roles(slide: Slide, channels: Chosen) -> tuple[ChannelRoles, int]:
    """Roles of the channels of a slide, and the channel of the probe."""
    from napari_hrpn.reports import roles_around
    from napari_hrpn.slides import find_channel

    named = {role: find_channel(slide, channel) for role, channel in channels.items()}
    if len(set(named.values())) < len(named):
        words = " and ".join(f"--{role} {channel}" for role, channel in channels.items())
        msg = f"{words} name one channel of {slide.source.name} twice; expected a different channel for each."
        raise CommandError(msg)
    roles = roles_around(slide, named)
    if roles.probe is None:
        listed = ", ".join(f"{index} = {channel}" for index, channel in enumerate(slide.channel_names))
        msg = f"no channel of {slide.source.name} is known to show the probe; name one of {listed} with --probe."
        raise CommandError(msg)
    return roles, roles.probe


def open_prediction(path: Location, name: str, real: Slide, probe: str) -> ProbeImage:
    """Open a prediction of a slide, with a warning if it is one of another slide."""
    from napari_hrpn.analysis import ProbeImage
    from napari_hrpn.reports import other_slide_words
    from napari_hrpn.slides import SlideWarning, open_slide
    from napari_hrpn.slides.channel_roles import is_one_prediction

    slide = open_slide(path)
    is_single = is_one_prediction(slide)
    if not is_single and probe not in slide.channel_names:
        msg = (
            f"{path.name} has the channels {', '.join(slide.channel_names)}; expected a prediction with one channel, "
            f"or one that is called {probe} as in {real.source.name}."
        )
        raise CommandError(msg)
    if words := other_slide_words(slide, real):
        warnings.warn(words, SlideWarning, stacklevel=2)
    return ProbeImage(name, slide, 0 if is_single else slide.channel_names.index(probe))


def _calibrated(image: ProbeImage, real: Slide) -> ProbeImage:
    from napari_hrpn.analysis import calibrated, saved_calibration
    from napari_hrpn.slides import slide_fingerprint

    calibration = saved_calibration(image.slide)
    if calibration is None:
        name = image.slide.source.name
        msg = f"{name} is not calibrated; expected {name}.calibration.json beside it: calibrate it, or leave out "
        raise CommandError(f"{msg}--calibrated.")
    # a copy of the slide has another identity but the same pixels
    if calibration.slide["fingerprint"] != slide_fingerprint(real):
        msg = (
            f"{image.slide.source.name} was calibrated by {calibration.slide['name']}, not by {real.source.name} as it "
            "is now; expected the slide of the calibration: evaluate with that one, calibrate the prediction again, "
            "or leave out --calibrated."
        )
        raise CommandError(msg)
    return replace(image, slide=calibrated(image.slide, calibration), channel=0)


def read_rois(path: Path, classes: Sequence[str]) -> tuple[Annotation, ...]:
    """Read the regions of interest of a file."""
    from napari_hrpn.slides import included, read_geojson

    rois = included(read_geojson(path, classes=classes))
    if not rois:
        msg = f"{path.name} has only regions to exclude; expected regions of interest (--mask restricts the tissue)."
        raise CommandError(msg)
    return rois


def read_tissue(path: Path, slide: Slide, classes: Sequence[str], *, is_alone: bool) -> RegionMask:
    """Read the tissue of a file; beside GeoJSON with regions of interest, a label image has no classes to choose."""
    from napari_hrpn.slides import read_regions
    from napari_hrpn.slides.region_files import LABEL_IMAGES

    is_chosen = is_alone or path.suffix.lower() not in LABEL_IMAGES
    return read_regions(path, slide.shape, classes=classes if is_chosen else ())


def _progress(report: WritingReport) -> Progress:
    return Progress(report.share, 1, report.step)


def _print_uncertainty(region: dict[str, Any], spread: list[dict[str, Any]]) -> None:
    """Print how the deviation of an ensemble compares with its errors."""
    from napari_hrpn.analysis.metrics import UNCERTAINTY, metrics_in

    known = [metric for metric in metrics_in(UNCERTAINTY) if region.get(metric.key) is not None]
    typer.echo("  " + ", ".join(f"{metric.title} {region[metric.key]:.3g}" for metric in known))
    # bins of a few pixels say little
    bins = [row for row in spread if row["n"] >= region["n"] / 100]
    typer.echo("  error by SD: " + ", ".join(f"{row['error']:.3g} at {row['sd']:.3g}" for row in bins))


def _print_numbers(written: WrittenEvaluation) -> None:
    from napari_hrpn.reports.evaluation_page import no_test_words

    content = written.content
    if content is None:
        typer.echo(f"already complete: {written.page}")
        return
    for name, prediction in content["predictions"].items():
        region = prediction[prediction["region"]]
        words = ", ".join(
            f"{title} {'–' if region[key] is None else format(region[key], '.3f')}"
            for key, title in (("r2", "R2"), ("pearson_r", "r"), ("slope", "slope"), ("rmse", "RMSE"))
        )
        typer.echo(f"{name}, {prediction['region']}: {words}, n = {region['n']:,} px")
        if "uncertainty" in prediction:
            _print_uncertainty(region, prediction["uncertainty"]["spread"])
    for sentence in no_test_words(content["about"]):
        typer.echo(sentence)
    if content["about"].get("measured"):
        is_calibrated = "left_out" in content["about"]["tiles"]
        typer.echo(f"{'calibrated' if is_calibrated else 'not finished'}: {content['about']['measured']}")
    typer.echo(f"page        {written.page}\nnumbers     {written.json}")

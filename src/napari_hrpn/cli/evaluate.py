"""``napari-hrpn evaluate``: how good predictions of a slide are, and what the probe does in it, as one folder."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_hrpn.cli.messages import CommandError
from napari_hrpn.cli.plane_options import PixelSizeOption, SeriesOption, TOption, ZOption, opening
from napari_hrpn.cli.predict import GO_ON
from napari_hrpn.cli.progress import Step, follow
from napari_hrpn.cli.signals import stop_on_signals
from napari_hrpn.cli.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_hrpn.analysis import EvaluationSettings, Looks, ProbeImage, SlideComparison
    from napari_hrpn.reports import EvaluationRequest, WritingReport, WrittenEvaluation
    from napari_hrpn.slides import Annotation, ChannelRoles, Location, RegionMask, Slide

_THOUSANDTHS = 1000


def evaluate(
    real: Annotated[
        str, typer.Argument(metavar="REAL", help="The slide in which the probe was imaged, or its address.")
    ],
    predicted: Annotated[
        list[str], typer.Argument(metavar="PREDICTED...", help="Predictions of it, of the same size.")
    ],
    output: Annotated[str, typer.Option("-o", "--output", metavar="DIR", help="Folder for everything that is made.")],
    probe: Annotated[
        str | None, typer.Option(metavar="NAME", help="Channel of the probe in REAL: its name or number.")
    ] = None,
    nuclei: Annotated[str | None, typer.Option(metavar="NAME", help="Channel of the nuclei in REAL.")] = None,
    vessels: Annotated[str | None, typer.Option(metavar="NAME", help="Channel of the vessels in REAL.")] = None,
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
    patch: Annotated[
        int | None, typer.Option(metavar="PX", help="Edge of a patch; 512, less for a small field, if not given.")
    ] = None,
    block: Annotated[
        int | None,
        typer.Option(metavar="PX", help="Side of the blocks of the bootstrap; six correlation lengths if not given."),
    ] = None,
    psnr_max: Annotated[
        str, typer.Option(metavar="MAX", help="MAX of the PSNR: dtype, real (brightest pixel), or a number.")
    ] = "dtype",
    background: Annotated[
        float | None,
        typer.Option(
            metavar="LEVEL",
            help="Grey level of the probe in tissue without it (an uninjected section); blank glass if not given.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the intervals and permutations.")] = 0,
    series: SeriesOption = None,
    z: ZOption = None,
    t: TOption = None,
    pixel_size: PixelSizeOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an evaluation of something else, and OUT.json.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Count pixels in N processes of this machine.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="tls://HOST:PORT", help="Count pixels on the workers of this cluster."),
    ] = None,
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
    from napari_hrpn.reports import write_evaluation
    from napari_hrpn.slides import as_location, local_path

    processes, folder = Workers(workers, scheduler), local_path(output)
    _check_json(json, folder, overwrite=overwrite)
    channels = {"nuclei": nuclei, "vessels": vessels, "probe": probe}
    places = _Places(as_location(real), tuple(map(as_location, predicted)), roi, mask)
    order = _order(
        places,
        channels,
        opening(series, z, t, pixel_size),
        name or [],
        tumour,
        _settings(psnr_max, patch, block, seed, background),
    )
    with stop_on_signals() as stop:
        try:
            with _looks(processes, order.comparison) as looks:
                steps = write_evaluation(order, folder, overwrite=overwrite, looks=looks)
                written = follow(steps, f"evaluating {order.comparison.real.slide.source.name}", _step, stop)
        except KeyboardInterrupt:
            typer.echo(f"Stopped; what is finished is kept: {GO_ON}", err=True)
            raise typer.Exit(stop.exit_code) from None
    if json is not None:
        _copy(written.json, json)
    _tell(written)


@dataclass(frozen=True)
class _Places:
    """Files that were named."""

    real: Location
    predicted: tuple[Location, ...]
    roi: Path | None
    mask: Path | None

    @property
    def others(self) -> dict[str, Path]:
        """Files beside the slides, by what they are."""
        named = {"regions of interest": self.roi, "tissue mask": self.mask}
        return {what: path for what, path in named.items() if path is not None}


def _order(
    places: _Places,
    channels: dict[str, str | None],
    plane: dict[str, Any],
    names: Sequence[str],
    tumour: str | None,
    settings: EvaluationSettings,
) -> EvaluationRequest:
    """Open everything and put together what is to be done."""
    from napari_hrpn.analysis import ProbeImage, SlideComparison
    from napari_hrpn.reports import EvaluationRequest
    from napari_hrpn.slides import open_slide, slide_name

    slide = open_slide(places.real, **plane)
    roles, probe = _roles(slide, channels)
    called = _names(places, names)
    predictions = tuple(
        _prediction(path, own, slide, slide.channel_names[probe])
        for path, own in zip(places.predicted, called, strict=True)
    )
    # sizes are compared before any time is spent on the tissue
    real = ProbeImage("real", slide, probe)
    SlideComparison(real, predictions, roles)
    rois = () if places.roi is None else _rois(places.roi, slide)
    tissue, glass, words = _tissue(slide, roles, places.mask)
    comparison = SlideComparison(real, predictions, roles, tissue, glass, rois)
    return EvaluationRequest(comparison, tumour or slide_name(places.real), words, settings, places.others)


def _roles(slide: Slide, channels: dict[str, str | None]) -> tuple[ChannelRoles, int]:
    from napari_hrpn.reports import roles_around
    from napari_hrpn.slides import find_channel

    named = {role: find_channel(slide, channel) for role, channel in channels.items() if channel is not None}
    if len(set(named.values())) < len(named):
        words = " and ".join(f"--{role} {channels[role]}" for role in named)
        msg = f"{words} name one channel of {slide.source.name} twice; expected another channel for each."
        raise CommandError(msg)
    roles = roles_around(slide, named)
    if roles.probe is None:
        there_are = ", ".join(f"{index} = {channel}" for index, channel in enumerate(slide.channel_names))
        msg = f"no channel of {slide.source.name} is known to show the probe; name one of {there_are} with --probe."
        raise CommandError(msg)
    return roles, roles.probe


def _names(places: _Places, names: Sequence[str]) -> list[str]:
    """What predictions are called: as the user says, or what tells them apart."""
    from napari_hrpn.reports import prediction_names
    from napari_hrpn.slides import slide_name

    predicted = places.predicted
    if names:
        if len(names) != len(predicted):
            msg = f"--name was given {len(names)} times for {len(predicted)} predictions; give it once for each or not."
            raise CommandError(msg)
        return [name.strip() for name in names]
    found = prediction_names(predicted, places.real)
    if len(set(found)) < len(found):
        own = " and ".join(slide_name(path) for path in predicted)
        msg = f"the predictions {own} cannot be told apart by their names; give each one with --name."
        raise CommandError(msg)
    return found


def _prediction(path: Location, name: str, real: Slide, probe: str) -> ProbeImage:
    from napari_hrpn.analysis import ProbeImage
    from napari_hrpn.slides import open_slide

    slide = open_slide(path)
    if len(slide.channel_names) == 1:
        channel = 0
    elif probe in slide.channel_names:
        channel = slide.channel_names.index(probe)
    else:
        msg = (
            f"{path.name} has the channels {', '.join(slide.channel_names)}; expected a prediction with one channel, "
            f"or one that is called {probe} as in {real.source.name}."
        )
        raise CommandError(msg)
    _warn_of_other_slide(slide, real)
    return ProbeImage(name, slide, channel)


def _warn_of_other_slide(prediction: Slide, real: Slide) -> None:
    from napari_hrpn.reports import other_slide_words
    from napari_hrpn.slides import SlideWarning

    if words := other_slide_words(prediction, real):
        warnings.warn(words, SlideWarning, stacklevel=2)


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
    found = None if roles.nuclei is None else tissue_mask(slide, roles.nuclei)
    glass = None if found is None else RegionMask(~found.mask, found.downsample)
    if drawn is not None:
        assert mask is not None
        return drawn, glass, f"from {mask.name}"
    if found is None:
        return None, None, f"no channel of {slide.source.name} is known to show nuclei, and no mask was given"
    assert roles.nuclei is not None
    return found, glass, nuclei_words(slide, roles.nuclei)


def _settings(
    psnr_max: str, patch: int | None, block: int | None, seed: int, background: float | None
) -> EvaluationSettings:
    from napari_hrpn.analysis import EvaluationSettings

    try:
        peak: float | str = float(psnr_max)
    except ValueError:
        peak = psnr_max
    return EvaluationSettings(psnr_max=peak, patch_px=patch, block_px=block, seed=seed, background=background)


@contextmanager
def _looks(processes: Workers, comparison: SlideComparison) -> Iterator[Looks]:
    """Where pixels are looked at, for the length of a block."""
    from napari_hrpn.analysis import looks_in_threads

    if not processes.wanted:
        yield looks_in_threads
        return
    from napari_hrpn.inference.cluster import looks_on_workers

    with processes.connected("cpu") as client:
        yield looks_on_workers(client, [image.slide for image in (comparison.real, *comparison.predictions)])


def _step(report: WritingReport) -> Step:
    return Step(round(_THOUSANDTHS * report.share), _THOUSANDTHS, note=report.step)


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


def _copy(source: Path, place: Path) -> None:
    from napari_hrpn.slides.writers.output_path import partial_output

    if place.resolve() == source.resolve():
        return
    with partial_output(place, None, overwrite=True) as partial:
        partial.write_bytes(source.read_bytes())


def _tell(written: WrittenEvaluation) -> None:
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

"""``napari-hrpn predict``: the probe channel of slides, one after the other or on many processes."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_hrpn.cli.copies import copy_places, output_places, write_copies
from napari_hrpn.cli.options import Chosen, From, OmeZarr, PlaneOptions, StainOptions, WorkerOptions, Workers, opening
from napari_hrpn.cli.prediction_words import result_as_json, summary, time_spent
from napari_hrpn.cli.terminal import (
    GO_ON,
    LOG,
    CommandError,
    Stop,
    complain,
    follow,
    is_for_the_user,
    stop_on_signals,
)
from napari_hrpn.core import Progress, relayed
from napari_hrpn.core.errors import PredictionWarning
from napari_hrpn.settings import PredictionSettings
from napari_hrpn.settings.networks import BUNDLED, SYNTHETIC

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_hrpn.analysis import ErrorModel
    from napari_hrpn.core import Box
    from napari_hrpn.inference import PredictionReport, TileReport
    from napari_hrpn.inference.cluster import EndedSlide, SlideRequest, TileOfMany
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.slides import Location, Slide

_NONE_CHOSEN = (
    f"no checkpoint was chosen, so {SYNTHETIC} predicts, which has seen only computer-made tumours; choose one with "
    "--checkpoint (napari-hrpn models lists them)."
)
_HELP = f"Trained network: a file, or the name of a bundled one ({', '.join(BUNDLED)}); {SYNTHETIC} if not given."
_WARNED = ("note", "warning")

CheckpointOption = Annotated[str | None, typer.Option(metavar="CHECKPOINT", help=_HELP)]
_MEMBERS_HELP = (
    f"{_HELP} Several are an ensemble, which predicts their mean and, as a second channel, the standard deviation "
    "between them."
)
_STUDY_HELP = (
    "Folder of a finished study: its networks of all folds are the ensemble, and the deviation is nowhere smaller than "
    "their errors on held-out tumours."
)


def predict(
    slides: Annotated[
        list[str],
        typer.Argument(metavar="SLIDE", help="Image files, OME-Zarrs or their addresses, folders of stains."),
    ],
    output: Annotated[
        str,
        typer.Option("-o", "--output", metavar="OUT", help="A folder, or its address; for one slide NAME.ome.zarr."),
    ],
    channels: StainOptions,
    chosen: Annotated[Chosen, From(PredictionSettings)],
    plane: PlaneOptions,
    workers: WorkerOptions,
    checkpoint: Annotated[list[str] | None, typer.Option(metavar="CHECKPOINT", help=_MEMBERS_HELP)] = None,
    study: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help=_STUDY_HELP),
    ] = None,
    region: Annotated[
        str | None, typer.Option(metavar="Y0:Y1,X0:X1", help="Predict only the tiles that contain any of these pixels.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a prediction made with other settings.")
    ] = False,
    copy: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help="Also write complete predictions there, as OME-Zarr or NAME.ome.tif."),
    ] = None,
    ome_zarr: OmeZarr = None,
    profile: Annotated[bool, typer.Option("--profile", help="Print how the time for each slide was spent.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON; a list of several slides.")
    ] = False,
) -> None:
    """Predict the probe channel of slides from their nuclei and vessels.

    Each slide becomes OUT/NAME.predicted.ome.zarr, of the slide's own size and pixel size. To resume a prediction
    that was stopped or killed, run the same command again.

    \b
    Examples:
      napari-hrpn predict slide.ome.tif -o predicted
      napari-hrpn predict scans/*.nd2 -o predicted --nuclei DAPI --vessels CD31
      napari-hrpn predict slide.ome.tif -o part.ome.zarr --region 0:4096,2048:8192
      napari-hrpn predict slide.ome.tif -o predicted --device cuda:1 --precision bf16
      napari-hrpn predict slide.ome.tif -o predicted --checkpoint a.safetensors --checkpoint b.safetensors
      napari-hrpn predict slide.ome.tif -o predicted --study study
      napari-hrpn predict slide.ome.tif -o predicted --checkpoint a.safetensors --unlike
      napari-hrpn predict scans/*.nd2 -o predicted --workers 4
      napari-hrpn predict /shared/*.ome.zarr -o /shared/predicted --scheduler tcp://node1:8786
      napari-hrpn predict slide.ome.tif -o predicted --copy for-qupath --ome-zarr 0.4
      napari-hrpn predict s3://bucket/slide.ome.zarr -o s3://bucket/predicted
    """  # noqa: D301
    from napari_hrpn.slides import as_location

    # what can be refused at once is checked before torch is imported, which takes seconds
    stores = output_places([as_location(slide) for slide in slides], as_location(output))
    copies = copy_places(stores, copy, ome_zarr, overwrite=overwrite)
    settings = PredictionSettings(**chosen, region=None if region is None else parse_region(region))
    if checkpoint and study:
        msg = "--checkpoint and --study both say which networks predict; leave one of them out."
        raise CommandError(msg)
    processes = Workers(**workers)
    with stop_on_signals(f"Stopped; finished tiles are kept: {GO_ON}") as stop:
        from napari_hrpn.inference import choose_device

        if processes.scheduler is None:
            choose_device(settings.device)
        members = _members(checkpoint or [SYNTHETIC], study)
        _check_roles(members[0], channels)
        is_default, errors = not (checkpoint or study), None if study is None else _errors(study, members)
        request = _Request(members, settings, channels, opening(plane), overwrite, profile, as_json, is_default, errors)
        complete = request.on_workers(stores, processes, stop) if processes else request.one_by_one(stores, stop)
        if as_json:
            rows = request.rows
            typer.echo(json.dumps(rows[0] if len(stores) == 1 and rows else rows, indent=2, ensure_ascii=False))
        if stop.is_set() and complete + request.failed < len(stores):
            stop.leave()
    write_copies(stores, copies, request.rows, ome_zarr, overwrite=overwrite, is_quiet=as_json)
    if request.failed:
        raise typer.Exit(2)


def _members(names: Sequence[str], study: Path | None) -> tuple[Checkpoint, ...]:
    """Networks that predict together."""
    from napari_hrpn.inference.ensemble import checked_members
    from napari_hrpn.models import checkpoint_path, load_checkpoint

    if study is None:
        return checked_members([load_checkpoint(checkpoint_path(name)) for name in names], names)
    from napari_hrpn.experiments import fold_checkpoints

    return checked_members([load_checkpoint(path) for path in fold_checkpoints(study)])


def _errors(study: Path, members: Sequence[Checkpoint]) -> ErrorModel | None:
    """Errors of the networks of a study on the tumours that were held out."""
    from napari_hrpn.experiments import NO_ERROR_MODEL, study_error_model

    errors = study_error_model(study, members)
    if errors is None:
        warnings.warn(NO_ERROR_MODEL, PredictionWarning, stacklevel=1)
    return errors


def _check_roles(network: Checkpoint, channels: Chosen) -> None:
    """Refuse a channel for a stain that is no input of the network."""
    roles = network.card.stains
    for role in channels:
        if role not in roles:
            msg = f"the checkpoint takes only {' and '.join(roles)}; leave out --{role}."
            raise CommandError(msg)


@dataclass
class _Request:
    """What holds for all slides of a command, and the number of slides that failed."""

    members: tuple[Checkpoint, ...]
    settings: PredictionSettings
    channels: Chosen
    plane: dict[str, Any]
    overwrite: bool
    profile: bool
    as_json: bool
    is_default: bool  # Whether no checkpoint was chosen
    errors: ErrorModel | None  # Of the networks of a study, on held-out tumours
    failed: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)  # For JSON: a slide each

    def one_by_one(self, stores: dict[Location, Location], stop: Stop) -> int:
        """Predict slides, by path with their stores, in this process; returns how many are complete."""
        from napari_hrpn.inference import predict_slide
        from napari_hrpn.slides import slide_name

        complete = 0
        for path, store in stores.items():
            if stop.is_set():
                break
            try:
                slide, roles = self._opened(path)
                steps = predict_slide(
                    slide,
                    self.members,
                    store,
                    self.settings,
                    roles=roles,
                    errors=self.errors,
                    overwrite=self.overwrite,
                    stop=stop,
                )
                complete += self._print_result(path, *run_prediction(steps, f"predicting {slide_name(path)}"))
            except Exception as error:
                # a slide that fails must not stop the others
                self._fail(path, error)
        return complete

    def on_workers(self, stores: dict[Location, Location], processes: Workers, stop: Stop) -> int:
        """Predict all slides at once on several processes; returns how many are complete."""
        from napari_hrpn.inference.cluster import SlideRequest, TileOfMany, predict_slides

        paths, complete = list(stores), 0

        def open_request(path: Location, store: Location) -> SlideRequest:
            slide, roles = self._opened(path)
            return SlideRequest(slide, store, roles, self.overwrite)

        def tile_report(report: TileOfMany | EndedSlide) -> TileOfMany | None:
            nonlocal complete
            if isinstance(report, TileOfMany):
                return report
            if report.error is not None:
                self._fail(paths[report.number], report.error)
            elif report.report is not None:
                complete += self._print_result(paths[report.number], report.report, report.new_tiles)
            return None

        title = "predicting" if len(paths) == 1 else f"predicting {len(paths)} slides"
        with processes.connected(self.settings.device) as client:
            # each slide is opened when its turn comes, so that one that cannot be opened does not stop the others
            requests = [partial(open_request, path, store) for path, store in stores.items()]
            steps = predict_slides(requests, self.members, client, self.settings, errors=self.errors, stop=stop)
            follow(relayed(steps, tile_report), title, lambda report: _tile_progress(report, report.pixels))
        return complete

    def _opened(self, path: Location) -> tuple[Slide, dict[str, int]]:
        from napari_hrpn.slides import find_channel, open_slide

        slide = open_slide(path, **self.plane)
        if self.is_default:
            warnings.warn(_NONE_CHOSEN, PredictionWarning, stacklevel=1)
        region, (height, width) = self.settings.region, slide.shape
        if region is not None and (region.y0 >= height or region.x0 >= width):
            msg = (
                f"the region {region.text} lies outside of {slide.source.name}, "
                f"which has {height} rows and {width} columns."
            )
            raise CommandError(msg)
        return slide, {role: find_channel(slide, channel) for role, channel in self.channels.items()}

    def _print_result(self, path: Location, report: PredictionReport, new: int) -> bool:
        """Print what a prediction did and, if asked for, how its time was spent; returns whether it is complete."""
        is_complete = report.finished == report.total
        kept = f"{report.finished} of {report.total} tiles are finished and kept in {report.path}"
        words = f"{path.name}: {summary(report, new) if is_complete else kept}"
        LOG.info(words)
        if report.unlike is not None and report.unlike.level in _WARNED:
            warnings.warn(report.unlike.sentence, PredictionWarning, stacklevel=1)
        self.rows.append(result_as_json(path, report, new))
        if self.as_json:
            return is_complete
        typer.echo(words)
        # other levels are among the warnings
        if report.fit is not None and report.fit.level == "fits":
            typer.echo(f"  {report.fit.sentence}")
        if report.unlike is not None and report.unlike.level not in _WARNED:
            typer.echo(f"  {report.unlike.sentence}")
        if self.profile and new:
            typer.echo(time_spent(report))
        return is_complete

    def _fail(self, path: Location, error: Exception) -> None:
        # an error without a sentence for the user is a bug, which a traceback should show
        if not is_for_the_user(error):
            raise error
        sentence = str(error)
        complain(sentence if path.name in sentence else f"{path.name}: {sentence}")
        self.rows.append(result_as_json(path, error=sentence))
        self.failed += 1


def run_prediction(steps: Generator[TileReport, None, PredictionReport], title: str) -> tuple[PredictionReport, int]:
    """Run a prediction to its end and show its progress; returns its report and the number of new tiles."""
    areas: list[int] = []

    def progress(report: TileReport) -> Progress:
        """Progress with the area predicted so far."""
        areas.append(report.tile.core.area)
        return _tile_progress(report, sum(areas))

    return follow(steps, title, progress), len(areas)


def _tile_progress(report: TileReport | TileOfMany, pixels: int) -> Progress:
    speed = pixels / 1e6 / max(report.seconds, 1e-3)
    return Progress(report.finished, report.total, f"{speed:.2g} Mpx/s", report.seconds_left)


def parse_region(text: str) -> Box:
    """Region of the command line, Y0:Y1,X0:X1, as a box."""
    from napari_hrpn.core import Box

    try:
        return Box.parse(text)
    except ValueError as error:
        raise CommandError(str(error)) from error

"""``napari-hrpn predict``: the probe channel of slides, one after the other or on many processes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_hrpn.cli.messages import CommandError, complain, is_for_the_user
from napari_hrpn.cli.output_places import output_places
from napari_hrpn.cli.plane_options import PixelSizeOption, SeriesOption, TOption, ZOption, opening
from napari_hrpn.cli.predict_on_workers import follow_slides
from napari_hrpn.cli.prediction_summary import summary, time_spent
from napari_hrpn.cli.progress import Step, follow
from napari_hrpn.cli.signals import Stop, stop_on_signals
from napari_hrpn.cli.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_hrpn.core import Box
    from napari_hrpn.inference import PredictionReport, PredictionSettings, TileReport
    from napari_hrpn.inference.cluster import EndedSlide, SlideRequest
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.slides import Location, Slide

GO_ON = "run the same command again to go on."


def predict(
    slides: Annotated[
        list[str],
        typer.Argument(metavar="SLIDE", help="Image files, OME-Zarrs or addresses of such, folders of stains."),
    ],
    output: Annotated[
        str,
        typer.Option("-o", "--output", metavar="OUT", help="A folder, or its address; for one slide NAME.ome.zarr."),
    ],
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A trained network; the one that comes along if not given.")
    ] = None,
    nuclei: Annotated[
        str | None, typer.Option(metavar="NAME", help="Channel of the nuclei: its name or number.")
    ] = None,
    vessels: Annotated[str | None, typer.Option(metavar="NAME", help="Channel of the vessels.")] = None,
    region: Annotated[
        str | None, typer.Option(metavar="Y0:Y1,X0:X1", help="Only the tiles that meet these pixels.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[
        str, typer.Option(metavar="TYPE", help="fp32, bf16 or fp16; halves err by a few per cent.")
    ] = "fp32",
    core: Annotated[
        int | None, typer.Option(metavar="PX", help="Side of a tile, a multiple of 512; from the memory if not given.")
    ] = None,
    halo: Annotated[
        int | None,
        typer.Option(metavar="PX", help="Margin that the network sees around a tile; measured if not given."),
    ] = None,
    memory: Annotated[float | None, typer.Option(metavar="GB", help="Memory that one tile may take.")] = None,
    resample: Annotated[bool, typer.Option("--resample", help="Show the slide at the pixel size trained on.")] = False,
    output_type: Annotated[
        str, typer.Option(metavar="TYPE", help="float32, or probe for the pixel type trained on.")
    ] = "float32",
    skip_blank: Annotated[bool, typer.Option(help="Fill what holds no tissue rather than compute it.")] = True,
    series: SeriesOption = None,
    z: ZOption = None,
    t: TOption = None,
    pixel_size: PixelSizeOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a prediction made with other settings.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Predict in N processes of this machine, one per GPU.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="tls://HOST:PORT", help="Predict on the workers of this dask.distributed.")
    ] = None,
    profile: Annotated[bool, typer.Option("--profile", help="Say where the time of each slide went.")] = False,
) -> None:
    """Predict the probe channel of slides from their nuclei and vessels.

    Each slide becomes OUT/NAME.predicted.ome.zarr, of the slide's own size and pixel size. A prediction that
    was stopped, however, goes on where it was when the same command is run again.

    \b
    Examples:
      napari-hrpn predict slide.ome.tif -o predicted
      napari-hrpn predict scans/*.nd2 -o predicted --nuclei DAPI --vessels CD31
      napari-hrpn predict slide.ome.tif -o part.ome.zarr --region 0:4096,2048:8192
      napari-hrpn predict slide.ome.tif -o predicted --device cuda:1 --precision bf16
      napari-hrpn predict scans/*.nd2 -o predicted --workers 4
      napari-hrpn predict /shared/*.ome.zarr -o /shared/predicted --scheduler tcp://node1:8786
      napari-hrpn predict s3://bucket/slide.ome.zarr -o s3://bucket/predicted
    """  # noqa: D301
    from napari_hrpn.slides import as_location

    # first what takes no time to find wrong
    places = output_places([as_location(slide) for slide in slides], as_location(output))
    box = None if region is None else parse_region(region)
    processes = Workers(workers, scheduler)
    with stop_on_signals() as stop:
        from napari_hrpn.inference import PredictionSettings, choose_device
        from napari_hrpn.models import bundled_checkpoint, load_checkpoint

        choices: dict[str, Any] = {"precision": precision, "output": output_type}
        settings = PredictionSettings(
            halo=halo,
            core=core,
            memory_gb=memory,
            device=device,
            skip_blank=skip_blank,
            resample=resample,
            region=box,
            **choices,
        )
        if scheduler is None:
            choose_device(device)
        network = load_checkpoint(checkpoint or bundled_checkpoint())
        channels, plane = {"nuclei": nuclei, "vessels": vessels}, opening(series, z, t, pixel_size)
        order = _Order(network, settings, channels, plane, overwrite, profile)
        order.check_roles()
        if processes.wanted:
            _predict_on_workers(places, order, processes, stop)
        else:
            _predict_all(places, order, stop)


@dataclass(frozen=True)
class _Order:
    """What is wanted of every slide."""

    checkpoint: Checkpoint
    settings: PredictionSettings
    channels: dict[str, str | None]
    plane: dict[str, Any]
    overwrite: bool
    profile: bool

    def check_roles(self) -> None:
        """Refuse a channel for a stain that the network does not look at."""
        roles = self.checkpoint.card.input_roles
        for role, channel in self.channels.items():
            if channel is not None and role not in roles:
                msg = f"the checkpoint looks at {' and '.join(roles)} alone; leave out --{role}."
                raise CommandError(msg)

    def steps(self, path: Location, place: Location, stop: Stop) -> Generator[TileReport, None, PredictionReport]:
        """Open a slide and begin with its prediction."""
        from napari_hrpn.inference import predict_slide

        slide, roles = self._opened(path)
        return predict_slide(
            slide, self.checkpoint, place, self.settings, roles=roles, overwrite=self.overwrite, stop=stop
        )

    def of_slide(self, path: Location, place: Location) -> SlideRequest:
        """Open a slide that workers will predict."""
        from napari_hrpn.inference.cluster import SlideRequest

        slide, roles = self._opened(path)
        return SlideRequest(slide, place, roles, self.overwrite)

    def _opened(self, path: Location) -> tuple[Slide, dict[str, int]]:
        from napari_hrpn.slides import find_channel, open_slide

        slide = open_slide(path, **self.plane)
        self._check_region(slide)
        named = {role: channel for role, channel in self.channels.items() if channel is not None}
        return slide, {role: find_channel(slide, channel) for role, channel in named.items()}

    def _check_region(self, slide: Slide) -> None:
        region, (height, width) = self.settings.region, slide.shape
        if region is not None and (region.y0 >= height or region.x0 >= width):
            msg = (
                f"the region {region.y0}:{region.y1},{region.x0}:{region.x1} lies outside of {slide.source.name}, "
                f"which has {height} rows and {width} columns."
            )
            raise CommandError(msg)


def _predict_all(places: dict[Location, Location], order: _Order, stop: Stop) -> None:
    failed = 0
    for path, place in places.items():
        if stop.is_set():
            _tell_how_to_go_on(stop)
        try:
            _predict_one(path, place, order, stop)
        except KeyboardInterrupt:
            _tell_how_to_go_on(stop)
        except Exception as error:
            _complain_of(path, error)
            failed += 1
    if failed:
        raise typer.Exit(2)


def _predict_one(path: Location, place: Location, order: _Order, stop: Stop) -> None:
    from napari_hrpn.slides import slide_name

    report, new = run_prediction(order.steps(path, place, stop), f"predicting {slide_name(path)}")
    _tell_of(path, report, new, profile=order.profile)
    if stop.is_set() and report.finished < report.total:
        _tell_how_to_go_on(stop)


def _predict_on_workers(places: dict[Location, Location], order: _Order, processes: Workers, stop: Stop) -> None:
    from napari_hrpn.inference.cluster import predict_slides

    paths, failed, complete = list(places), 0, 0

    def tell(slide: EndedSlide) -> None:
        nonlocal failed, complete
        path, report = paths[slide.number], slide.report
        if slide.error is not None:
            _complain_of(path, slide.error)
            failed += 1
        elif report is not None:
            _tell_of(path, report, slide.new_tiles, profile=order.profile)
            complete += report.finished == report.total

    orders = [partial(order.of_slide, path, place) for path, place in places.items()]
    try:
        with processes.connected(order.settings.device) as client:
            steps = predict_slides(orders, order.checkpoint, client, order.settings, stop=stop)
            follow_slides(steps, len(orders), tell)
    except KeyboardInterrupt:
        _tell_how_to_go_on(stop)
    if stop.is_set() and complete + failed < len(paths):
        _tell_how_to_go_on(stop)
    if failed:
        raise typer.Exit(2)


def _tell_of(path: Location, report: PredictionReport, new: int, *, profile: bool) -> None:
    if report.finished < report.total:
        kept = f"{report.finished} of {report.total} tiles are finished and kept in {report.path}"
        typer.echo(f"{path.name}: {kept}")
    else:
        typer.echo(f"{path.name}: {summary(report, new)}")
    if profile and new:
        typer.echo(time_spent(report))


def _complain_of(path: Location, error: Exception) -> None:
    if not is_for_the_user(error):
        raise error
    complain(_with_name(str(error), path))


def _tell_how_to_go_on(stop: Stop) -> None:
    typer.echo(f"Stopped; finished tiles are kept: {GO_ON}", err=True)
    raise typer.Exit(stop.exit_code)


def _with_name(sentence: str, path: Location) -> str:
    return sentence if path.name in sentence else f"{path.name}: {sentence}"


def run_prediction(steps: Generator[TileReport, None, PredictionReport], title: str) -> tuple[PredictionReport, int]:
    """Run a prediction to its end, showing how far and how fast it is."""
    seen: list[int] = []
    return follow(steps, title, _step_with_speed(seen)), len(seen)


def _step_with_speed(seen: list[int]) -> Callable[[TileReport], Step]:
    def step(report: TileReport) -> Step:
        seen.append(report.tile.core.area)
        speed = sum(seen) / 1e6 / max(report.seconds, 1e-3)
        return Step(report.finished, report.total, report.seconds_left, f"{speed:.2g} Mpx/s")

    return step


def parse_region(text: str) -> Box:
    """Read a region from the command line."""
    from napari_hrpn.core import Box

    match = re.fullmatch(r"\s*(\d+):(\d+)\s*,\s*(\d+):(\d+)\s*", text)
    box = Box(*map(int, match.groups())) if match else None
    if box is None or box.height < 1 or box.width < 1:
        msg = f"the region {text!r} is not one of Y0:Y1,X0:X1 with Y0 < Y1 and X0 < X1, such as 0:4096,2048:8192."
        raise CommandError(msg)
    return box

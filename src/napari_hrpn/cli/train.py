"""``napari-hrpn train``: a checkpoint from annotated slides; the same command goes on with what was stopped."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from napari_hrpn.cli.messages import CommandError, complain
from napari_hrpn.cli.plane_options import SeriesOption, TOption, ZOption
from napari_hrpn.cli.progress import Step, duration, follow
from napari_hrpn.cli.signals import stop_on_signals
from napari_hrpn.cli.train_slides import pairs, slide_entries

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_hrpn.cli.signals import Stop
    from napari_hrpn.training import CutReport, EpochRecord, EpochReport, StepReport, TrainingResult

    Report = CutReport | StepReport | EpochReport
    Work = Generator[Report, None, TrainingResult]

_GO_ON = "run the same command again to go on."
_AGREEMENT = ("validation_r", "validation_r2", "baseline_r", "baseline_r2")
_PARTS = 1000


def train(
    slides: Annotated[list[Path], typer.Argument(metavar="SLIDE", help="Slides in which the probe was imaged.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="RUN", help="Folder of the run.")],
    recipe: Annotated[str | None, typer.Option(metavar="NAME", help="paper, as published, or fast.")] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="hrpn or ganda.")] = None,
    tumour: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=ID", help="Tumour of a slide; its file name if not given. Repeat for each slide."),
    ] = None,
    validate: Annotated[
        str | None, typer.Option(metavar="TUMOUR", help="Tumour that chooses the epoch; one is held out if not given.")
    ] = None,
    test: Annotated[
        list[str] | None, typer.Option(metavar="TUMOUR", help="Tumour to leave out altogether. Repeat for more.")
    ] = None,
    regions: Annotated[
        Path | None,
        typer.Option(metavar="PLACE", help="GeoJSON of the only slide, or a folder with NAME.geojson for each."),
    ] = None,
    channels: Annotated[
        str | None, typer.Option(metavar="ROLE,ROLE", help="Input stains, such as nuclei,vessels.")
    ] = None,
    target: Annotated[str | None, typer.Option(metavar="ROLE", help="Stain to predict; probe if not given.")] = None,
    nuclei: Annotated[
        str | None, typer.Option(metavar="CHANNEL", help="Channel of the nuclei: its name or number.")
    ] = None,
    vessels: Annotated[str | None, typer.Option(metavar="CHANNEL", help="Channel of the vessels.")] = None,
    probe: Annotated[str | None, typer.Option(metavar="CHANNEL", help="Channel of the probe.")] = None,
    role: Annotated[
        list[str] | None, typer.Option(metavar="ROLE=CHANNEL", help="Channel of another stain. Repeat for more.")
    ] = None,
    branches: Annotated[int | None, typer.Option(metavar="N", help="Branches of HRPN, 1 to 4.")] = None,
    upsampling: Annotated[str | None, typer.Option(metavar="KIND", help="bilinear or transposed.")] = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Epochs at most.")] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", help="Steps per epoch, with random crops.")] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Patches per step.")] = None,
    patch: Annotated[int | None, typer.Option(metavar="PX", help="Side of a patch.")] = None,
    learning_rate: Annotated[float | None, typer.Option(metavar="X", help="Learning rate, at its peak.")] = None,
    max_minutes: Annotated[float | None, typer.Option(metavar="M", help="End by then.")] = None,
    device: Annotated[str | None, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")] = None,
    devices: Annotated[
        int | None, typer.Option(metavar="N", help="GPUs that train together; with cpu, processes.")
    ] = None,
    precision: Annotated[str | None, typer.Option(metavar="TYPE", help="auto, fp32 or bf16.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of everything random.")] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to keep cut patches, for runs to share.")
    ] = None,
    series: SeriesOption = None,
    z: ZOption = None,
    t: TOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a network on slides in which the probe was imaged.

    The folder RUN gets the checkpoint of the best epoch and the history. What is not given is as the recipe has
    it. A training that was stopped, however, goes on where it was when the same command is run again.

    \b
    Examples:
      napari-hrpn train tumours/*.ome.tif -o run
      napari-hrpn train t1.tif t2.tif t3.tif -o run --validate t3 --regions annotations --max-minutes 30
      napari-hrpn train a.nd2 b.nd2 c.nd2 -o run --tumour a=mouse1 --tumour b=mouse1 --probe Cy5
      napari-hrpn train slides/*.tif -o run --channels nuclei,vessels,fap --role fap=3 --recipe paper
      napari-hrpn predict new.ome.tif -o predicted --checkpoint run/checkpoint.safetensors
    """  # noqa: D301
    # first what takes no time to find wrong
    changes = {
        "channels": None if channels is None else tuple(name.strip() for name in channels.split(",") if name.strip()),
        "target": target,
        "branches": branches,
        "upsampling": upsampling,
        "epochs": epochs,
        "steps_per_epoch": steps,
        "batch": batch,
        "patch_px": patch,
        "learning_rate": learning_rate,
        "max_minutes": max_minutes,
        "device": device,
        "devices": devices,
        "precision": precision,
        "seed": seed,
    }
    roles = _roles({"nuclei": nuclei, "vessels": vessels, "probe": probe}, role or [])
    tumours = pairs(tumour or [], "--tumour", "NAME=ID")
    with stop_on_signals() as stop:
        from napari_hrpn.training import recipe_settings, train_model
        from napari_hrpn.training.devices import training_devices

        settings = recipe_settings(**_given({"recipe": recipe, "model": model, **changes}))
        _check_roles(roles, (*settings.channels, settings.target))
        training_devices(settings)
        entries = slide_entries(
            slides,
            tumours=tumours,
            test=test or (),
            roles=roles,
            regions=regions,
            plane={"series": series, "z": z, "t": t},
        )
        _run(train_model(entries, output, settings, validate=validate, cache=cache, stop=stop), stop, as_json=as_json)


def _given(choices: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in choices.items() if value is not None}


def _roles(named: dict[str, str | None], others: list[str]) -> dict[str, str]:
    roles: dict[str, str] = {**_given(named)}
    for role, channel in pairs(others, "--role", "ROLE=CHANNEL, such as fap=3").items():
        if role in roles:
            msg = f"the channel of {role} is given twice, by --{role} and --role; leave one out."
            raise CommandError(msg)
        roles[role] = channel
    return roles


def _check_roles(roles: dict[str, str], wanted: tuple[str, ...]) -> None:
    spare = next((role for role in roles if role not in wanted), None)
    if spare is not None:
        msg = (
            f"a channel is given for {spare}, but the network goes from {' and '.join(wanted[:-1])} to {wanted[-1]}; "
            "leave it out, or name it with --channels or --target."
        )
        raise CommandError(msg)


def _run(work: Work, stop: Stop, *, as_json: bool) -> None:
    try:
        result, new = _run_training(work)
    except KeyboardInterrupt:
        _tell_how_to_go_on(stop)
    typer.echo(json.dumps(_result_facts(result), ensure_ascii=False) if as_json else _summary(result, new=new))
    if result.complete:
        return
    if stop.is_set():
        _tell_how_to_go_on(stop)
    complain(result.reason or f"the training ended early; {_GO_ON}")
    raise typer.Exit(2)


def _tell_how_to_go_on(stop: Stop) -> NoReturn:
    typer.echo(f"Stopped; everything is kept: {_GO_ON}", err=True)
    raise typer.Exit(stop.exit_code)


def _run_training(work: Work) -> tuple[TrainingResult, bool]:
    """Run a training to its end, showing how far it is and a line per epoch."""
    from napari_hrpn.training import CutReport, TrainingResult

    with closing(work):
        first = report = _next(work)
        if isinstance(report, CutReport):
            report = follow(_cutting(work, report), "cutting patches", _cut_step)
        if not isinstance(report, TrainingResult):
            report = follow(_learning(work, report), "training", _training_step)
        return report, report is not first


def _next(work: Work) -> Report | TrainingResult:
    try:
        return next(work)
    except StopIteration as end:
        result: TrainingResult = end.value
        return result


def _cutting(work: Work, first: CutReport) -> Generator[CutReport, None, Report | TrainingResult]:
    """The first part of the work, which counts patches; it returns what came after."""
    from napari_hrpn.training import CutReport

    report: Report | TrainingResult = first
    while isinstance(report, CutReport):
        yield report
        report = _next(work)
    return report


def _learning(work: Work, first: Report) -> Generator[Report, None, TrainingResult]:
    from napari_hrpn.training import TrainingResult

    report: Report | TrainingResult = first
    while not isinstance(report, TrainingResult):
        yield report
        report = _next(work)
    return report


def _cut_step(report: CutReport) -> Step:
    return Step(report.done, report.total, note=report.slide)


def _training_step(report: Report) -> Step:
    from napari_hrpn.training import EpochReport, StepReport

    if isinstance(report, EpochReport):
        # typer.echo would write into the bar, which rich keeps out of the way of what is printed
        print(_epoch_line(report), file=sys.stderr, flush=True)
        return _step_by_time(report.record.seconds, report.seconds_left, f"epoch {report.record.epoch}")
    assert isinstance(report, StepReport)
    note = f"epoch {report.epoch}, loss {report.loss:.4g}, {report.patches_per_second:.3g} patches/s"
    return _step_by_time(report.seconds, report.seconds_left, note)


def _step_by_time(seconds: float, seconds_left: float, note: str) -> Step:
    """How far the training is by its time, which may run out before its epochs do."""
    return Step(int(_PARTS * seconds / max(seconds + seconds_left, 1e-9)), _PARTS, seconds_left, note)


def _epoch_line(report: EpochReport) -> str:
    """Say in a line how an epoch went."""
    record = report.record
    best = " (best so far)" if report.best_epoch == record.epoch else ""
    losses = f"loss {record.train_loss:.4g}, validation {record.validation_loss:.4g}"
    return f"epoch {record.epoch} of {report.epochs}: {losses}{_agreement(record)}{best}"


def _agreement(record: EpochRecord) -> str:
    """How well the validation patches are predicted, beside blurred inputs."""
    if record.validation_r is None or record.validation_r2 is None:
        return ""
    beside = "" if record.baseline_r is None else f" (blurred inputs {record.baseline_r:.3f})"
    return f", r {record.validation_r:.3f}{beside}, R2 {record.validation_r2:.3f}"


def _summary(result: TrainingResult, *, new: bool) -> str:
    """Say in a line what a training left."""
    facts = _result_facts(result)
    if result.checkpoint is None:
        return f"no epoch is finished yet: {result.folder}"
    epochs = f"{facts['epochs']} epoch{'' if facts['epochs'] == 1 else 's'}"
    state = f"{epochs} in {duration(facts['seconds'])}" if new else "already complete"
    best = f"epoch {result.best_epoch} is the best, with a validation loss of {facts['validation_loss']:.4g}"
    return f"{state}; {best}: {result.checkpoint}"


def _result_facts(result: TrainingResult) -> dict[str, Any]:
    """Collect what there is to say about a training."""
    best = next((record for record in result.history if record.epoch == result.best_epoch), None)
    return {
        "checkpoint": None if result.checkpoint is None else str(result.checkpoint),
        "best_epoch": result.best_epoch,
        "validation_loss": None if best is None else best.validation_loss,
        **{name: None if best is None else getattr(best, name) for name in _AGREEMENT},
        "epochs": len(result.history),
        "complete": result.complete,
        "seconds": result.history[-1].seconds if result.history else 0.0,
        "reason": result.reason,
    }

"""``napari-hrpn train``: a checkpoint from annotated slides; a training that was stopped is resumed."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_hrpn.cli.options import ChannelOptions, Chosen, Classes, From, ImageOptions, chosen_classes
from napari_hrpn.cli.terminal import GO_ON, CommandError, Stop, complain, duration, follow, stop_on_signals
from napari_hrpn.core import Progress
from napari_hrpn.settings import TrainingSettings, recipe_settings
from napari_hrpn.settings.training import NO_VALIDATION

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from napari_hrpn.training import CutReport, EpochReport, SlideEntry, StepReport, TrainingResult

    Report = CutReport | StepReport | EpochReport

_NUMBERS = ("validation_loss", "validation_r", "validation_r2", "baseline_r", "baseline_r2")
_REGION_ENDINGS = (".geojson", ".geojson.gz", ".json", ".tif", ".tiff", ".png", ".npy")


def train(
    slides: Annotated[list[Path], typer.Argument(metavar="SLIDE", help="Slides in which the probe was imaged.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="RUN", help="Folder of the run.")],
    chosen: Annotated[Chosen, From(TrainingSettings, has_defaults=False)],
    channels: ChannelOptions,
    image: ImageOptions,
    tumour: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=ID", help="Tumour of a slide; its file name if not given. Repeat for each slide."),
    ] = None,
    validate: Annotated[
        str | None,
        typer.Option(
            metavar="TUMOUR",
            help="Tumour that chooses the epoch; one is held out if not given, and with none the last epoch is kept.",
        ),
    ] = None,
    test: Annotated[
        list[str] | None, typer.Option(metavar="TUMOUR", help="Tumour to leave out, for a later test. Repeat for more.")
    ] = None,
    regions: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="GeoJSON of the only slide, or a folder with NAME.geojson for each slide."),
    ] = None,
    class_: Classes = None,
    role: Annotated[
        list[str] | None, typer.Option(metavar="ROLE=CHANNEL", help="Channel of another stain. Repeat for more.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder for cut patches that several runs share.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a network on slides in which the probe was imaged.

    Writes the checkpoint of the best epoch and the history into RUN. Options that are not given are those of the
    recipe. To resume a training that was stopped or killed, run the same command again.

    \b
    Examples:
      napari-hrpn train tumours/*.ome.tif -o run
      napari-hrpn train t1.tif t2.tif t3.tif -o run --validate t3 --regions annotations --max-minutes 30
      napari-hrpn train a.nd2 b.nd2 c.nd2 -o run --tumour a=mouse1 --tumour b=mouse1 --probe Cy5
      napari-hrpn train slides/*.tif -o run --inputs nuclei,vessels,fap --role fap=3 --recipe paper
      napari-hrpn predict new.ome.tif -o predicted --checkpoint run/checkpoint.safetensors
    """  # noqa: D301
    # what can be refused at once is checked before torch is imported, which takes seconds
    settings = recipe_settings(**chosen)
    roles = _roles(channels, _pairs(role, "--role", "ROLE=CHANNEL, such as fap=3"), settings)
    classes = chosen_classes(class_, {"--regions": regions})
    tumours = _by_slide(slides, _pairs(tumour, "--tumour", "NAME=ID"))
    with stop_on_signals(f"Stopped; everything is kept: {GO_ON}") as stop:
        from napari_hrpn.training import SlideEntry, train_model
        from napari_hrpn.training.multi_device import training_devices

        training_devices(settings)
        drawn = _regions_by_slide(slides, regions)
        entries = [
            SlideEntry(
                slide.absolute(), tumours.get(slide, ""), roles=roles, regions=drawn[slide], classes=classes, **image
            )
            for slide in slides
        ]
        entries = _with_test(entries, test or [])
        work = train_model(entries, output, settings, validate=validate, cache=cache, stop=stop)
        run_training(work, stop, as_json=as_json, is_validated=validate != NO_VALIDATION)


def _pairs(words: Sequence[str] | None, option: str, what: str) -> dict[str, str]:
    """Read options of the form NAME=VALUE."""
    pairs: dict[str, str] = {}
    for word in words or ():
        name, _, value = (part.strip() for part in word.partition("="))
        if not name or not value or name in pairs:
            msg = f"{option} got {word!r}; expected {what}, each name once."
            raise CommandError(msg)
        pairs[name] = value
    return pairs


def _roles(named: Chosen, others: dict[str, str], settings: TrainingSettings) -> dict[str, str]:
    """Channels by role; a role that is neither input nor target of the network is refused."""
    inputs, target = settings.stains, settings.target
    for role in others:
        if role in named:
            msg = f"the channel of {role} is given twice, by --{role} and --role; leave one out."
            raise CommandError(msg)
    roles = {**named, **others}
    for role in roles:
        if role not in (*inputs, target):
            msg = (
                f"a channel is given for {role}, but the network predicts {target} from {' and '.join(inputs)}; "
                "leave it out, or name it with --inputs or --target."
            )
            raise CommandError(msg)
    return roles


def _by_slide(slides: Sequence[Path], tumours: Mapping[str, str]) -> dict[Path, str]:
    """Tumour of each slide that --tumour names, by its path, file name, or name without suffix."""
    from napari_hrpn.slides import slide_name

    tumour_of: dict[Path, str] = {}
    for name, tumour in tumours.items():
        named = [slide for slide in slides if name in (slide_name(slide), slide.name, str(slide))]
        if not named:
            msg = f"--tumour names {name!r}; expected one of the slides {', '.join(map(slide_name, slides))}."
            raise CommandError(msg)
        tumour_of |= dict.fromkeys(named, tumour)
    return tumour_of


def _with_test(entries: list[SlideEntry], test: list[str]) -> list[SlideEntry]:
    ids = dict.fromkeys(entry.tumour_id for entry in entries)
    unknown = next((name for name in test if name not in ids), None)
    if unknown is not None:
        msg = f"there is no tumour {unknown!r} to keep for testing; expected one of {', '.join(ids)}."
        raise CommandError(msg)
    return [replace(entry, part="test") if entry.tumour_id in test else entry for entry in entries]


def _regions_by_slide(slides: Sequence[Path], regions: Path | None) -> dict[Path, Path | None]:
    if regions is None:
        return dict.fromkeys(slides)
    if not regions.exists():
        msg = f"there is no file or folder {regions}; expected regions as GeoJSON or label image."
        raise CommandError(msg)
    if regions.is_dir():
        return {slide: _regions_of(slide, regions) for slide in slides}
    if len(slides) > 1:
        msg = f"{regions} has the regions of one slide but {len(slides)} are given; name a folder of such files."
        raise CommandError(msg)
    return {slides[0]: regions.absolute()}


def _regions_of(slide: Path, folder: Path) -> Path:
    from napari_hrpn.slides import slide_name

    files = [folder / f"{slide_name(slide)}{ending}" for ending in _REGION_ENDINGS]
    existing = next((file for file in files if file.is_file()), None)
    if existing is None:
        msg = f"{folder} has no regions for {slide.name}; expected {files[0].name}: add it, or leave out --regions."
        raise CommandError(msg)
    return existing.absolute()


def run_training(
    work: Generator[Report, None, TrainingResult], stop: Stop, *, as_json: bool, is_validated: bool
) -> None:
    """Run a training to its end, and show its progress and a line per epoch."""
    reports = 0

    def progress(report: Report) -> Progress:
        """Count a report, and return its progress."""
        nonlocal reports
        reports += 1
        return _progress(report, is_validated=is_validated)

    result = follow(work, "training", progress, part_of=_part_title)
    facts = _result_facts(result, is_validated=is_validated)
    typer.echo(json.dumps(facts, ensure_ascii=False) if as_json else _summary(result, facts, is_new=reports > 0))
    if result.complete:
        return
    if stop.is_set():
        stop.leave()
    complain(result.reason or f"the training ended early; {GO_ON}")
    raise typer.Exit(2)


def _part_title(report: Report) -> str:
    from napari_hrpn.training import CutReport

    return "cutting patches" if isinstance(report, CutReport) else "training"


def _progress(report: Report, *, is_validated: bool) -> Progress:
    from napari_hrpn.training import CutReport, EpochReport

    if isinstance(report, CutReport):
        return Progress(report.done, report.total, report.slide)
    if isinstance(report, EpochReport):
        # rich moves its bar out of the way of print, but not of typer.echo
        print(_epoch_line(report, is_validated=is_validated), file=sys.stderr, flush=True)
        seconds, note = report.record.seconds, f"epoch {report.record.epoch}"
    else:
        seconds = report.seconds
        note = f"epoch {report.epoch}, loss {report.loss:.4g}, {report.patches_per_second:.3g} patches/s"
    # the share of time, not of epochs: --max-minutes may end the training before its last epoch
    share = seconds / max(seconds + report.seconds_left, 1e-9)
    return Progress(share, 1, note, report.seconds_left)


def _epoch_line(report: EpochReport, *, is_validated: bool) -> str:
    """One line on an epoch: its losses, and r and R2 on the validation patches beside the r of blurred inputs."""
    record = report.record
    judged_on = "validation" if is_validated else "slides trained on"
    numbers = f"loss {record.train_loss:.4g}, {judged_on} {record.validation_loss:.4g}"
    if record.validation_r is not None and record.validation_r2 is not None:
        blurred = "" if record.baseline_r is None else f" (blurred inputs {record.baseline_r:.3f})"
        numbers += f", r {record.validation_r:.3f}{blurred}, R2 {record.validation_r2:.3f}"
    best = " (best so far)" if is_validated and report.best_epoch == record.epoch else ""
    return f"epoch {record.epoch} of {report.epochs}: {numbers}{best}"


def _summary(result: TrainingResult, facts: dict[str, Any], *, is_new: bool) -> str:
    """One line on what a training has made."""
    if result.checkpoint is None:
        return f"no epoch is finished yet: {result.folder}"
    epochs = f"{facts['epochs']} epoch{'' if facts['epochs'] == 1 else 's'}"
    state = f"{epochs} in {duration(facts['seconds'])}" if is_new else "already complete"
    loss = facts["validation_loss"]
    best = f"epoch {result.best_epoch} is " + (
        "kept" if loss is None else f"the best, with a validation loss of {loss:.4g}"
    )
    return f"{state}; {best}: {result.checkpoint}"


def _result_facts(result: TrainingResult, *, is_validated: bool) -> dict[str, Any]:
    """Facts about a training, as JSON has them."""
    best = next((record for record in result.history if record.epoch == result.best_epoch), None)
    return {
        "checkpoint": None if result.checkpoint is None else str(result.checkpoint),
        "best_epoch": result.best_epoch,
        **{name: getattr(best, name, None) if is_validated else None for name in _NUMBERS},
        "epochs": len(result.history),
        "complete": result.complete,
        "seconds": result.history[-1].seconds if result.history else 0.0,
        "reason": result.reason,
    }

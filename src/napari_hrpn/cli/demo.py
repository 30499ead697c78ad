"""``napari-hrpn demo``: the whole way of a slide on a made-up tumour, into one folder."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_hrpn.cli.convert import write_slide
from napari_hrpn.cli.messages import CommandError
from napari_hrpn.cli.phantom import noise_free_slide
from napari_hrpn.cli.plane_options import OverwriteOption
from napari_hrpn.cli.predict import GO_ON, run_prediction
from napari_hrpn.cli.prediction_summary import summary
from napari_hrpn.cli.progress import Step, duration, follow
from napari_hrpn.cli.signals import stop_on_signals
from napari_hrpn.cli.viewer import open_viewer

if TYPE_CHECKING:
    from napari_hrpn.analysis import Agreement, PairReport, SlideAgreement
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.phantom import Phantom
    from napari_hrpn.slides import Slide

_PROBE = 2
_RECORD = "demo.json"


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for all that is made.")],
    size: Annotated[int, typer.Option(metavar="PX", help="Height and width of the tumour.")] = 2048,
    seed: Annotated[int, typer.Option(metavar="N", help="Another number makes another tumour.")] = 1,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A trained network; the one that comes along if not given.")
    ] = None,
    viewer: Annotated[bool, typer.Option(help="Open napari at the end, where there is a display.")] = True,
    overwrite: OverwriteOption = False,
) -> None:
    """Make a tumour, predict its probe channel, measure how well, and show it.

    Writes into DIR: phantom.ome.tif (the slide), phantom.predicted.ome.zarr, overview.png (real, predicted,
    overlay), agreement.csv and agreement.json. Run again, it makes only what is missing.

    \b
    Examples:
      napari-hrpn demo -o demo
      napari-hrpn demo -o demo-large --size 8192 --seed 7 --no-viewer
    """  # noqa: D301
    started = time.monotonic()
    from napari_hrpn.models import bundled_checkpoint, load_checkpoint
    from napari_hrpn.phantom import phantom_slide

    network = load_checkpoint(checkpoint or bundled_checkpoint())
    made = phantom_slide("tumour", size=size, seed=seed)
    wanted = _Tumour("tumour", size, seed)
    _begin(output, wanted, overwrite=overwrite)
    slide = _slide_in(output, made)
    prediction = _prediction_in(output, slide, network)
    measured, ceiling = _measure(slide, prediction, made)
    _write(output, slide, prediction, measured, ceiling, wanted)
    _print_table(measured, ceiling)
    typer.echo(f"\nAll in {output}, made in {duration(time.monotonic() - started)}; look at {output / 'overview.png'}")
    if viewer:
        typer.echo(open_viewer([slide.source, prediction.source], output / "napari.log"))


@dataclass(frozen=True)
class _Tumour:
    """What a demo's folder was made from."""

    preset: str
    size: int
    seed: int


def _begin(folder: Path, wanted: _Tumour, *, overwrite: bool) -> None:
    """Make the folder, or make sure that an earlier run with the same tumour did."""
    if folder.exists() and not folder.is_dir():
        msg = f"{folder} is a file; name a folder for the demo."
        raise CommandError(msg)
    record = folder / _RECORD
    found = _recorded(record)
    if found == asdict(wanted):
        return
    if found is None and folder.is_dir() and any(folder.iterdir()):
        msg = f"{folder} holds other files; name a new or empty folder for the demo."
        raise CommandError(msg)
    if found is not None and not overwrite:
        there = f"a demo of size {found.get('size')} and seed {found.get('seed')}"
        msg = f"{folder} holds {there}; name another folder, or --overwrite it."
        raise CommandError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "phantom.ome.tif").unlink(missing_ok=True)
    record.write_text(json.dumps(asdict(wanted)) + "\n", encoding="utf-8")


def _recorded(record: Path) -> dict[str, object] | None:
    try:
        found = json.loads(record.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _slide_in(folder: Path, made: Phantom) -> Slide:
    from napari_hrpn.slides import open_slide

    path = folder / "phantom.ome.tif"
    if path.exists():
        typer.echo(f"tumour      already there: {path}")
    else:
        started = time.monotonic()
        write_slide(made.slide, path, overwrite=False)
        typer.echo(f"tumour      in {duration(time.monotonic() - started)}: {path}")
    return open_slide(path)


def _prediction_in(folder: Path, slide: Slide, checkpoint: Checkpoint) -> Slide:
    from napari_hrpn.inference import predict_slide
    from napari_hrpn.slides import open_slide

    place = folder / "phantom.predicted.ome.zarr"
    with stop_on_signals() as stop:
        # the folder is the demo's own: a prediction by an older checkpoint may go
        steps = predict_slide(slide, checkpoint, place, overwrite=True, stop=stop)
        report, new = run_prediction(steps, "predicting")
        if stop.is_set():
            typer.echo(f"Stopped; what is finished is kept: {GO_ON}", err=True)
            raise typer.Exit(stop.exit_code)
    typer.echo(f"prediction  {summary(report, new)}")
    return open_slide(place)


def _measure(slide: Slide, prediction: Slide, made: Phantom) -> tuple[SlideAgreement, SlideAgreement]:
    """Compare the real probe with the predicted one and, for the ceiling, with its noise-free image."""
    from napari_hrpn.analysis import slide_agreement, tissue_mask

    tissue = tissue_mask(slide, 0)
    measured = follow(slide_agreement(slide, _PROBE, prediction, tissue=tissue), "measuring", _step)
    perfect = noise_free_slide(made)
    return measured, follow(slide_agreement(slide, _PROBE, perfect, tissue=tissue), "finding the ceiling", _step)


def _step(report: PairReport) -> Step:
    return Step(report.done, report.total)


def _write(
    folder: Path, slide: Slide, prediction: Slide, measured: SlideAgreement, ceiling: SlideAgreement, wanted: _Tumour
) -> None:
    from napari_hrpn.reports import write_agreement, write_overview

    ceilings = {region: row.r2 for region, row in _rows(ceiling).items()}
    about = {"slide": slide.source.name, "prediction": prediction.source.name, "phantom": asdict(wanted)}
    write_agreement(_rows(measured), folder, r2_ceilings=ceilings, about=about)
    write_overview(
        slide,
        _PROBE,
        prediction,
        folder / "overview.png",
        agreement=_rows(measured)["tissue"],
        r2_ceiling=ceilings["tissue"],
    )


def _rows(measured: SlideAgreement) -> dict[str, Agreement]:
    assert measured.tissue is not None
    return {"tissue": measured.tissue, "frame": measured.frame}


def _print_table(measured: SlideAgreement, ceiling: SlideAgreement) -> None:
    rows, best = _rows(measured).values(), _rows(ceiling).values()
    typer.echo(f"\n{'':<22}{'tissue':>12}{'whole frame':>14}")
    for name, numbers in (
        ("R2", [f"{row.r2:.3f}" for row in rows]),
        ("R2 of a perfect model", [f"{row.r2:.3f}" for row in best]),
        ("Pearson r", [f"{row.pearson_r:.3f}" for row in rows]),
        ("RMSE, grey levels", [f"{row.rmse:.3f}" for row in rows]),
        ("PSNR, dB", [f"{row.psnr_db:.2f}" for row in rows]),
        ("pixels", [f"{row.n:,}" for row in rows]),
    ):
        typer.echo(f"{name:<22}{numbers[0]:>12}{numbers[1]:>14}")

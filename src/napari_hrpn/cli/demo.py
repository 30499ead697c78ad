"""``napari-hrpn demo``: phantom, prediction and evaluation in one folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_hrpn.cli.convert import write_slide
from napari_hrpn.cli.options import Overwrite
from napari_hrpn.cli.phantom import Seed, noise_free_slide
from napari_hrpn.cli.predict import CheckpointOption, run_prediction
from napari_hrpn.cli.prediction_words import summary
from napari_hrpn.cli.terminal import CommandError, duration, follow, stop_on_signals
from napari_hrpn.core.files import saved_json
from napari_hrpn.settings.networks import SYNTHETIC

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_hrpn.analysis import Agreement
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.phantom import Phantom
    from napari_hrpn.slides import Location, Slide

# channel of the probe in a phantom
_PROBE = 2


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for all output files.")],
    size: Annotated[int, typer.Option(metavar="PX", help="Height and width of the tumour.")] = 2048,
    seed: Seed = 1,
    checkpoint: CheckpointOption = None,
    viewer: Annotated[bool, typer.Option(help="Open napari at the end, if there is a display.")] = True,
    overwrite: Overwrite = False,
) -> None:
    """Make a tumour, predict its probe channel, measure how well, and show it.

    Writes into DIR: phantom.ome.tif (the slide), phantom.predicted.ome.zarr, overview.png (real, predicted,
    overlay), agreement.csv and agreement.json. When run again, it makes only what is missing.

    \b
    Examples:
      napari-hrpn demo -o demo
      napari-hrpn demo -o demo-large --size 8192 --seed 7 --no-viewer
    """  # noqa: D301
    started = time.monotonic()
    from napari_hrpn.analysis import slide_agreement, tissue_mask
    from napari_hrpn.models import checkpoint_path, load_checkpoint
    from napari_hrpn.phantom import phantom_slide
    from napari_hrpn.reports import write_agreement, write_overview

    network = load_checkpoint(checkpoint_path(checkpoint or SYNTHETIC))
    phantom = phantom_slide("tumour", size=size, seed=seed)
    tumour = {"preset": "tumour", "size": size, "seed": seed}
    _prepare_folder(output, tumour, overwrite=overwrite)
    slide = _slide_in(output, phantom)
    prediction = _prediction_in(output, slide, network)
    tissue = tissue_mask(slide, 0)

    def _measured(image: Slide, title: str) -> dict[str, Agreement]:
        agreement = follow(slide_agreement(slide, _PROBE, image, tissue=tissue), title)
        assert agreement.tissue is not None
        return {"tissue": agreement.tissue, "frame": agreement.frame}

    # the ceiling is what a perfect model reaches, which predicts all but the camera's noise
    rows, ceiling = _measured(prediction, "measuring"), _measured(noise_free_slide(phantom), "finding the ceiling")
    ceilings = {region: row.r2 for region, row in ceiling.items()}
    about = {"slide": slide.source.name, "prediction": prediction.source.name, "phantom": tumour}
    write_agreement(rows, output, r2_ceilings=ceilings, about=about)
    overview = output / "overview.png"
    write_overview(slide, _PROBE, prediction, overview, agreement=rows["tissue"], r2_ceiling=ceilings["tissue"])
    _print_table(rows, ceilings)
    typer.echo(f"\nAll in {output}, made in {duration(time.monotonic() - started)}; open {overview}")
    if viewer:
        typer.echo(_open_viewer([slide.source, prediction.source], output / "napari.log"))


def _prepare_folder(folder: Path, tumour: dict[str, object], *, overwrite: bool) -> None:
    """Make the folder, unless an earlier demo with the same tumour is there; refuse other contents."""
    if folder.exists() and not folder.is_dir():
        msg = f"{folder} is a file; name a folder for the demo."
        raise CommandError(msg)
    record = folder / "demo.json"
    earlier = saved_json(record, CommandError)
    if earlier == tumour:
        return
    if earlier is None and folder.is_dir() and any(folder.iterdir()):
        msg = f"{folder} holds other files; name a new or empty folder for the demo."
        raise CommandError(msg)
    if earlier is not None and not overwrite:
        demo_words = f"a demo of size {earlier.get('size')} and seed {earlier.get('seed')}"
        msg = f"{folder} holds {demo_words}; name another folder, or --overwrite it."
        raise CommandError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    # a slide of another tumour must go; the prediction is replaced later, since it was made from that slide
    (folder / "phantom.ome.tif").unlink(missing_ok=True)
    record.write_text(json.dumps(tumour) + "\n", encoding="utf-8")


def _slide_in(folder: Path, phantom: Phantom) -> Slide:
    from napari_hrpn.slides import open_slide

    path, started, state = folder / "phantom.ome.tif", time.monotonic(), "already there"
    if not path.exists():
        write_slide(phantom.slide, path, overwrite=False)
        state = f"in {duration(time.monotonic() - started)}"
    typer.echo(f"tumour      {state}: {path}")
    return open_slide(path)


def _prediction_in(folder: Path, slide: Slide, checkpoint: Checkpoint) -> Slide:
    from napari_hrpn.inference import predict_slide
    from napari_hrpn.slides import open_slide

    store = folder / "phantom.predicted.ome.zarr"
    with stop_on_signals() as stop:
        # the folder belongs to the demo, so a prediction by an older checkpoint may be replaced
        steps = predict_slide(slide, checkpoint, store, overwrite=True, stop=stop)
        report, new = run_prediction(steps, "predicting")
        if stop.is_set():
            stop.leave()
    typer.echo(f"prediction  {summary(report, new)}")
    return open_slide(store)


def _print_table(rows: dict[str, Agreement], ceilings: dict[str, float]) -> None:
    typer.echo(f"\n{'':<22}{'tissue':>12}{'whole frame':>14}")
    for name, key, digits in (
        ("R2", "r2", ".3f"),
        ("R2 of a perfect model", "", ".3f"),
        ("Pearson r", "pearson_r", ".3f"),
        ("RMSE, grey levels", "rmse", ".3f"),
        ("PSNR, dB", "psnr_db", ".2f"),
        ("pixels", "n", ","),
    ):
        numbers = [getattr(row, key) for row in rows.values()] if key else ceilings.values()
        tissue, frame = (format(number, digits) for number in numbers)
        typer.echo(f"{name:<22}{tissue:>12}{frame:>14}")


def viewer_command(paths: Sequence[Location], *python: str) -> list[str]:
    """Command that opens slides in napari with this package's reader."""
    return [*(python or ["napari"]), *map(str, paths), "--plugin", "napari-hrpn"]


def why_no_viewer(platform: str, environment: Mapping[str, str]) -> str:
    """Reason why napari cannot be opened here; empty if it can."""
    if find_spec("napari") is None:
        return 'napari is not installed (pip install "napari-hrpn[all]")'
    has_screen = platform in {"darwin", "win32"} or environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
    return "" if has_screen else "there is no display"


def _open_viewer(paths: Sequence[Location], log: Path) -> str:
    """Open slides in napari, in a separate process that outlives this one; returns a sentence for the user."""
    reason = why_no_viewer(sys.platform, os.environ)
    if reason:
        return f"To open it in napari ({reason} here): {' '.join(viewer_command(paths))}"
    command = viewer_command([path.resolve() for path in paths], sys.executable, "-m", "napari")
    with log.open("wb") as output:
        # a new session, on Windows a new group: Ctrl-C in this terminal must not close the viewer
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    return f"napari opens in its own window; its messages go to {log}"

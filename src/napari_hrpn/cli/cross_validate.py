"""``napari-hrpn cross-validate``: a whole study from its file, and on from wherever it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_hrpn.cli.progress import Step, duration, follow
from napari_hrpn.cli.signals import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.experiments import ResultRow, Study, StudyReport

_THOUSANDTHS = 1000


def cross_validate(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="Which slides, tumours and models.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for everything that is made.")],
    models: Annotated[
        str | None, typer.Option(metavar="NAMES", help="hrpn, ganda or hrpn,ganda; as the study says if not given.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(metavar="NAME", help="fast or paper.")] = None,
    ablations: Annotated[
        bool | None,
        typer.Option("--ablations/--no-ablations", help="The ablation grid, the paper's where the study has none."),
    ] = None,
    folds: Annotated[
        bool | None, typer.Option("--folds/--no-folds", help="Leave out each tumour in turn, or only test at the end.")
    ] = None,
    max_minutes: Annotated[float | None, typer.Option(metavar="M", help="Longest time for each training.")] = None,
    device: Annotated[str | None, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")] = None,
    devices: Annotated[
        int | None, typer.Option(metavar="N", help="GPUs that train each network together; with cpu, processes.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of everything random.")] = None,
) -> None:
    """Train on all tumours but one, in turn, then on all; measure on what was held out; compare.

    STUDY.toml names the slides, their tumours and the models; the manual's page on cross-validation shows one.
    Writes into DIR: results.csv and results.parquet (a row per model, fold, slide and region), table.md, table.csv,
    figures/, and a folder in runs/ for each network. A study that was stopped, however, goes on when the same
    command is run again.

    \b
    Examples:
      napari-hrpn cross-validate study.toml -o study
      napari-hrpn cross-validate study.toml -o quick --models hrpn --max-minutes 10 --no-ablations
      napari-hrpn cross-validate study.toml -o study --recipe paper --device cuda:1
    """  # noqa: D301
    from napari_hrpn.experiments import IncompleteStudyError, read_study
    from napari_hrpn.experiments import cross_validate as carry_out

    changes = {"max_minutes": max_minutes, "device": device, "devices": devices, "seed": seed}
    wanted = _changed(read_study(study), models, recipe, {"ablations": ablations, "folds": folds}, changes)
    with stop_on_signals() as stop:
        steps = carry_out(wanted, output, stop=stop)
        try:
            table = follow(steps, wanted.title or study.stem, _step)
        except IncompleteStudyError as error:
            _report(error.args[1], wanted, output)
            raise
    if table is None:
        typer.echo("Stopped; what is finished is kept: run the same command again to go on.", err=True)
        raise typer.Exit(stop.exit_code)
    _report(table, wanted, output)


def _changed(
    study: Study, models: str | None, recipe: str | None, parts: dict[str, bool | None], settings: dict[str, Any]
) -> Study:
    """The study as the command line wants it."""
    from dataclasses import replace

    from napari_hrpn.experiments import Ablations

    changes: dict[str, Any] = {}
    if models is not None:
        changes["models"] = tuple(name.strip() for name in models.split(","))
    if recipe is not None:
        changes["recipe"] = recipe
    if parts["ablations"] is not None:
        changes["ablations"] = (study.ablations or Ablations()) if parts["ablations"] else None
    if parts["folds"] is not None:
        changes["folds"] = parts["folds"]
    given = {name: value for name, value in settings.items() if value is not None}
    return replace(study, **changes).with_settings(**given)


def _step(report: StudyReport) -> Step:
    """Where the study is; a network that was just finished gets a line of its own."""
    from napari_hrpn.training import StepReport

    if isinstance(report.inner, tuple):
        typer.echo(_finished(report.experiment, report.inner))
    note = f"{report.done} of {report.total} networks, {report.experiment}"
    if isinstance(report.inner, StepReport):
        note += f", epoch {report.inner.epoch} of {report.inner.epochs}"
    done = round(_THOUSANDTHS * (report.done + report.share))
    return Step(done, _THOUSANDTHS * report.total, note=note)


def _finished(experiment: str, rows: Sequence[ResultRow]) -> str:
    numbers = ", ".join(f"{row.slide} R2 {row.r2:.3f} r {row.pearson_r:.3f}" for row in rows if row.region == "tissue")
    return f"{experiment}: {numbers or 'nothing to measure'}; trained in {duration(rows[0].seconds)}"


def _report(table: Path, study: Study, folder: Path) -> None:
    from napari_hrpn.experiments import ablation_rows, read_results, summarised
    from napari_hrpn.reports import write_study_figures, write_study_table

    rows = read_results(table)
    models, grid = [row for row in rows if not row.ablation], ablation_rows(rows)
    page = write_study_table(summarised(models), summarised(grid), folder, study.title)
    figures = write_study_figures(models, grid, folder / "figures")
    typer.echo(f"{len(rows)} rows in {table}, their means in {page}, {len(figures)} figures in {folder / 'figures'}")

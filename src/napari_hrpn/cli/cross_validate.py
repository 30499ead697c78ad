"""``napari-hrpn cross-validate``: a study as its file describes it, resumed if it was stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_hrpn.cli.options import Chosen, From, OutputFolder
from napari_hrpn.cli.terminal import duration, follow, stop_on_signals
from napari_hrpn.core import Progress
from napari_hrpn.settings import TrainingSettings

if TYPE_CHECKING:
    from napari_hrpn.experiments import Study, StudyReport


def cross_validate(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="Slides, tumours and models of the study.")],
    output: OutputFolder,
    chosen: Annotated[
        Chosen,
        From(TrainingSettings, "recipe", "max_minutes", "device", "devices", "seed", has_defaults=False),
    ],
    models: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Networks, with commas between, such as hrpn,ganda; those of the study if not given."
        ),
    ] = None,
    ablations: Annotated[
        bool | None,
        typer.Option("--ablations/--no-ablations", help="Train the ablation grid of the study, or else the paper's."),
    ] = None,
    folds: Annotated[
        bool | None, typer.Option("--folds/--no-folds", help="Leave out each tumour in turn, besides the final test.")
    ] = None,
) -> None:
    """Train on all tumours but one, in turn, then on all; measure on the held-out tumours; compare.

    STUDY.toml names the slides, their tumours and the models; the manual's page on cross-validation has an example.
    Writes into DIR: results.csv and results.parquet (a row per model, fold, slide and region), table.md, table.csv,
    figures/, uncertainty.json (errors on the held-out tumours, for predict --study), and a folder in runs/ for each
    network. To resume a study that was stopped or killed, run the same command again.

    \b
    Examples:
      napari-hrpn cross-validate study.toml -o study
      napari-hrpn cross-validate study.toml -o quick --models hrpn --max-minutes 10 --no-ablations
      napari-hrpn cross-validate study.toml -o study --recipe paper --device cuda:1
    """  # noqa: D301
    from napari_hrpn.experiments import Ablations, IncompleteStudyError, read_study
    from napari_hrpn.experiments import cross_validate as run_study

    described = read_study(study)
    changes: Chosen = {} if models is None else {"models": tuple(name.strip() for name in models.split(","))}
    if "recipe" in chosen:
        changes["recipe"] = chosen.pop("recipe")
    if ablations is not None:
        changes["ablations"] = (described.ablations or Ablations()) if ablations else None
    if folds is not None:
        changes["folds"] = folds
    described = replace(described, **changes).with_settings(**chosen)
    with stop_on_signals() as stop:
        try:
            table = follow(run_study(described, output, stop=stop), described.title or study.stem, _progress)
        except IncompleteStudyError as error:
            # the networks that did succeed are still worth a table
            _report(error.args[1], described, output)
            raise
    if table is None:
        stop.leave()
    _report(table, described, output)


def _progress(report: StudyReport) -> Progress:
    """Progress of the study; a network that has just finished gets a line of its own."""
    from napari_hrpn.training import StepReport

    note = f"{report.done} of {report.total} networks, {report.experiment}"
    if isinstance(report.inner, tuple):
        rows = report.inner
        numbers = [f"{row.slide} R2 {row.r2:.3f} r {row.pearson_r:.3f}" for row in rows if row.region == "tissue"]
        words = ", ".join(numbers) or "nothing to measure"
        typer.echo(f"{report.experiment}: {words}; trained in {duration(rows[0].seconds)}")
    elif isinstance(report.inner, StepReport):
        note += f", epoch {report.inner.epoch} of {report.inner.epochs}"
    return Progress(report.done + report.share, report.total, note)


def _report(table: Path, study: Study, folder: Path) -> None:
    from napari_hrpn.experiments import ablation_rows, read_results, summarised
    from napari_hrpn.reports import write_study_figures, write_study_table

    rows = read_results(table)
    models, grid = [row for row in rows if not row.ablation], ablation_rows(rows)
    page = write_study_table(summarised(models), summarised(grid), folder, study.title)
    figures = write_study_figures(models, grid, folder / "figures")
    typer.echo(f"{len(rows)} rows in {table}, their means in {page}, {len(figures)} figures in {folder / 'figures'}")

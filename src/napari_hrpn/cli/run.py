"""``napari-hrpn run`` and ``napari-hrpn rerun``: the steps of a recipe, and an output made again from its recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_hrpn.cli.evaluate import evaluate
from napari_hrpn.cli.predict import predict
from napari_hrpn.cli.report import report
from napari_hrpn.cli.terminal import GO_ON, CommandError, stop_on_signals
from napari_hrpn.cli.train import run_training
from napari_hrpn.settings import recipe_settings
from napari_hrpn.settings.training import NO_VALIDATION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_hrpn.cli.options import Chosen
    from napari_hrpn.recipes import Command

_DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the commands that it stands for, and do nothing.")]


def run_(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="Slides, and what to do with them.")],
    only: Annotated[
        str, typer.Option(metavar="STEP", help="Do only this step: train, predict, evaluate or report.")
    ] = "",
    dry_run: _DryRun = False,
) -> None:
    """Carry out a recipe: train, predict, evaluate and report, as far as the recipe has these steps.

    Each step is the command of that name. To resume a recipe that was stopped or killed, run the same command again;
    what is finished is not done again.

    \b
    Examples:
      napari-hrpn run recipe.toml
      napari-hrpn run recipe.toml --dry-run
      napari-hrpn run recipe.toml --only evaluate
    """  # noqa: D301
    from napari_hrpn.recipes import read_recipe, recipe_commands

    _carry_out(recipe_commands(read_recipe(recipe), only), dry_run=dry_run)


def rerun(
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="A run, a prediction or a folder of them, an evaluation, a cohort.")
    ],
    new: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="NEW", help="Make it here instead, and leave OUTPUT alone.")
    ] = None,
    dry_run: _DryRun = False,
) -> None:
    """Make an output again, or to its end, from the recipe beside it.

    Refuses if a slide, a checkpoint or another file is not what it was. An output that is complete is left as it is;
    with --output, the same is made elsewhere, to compare.

    \b
    Examples:
      napari-hrpn rerun evaluation
      napari-hrpn rerun predicted/slide.predicted.ome.zarr -o again.ome.zarr
      napari-hrpn rerun run --dry-run
    """  # noqa: D301
    from napari_hrpn.recipes import check_hashes, output_recipes, read_recipe, recipe_commands

    recipes = output_recipes(output)
    if new is not None and len(recipes) > 1 and new.suffix == ".zarr":
        msg = f"{new} can hold one prediction but {output} has {len(recipes)}; name a folder."
        raise CommandError(msg)
    commands: list[Command] = []
    for path, place in recipes.items():
        recipe = read_recipe(path)
        check_hashes(recipe)
        target = place if new is None else new / place.name if len(recipes) > 1 else new
        commands += (_made_in(target.absolute(), command) for command in recipe_commands(recipe))
    _carry_out(commands, dry_run=dry_run)


def _made_in(place: Path, command: Command) -> Command:
    """A command with another output; its recipe, which names the old one, does not stand for it."""
    if Path(command.output).resolve() == place.resolve():
        return command
    return replace(command, output=str(place), source=None)


def _carry_out(commands: Sequence[Command], *, dry_run: bool) -> None:
    from napari_hrpn.recipes import command_lines

    if dry_run:
        typer.echo("\n".join(command_lines(commands)))
        return
    for command in commands:
        _STEPS[command.step](command)


def _train(command: Command) -> None:
    options = command.options
    with stop_on_signals(f"Stopped; everything is kept: {GO_ON}") as stop:
        from napari_hrpn.training import SlideEntry, train_model

        classes = tuple(options.get("class", ()))
        entries = [SlideEntry(**_of_training(slide), classes=classes) for slide in command.slides]
        validate, settings = options.get("validate"), recipe_settings(**command.chosen)
        work = train_model(
            entries, Path(command.output), settings, validate=validate, cache=options.get("cache"), stop=stop
        )
        run_training(work, stop, as_json=False, is_validated=validate != NO_VALIDATION)


def _of_training(slide: Mapping[str, Any]) -> dict[str, Any]:
    """What a training takes of a slide."""
    return {key: value for key, value in slide.items() if key not in ("predicted", "roi", "mask")}


def _predict(command: Command) -> None:
    predict(list(command.places), command.output, *_groups(command), **_options(command))


def _evaluate(command: Command) -> None:
    real, *predicted = command.places
    evaluate(real, predicted, command.output, *_groups(command), **_options(command))


def _report(command: Command) -> None:
    report(list(map(Path, command.places)), Path(command.output))


def _groups(command: Command) -> tuple[Chosen, Chosen, Chosen, Chosen]:
    """Values of the groups of options that predict and evaluate share; the last is that of the workers."""
    return dict(command.channels), dict(command.chosen), dict(command.plane), {}


def _options(command: Command) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in command.options.items()}


_STEPS = {"train": _train, "predict": _predict, "evaluate": _evaluate, "report": _report}

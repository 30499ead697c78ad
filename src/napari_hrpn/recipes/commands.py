"""Commands of a recipe: what each of its steps asks of the command line."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from napari_hrpn.recipes.recipe import CHECKPOINT, Recipe, RecipeError, Table
from napari_hrpn.settings import recipe_settings
from napari_hrpn.slides import slide_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_hrpn.slides import Location

_PLANE = ("series", "z", "t", "pixel_size")
ROLES = ("nuclei", "vessels", "probe")
"""Channels that are options of commands by themselves."""


@dataclass(frozen=True)
class Command:
    """A command that a step of a recipe stands for.

    Attributes
    ----------
    step : str
        Its name.
    places : tuple of str
        Slides, predictions or folders that it reads.
    output : str
        What it writes.
    chosen : mapping of str to object
        Fields of its settings.
    channels : mapping of str to str
        Channels by role.
    plane : mapping of str to object
        Image, plane and pixel size of the slides.
    options : mapping of str to object
        Its other options, named like the parameters of the command.
    slides : tuple of mapping
        Tables of the slides of a training.
    source : pathlib.Path or None
        File of the recipe.
    """

    step: str
    places: tuple[str, ...]
    output: str
    chosen: Table = field(default_factory=dict)
    channels: Mapping[str, str] = field(default_factory=dict)
    plane: Table = field(default_factory=dict)
    options: Table = field(default_factory=dict)
    slides: tuple[Table, ...] = ()
    source: Path | None = None


def recipe_commands(recipe: Recipe, only: str = "") -> tuple[Command, ...]:
    """Commands that a recipe stands for, in order.

    Parameters
    ----------
    recipe : Recipe
        The recipe.
    only : str
        The only step that is wanted; all if empty.

    Returns
    -------
    tuple of Command
        A training; a prediction for all slides whose channels and planes are named alike; an evaluation for each slide;
        a report.

    Raises
    ------
    RecipeError
        If the recipe has no such step, or steps that do not fit together.
    """
    if only and only not in recipe.steps:
        msg = f"the step {only!r} is not in the recipe; expected one of {', '.join(recipe.steps)}."
        raise RecipeError(msg)
    # all are made, so that what does not fit together is refused before the first one is carried out
    makers = {"train": _train, "predict": _predict, "evaluate": _evaluate, "report": _report}
    made = [command for step in recipe.steps for command in makers[step](recipe)]
    return tuple(command for command in made if only in ("", command.step))


def predicted_place(slide: Location, folder: Location) -> Location:
    """Prediction of a slide in a folder.

    Parameters
    ----------
    slide : pathlib.Path or UPath
        The slide.
    folder : pathlib.Path or UPath
        Folder of predictions.

    Returns
    -------
    pathlib.Path or UPath
        Its path or address.
    """
    return folder / f"{slide_name(slide)}.predicted.ome.zarr"


def _train(recipe: Recipe) -> Iterator[Command]:
    table, chosen = recipe.steps["train"], recipe.chosen("train")
    for number, slide in enumerate(recipe.slides, start=1):
        if "pixel_size" in slide:
            msg = (
                f"slide {number} has a pixel_size, and train reads that of the file; leave it out, or leave out train."
            )
            raise RecipeError(msg)
    yield Command(
        "train",
        tuple(str(slide["path"]) for slide in recipe.slides),
        str(table["folder"]),
        chosen,
        options={key: table[key] for key in ("validate", "cache", "class") if key in table},
        slides=recipe.slides,
        source=recipe.source,
    )


def _predict(recipe: Recipe) -> Iterator[Command]:
    table = recipe.steps["predict"]
    given = {key: table[key] for key in ("checkpoint", "study", "region", "copy", "ome_zarr") if key in table}
    if "train" in recipe.steps and not given.keys() & {"checkpoint", "study"}:
        given["checkpoint"] = (recipe.steps["train"]["folder"] / CHECKPOINT,)
    # the command takes one region at a time
    regions = given.pop("region", ())
    parts = [{"region": region} for region in ((regions,) if isinstance(regions, str) else regions)] or [{}]
    _check_distinct(_predicted(recipe), "predicted into")
    alike: dict[str, list[Table]] = {}
    for slide in recipe.slides:
        alike.setdefault(repr([channels_of(slide), plane_of(slide)]), []).append(slide)
    for slides, part in product(alike.values(), parts):
        yield Command(
            "predict",
            tuple(str(slide["path"]) for slide in slides),
            str(table["folder"]),
            recipe.chosen("predict"),
            _inputs(channels_of(slides[0]), given, recipe),
            plane_of(slides[0]),
            {**given, **part},
            source=recipe.source,
        )


def _predicted(recipe: Recipe) -> list[Location]:
    output: Location = recipe.steps["predict"]["folder"]
    if output.suffix == ".zarr":
        return [output for _ in recipe.slides]
    return [predicted_place(slide["path"], output) for slide in recipe.slides]


def _inputs(channels: dict[str, str], given: Table, recipe: Recipe) -> dict[str, str]:
    """Channels of those roles that are inputs of the network."""
    if not channels:
        return {}
    networks = given.get("checkpoint", ())
    if "train" in recipe.steps and recipe.steps["train"]["folder"] / CHECKPOINT in networks:
        stains: Sequence[str] = recipe_settings(**recipe.chosen("train")).stains
    else:
        from napari_hrpn.models import bundled_checkpoint, checkpoint_path, load_checkpoint

        studied = sorted(given["study"].glob(f"runs/*/{CHECKPOINT}")) if "study" in given else []
        path = next(iter([*studied, *map(checkpoint_path, networks)]), bundled_checkpoint())
        stains = load_checkpoint(path).card.stains
    return {role: channel for role, channel in channels.items() if role in stains}


def _evaluate(recipe: Recipe) -> Iterator[Command]:
    table = recipe.steps["evaluate"]
    if "drawn" in table:
        msg = (
            f"{' and '.join(table['drawn'])} were drawn in napari; save them as GeoJSON, name that file, delete drawn."
        )
        raise RecipeError(msg)
    made = _predicted(recipe) if "predict" in recipe.steps else [None for _ in recipe.slides]
    folders = _evaluations(recipe)
    _check_distinct(folders, "evaluated into")
    shared = {"class_": table.get("class"), **{key: table.get(key) for key in ("name", "calibrated")}}
    for number, (slide, prediction, folder) in enumerate(zip(recipe.slides, made, folders, strict=True), start=1):
        predicted = slide.get("predicted", () if prediction is None else (prediction,))
        if not predicted:
            msg = f"slide {number} has no prediction to evaluate; expected a table predict, or predicted of the slide."
            raise RecipeError(msg)
        given = {**{key: slide.get(key) for key in ("roi", "mask", "tumour")}, **shared}
        yield Command(
            "evaluate",
            (str(slide["path"]), *map(str, predicted)),
            str(folder),
            recipe.chosen("evaluate"),
            {role: channel for role, channel in channels_of(slide).items() if role in ROLES},
            plane_of(slide),
            {key: value for key, value in given.items() if value},
            source=recipe.source,
        )


def _evaluations(recipe: Recipe) -> list[Location]:
    output = recipe.steps["evaluate"]["folder"]
    return [output] if len(recipe.slides) == 1 else [output / slide_name(slide["path"]) for slide in recipe.slides]


def _report(recipe: Recipe) -> Iterator[Command]:
    table = recipe.steps["report"]
    evaluations = table.get("evaluations") or (_evaluations(recipe) if "evaluate" in recipe.steps else ())
    if not evaluations:
        msg = "there is nothing to report on; expected a table evaluate, or evaluations of report."
        raise RecipeError(msg)
    yield Command("report", tuple(map(str, evaluations)), str(table["folder"]), source=recipe.source)


def _check_distinct(places: Sequence[Location], doing: str) -> None:
    # some file systems do not distinguish upper and lower case
    place, count = Counter(str(place).casefold() for place in places).most_common(1)[0]
    if count > 1:
        msg = f"{count} slides would be {doing} {place}; expected a folder, and slides with different names."
        raise RecipeError(msg)


def channels_of(slide: Table) -> dict[str, str]:
    """Channels of a slide by role, as on a command line."""
    return {role: str(channel) for role, channel in slide.get("roles", {}).items()}


def plane_of(slide: Table) -> dict[str, Any]:
    """Image, plane and pixel size of a slide, as on a command line."""
    found = {key: slide[key] for key in _PLANE if slide.get(key) is not None}
    if "pixel_size" in found:
        sizes = found["pixel_size"]
        found["pixel_size"] = ",".join(str(float(um)) for um in (sizes if isinstance(sizes, list | tuple) else [sizes]))
    return found

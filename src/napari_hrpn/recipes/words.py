"""Words of the command line that a command of a recipe stands for."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING

from napari_hrpn.core.options import options
from napari_hrpn.recipes.commands import ROLES, channels_of, plane_of
from napari_hrpn.recipes.recipe import SETTINGS, RecipeError, Table
from napari_hrpn.settings import TrainingSettings, recipe_settings
from napari_hrpn.slides import slide_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from napari_hrpn.recipes.commands import Command


def command_lines(commands: Iterable[Command]) -> tuple[str, ...]:
    """Commands as lines that can be pasted into a terminal of this system.

    Parameters
    ----------
    commands : iterable of Command
        The commands.

    Returns
    -------
    tuple of str
        Lines, each once.
    """
    join = subprocess.list2cmdline if os.name == "nt" else shlex.join
    return tuple(dict.fromkeys(join(command_words(command)) for command in commands))


def command_words(command: Command) -> tuple[str, ...]:
    """Words of a command, without the options that have their default.

    Parameters
    ----------
    command : Command
        A command of a recipe.

    Returns
    -------
    tuple of str
        Program, command, arguments and options. If the command has no option for something in the recipe, such as
        channels that are named otherwise in each slide of a training, the words carry out that step of the recipe.

    Raises
    ------
    RecipeError
        If they would have to do so, and the recipe is of no file.
    """
    step, given = command.step, _given(command)
    changed = _setting_words(step, command.chosen)
    if given is not None and changed is not None:
        return ("napari-hrpn", step, *command.places, "-o", command.output, *changed, *_option_words(given))
    if command.source is None:
        msg = f"no options of napari-hrpn {step} say all of this; save it as a recipe, and run that."
        raise RecipeError(msg)
    return ("napari-hrpn", "run", str(command.source), "--only", step)


def _given(command: Command) -> Table | None:
    """Options beside the settings; None if the command has none for some of it."""
    if command.step == "train":
        return _training_options(command)
    has_options = set(command.channels) <= {*ROLES}
    return {**command.channels, **command.plane, **command.options} if has_options else None


def _setting_words(step: str, chosen: Table) -> list[str] | None:
    """Options for values that are not the default; None if one has no option."""
    if step not in SETTINGS:
        return []
    standard = vars(SETTINGS[step]())
    if step == "train":
        named = {name: chosen.get(name, standard[name]) for name in ("recipe", "model")}
        recipe = vars(recipe_settings(**named))
        standard = {**recipe, **{name: getattr(TrainingSettings(), name) for name in named}}
    known, words = options(SETTINGS[step]), []
    for name, value in chosen.items():
        if value == standard[name]:
            continue
        if name not in known or not known[name].flag:
            return None
        on, _, off = known[name].flag.split()[0].partition("/")
        if isinstance(value, bool):
            words.append(on if value else off)
        else:
            words += [on, ",".join(value) if isinstance(value, tuple) else str(value)]
    return words


def _option_words(given: Table) -> Iterator[str]:
    for name, value in given.items():
        for part in value if isinstance(value, list | tuple) else [value]:
            yield f"--{name.strip('_').replace('_', '-')}"
            if part is not True:
                yield str(part)


def _training_options(command: Command) -> Table | None:
    """Options of a training; None if its slides differ in what the command says of all of them."""
    slides, settings = command.slides, recipe_settings(**command.chosen)
    alike = [repr([channels_of(slide), plane_of(slide)]) for slide in slides]
    channels, tumours = channels_of(slides[0]), dict[str, set[str]]()
    for slide in slides:
        tumours.setdefault(slide.get("tumour") or slide_name(slide["path"]), set()).add(slide.get("part", "auto"))
    regions = _regions_option(slides)
    is_said = len(set(alike)) == 1 and set(channels) <= {*settings.stains, settings.target} and regions is not None
    # a training knows a channel by its name or by its number, and on a command line both are text
    is_said &= all(isinstance(channel, str) for channel in slides[0].get("roles", {}).values())
    if not is_said or any(parts not in ({"auto"}, {"test"}) for parts in tumours.values()):
        return None
    others = [f"{role}={channel}" for role, channel in channels.items() if role not in ROLES]
    named = [f"{slide['path']}={slide['tumour']}" for slide in slides if slide.get("tumour")]
    if any(word.count("=") > 1 for word in (*others, *named)):
        return None
    return {
        **{role: channel for role, channel in channels.items() if role in ROLES},
        **plane_of(slides[0]),
        "tumour": named,
        "test": [tumour for tumour, parts in tumours.items() if parts == {"test"}],
        "regions": regions,
        "role": others,
        **command.options,
    }


def _regions_option(slides: Sequence[Table]) -> list[Path] | None:
    """What --regions names: nothing, the file of the only slide, or the folder; None if that says less."""
    drawn: list[Path] = [slide["regions"] for slide in slides if "regions" in slide]
    if not drawn or len(slides) == 1:
        return drawn
    expected = [f"{slide_name(slide['path'])}.geojson" for slide in slides]
    is_folder = [path.name for path in drawn] == expected and len({path.parent for path in drawn}) == 1
    return [drawn[0].parent] if is_folder else None

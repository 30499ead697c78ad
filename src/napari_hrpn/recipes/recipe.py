"""Recipe: slides and the steps train, predict, evaluate and report, as read from a TOML file and checked.

Steps and their keys are a closed list, so that a recipe of a stranger can do nothing but these steps.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from napari_hrpn.core import Box
from napari_hrpn.recipes.toml_file import TomlFile
from napari_hrpn.settings import EvaluationSettings, PredictionSettings, TrainingSettings, recipe_settings
from napari_hrpn.settings.networks import BUNDLED
from napari_hrpn.slides import as_location, is_address
from napari_hrpn.slides.location import user_path
from napari_hrpn.slides.metadata import OLDER_VERSION

if TYPE_CHECKING:
    from napari_hrpn.slides import Location

Table = Mapping[str, Any]

FORMAT = "napari-hrpn recipe 1"
SETTINGS: Mapping[str, type] = {
    "train": TrainingSettings,
    "predict": PredictionSettings,
    "evaluate": EvaluationSettings,
}
"""Steps with settings, and the class whose fields are their keys."""
_KEYS: Mapping[str, Table] = {
    "train": {"folder": str, "validate": str, "cache": str, "class": list[str]},
    "predict": {
        "folder": str, "checkpoint": str | list[str], "study": str, "region": str | list[str],
        "copy": str, "ome_zarr": str,
    },
    "evaluate": {"folder": str, "name": list[str], "calibrated": bool, "class": list[str], "drawn": list[str]},
    "report": {"folder": str, "evaluations": list[str]},
}  # fmt: skip
STEPS = tuple(_KEYS)
"""Steps of a recipe, in the order in which they are done."""
_TOP = {
    "format": str, "versions": dict, "hashes": dict, **dict.fromkeys(STEPS, dict), "slide": list[dict[str, Any]],
}  # fmt: skip
_SLIDE = {
    "path": str, "tumour": str, "part": Literal["auto", "train", "validation", "test"], "regions": str, "roles": dict,
    "series": int, "z": int | str, "t": int, "pixel_size": float | list[float],
    "predicted": list[str], "roi": str, "mask": str,
}  # fmt: skip
_LARGEST_PIXEL_UM = 1e6
CHECKPOINT = "checkpoint.safetensors"
"""What a training leaves in its folder."""


class RecipeError(ValueError):
    """A recipe cannot be read or carried out; the message says what was found, what was expected and what to do."""


class RecipeWarning(UserWarning):
    """A recipe is carried out or an output made, but something about its recipe should be known."""


@dataclass(frozen=True)
class Recipe:
    """Slides, and what is done with them.

    Attributes
    ----------
    slides : tuple of mapping
        Tables of the slides, with the keys of the file; paths are absolute.
    steps : mapping of str to mapping
        Tables of the steps, in order: fields of their settings, "folder" (the output), other options of the command.
    hashes : mapping
        Hash of each file that the recipe was made with, by its path or the name of a bundled checkpoint.
    versions : mapping of str to str
        Versions of the packages that it was made with.
    source : pathlib.Path or None
        The file; None if it has not been saved.
    """

    slides: tuple[Table, ...]
    steps: Mapping[str, Table]
    hashes: Mapping[Any, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    source: Path | None = None

    def chosen(self, step: str) -> dict[str, Any]:
        """Values of a step that are fields of its settings.

        Parameters
        ----------
        step : str
            "train", "predict", "evaluate" or "report", which has none.

        Returns
        -------
        dict of str to object
            Values by field.
        """
        names = get_type_hints(SETTINGS[step]).keys() - _KEYS[step].keys() if step in SETTINGS else ()
        return {name: value for name, value in self.steps[step].items() if name in names}


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe, and check that it could be carried out.

    Parameters
    ----------
    path : str or Path
        TOML with the tables train, predict, evaluate and report, at least one of them, and a table slide for each
        slide; paths in it are relative to it.

    Returns
    -------
    Recipe
        The recipe, with absolute paths.

    Raises
    ------
    RecipeError
        If the file is wrong; the sentence names the key and the file.
    """
    file = TomlFile(user_path(path).absolute(), RecipeError, "recipe")
    content = file.content()
    _check_kind(content, file)
    file.check(content, _TOP)
    return Recipe(
        slides=tuple(
            _slide(table, f"slide {number}", content, file)
            for number, table in enumerate(content.get("slide", []), start=1)
        ),
        steps={step: _step(step, content, file) for step in STEPS if step in content},
        hashes={_network(name, file): str(found) for name, found in content.get("hashes", {}).items()},
        versions={name: str(found) for name, found in content.get("versions", {}).items()},
        source=file.path,
    )


def _check_kind(content: Table, file: TomlFile) -> None:
    if content.get("format", FORMAT) != FORMAT:
        msg = (
            f"format of {file.path.name} is {content['format']!r}; expected {FORMAT!r}: if a newer version of "
            "napari-hrpn wrote it, update this one."
        )
        raise RecipeError(msg)
    named = [step for step in STEPS if step in content]
    if not named:
        msg = (
            f"{file.path.name} has none of the tables {', '.join(STEPS)}; expected a recipe (the file of a study is "
            "for napari-hrpn cross-validate)."
        )
        raise RecipeError(msg)
    if not content.get("slide") and named != ["report"]:
        msg = f"{file.path.name} has no slide to {named[0]}; expected a table [[slide]] with a path for each."
        raise RecipeError(msg)


def _slide(table: dict[str, Any], where: str, content: Table, file: TomlFile) -> Table:
    file.check_slide(table, _SLIDE, where)
    found = {**table, "path": _place(table["path"], file, f"path of {where}")}
    sizes = table.get("pixel_size", [1.0])
    sizes = sizes if isinstance(sizes, list) else [sizes]
    # an integer may have more digits than a float can
    if not 1 <= len(sizes) <= 2 or not all(0 < size < _LARGEST_PIXEL_UM for size in sizes):
        msg = f"pixel_size of {where} in {file.path.name} is not one or two lengths in µm; expected a number like 0.5."
        raise RecipeError(msg)
    for key in ("regions", "roi", "mask"):
        if key in table:
            found[key] = _place(table[key], file, f"{key} of {where}")
    if "predicted" in table:
        # a prediction may be one that this recipe makes
        key = "" if "predict" in content else f"predicted of {where}"
        found["predicted"] = tuple(_place(name, file, key) for name in table["predicted"])
    return found


def _step(step: str, content: Table, file: TomlFile) -> Table:
    table = content[step]
    hints = get_type_hints(SETTINGS[step]) if step in SETTINGS else {}
    parts: dict[str, Any] = {
        name: kind for name, kind in hints.items() if is_dataclass(kind) and name not in _KEYS[step]
    }
    file.check(table, {**hints, **dict.fromkeys(parts, dict), **_KEYS[step]}, step)
    if "folder" not in table:
        msg = f"there is no folder of {step} in {file.path.name}; expected the one to write to."
        raise RecipeError(msg)
    found = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    try:
        _check_plain(table)
        for name, kind in parts.items():
            if name in table:
                file.check(table[name], get_type_hints(kind), f"{step}.{name}")
                values = {key: tuple(value) if isinstance(value, list) else value for key, value in table[name].items()}
                found[name] = kind(**values)
        found |= _places(step, table, content, file)
        _check_settings(step, Recipe((), {step: found}).chosen(step))
    except RecipeError:
        raise
    except ValueError as error:
        msg = f"{step} in {file.path.name} does not work: {error}"
        raise RecipeError(msg) from error
    return found


def _check_plain(table: Table) -> None:
    """Refuse values that a command would refuse, which may be hours after the first step has begun."""
    regions = table.get("region", ())
    for region in (regions,) if isinstance(regions, str) else regions:
        Box.parse(region)
    if "checkpoint" in table and not table["checkpoint"]:
        msg = "checkpoint is empty; expected one or more, or no such key."
        raise ValueError(msg)
    if table.get("ome_zarr", OLDER_VERSION) != OLDER_VERSION or ("ome_zarr" in table and "copy" not in table):
        msg = f"ome_zarr is that of a copy; expected {OLDER_VERSION!r}, and the key copy."
        raise ValueError(msg)


def _check_settings(step: str, chosen: dict[str, Any]) -> None:
    """Refuse values out of their range; the settings do that themselves."""
    if step == "train":
        recipe_settings(**chosen)
    elif step in SETTINGS:
        SETTINGS[step](**chosen)


def _places(step: str, table: Table, content: Table, file: TomlFile) -> dict[str, Any]:
    """Paths and addresses of a step."""
    found: dict[str, Any] = {key: _place(table[key], file) for key in ("folder", "cache", "copy") if key in table}
    if "study" in table:
        found["study"] = _place(table["study"], file, f"study of {step}")
    if "evaluations" in table:
        key = "" if "evaluate" in content else f"evaluations of {step}"
        found["evaluations"] = tuple(_place(name, file, key) for name in table["evaluations"])
    if "start" in table:
        found["start"] = str(_network(table["start"], file, f"start of {step}"))
    if "checkpoint" in table:
        names = [table["checkpoint"]] if isinstance(table["checkpoint"], str) else table["checkpoint"]
        # the network may be the one that this recipe trains
        made = str(content.get("train", {}).get("folder", ""))
        trained = _place(made, file) / CHECKPOINT if made else None
        networks = (_network(name, file) for name in names)
        found["checkpoint"] = tuple(
            network if network == trained else _network(name, file, f"checkpoint of {step}")
            for name, network in zip(names, networks, strict=True)
        )
    return found


def _network(name: str, file: TomlFile, key: str = "") -> Location | str:
    """Name of a bundled checkpoint, or a path."""
    return name if name in BUNDLED else _place(name, file, key)


def _place(name: str, file: TomlFile, key: str = "") -> Location:
    """Address, or absolute path without ".."; with a key, a path has to exist."""
    if is_address(name):
        return as_location(name)
    path = file.existing(name, key) if key else file.beside(name)
    plain = Path(os.path.normpath(path))
    # behind a link, ".." is another folder than in the text
    return plain if plain.exists() or not path.exists() else path

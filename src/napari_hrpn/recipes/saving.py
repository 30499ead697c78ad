"""Recipe files: written by a user's wish or beside an output, and found beside it again."""

from __future__ import annotations

import hashlib
import os
import platform
import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from napari_hrpn.core.files import replaced_file
from napari_hrpn.recipes.recipe import FORMAT, STEPS, Recipe, RecipeError, RecipeWarning
from napari_hrpn.settings.networks import BUNDLED

if TYPE_CHECKING:
    from napari_hrpn.slides import Location, Slide

_NAME = "recipe.toml"
_HEAD = "# How napari-hrpn made this output; napari-hrpn rerun makes it again. sha256 of the lines below: "
_PACKAGES = ("napari-hrpn", "numpy", "torch")


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe in one step, with the versions of now; an existing file is replaced.

    Parameters
    ----------
    recipe : Recipe
        The recipe; its paths are written relative to the file.
    path : pathlib.Path
        File to write.
    """
    with replaced_file(path) as partial:
        partial.write_text(_text(recipe, path.parent.absolute()), encoding="utf-8", newline="\n")


def save_output_recipe(recipe: Recipe | None, output: Location) -> None:
    """Write the recipe of an output beside it, unless a file that this program did not write so is in the way.

    Parameters
    ----------
    recipe : Recipe or None
        How the output is made; None if files alone do not say that.
    output : pathlib.Path or UPath
        The output; beside those in object storage nothing is written.
    """
    if recipe is None or not isinstance(output, Path):
        return
    path = _recipe_path(output)
    try:
        content = path.read_text(encoding="utf-8") if path.exists() else None
        head, _, text = (content or "").partition("\n")
        if content is not None and head != _HEAD + _digest(text):
            words = (
                f"{path} was written or changed by hand, so it is kept, and the recipe of {output.name} is not saved."
            )
            warnings.warn(words, RecipeWarning, stacklevel=2)
            return
        earlier = tomllib.loads(text)
        if others := [step for step in STEPS if step in earlier and step not in recipe.steps]:
            made = " and ".join(recipe.steps)
            words = f"{path} is the recipe of {others[0]}, so it is kept; that of {made} is not saved."
            warnings.warn(words, RecipeWarning, stacklevel=2)
            return
        recipe = _with_regions(recipe, earlier.get("predict", {}), path.parent.absolute())
        with replaced_file(path) as partial:
            text = _text(recipe, path.parent.absolute())
            partial.write_text(f"{_HEAD}{_digest(text)}\n{text}", encoding="utf-8", newline="\n")
    except (OSError, ValueError) as error:
        # the output is worth more than its recipe; a name may have characters that no text has
        words = f"the recipe {path} could not be saved ({getattr(error, 'strerror', None) or error})."
        warnings.warn(words, RecipeWarning, stacklevel=2)


def _with_regions(recipe: Recipe, earlier: Mapping[str, Any], folder: Path) -> Recipe:
    """Recipe with the regions that the same prediction had before, too; a whole slide holds all of them."""
    table = dict(recipe.steps.get("predict", {}))
    now, before = table.pop("region", None), earlier.get("region")
    same = {key: value for key, value in earlier.items() if key != "region"} == _plain(table, folder)
    if now is None or not same:
        return recipe
    regions = [*([before] if isinstance(before, str) else before or [])]
    if not regions:
        return replace(recipe, steps={"predict": table})
    regions += [now] if now not in regions else []
    return replace(recipe, steps={"predict": {**table, "region": regions if len(regions) > 1 else regions[0]}})


def output_recipes(output: Path) -> dict[Path, Path]:
    """Recipes beside an output, or of all predictions in a folder.

    Parameters
    ----------
    output : pathlib.Path
        A run, a prediction, an evaluation, a cohort, or a folder of predictions.

    Returns
    -------
    dict of pathlib.Path to pathlib.Path
        One or more files, with the output that each is beside, whatever it was called when it was made.

    Raises
    ------
    RecipeError
        If there is none.
    """
    path = _recipe_path(output)
    if path.is_file():
        return {path: output}
    found = {recipe: recipe.with_name(recipe.name.removesuffix(f".{_NAME}")) for recipe in output.glob(f"*.{_NAME}")}
    if not found:
        msg = f"there is no {path}; expected an output of train, predict, evaluate or report with its recipe."
        raise RecipeError(msg)
    return dict(sorted(found.items()))


def slide_table(slide: Slide, roles: Mapping[str, int | None]) -> dict[str, Any]:
    """Table of an opened slide, which opens it in the same way.

    Parameters
    ----------
    slide : Slide
        The slide.
    roles : mapping of str to (int or None)
        Channels by role; None for an unknown one.

    Returns
    -------
    dict of str to object
        For `Recipe`.
    """
    names = slide.channel_names
    # a name that several channels have, or that could be a number, names none
    channels = {
        role: names[index] if names.count(names[index]) == 1 and not names[index].isdecimal() else index
        for role, index in roles.items()
        if index is not None
    }
    size = {"pixel_size": slide.pixel_size_um} if slide.pixel_size_is_given else {}
    return {"path": slide.source, "roles": channels, "series": slide.series, "z": slide.z, "t": slide.t, **size}


def _recipe_path(output: Path) -> Path:
    # zarr would warn of an unknown file in its folder
    return output.with_name(f"{output.name}.{_NAME}") if output.suffix == ".zarr" else output / _NAME


def _text(recipe: Recipe, folder: Path) -> str:
    versions = {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
    content = {"format": FORMAT, **recipe.steps, "slide": recipe.slides, "versions": versions, "hashes": recipe.hashes}
    return tomli_w.dumps(_plain({name: part for name, part in content.items() if part}, folder))


def _plain(value: Any, folder: Path) -> Any:  # noqa: ANN401 (any value of a recipe)
    """Value for TOML, which has no None, with paths relative to a folder."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(_plain(key, folder)): _plain(part, folder) for key, part in value.items() if part is not None}
    if isinstance(value, list | tuple):
        return [_plain(part, folder) for part in value]
    if isinstance(value, Path):
        return _relative(value.absolute(), folder)
    return value if isinstance(value, bool | int | float | str) else str(value)


def _relative(path: Path, folder: Path) -> str:
    try:
        name = os.path.relpath(path, folder)
    except ValueError:
        # on another drive of Windows
        return path.as_posix()
    if name in BUNDLED:
        # a slide of this name is no checkpoint
        return f"./{name}"
    # behind a link, ".." is another folder than in the text
    is_same = os.path.realpath(folder / name) == os.path.realpath(path)
    return (Path(name) if is_same else path).as_posix()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]

"""Hashes of slides, predictions, checkpoints and other files of a recipe, and whether they are still the same."""

from __future__ import annotations

import hashlib
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from napari_hrpn.recipes.recipe import Recipe, RecipeError, RecipeWarning
from napari_hrpn.slides import SlideWarning, open_slide, slide_fingerprint

if TYPE_CHECKING:
    from napari_hrpn.slides import Location

_DIGITS = 16


def file_hash(path: Path) -> str:
    """Hash of all bytes of a small file: regions, a calibration, numbers of an evaluation.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    str
        16 hexadecimal digits of its SHA-256.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS]


def slide_hash(path: Location, series: int | None = None, z: int | str | None = None, t: int | None = None) -> str:
    """Hash of a sample of pixels of a slide or a prediction.

    Parameters
    ----------
    path : pathlib.Path or UPath
        The slide.
    series : int, optional
        As for `open_slide`.
    z, t : int, optional
        As for `open_slide`.

    Returns
    -------
    str
        Its `slide_fingerprint`.
    """
    with warnings.catch_warnings():
        # which image is opened, or that a prediction is not finished, is said where it is used
        warnings.simplefilter("ignore", SlideWarning)
        return slide_fingerprint(open_slide(path, series=series, z=z, t=t))


def check_hashes(recipe: Recipe) -> None:
    """Refuse a recipe if a slide, a checkpoint or another file has changed; warn of another version of the program.

    Parameters
    ----------
    recipe : Recipe
        A recipe that was written beside an output.

    Raises
    ------
    RecipeError
        In one sentence, with the file, the hash that was found and the one expected.
    """
    name = "" if recipe.source is None else recipe.source.name
    if not recipe.hashes:
        msg = f"{name} has no hashes; expected a recipe beside an output: carry this one out with napari-hrpn run."
        raise RecipeError(msg)
    for place, expected in recipe.hashes.items():
        found = _hash(place, recipe)
        if found != expected:
            msg = (
                f"{place} has the hash {found}, expected {expected} as in {name}: put back the file as it was, or use "
                f"what it is now with napari-hrpn run {recipe.source} and another output."
            )
            raise RecipeError(msg)
    now = version("napari-hrpn")
    then = recipe.versions.get("napari-hrpn", now)
    if now != then:
        words = f"{name} was written by napari-hrpn {then}, and this is {now}; the result may differ."
        warnings.warn(words, RecipeWarning, stacklevel=2)


def _hash(place: Location | str, recipe: Recipe) -> str:
    """Hash of a slide, a prediction, a checkpoint or another file, as it is now."""
    if isinstance(place, str) or str(place).endswith(".safetensors"):
        from napari_hrpn.models import checkpoint_path, load_checkpoint

        return load_checkpoint(checkpoint_path(str(place))).digest
    slide = next((slide for slide in recipe.slides if slide["path"] == place), None)
    if slide is not None:
        # of several images of one file, the first is compared
        return slide_hash(slide["path"], **{key: slide.get(key) for key in ("series", "z", "t")})
    if any(place in slide.get("predicted", ()) for slide in recipe.slides):
        return slide_hash(place)
    path = Path(str(place))
    if not path.is_file():
        name = "" if recipe.source is None else recipe.source.name
        msg = f"{path}, which {name} has a hash of, is not there; expected the file: put it back."
        raise RecipeError(msg)
    return file_hash(path)

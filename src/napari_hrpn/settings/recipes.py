"""Recipes of a training: the published one and the fast one, with changes."""

from __future__ import annotations

from dataclasses import replace

from napari_hrpn.core.errors import TrainingError
from napari_hrpn.settings.networks import HRPN, NETWORKS
from napari_hrpn.settings.training import TrainingSettings


def recipe_settings(recipe: str = "fast", model: str = HRPN.name, **changes: object) -> TrainingSettings:
    """Settings of a recipe, with changes.

    Parameters
    ----------
    recipe : {"paper", "fast"}
        "paper" is as published (Xu et al. 2023; for GANDA its own paper and theirs); "fast" reaches the same
        validation loss in a small part of the time.
    model : str
        Name of a network of the table, such as "hrpn".
    **changes
        Fields of `TrainingSettings` that differ.

    Returns
    -------
    TrainingSettings
        With the recipe's values in all other fields.

    Raises
    ------
    TrainingError
        In one sentence, when there is no such recipe or a field is out of its range.
    """
    if model not in NETWORKS:
        msg = f"there is no model {model!r}; expected one of {', '.join(NETWORKS)}."
        raise TrainingError(msg)
    recipes = NETWORKS[model].recipes
    if recipe not in recipes:
        msg = f"there is no recipe {recipe!r} for the model {model!r}; expected {' or '.join(recipes)}."
        raise TrainingError(msg)
    return replace(TrainingSettings(model=model, recipe=recipe, **recipes[recipe]), **changes)  # type: ignore[arg-type]

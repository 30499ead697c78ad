"""Recipe files: slides and the steps train, predict, evaluate and report, to be carried out and to be repeated."""

from napari_hrpn.recipes.commands import Command, predicted_place, recipe_commands
from napari_hrpn.recipes.hashes import check_hashes, file_hash, slide_hash
from napari_hrpn.recipes.recipe import Recipe, RecipeError, RecipeWarning, read_recipe
from napari_hrpn.recipes.saving import output_recipes, save_output_recipe, save_recipe, slide_table
from napari_hrpn.recipes.words import command_lines, command_words

__all__ = [
    "Command",
    "Recipe",
    "RecipeError",
    "RecipeWarning",
    "check_hashes",
    "command_lines",
    "command_words",
    "file_hash",
    "output_recipes",
    "predicted_place",
    "read_recipe",
    "recipe_commands",
    "save_output_recipe",
    "save_recipe",
    "slide_hash",
    "slide_table",
]

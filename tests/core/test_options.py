"""Options stand once: in the annotations of settings classes."""

import ast
import math
from dataclasses import dataclass, fields
from pathlib import Path
from types import NoneType
from typing import Annotated, Literal

import pytest

import napari_hrpn.settings
from napari_hrpn.core.options import Option, check_options, options, options_table
from napari_hrpn.settings import (
    EvaluationSettings,
    PredictionSettings,
    TrainingSettings,
    VesselSettings,
    recipe_settings,
)
from napari_hrpn.settings.networks import NETWORKS

ROOT = Path(__file__).parents[2]
SETTINGS = (TrainingSettings, PredictionSettings, EvaluationSettings, VesselSettings)
PAGES = {TrainingSettings: "training", PredictionSettings: "predict", EvaluationSettings: "evaluation"}


@dataclass(frozen=True)
class Choices:
    kind: Annotated[Literal["a", "b"], Option(title="Kind", help="Which.")] = "a"
    peak: Annotated[float | Literal["highest"], Option(title="Peak", help="How high.", above=0)] = "highest"
    tile: Annotated[int | None, Option(title="Tile", help="Side.", minimum=512, multiple=512, unit="px")] = None
    share: Annotated[float, Option(title="Share", help="Of all.", minimum=0, maximum=1, noun="the share")] = 0.5
    name: str = ""

    def __post_init__(self):
        check_options(self, ZeroDivisionError)


def test_types_choices_and_defaults_follow_from_the_annotation():
    kind, peak, tile, share = options(Choices).values()
    assert (kind.choices, peak.choices, tile.choices) == (("a", "b"), ("highest",), ())
    assert (kind.is_number, peak.is_number, tile.is_number) == (False, True, True)
    assert tile.types == (int, NoneType)
    assert [one.default for one in (kind, peak, tile, share)] == ["a", "highest", None, 0.5]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"kind": "c"}, "kind is 'c'; expected one of a, b."),
        ({"kind": None}, ""),
        ({"peak": 0}, "peak is 0; expected highest, or more than 0."),
        ({"peak": "low"}, "peak is 'low'; expected highest, or more than 0."),
        ({"peak": math.inf}, "peak is inf; expected highest, or more than 0."),
        ({"tile": 100}, "tile is 100 px; expected a multiple of 512 px."),
        ({"tile": 0}, "tile is 0 px; expected a multiple of 512 px."),
        ({"tile": "512"}, "tile is '512'; expected a multiple of 512 px."),
        ({"tile": 1024}, ""),
        ({"share": math.nan}, "the share is nan; expected 0 to 1."),
        ({"share": 1.5}, "the share is 1.5; expected 0 to 1."),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(wrong, sentence):
    if not sentence:
        Choices(**wrong)
        return
    with pytest.raises(ZeroDivisionError) as caught:
        Choices(**wrong)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_choice_has_a_title_and_every_option_a_sentence(settings):
    for option in options(settings).values():
        assert option.title
        assert option.help.endswith(".")
        assert not option.choices or option.is_number or set(option.titles) == set(option.choices)


def test_nearly_every_field_is_an_option():
    bare = {one.name for kind in SETTINGS for one in fields(kind)} - {
        name for kind in SETTINGS for name in options(kind)
    }
    assert bare == {"region", "resamples", "permutations", "confidence", "vessels", "penetration"}


def strings(path):
    return {node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant)}


def test_no_help_text_and_no_flag_stands_a_second_time():
    home = Path(napari_hrpn.settings.__file__).parent
    once = {text for kind in SETTINGS for one in options(kind).values() for text in (one.help, one.flag) if text}
    # a recipe names fields, which the command line has beside its options
    others = [path for path in home.parent.rglob("*.py") if path.parent != home]
    assert {path.name: found for path in others if (found := once & strings(path))} == {}


def test_names_of_networks_stand_once():
    home = Path(napari_hrpn.settings.__file__).parent
    others = [path for path in home.parent.rglob("*.py") if path != home / "networks.py"]
    assert {path.name: found for path in others if (found := {*NETWORKS} & strings(path))} == {}


@pytest.mark.parametrize(
    ("path", "form"),
    [("train/setup", "TrainingForm"), ("predict/fields", "SettingsForm"), ("parts/runs", "ProcessorForm")],
)
def test_forms_have_no_number_of_their_own(path, form):
    module = Path(napari_hrpn.settings.__file__).parents[1] / "plugin" / f"{path}.py"
    (found,) = [one for one in ast.parse(module.read_text("utf-8")).body if getattr(one, "name", "") == form]
    values = {node.value for node in ast.walk(found) if isinstance(node, ast.Constant)}
    assert {value for value in values if isinstance(value, int | float) and not isinstance(value, bool)} <= {0, 1}


@pytest.mark.parametrize(("settings", "page"), PAGES.items())
def test_the_manual_has_the_table_of_options(settings, page):
    table = options_table(settings)
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    assert table in text, f"put this table into docs/{page}.md:\n\n{table}"


def test_recipes_are_settings():
    for model, network in NETWORKS.items():
        for recipe in network.recipes:
            assert (recipe_settings(recipe, model).model, recipe_settings(recipe, model).recipe) == (model, recipe)

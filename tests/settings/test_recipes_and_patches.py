"""Recipes change what their table says, strides bound patches, and patches and shells divide what they are made for."""

import math
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hrpn.core.errors import AnalysisError, TrainingError
from napari_hrpn.settings import EvaluationSettings, PenetrationSettings, TrainingSettings, recipe_settings
from napari_hrpn.settings.networks import NETWORKS

steady = settings(derandomize=True, deadline=None, max_examples=60)
RECIPES = [(model, recipe) for model, network in NETWORKS.items() for recipe in network.recipes]


@pytest.mark.parametrize(("model", "recipe"), RECIPES)
def test_a_recipe_changes_the_defaults_by_its_table_alone(model: str, recipe: str) -> None:
    table = NETWORKS[model].recipes[recipe]
    defaults = asdict(TrainingSettings())
    assert asdict(recipe_settings(recipe, model)) == {**defaults, **table, "model": model, "recipe": recipe}


@pytest.mark.parametrize(("model", "recipe"), RECIPES)
def test_changes_win_over_a_recipe_and_leave_the_rest_of_it(model: str, recipe: str) -> None:
    plain, changed = recipe_settings(recipe, model), recipe_settings(recipe, model, epochs=3, learning_rate=0.5)
    assert changed == replace(plain, epochs=3, learning_rate=0.5)
    assert changed != plain


def test_the_published_recipe_is_that_of_the_paper() -> None:
    paper = recipe_settings("paper")
    assert (paper.patch_px, paper.batch, paper.sampling, paper.optimiser) == (512, 32, "grid", "rmsprop")
    assert (paper.learning_rate, paper.weight_decay, paper.momentum, paper.schedule) == (1e-5, 1e-8, 0.9, "constant")
    assert (paper.scaling, paper.flips, paper.padding_counts, paper.precision) == ("raw", False, True, "fp32")


@pytest.mark.parametrize(
    ("recipe", "model", "words"),
    [
        ("slow", "hrpn", "no recipe 'slow' for the model 'hrpn'; expected paper or fast"),
        ("", "ganda", "no recipe '' for the model 'ganda'; expected paper or fast"),
        ("fast", "unet", "no model 'unet'; expected one of hrpn, ganda"),
    ],
)
def test_what_is_not_in_the_table_of_networks_is_refused(recipe: str, model: str, words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        recipe_settings(recipe, model)


@pytest.mark.parametrize(("branches", "stride"), [(1, 4), (2, 8), (3, 16), (4, 32)])
def test_each_further_branch_doubles_the_stride_of_hrpn(branches: int, stride: int) -> None:
    assert TrainingSettings(branches=branches).stride == stride
    assert recipe_settings("fast", "ganda", branches=branches).stride == 16


@steady
@given(st.integers(32, 4096), st.integers(1, 4))
def test_a_patch_is_a_multiple_of_the_stride(patch_px: int, branches: int) -> None:
    stride = 2 ** (branches + 1)
    if patch_px % stride == 0:
        assert TrainingSettings(patch_px=patch_px, branches=branches).patch_px == patch_px
    else:
        with pytest.raises(TrainingError, match=f"patches are {patch_px} px; expected a multiple of {stride} px"):
            TrainingSettings(patch_px=patch_px, branches=branches)


@pytest.mark.parametrize("channels", [(), ("nuclei", "nuclei"), ("nuclei", "probe"), ("a", "b", "a")])
def test_inputs_are_different_and_without_the_target(channels: tuple[str, ...]) -> None:
    with pytest.raises(TrainingError, match="input channels are"):
        TrainingSettings(channels=channels)


@pytest.mark.parametrize(("batch", "devices"), [(1, 2), (8, 9), (63, 64)])
def test_a_batch_has_a_patch_for_every_device(batch: int, devices: int) -> None:
    with pytest.raises(TrainingError, match=f"{batch} patches for {devices} devices"):
        TrainingSettings(batch=batch, devices=devices)
    assert TrainingSettings(batch=devices, devices=devices).devices == devices


@steady
@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_a_patch_is_the_largest_of_which_a_slide_has_24_or_the_smallest(height: int, width: int) -> None:
    sides = (512, 256, 128, 64)
    enough = [side for side in sides if (height // side) * (width // side) >= 24]
    assert EvaluationSettings().patch_of((height, width)) == max(enough, default=64)


@steady
@given(st.integers(1, 20_000), st.integers(1, 20_000), st.integers(1, 5000))
def test_a_patch_that_was_chosen_is_kept_for_any_slide(height: int, width: int, side: int) -> None:
    assert EvaluationSettings(patch_px=side).patch_of((height, width)) == side


@steady
@given(st.floats(0.01, 50), st.integers(1, 200))
def test_steps_divide_a_shell_and_shells_divide_the_distance(shell_um: float, shells: int) -> None:
    found = PenetrationSettings(shell_um, shell_um * shells, beyond_um=(), band_edges_um=(), near_um=())
    assert found.shells == shells
    assert found.steps * found.step_um == pytest.approx(shell_um)
    assert found.step_um <= 0.125
    # one step fewer would be too thick
    assert found.steps == 1 or shell_um / (found.steps - 1) > 0.125


@pytest.mark.parametrize("name", ["shell_um", "near_shell_um"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_shell_has_a_thickness(name: str, value: float) -> None:
    with pytest.raises(AnalysisError, match=f"{name} is .*expected a number above 0"):
        PenetrationSettings(**{name: value})


@pytest.mark.parametrize("name", ["beyond_um", "band_edges_um", "near_um"])
@pytest.mark.parametrize("value", [(0.0, 10.0), (-5.0,), (20.0, 10.0), (10.0, 10.0), (10.0, 305.0), (math.nan, 10.0)])
def test_distances_rise_from_above_zero_to_the_furthest(name: str, value: tuple[float, ...]) -> None:
    with pytest.raises(AnalysisError, match=f"{name} is .*up to furthest_um, 300"):
        PenetrationSettings(**{name: value})
    assert getattr(PenetrationSettings(**{name: (5.0, 300.0)}), name) == (5.0, 300.0)


@pytest.mark.parametrize("change", [{"furthest_um": 302.0}, {"band_edges_um": (10.0, 31.0)}, {"shell_um": 7.0}])
def test_distances_that_bound_shells_are_multiples_of_their_thickness(change: dict) -> None:
    with pytest.raises(AnalysisError, match="expected multiples of shell_um"):
        PenetrationSettings(**change)


@pytest.mark.parametrize("furthest_um", [math.nan, math.inf, -math.inf])
def test_the_furthest_distance_is_finite(furthest_um: float) -> None:
    with pytest.raises(AnalysisError, match="furthest_um"):
        PenetrationSettings(furthest_um=furthest_um)

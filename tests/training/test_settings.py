"""Recipes as published, and choices that cannot be."""

import math

import pytest

from napari_hrpn.training import TrainingError, TrainingSettings, recipe_settings
from napari_hrpn.training.learners.learner import learning_rate


def test_the_paper_recipe_is_as_published():
    settings = recipe_settings("paper")
    assert (settings.patch_px, settings.batch, settings.epochs) == (512, 32, 20)
    assert (settings.optimiser, settings.learning_rate) == ("rmsprop", 1e-5)
    assert (settings.momentum, settings.weight_decay) == (0.9, 1e-8)
    assert (settings.scaling, settings.schedule, settings.flips, settings.averaging) == ("raw", "constant", False, 0)


def test_the_ganda_recipe_is_as_published():
    settings = recipe_settings("paper", "ganda")
    assert (settings.patch_px, settings.batch, settings.epochs) == (512, 20, 50)
    assert (settings.optimiser, settings.learning_rate, settings.momentum) == ("adam", 2e-4, 0.5)
    assert settings.scaling == "full_scale"


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"model": "nonesuch"}, "model"),
        ({"branches": 5}, "branches"),
        ({"batch": 0}, "batch"),
        ({"epochs": 0}, "epochs"),
        ({"learning_rate": math.nan}, "learning rate"),
        ({"max_minutes": 0}, "max minutes"),
        ({"minimum_overlap": 1.5}, "minimum overlap"),
        ({"patch_px": 100}, "multiple of 32 px"),
        ({"devices": 0}, "devices is 0; expected 1 to 64"),
        ({"devices": 3, "batch": 2}, "2 patches for 3 devices"),
        ({"channels": ()}, "none"),
        ({"channels": ("nuclei", "nuclei")}, "each once"),
        ({"channels": ("nuclei", "probe")}, "not the target"),
    ],
)
def test_choices_that_cannot_be_are_refused_by_name(wrong, word):
    with pytest.raises(TrainingError, match=word):
        TrainingSettings(**wrong)


def test_a_recipe_that_does_not_exist_is_named():
    with pytest.raises(TrainingError, match="'slow'"):
        recipe_settings("slow")


def test_fewer_branches_allow_smaller_strides():
    assert recipe_settings(branches=1, patch_px=36).stride == 4
    assert recipe_settings(model="ganda", patch_px=48).stride == 16


def test_the_schedule_rises_then_falls_to_zero():
    settings = recipe_settings()
    rates = [learning_rate(settings, progress / 100) for progress in range(101)]
    peak = rates.index(max(rates))
    assert peak == 30
    assert max(rates) == settings.learning_rate
    assert rates[:31] == sorted(rates[:31])
    assert rates[30:] == sorted(rates[30:], reverse=True)
    assert rates[-1] == pytest.approx(0)
    assert rates[65] == pytest.approx(settings.learning_rate / 2)
    assert learning_rate(settings, 7.0) == pytest.approx(0)


def test_a_constant_schedule_is_constant():
    assert {learning_rate(recipe_settings("paper"), progress / 9) for progress in range(10)} == {1e-5}

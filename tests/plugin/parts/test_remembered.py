"""Forms and recent checkpoints from one start of napari to the next: one small file that nothing destroys."""

import json
from dataclasses import replace

import pytest

from napari_hrpn.core.files import held_lock
from napari_hrpn.plugin.parts.checkpoint_choices import CheckpointChoices, folder_of_recent
from napari_hrpn.plugin.parts.forms import combo_box
from napari_hrpn.plugin.parts.options_form import OptionsForm
from napari_hrpn.plugin.parts.remembered import RememberedForm, remember, remembered
from napari_hrpn.plugin.predict.fields import SettingsForm
from napari_hrpn.plugin.train.setup import TrainingForm
from napari_hrpn.settings import PredictionSettings, TrainingSettings, recipe_settings
from napari_hrpn.settings.networks import BUNDLED
from napari_hrpn.settings.what_if import WhatIfSettings
from support.settling import WAIT_MS

NAMES = ("window_um", "shams", "seed")


@pytest.fixture
def open_form(qtbot):
    """Opens the form, as a start of napari does."""

    def run():
        form = OptionsForm(WhatIfSettings, ["threshold"], NAMES)
        qtbot.addWidget(form.native)
        form.remembered = RememberedForm(form, "What if", NAMES)
        return form

    return run


def test_a_form_is_as_it_was_left_but_for_what_belongs_to_a_slide(open_form, qtbot, forms_file):
    form = open_form()
    assert form.value == WhatIfSettings()
    form.value = WhatIfSettings(threshold=30, window_um=300, seed=4)
    qtbot.waitUntil(forms_file.exists, timeout=WAIT_MS)
    again = open_form()
    assert again.value == WhatIfSettings(window_um=300, seed=4)
    again.fields["threshold"].value = 7
    again.remembered.defaults_button.click()
    assert again.value == WhatIfSettings(threshold=7)
    qtbot.waitUntil(lambda: remembered("What if") == {}, timeout=WAIT_MS)
    assert open_form().value == WhatIfSettings()


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        ({"shams": 1, "seed": 3}, {"seed": 3}),
        ({"shams": "4", "window_um": None, "seed": True}, {}),
        ({"window_um": 100, "threshold": 4, "gone": 5}, {"window_um": 100}),
        ([1], {}),
        ("text", {}),
    ],
)
def test_what_is_no_value_of_the_form_any_more_is_left_out(open_form, left, expected):
    remember("What if", left)
    assert open_form().value == replace(WhatIfSettings(), **expected)


@pytest.mark.parametrize("content", ["", "{", "[1]", "nonsense", '{"version": 1, "What if": {"seed": 3'])
def test_a_damaged_file_is_ignored_and_made_again(forms_file, open_form, content):
    forms_file.parent.mkdir()
    forms_file.write_text(content, encoding="utf-8")
    assert open_form().value == WhatIfSettings()
    remember("a", 1)
    assert json.loads(forms_file.read_text("utf-8")) == {"version": 1, "a": 1}


def test_the_file_of_a_newer_version_is_neither_used_nor_changed(forms_file, open_form):
    forms_file.parent.mkdir()
    newer = '{"version": 2, "What if": {"seed": 3}}'
    forms_file.write_text(newer, encoding="utf-8")
    assert open_form().value == WhatIfSettings()
    remember("What if", {"seed": 5})
    assert forms_file.read_text("utf-8") == newer


def test_two_programs_keep_what_the_other_has_written(forms_file):
    remember("a", 1)
    # another one writes between
    content = json.loads(forms_file.read_text("utf-8"))
    forms_file.write_text(json.dumps({**content, "b": 2}), encoding="utf-8")
    remember("c", 3)
    assert [remembered(name) for name in "abc"] == [1, 2, 3]
    lock = held_lock(forms_file.with_suffix(".lock"))
    remember("a", 9)
    lock.release()
    assert remembered("a") == 1
    remember("a", 9)
    assert remembered("a") == 9


def test_a_place_that_cannot_be_written_is_no_error(forms_file):
    forms_file.parent.write_text("a file", encoding="utf-8")
    remember("a", 1)
    assert remembered("a") is None


def test_predict_and_train_come_back_with_their_recipe(qtbot):
    def opened(kind):
        form = kind()
        qtbot.addWidget(form.native)
        return form

    predict, train = opened(SettingsForm), opened(TrainingForm)
    predict.value = PredictionSettings(precision="bf16", core=1024, memory_gb=2, unlike=True)
    train.fields["recipe"].value = "paper"
    train.fields["epochs"].value = 7
    train.fields["channels"].value = ("nuclei",)
    qtbot.waitUntil(lambda: None not in (remembered("Predict QD"), remembered("Train HRPN")), timeout=WAIT_MS)
    assert opened(SettingsForm).value == PredictionSettings(precision="bf16", core=1024)
    again = opened(TrainingForm)
    assert again.value == replace(recipe_settings("paper"), epochs=7)
    again.remembered.reset()
    assert again.value == TrainingSettings()


def test_values_that_do_not_fit_together_are_not_remembered(qtbot):
    form = TrainingForm()
    qtbot.addWidget(form.native)
    form.fields["epochs"].value = 7
    qtbot.waitUntil(lambda: remembered("Train HRPN") is not None, timeout=WAIT_MS)
    form.fields["channels"].value = ()
    form.fields["epochs"].value = 8
    form.remembered._save()
    assert remembered("Train HRPN")["epochs"] == 7


def test_recent_checkpoints_are_offered_the_newest_first(qtbot):
    box = combo_box("")
    qtbot.addWidget(box.native)
    choices = CheckpointChoices()
    for number in range(10):
        choices.offer(box, f"/runs/{number}/checkpoint.safetensors")
    choices.offer(box, "/runs/5/checkpoint.safetensors")
    choices.offer(box, next(iter(BUNDLED)))
    choices.offer(box, None)
    again = combo_box("")
    qtbot.addWidget(again.native)
    CheckpointChoices().offer(again, None)
    recent = [f"/runs/{number}/checkpoint.safetensors" for number in (5, 9, 8, 7, 6, 4, 3, 2)]
    assert list(again.choices) == [None, *BUNDLED, *recent]
    assert again.value is None
    assert again.native.itemText(1 + len(BUNDLED)) == "5/checkpoint.safetensors"
    assert folder_of_recent().replace("\\", "/").endswith("/runs/5")

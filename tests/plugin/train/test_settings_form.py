"""The settings of a training, in a form."""

from dataclasses import replace

import pytest
from qtpy.QtWidgets import QFileDialog

from napari_hrpn.inference import Device
from napari_hrpn.plugin.train.setup import TrainingForm
from napari_hrpn.training import TrainingError, TrainingSettings, recipe_settings

DEVICES = (Device("cuda:0", "Fast GPU", 7 * 10**9, 8 * 10**9), Device("cpu", "CPU, 2 threads", 3 * 10**9, 4 * 10**9))
NAMES = [(model, recipe) for model in ("hrpn", "ganda") for recipe in ("fast", "paper")]


@pytest.fixture
def form(qtbot):
    form = TrainingForm()
    qtbot.addWidget(form.native)
    form.set_ready(DEVICES)
    return form


def test_before_it_is_ready_there_are_no_settings(qtbot):
    form = TrainingForm()
    qtbot.addWidget(form.native)
    assert form.settings() is None


@pytest.mark.parametrize(("model", "recipe"), NAMES)
def test_a_recipe_fills_in_its_numbers(form, model, recipe):
    form.fields["model"].value = model
    form.fields["recipe"].value = recipe
    assert form.settings() == recipe_settings(recipe, model)


def test_what_has_nothing_to_do_with_the_recipe_stays(form):
    form.fields["channels"].native.setText("nuclei, vessels,  macrophages")
    form.fields["max_minutes"].value = 12.5
    form.fields["device"].value = "cpu"
    form.fields["branches"].value = 2
    form.fields["seed"].value = 9
    form.fields["epochs"].value = 7
    form.fields["recipe"].value = "paper"
    expected = recipe_settings(
        "paper",
        channels=("nuclei", "vessels", "macrophages"),
        max_minutes=12.5,
        device="cpu",
        branches=2,
        seed=9,
    )
    assert form.settings() == expected


def test_settings_come_back_as_they_were_set(form):
    settings = replace(
        TrainingSettings(),
        channels=("vessels",),
        branches=1,
        sampling="grid",
        patch_px=128,
        batch=2,
        epochs=3,
        learning_rate=3e-7,
        momentum=0.5,
        averaging=0.0,
        flips=False,
        upsampling="transposed",
        scaling="percentile",
        precision="bf16",
        minimum_overlap=0.125,
        minimum_tissue=0.3,
        max_minutes=1.5,
        device="cpu",
        seed=4,
        devices=2,
    )
    form.value = settings
    assert form.settings() == settings
    paper = recipe_settings("paper")
    form.value = paper
    assert form.settings() == paper
    assert form.fields["max_minutes"].native.text() == "No limit"


def test_choices_that_do_not_go_together_are_refused_in_a_sentence(form):
    form.fields["patch_px"].value = 40
    with pytest.raises(TrainingError, match="multiple of 32 px"):
        form.settings()
    form.fields["branches"].value = 2
    assert form.settings().patch_px == 40
    form.fields["channels"].native.setText(" , ")
    with pytest.raises(TrainingError, match="input channels are none"):
        form.settings()


def test_changes_are_told_once(form, qtbot):
    for change in (
        lambda: form.fields["epochs"].native.setValue(77),
        lambda: form.fields["recipe"].native.setCurrentText("Paper"),
        lambda: form.show_options(TrainingSettings()),
        lambda: form.fields["learning_rate"].native.setValue(1e-6),
        form.fields["channels"].native.editingFinished.emit,
    ):
        told = []
        form.changed.connect(lambda _, told=told: told.append(1))
        change()
        assert told == [1]


def test_branches_are_of_hrpn_alone(form):
    assert form.fields["branches"].enabled
    form.fields["model"].value = "ganda"
    assert not form.fields["branches"].enabled
    assert not form.fields["upsampling"].enabled


def test_devices_are_offered_with_their_memory(form):
    box = form.fields["device"].native
    titles = [box.itemText(index) for index in range(box.count())]
    assert titles == ["Automatic: Fast GPU", "Fast GPU: 7.0 GB free", "CPU, 2 threads: 3.0 GB free"]
    form.fields["device"].value = "cpu"
    form.fields["epochs"].value = 3
    form.set_ready(DEVICES)
    assert form.fields["device"].value == "cpu"
    assert form.fields["epochs"].value == 3


@pytest.fixture
def box_of_devices(form):
    """The field of the number of devices, where three GPUs or two processors can train together."""
    form.set_most_devices({"cuda:0": 3, "cpu": 2})
    return form.fields["devices"].native


def test_several_devices_are_asked_for_where_there_are_several(form, box_of_devices):
    assert box_of_devices.maximum() == 3
    form.fields["device"].value = "cpu"
    box_of_devices.setValue(3)
    assert form.settings().devices == 2
    form.fields["recipe"].value = "paper"
    assert form.settings().devices == 2
    form.set_most_devices({"cuda:0": 3, "cpu": 1})
    assert form.settings().devices == 1
    assert not box_of_devices.isHidden()
    form.fold.expand(animate=False)
    assert not box_of_devices.isEnabled()
    form.fields["device"].value = "cuda:0"
    assert box_of_devices.isEnabled()


def test_one_device_is_no_question(form):
    assert form.fields["devices"].native.isHidden()
    assert form.settings().devices == 1


def test_a_run_on_more_devices_than_there_are_is_shown_as_it_is(form):
    box = form.fields["devices"].native
    form.value = TrainingSettings(devices=4)
    assert form.settings().devices == 4
    assert not box.isHidden()
    box.setValue(1)
    assert form.settings().devices == 1


@pytest.mark.parametrize("value", [1e-12, 1e-5, 4e-3, 0.5, 10])
def test_a_number_of_any_size_is_shown_and_read(form, value):
    box = form.fields["learning_rate"].native
    box.setValue(value)
    assert box.value() == pytest.approx(value, rel=1e-3)
    assert box.valueFromText(box.text()) == pytest.approx(value, rel=1e-3)
    assert box.validate(box.text(), 0)[0] == type(box.validate("", 0)[0]).Acceptable


def test_a_learning_rate_can_be_typed(form, qtbot):
    form.fold.expand(animate=False)
    box = form.fields["learning_rate"].native
    box.selectAll()
    qtbot.keyClicks(box, "2e-4")
    box.interpretText()
    assert box.value() == pytest.approx(2e-4)
    box.stepBy(-1)
    assert box.value() == pytest.approx(1e-4)


def test_stages_can_be_frozen_where_there_is_a_start(form):
    start, freeze = form.fields["start"], form.fields["freeze"]
    assert not freeze.enabled
    changes = []
    form.changed.connect(changes.append)
    start.value = "synthetic"
    assert form.settings() == recipe_settings(start="synthetic")
    assert len(changes) == 1
    freeze.native.setText("stem, stage1")
    assert form.settings() == recipe_settings(start="synthetic", freeze=("stem", "stage1"))
    form.fields["recipe"].value = "paper"
    assert form.settings() == recipe_settings("paper", start="synthetic", freeze=("stem", "stage1"))
    form.fields["recipe"].value = "fast"
    start.value = None
    assert form.settings() == recipe_settings()


def test_a_file_to_start_from_is_chosen_by_the_button_and_comes_back_with_a_run(form, tmp_path, monkeypatch):
    path = str(tmp_path / "mouse1" / "checkpoint.safetensors")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (path, ""))
    form._starts.button.changed.emit(True)
    assert form.settings() == recipe_settings(start=path)
    assert form.fields["start"].current_choice == "mouse1/checkpoint.safetensors"
    form.value = recipe_settings()
    form.value = recipe_settings(start=path, freeze=("head",))
    assert form.settings() == recipe_settings(start=path, freeze=("head",))

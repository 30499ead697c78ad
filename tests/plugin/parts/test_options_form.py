"""A form that is made from a settings class."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from napari_hrpn.core.options import options
from napari_hrpn.plugin.parts.forms import offer
from napari_hrpn.plugin.parts.options_form import OptionsForm, device_choices
from napari_hrpn.settings import EvaluationSettings, PredictionSettings, TrainingSettings, VesselSettings

SETTINGS = (TrainingSettings, PredictionSettings, VesselSettings)
OTHERS = [
    TrainingSettings(channels=("vessels", "fap"), max_minutes=2.5, minimum_overlap=0.125, seed=3, flips=False),
    PredictionSettings(halo=0, core=1024, memory_gb=1.5, padding="zero", resample=True),
    VesselSettings(threshold=12.5, closing_um=0.5, smallest_um2=30.0),
]


@pytest.fixture
def form_of(qtbot):
    def make(settings, *names):
        form = OptionsForm(settings, names or options(settings), choices=["device"])
        qtbot.addWidget(form.native)
        if "device" in form.fields:
            offer(form.fields["device"], [("Automatic", "auto"), ("CPU", "cpu")])
        return form

    return make


@pytest.mark.parametrize("settings", [*(kind() for kind in SETTINGS), *OTHERS])
def test_settings_come_back_as_they_were_shown(form_of, settings):
    form = form_of(type(settings))
    assert form.value == type(settings)()
    form.value = settings
    assert form.value == settings


def test_what_is_not_asked_for_stays_as_it_is(form_of):
    form = form_of(EvaluationSettings, "minimum_tissue")
    settings = EvaluationSettings(seed=4, resamples=99, background=2.5)
    form.value = settings
    form.fields["minimum_tissue"].native.setValue(25)
    assert form.value == replace(settings, minimum_tissue=0.25)


def test_every_change_is_told_once(form_of):
    form = form_of(PredictionSettings)
    told = []
    form.changed.connect(lambda _: told.append(form.value))
    form.fields["halo"].native.setValue(64)
    form.fields["output"].native.setCurrentText("Integers, as trained on")
    form.fields["skip_blank"].native.setChecked(False)
    expected = PredictionSettings(halo=64, output="probe", skip_blank=False)
    assert (len(told), told[-1]) == (3, expected)
    form.value = PredictionSettings()
    assert (len(told), told[-1]) == (4, PredictionSettings())


def test_none_is_a_word_and_numbers_have_units(form_of):
    form = form_of(TrainingSettings)
    minutes = form.fields["max_minutes"]
    assert (minutes.native.text(), minutes.value) == ("No limit", None)
    minutes.native.setValue(30)
    assert (minutes.native.text(), minutes.value) == ("30.0 min", 30)
    assert form.fields["patch_px"].native.text() == "256 px"
    assert form.fields["minimum_overlap"].native.text() == "50.0 %"
    tile = form_of(PredictionSettings).fields["core"]
    tile.native.setValue(1100)
    assert tile.value == 1024


def test_titles_ranges_and_tooltips_are_those_of_the_fields(form_of):
    form = form_of(TrainingSettings)
    for name, option in options(TrainingSettings).items():
        assert form.fields[name].label == option.title
        assert " ".join(form.fields[name].tooltip.split()) == option.help
    branches = form.fields["branches"]
    assert (branches.min, branches.max) == (1, 4)


def test_a_list_that_changes_keeps_the_choice_and_tells_equal_names_apart(form_of):
    box = form_of(TrainingSettings).fields["device"]
    box.value = "cpu"
    told = []
    box.changed.connect(told.append)
    offer(box, [("GPU", "cuda:0"), ("GPU", "cuda:1"), ("A processor", "cpu")])
    assert box.value == "cpu"
    assert [box.native.itemText(i) for i in range(3)] == ["GPU", "GPU (2)", "A processor"]
    offer(box, [("GPU", "cuda:0")])
    assert (box.value, told) == ("cuda:0", [])


def test_processors_of_one_title_have_their_names_in_the_list():
    gpus = [SimpleNamespace(title="GPU", name=f"cuda:{number}", free_bytes=2e9) for number in range(2)]
    assert device_choices(tuple(gpus)) == [
        ("Automatic: GPU", "auto"),
        ("GPU (cuda:0): 2.0 GB free", "cuda:0"),
        ("GPU (cuda:1): 2.0 GB free", "cuda:1"),
    ]
    assert device_choices(()) == [("Automatic", "auto")]

"""Any valid settings pass through a form unchanged, and a form gives only valid settings."""

import math
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_hrpn.core.options import options
from napari_hrpn.plugin.parts.forms import offer
from napari_hrpn.plugin.parts.options_form import OptionsForm
from napari_hrpn.settings import EvaluationSettings, PredictionSettings, TrainingSettings, VesselSettings

FEW = settings(
    derandomize=True, deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
DEVICES = ("auto", "cpu", "cuda:0")
KINDS = [
    VesselSettings,
    PredictionSettings,
    TrainingSettings,
    (EvaluationSettings, ["patch_px", "minimum_tissue", "block_px", "seed", "background"]),
]


def values_of(option):
    """Valid values of an option."""
    if type(None) in option.types:
        some = values_of(replace(option, types=tuple(kind for kind in option.types if kind is not type(None))))
        return st.none() | some
    if option.name == "device":
        return st.sampled_from(DEVICES)
    if option.choices:
        return st.sampled_from(option.choices)
    if bool in option.types:
        return st.booleans()
    if not option.is_number:
        words = st.text("abcdefgh", min_size=1, max_size=8)
        return words if str in option.types else st.lists(words, min_size=1, max_size=3, unique=True).map(tuple)
    low, high = max(option.minimum, option.above, -1e6), min(option.maximum, 1e6)
    if int in option.types:
        ratio = option.multiple
        return st.integers(math.ceil(low / ratio), math.floor(high / ratio)).map(lambda number: number * ratio)
    return st.floats(low, high, exclude_min=math.isfinite(option.above)).filter(
        lambda number: not option.problem(number)
    )


@st.composite
def changes(draw, kind, names):
    return {name: draw(values_of(options(kind)[name])) for name in names}


@pytest.fixture(params=KINDS, ids=lambda param: getattr(param, "__name__", "EvaluationSettings"))
def form(request, qtbot):
    kind, names = request.param if isinstance(request.param, tuple) else (request.param, list(options(request.param)))
    half = len(names) // 2
    made = OptionsForm(kind, names[:half], names[half:], choices=["device"])
    qtbot.addWidget(made.native)
    if "device" in made.fields:
        offer(made.fields["device"], [(device, device) for device in DEVICES])
    made.kind, made.names = kind, names
    return made


def valid(kind, values):
    """Settings with these values, without those that do not go together with the ones before them."""
    made = kind()
    for name, value in values.items():
        with suppress(ValueError):
            made = replace(made, **{name: value})
    return made


@FEW
@given(st.data())
def test_any_valid_settings_come_back_with_every_digit(form, data):
    shown = valid(form.kind, data.draw(changes(form.kind, form.names)))
    form.value = shown
    assert form.value == shown


@FEW
@given(st.data())
def test_one_field_changes_one_option_and_is_reported_once(form, data):
    name = data.draw(st.sampled_from(form.names))
    expected = valid(form.kind, {name: data.draw(values_of(options(form.kind)[name]))})
    form.value = form.kind()
    seen = []
    form.changed.connect(lambda _: seen.append(form.value))
    form.fields[name].value = getattr(expected, name)
    form.changed.disconnect()
    assert form.value == expected
    # one that is shown as before is not reported
    assert seen in ([expected], [])


@FEW
@given(st.data())
def test_what_the_user_chose_stays_when_a_recipe_is_shown(form, data):
    first, second = (valid(form.kind, data.draw(changes(form.kind, form.names))) for _ in range(2))
    kept = data.draw(st.sets(st.sampled_from(form.names)))
    form.value = first
    with suppress(ValueError):
        mixed = form.kind(**{name: getattr(first if name in kept else second, name) for name in form.names})
        form.show_options(second, kept)
        assert form.value == mixed


def test_a_box_gives_no_number_that_its_settings_refuse(form):
    for name, option in options(form.kind).items():
        field = form.fields.get(name)
        if field is None or not option.is_number:
            continue
        for number in (-1e12, 0.0, 1e12):
            field.native.setValue(number)
            value = field.value
            # an end that is not part of the range, or lies within the last digit, is refused when settings are made
            assert option.problem(value) == "" or value in (option.above, pytest.approx(option.maximum, rel=1e-3))

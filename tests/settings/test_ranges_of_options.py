"""Every number of every settings class is accepted at the ends of its range and refused just outside of them."""

import math
from collections.abc import Iterator

import numpy as np
import pytest

from napari_hrpn.core.errors import AgreementError, AnalysisError, PredictionError, TrainingError
from napari_hrpn.core.options import Option, options
from napari_hrpn.settings import EvaluationSettings, PredictionSettings, TrainingSettings, VesselSettings
from napari_hrpn.settings.what_if import WhatIfSettings

ERRORS = {
    TrainingSettings: TrainingError,
    PredictionSettings: PredictionError,
    EvaluationSettings: AgreementError,
    VesselSettings: AnalysisError,
    WhatIfSettings: AnalysisError,
}
NUMBERS = [
    pytest.param(kind, option, id=f"{kind.__name__}-{name}")
    for kind in ERRORS
    for name, option in options(kind).items()
    if option.is_number
]
WORDS = [
    pytest.param(kind, option, id=f"{kind.__name__}-{name}")
    for kind in ERRORS
    for name, option in options(kind).items()
    if option.choices
]


def made(kind: type, name: str, value: object) -> object:
    """Settings with one value; a batch is large enough for any number of devices."""
    enough = {"batch": 64} if name == "devices" else {}
    return kind(**{**enough, name: value})


def neighbour(option: Option, value: float, towards: float) -> float:
    """The next number of the option's type on one side of a value."""
    if int in option.types:
        return int(value) + option.multiple * (1 if towards > value else -1)
    return float(np.nextafter(value, towards))


def accepted(option: Option) -> Iterator[float]:
    """The ends of the range, or the first number inside an open end."""
    if math.isfinite(option.minimum):
        yield option.minimum
    if math.isfinite(option.maximum):
        yield option.maximum
    if math.isfinite(option.above):
        yield neighbour(option, option.above, math.inf)


def refused(option: Option) -> Iterator[float]:
    """The first numbers outside of the range, and what is no number."""
    yield from (math.nan, math.inf, -math.inf)
    if math.isfinite(option.minimum):
        yield neighbour(option, option.minimum, -math.inf)
    if math.isfinite(option.maximum):
        yield neighbour(option, option.maximum, math.inf)
    if math.isfinite(option.above):
        yield option.above
    if option.multiple > 1:
        yield from (option.minimum + 1, option.minimum + option.multiple - 1)


@pytest.mark.parametrize(("kind", "option"), NUMBERS)
def test_the_ends_of_a_range_are_inside_it(kind: type, option: Option) -> None:
    for value in accepted(option):
        assert getattr(made(kind, option.name, value), option.name) == value


@pytest.mark.parametrize(("kind", "option"), NUMBERS)
def test_what_is_just_outside_of_a_range_is_refused_with_the_range(kind: type, option: Option) -> None:
    for value in refused(option):
        with pytest.raises(ERRORS[kind]) as caught:
            made(kind, option.name, value)
        noun = option.noun or option.name.replace("_", " ")
        assert str(caught.value).startswith(f"{noun} is {value:g}")
        assert str(caught.value).endswith(f"; expected {option.expected}.")


@pytest.mark.parametrize(("kind", "option"), NUMBERS)
def test_every_limit_stands_in_the_words_for_the_range(kind: type, option: Option) -> None:
    limits = [limit for limit in (option.minimum, option.maximum, option.above) if math.isfinite(limit)]
    shown = [option.multiple] if option.multiple > 1 else limits
    assert all(f"{limit:g}" in option.expected for limit in shown)
    assert option.unit in option.expected or not shown


@pytest.mark.parametrize(("kind", "option"), WORDS)
def test_every_choice_is_accepted_and_any_other_word_refused(kind: type, option: Option) -> None:
    for word in option.choices:
        assert getattr(kind(**{option.name: word}), option.name) == word
    for word in (option.choices[0].upper(), f"{option.choices[0]} ", ""):
        with pytest.raises(ERRORS[kind], match="expected") as caught:
            kind(**{option.name: word})
        assert repr(word) in str(caught.value)
        assert all(choice in str(caught.value) for choice in option.choices)


@pytest.mark.parametrize("kind", ERRORS)
def test_nothing_that_is_optional_has_to_be_given(kind: type) -> None:
    optional = [name for name, option in options(kind).items() if type(None) in option.types]
    assert optional
    found = kind(**dict.fromkeys(optional))
    assert [getattr(found, name) for name in optional] == [None] * len(optional)


@pytest.mark.parametrize(("kind", "name"), [(TrainingSettings, "seed"), (EvaluationSettings, "seed")])
def test_a_whole_number_is_compared_exactly_however_large(kind: type, name: str) -> None:
    option = options(kind)[name]
    for value in (2**63, 2**63 + 1, 10**400):
        if value <= option.maximum:
            assert getattr(kind(**{name: value}), name) == value
        else:
            with pytest.raises(ERRORS[kind], match=f"^{name} is .*expected"):
                kind(**{name: value})

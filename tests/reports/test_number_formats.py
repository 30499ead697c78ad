"""Numbers on pages read back as they are to the digits that are shown, at every magnitude."""

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hrpn.analysis.metrics import METRICS
from napari_hrpn.reports.numbers import DEFINITIONS, interval, mean_and_sd, number, with_interval

steady = settings(derandomize=True, deadline=None, max_examples=300)
MAGNITUDES = st.tuples(st.floats(1, 9.999999), st.integers(-11, 15), st.sampled_from([-1, 1])).map(
    lambda parts: parts[2] * parts[0] * 10.0 ** parts[1]
)
DIGITS = st.integers(1, 5)


def read(words: str) -> float:
    """The number that a person reads."""
    return float(words.replace(",", ""))


def places(words: str) -> int:
    """Decimals that are shown."""
    return len(words.partition(".")[2])


@steady
@given(MAGNITUDES, DIGITS)
def test_a_number_reads_back_to_the_digits_that_are_shown(value: float, digits: int) -> None:
    words = number(value, digits)
    if abs(value) >= 10.0**-digits:
        assert abs(read(words) - value) <= 0.5000001 * 10.0 ** -places(words)
    else:
        # small numbers have significant digits, never only zeros
        assert read(words) == pytest.approx(value, rel=0.5 * 10.0 ** (2 - max(2, digits)) + 1e-9)
        assert read(words) != 0


@steady
@given(st.floats(10, 990), DIGITS)
def test_a_number_from_10_has_one_digit_more_than_its_digits_in_all(value: float, digits: int) -> None:
    shown = re.sub(r"\D", "", number(value, digits))
    whole = len(str(int(abs(value))))
    assert len(shown) in {max(whole, digits + 1), max(whole, digits + 1) + 1}


@steady
@given(st.integers(-(10**12), 10**12))
def test_a_whole_number_has_every_digit_in_groups_of_three(value: int) -> None:
    words = number(value)
    assert read(words) == value
    assert re.fullmatch(r"-?\d{1,3}(,\d{3})*", words)


@steady
@given(MAGNITUDES, DIGITS)
def test_a_negative_number_is_the_positive_one_with_a_minus(value: float, digits: int) -> None:
    assert number(-abs(value), digits) == f"-{number(abs(value), digits)}"


@steady
@given(MAGNITUDES, MAGNITUDES)
def test_larger_numbers_never_read_smaller(first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert read(number(low)) <= read(number(high))


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_dash_with_any_number_of_digits(value: float | None) -> None:
    assert {number(value, digits) for digits in range(1, 6)} == {"–"}


def test_rounding_errors_of_zero_have_no_sign() -> None:
    assert [number(value) for value in (0.0, -0.0, 9e-13, -9e-13)] == ["0"] * 4


def test_an_interval_that_is_missing_leaves_the_number_alone() -> None:
    assert (interval(None, None), interval(0.25, 1.5)) == ("", "0.250 to 1.500")
    assert with_interval(0.5, None, None) == number(0.5)
    assert with_interval(0.5, 0.25, 1.5) == "0.500 (0.250 to 1.500)"


@steady
@given(MAGNITUDES.filter(lambda value: abs(value) < 1e9), st.floats(-9, 9).map(lambda x: 10**x))
def test_mean_and_sd_have_the_same_decimals_and_the_sd_two_digits(mean: float, sd: float) -> None:
    mean_words, sd_words = mean_and_sd(mean, sd).split(" ± ")
    assert places(mean_words) == places(sd_words)
    assert read(sd_words) == pytest.approx(sd, rel=0.0500001)
    # a mean may have fewer digits than its SD has decimals
    assert abs(read(mean_words) - mean) <= 0.5000001 * 10.0 ** -places(mean_words) + math.ulp(mean)
    digits = sd_words.replace(",", "").replace(".", "").lstrip("0")
    assert len(digits) >= 2 or sd < 10
    # a rounded SD such as 0.0996 has a digit more
    assert places(sd_words) == 0 or len(digits) in {2, 3}


def test_a_mean_without_spread_is_written_as_a_number_of_its_own() -> None:
    assert mean_and_sd(0.5, math.nan) == "0.500"
    assert mean_and_sd(0.5, 0.0) == "0.500 ± 0"
    assert mean_and_sd(0.5, math.nan, lambda value: f"<{value}>") == "<0.5>"
    assert mean_and_sd(0.5, 0.0, lambda value: f"<{value}>") == "<0.5> ± 0"


def test_every_metric_of_a_page_has_its_definition() -> None:
    for metric in METRICS:
        if metric.views:
            assert DEFINITIONS[metric.title] == metric.definition
    assert all(words.endswith(".") for words in DEFINITIONS.values())


@steady
@given(st.floats(1000, 1e15), DIGITS)
def test_a_number_from_1000_is_whole_in_groups_of_three(value: float, digits: int) -> None:
    assert number(value, digits) == f"{round(value):,}"

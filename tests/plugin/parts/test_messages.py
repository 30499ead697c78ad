"""Sentences for the user: lengths of time, paths that can be broken, errors, and labels with a tone."""

import re
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hrpn.core import drive
from napari_hrpn.plugin.parts.messages import (
    ON_DARK,
    PROBLEM,
    TEXT,
    WARNING_MARK,
    MessagePanel,
    ToneLabel,
    UserError,
    breakable,
    is_for_the_user,
    sentence_of,
    time_in_words,
    warned_in_form,
)
from napari_hrpn.slides import SlideError

SECONDS = {"s": 1, "min": 60, "h": 3600}
FEW = settings(derandomize=True, deadline=None, max_examples=60)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.6, "60 s"),
        (119, "119 s"),
        (120, "2 min"),
        (3600, "60 min"),
        (7199, "120 min"),
        (7200, "2.0 h"),
        (86_400, "24.0 h"),
        (1e6, "277.8 h"),
    ],
)
def test_a_length_of_time_has_the_unit_that_one_would_say(seconds, words):
    assert time_in_words(seconds) == words


@FEW
@given(st.floats(0, 1e7))
def test_a_length_of_time_in_words_is_right_to_half_of_its_last_digit(seconds):
    value, unit = time_in_words(seconds).split()
    last_digit = SECONDS[unit] / (10 if unit == "h" else 1)
    assert abs(float(value) * SECONDS[unit] - seconds) <= last_digit / 2 * (1 + 1e-9)


@FEW
@given(st.text("abc /\\_.-é", max_size=40))
def test_a_breakable_sentence_reads_the_same_and_has_no_long_word(sentence):
    shown = breakable(sentence)
    assert shown.replace("\u200b", "") == sentence
    assert shown.count("\u200b") == len(re.findall(r"[/\\_.-]", sentence))
    assert all(piece[-1:] in "/\\_.-" for piece in shown.split("\u200b")[:-1])


@pytest.mark.parametrize(
    ("error", "is_own"),
    [
        (UserError("Choose a slide."), True),
        (SlideError("The file has no pixels."), True),
        (ValueError("operands could not be broadcast"), False),
        (KeyError("x"), False),
        (MemoryError(), False),
    ],
)
def test_errors_of_the_package_are_sentences_and_others_go_to_napari(monkeypatch, error, is_own):
    received = []
    receive = lambda *about: received.append(about)  # noqa: E731
    monkeypatch.setattr("napari_hrpn.plugin.parts.messages.notification_manager.receive_error", receive)
    assert is_for_the_user(error) == is_own
    words = sentence_of(error)
    assert words == (str(error) if is_own else "An unexpected error occurred in the program.")
    assert received == ([] if is_own else [(type(error), error, None)])


def test_a_label_takes_no_space_without_a_sentence_and_keeps_its_tone(qtbot):
    label = ToneLabel(TEXT)
    qtbot.addWidget(label)
    assert label.isHidden()
    label.say("/data/slide.tif cannot be read.", PROBLEM)
    assert not label.isHidden()
    assert label.text().replace("\u200b", "") == "/data/slide.tif cannot be read."
    assert label.styleSheet() == f"color: {ON_DARK[PROBLEM]}"
    label.say("Still so.")
    assert label.styleSheet() == f"color: {ON_DARK[PROBLEM]}"
    label.say("All is well.", TEXT)
    assert label.styleSheet() == f"color: {ON_DARK[TEXT]}"
    label.say("")
    assert label.isHidden()


def test_warnings_stand_below_each_other_and_replace_the_former_ones(qtbot):
    label = ToneLabel()
    qtbot.addWidget(label)
    label.warn(["Too dark.", "Too small."])
    assert label.text().replace("\u200b", "").split("\n") == [f"{WARNING_MARK} Too dark.", f"{WARNING_MARK} Too small."]
    label.warn(["Too small."])
    assert label.text().count(WARNING_MARK) == 1
    label.warn([])
    assert label.isHidden()


def test_the_last_message_can_be_read_without_marks_for_line_breaks(qtbot):
    panel = MessagePanel()
    qtbot.addWidget(panel)
    panel.say("Saved: /tmp/a_b.csv")
    assert panel.message == "Saved: /tmp/a_b.csv"
    assert panel.message_label.text() == breakable(panel.message)


def test_only_warnings_that_the_form_shows_are_silent_in_its_work():
    class Shown(UserWarning):
        pass

    def work():
        warnings.warn("in the form", Shown, stacklevel=2)
        yield 1
        warnings.warn("for everyone", UserWarning, stacklevel=2)
        return "done"

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        steps = []
        assert drive(warned_in_form(Shown, work()), steps.append) == "done"
        # a script that does the same work hears all of them
        drive(work(), steps.append)
    assert steps == [1, 1]
    assert [str(one.message) for one in caught] == ["for everyone", "in the form", "for everyone"]

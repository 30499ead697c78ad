"""The bar that measures: what it keeps, shows and emits, and how it stops and fails."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hrpn.analysis import ProbeImage
from napari_hrpn.core import drive
from napari_hrpn.core.progress import Progress
from napari_hrpn.plugin.parts.measure_bar import Finished, MeasureBar, Part, Remembered, in_turn, step
from napari_hrpn.plugin.parts.messages import ON_DARK, PROBLEM, UserError
from napari_hrpn.settings import VesselSettings
from support.compared import slide_of_pixels
from support.settling import WAIT_MS

FEW = settings(derandomize=True, deadline=None, max_examples=40)
WEIGHTS = st.lists(st.integers(1, 10), min_size=1, max_size=5)


@pytest.fixture
def bar(ended_activities, qtbot):
    made = MeasureBar("Measure everything")
    qtbot.addWidget(made)
    made.events = []
    made.found.connect(lambda key: made.events.append(("found", key)))
    made.ended.connect(lambda is_complete: made.events.append(("ended", is_complete)))
    yield made
    made.abandon()


@pytest.fixture
def finish(bar, qtbot):
    """Waits until nothing runs any more."""

    def run():
        qtbot.waitUntil(
            lambda: not bar.is_running and bar.events[-1:] and bar.events[-1][0] == "ended", timeout=WAIT_MS
        )

    return run


class Gate:
    """A computation that waits in its middle until the test lets it go on."""

    def __init__(self, result="through"):
        self.result, self.is_open, self.calls = result, threading.Event(), 0

    def __call__(self, _):
        self.calls += 1
        yield Progress(1, 4)
        while not self.is_open.wait(0.005):
            yield Progress(2, 4)
        return self.result

    def part(self, key="gate"):
        return Part(key, "Waiting at the gate", 1.0, self)


def doubled(number):
    return 2 * number


def failing(error):
    raise error


def test_results_are_found_in_order_and_nothing_is_computed_twice(bar, finish):
    first = step("Doubling", 1, doubled, 4)
    second = step("Doubling again", 1, doubled, first)
    assert bar.start([first, second])
    finish()
    assert bar.events == [("found", first.key), ("found", second.key), ("ended", True)]
    assert (bar.known(first.key), bar.known(second.key), bar.known("other")) == (8, 16, None)
    assert (bar.message, bar.cancel_button.isHidden(), bar.measure_button.isEnabled()) == ("", True, True)
    # equal steps made anew are known already
    assert not bar.start([step("In other words", 9, doubled, 4), second])
    assert len(bar.events) == 3


def test_while_it_runs_only_cancel_can_be_pressed_and_its_share_is_shown(bar, finish, qtbot):
    gate, done = Gate(), step("Doubling", 1, doubled, 4)
    bar.start([done, gate.part()])
    assert not bar.measure_button.isEnabled()
    assert bar.cancel_button.isEnabled()
    assert not bar.bar.isHidden()
    # another measurement does not start meanwhile
    assert not bar.start([step("", 1, doubled, 5)])
    qtbot.waitUntil(lambda: bar.bar.value() == 750, timeout=WAIT_MS)
    assert bar.bar.maximum() == 1000
    assert bar.message == "Waiting at the gate …"
    assert bar.bar.text().startswith("75 %")
    assert bar.bar.text().endswith(" left")
    gate.is_open.set()
    finish()
    assert bar.bar.isHidden()
    assert bar.known("gate") == "through"


def test_cancel_keeps_what_is_finished_and_measure_goes_on_from_there(bar, finish, qtbot):
    gate, done = Gate(), Gate("done")
    done.is_open.set()
    parts = [done.part("done"), gate.part()]
    bar.start(parts)
    qtbot.waitUntil(lambda: ("found", "done") in bar.events, timeout=WAIT_MS)
    bar.cancel_button.click()
    assert not bar.cancel_button.isEnabled()
    assert bar.message == "Stopping after this block …"
    finish()
    assert bar.events == [("found", "done"), ("ended", False)]
    assert bar.message == "Stopped; Measure resumes where it stopped."
    gate.is_open.set()
    assert bar.start(parts)
    qtbot.waitUntil(lambda: bar.known("gate") is not None, timeout=WAIT_MS)
    finish()
    assert done.calls == 1
    bar.cancel()
    assert bar.message == ""


def test_a_part_that_fails_says_why_and_those_before_it_are_kept(bar, finish):
    first = step("Doubling", 1, doubled, 4)
    bar.start([first, step("", 1, failing, UserError("There is no pixel.")), step("", 1, doubled, 5)])
    finish()
    assert bar.events == [("found", first.key), ("ended", False)]
    assert bar.message == "There is no pixel."
    assert bar.message_label.styleSheet() == f"color: {ON_DARK[PROBLEM]}"
    assert bar.measure_button.isEnabled()


def test_an_abandoned_bar_forgets_all_and_emits_nothing_more(bar, qtbot):
    gate = Gate()
    bar.start([step("Doubling", 1, doubled, 4), gate.part()])
    qtbot.waitUntil(lambda: len(bar.results) == 1, timeout=WAIT_MS)
    before = list(bar.events)
    bar.abandon()
    gate.is_open.set()
    qtbot.waitUntil(
        lambda: not any(one.name.startswith("napari-hrpn") for one in threading.enumerate()), timeout=WAIT_MS
    )
    assert (bar.events, len(bar.results), bar.is_running) == (before, 0, False)


def test_pressing_measure_asks(bar):
    asked = []
    bar.asked.connect(lambda: asked.append(True))
    bar.measure_button.click()
    assert asked == [True]
    assert bar.measure_button.toolTip() == "Measure everything"


def steps_of(number, key):
    def begin(_):
        for done in range(1, number + 1):
            yield Progress(done, number)
        return key

    return begin


@FEW
@given(WEIGHTS, st.data())
def test_the_share_never_falls_and_ends_at_one_whatever_the_weights(weights, data):
    known = data.draw(st.sets(st.sampled_from(range(len(weights)))))
    parts = [Part(key, f"part {key}", float(weight), steps_of(3, key)) for key, weight in enumerate(weights)]
    came = []
    assert drive(in_turn(parts, dict.fromkeys(known))(threading.Event()), came.append)
    shares = [news.share for news in came if isinstance(news, Progress)]
    assert min(np.diff(shares), default=0) > -1e-12
    assert [news.key for news in came if isinstance(news, Finished)] == [
        key for key in range(len(weights)) if key not in known
    ]
    left = [weight for key, weight in enumerate(weights) if key not in known]
    if left:
        assert (shares[0], shares[-1]) == (0, pytest.approx(1))
        # a part begins when all before it are done
        begins = shares[::4]
        np.testing.assert_allclose(begins, (np.cumsum(left) - left) / sum(left))
    assert all(news.seconds_left is None or news.seconds_left >= 0 for news in came if isinstance(news, Progress))


@FEW
@given(st.integers(1, 4), st.lists(st.tuples(st.booleans(), st.integers(0, 6)), max_size=25))
def test_those_used_last_are_remembered(most, uses):
    remembered, model = Remembered(most), []
    for is_kept, key in uses:
        if is_kept:
            remembered.keep(key, -key)
        else:
            assert remembered.known(key) == (-key if key in model else None)
        if is_kept or key in model:
            model = [*(other for other in model if other != key), key][-most:]
    assert list(remembered) == model


NUMBERS = st.one_of(st.integers(0, 3), st.sampled_from([0.5, "dapi", None, (1, 2), (2, 1), ()]))


@FEW
@given(st.lists(NUMBERS, max_size=3), st.lists(NUMBERS, max_size=3))
def test_steps_share_a_result_exactly_if_their_arguments_are_equal(first, second):
    keys = [step("", 1, doubled, *arguments).key for arguments in (first, second)]
    assert (keys[0] == keys[1]) == (first == second)
    assert hash(keys[0]) == hash(step("other words", 2, doubled, *first).key)


def test_steps_share_results_of_equal_settings_and_channels_of_one_slide():
    slides = [slide_of_pixels(np.zeros((2, 8, 9), np.uint8), "a.tif", ("DAPI", "QD")) for _ in range(2)]
    settings_key = [step("", 1, doubled, VesselSettings(threshold=level)).key for level in (1.0, 1.0, 2.0)]
    assert settings_key[0] == settings_key[1] != settings_key[2]
    probes = [
        ("QD", slides[0], 1),
        ("QD", slides[0], 1),
        ("QD", slides[0], 0),
        ("QD", slides[1], 1),
        ("x", slides[0], 1),
    ]
    keys = [step("", 1, doubled, [ProbeImage(*probe)]).key for probe in probes]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4
    given_key = SimpleNamespace(key="mine")
    assert step("", 1, doubled, given_key).key == step("", 1, doubled, SimpleNamespace(key="mine")).key
    # a key of its own replaces that of the arguments
    assert step("", 1, doubled, 1, key=("drawn", 3)).key == ("drawn", 3)

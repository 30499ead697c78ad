"""Parts of a measurement: computed once, in order, and stopped between two steps."""

import threading
import weakref

import numpy as np
import pytest

from napari_hrpn.core import drive
from napari_hrpn.core.progress import Progress
from napari_hrpn.plugin.parts.measure_bar import MOST_KEPT, Finished, Part, Remembered, in_turn, step, who
from napari_hrpn.slides import RegionMask


def counting(key, result, steps=2, closed=None):
    """A part that reports a few steps."""

    def begin(results):
        try:
            for done in range(1, steps + 1):
                yield Progress(done, steps)
            return result(results) if callable(result) else result
        finally:
            if closed is not None:
                closed.append(key)

    return Part(key, f"doing {key}", float(steps), begin)


def run(parts, known=(), stop_after=None):
    """Everything that comes, and what is returned."""
    stop, came = threading.Event(), []
    steps = in_turn(parts, dict(known))(stop)

    def take(news):
        came.append(news)
        if len(came) == stop_after:
            stop.set()

    return came, drive(steps, take)


def test_a_part_finds_the_results_of_those_before_and_known_ones_are_not_computed_again():
    parts = [counting("one", 1), counting("two", lambda results: results["one"] + 1), counting("known", pytest.fail)]
    came, is_complete = run(parts, {"known": 5})
    assert is_complete
    assert [(one.key, one.result) for one in came if isinstance(one, Finished)] == [("one", 1), ("two", 2)]


def test_the_share_rises_to_the_whole_by_weight():
    came, _ = run([counting("one", 1, steps=3), counting("two", 2, steps=1)])
    shares = [one.share for one in came if isinstance(one, Progress)]
    np.testing.assert_allclose(shares, [0, 0.25, 0.5, 0.75, 0.75, 1])
    assert [one.seconds_left is None for one in came if isinstance(one, Progress)][:2] == [True, False]


def test_stopping_keeps_what_is_finished_and_closes_what_is_not():
    closed = []
    parts = [counting("one", 1, steps=1), counting("two", 2, steps=50, closed=closed)]
    came, is_complete = run(parts, stop_after=5)
    assert not is_complete
    assert [one.key for one in came if isinstance(one, Finished)] == ["one"]
    assert closed == ["two"]


def test_what_is_to_stop_does_not_take_another_step():
    (first,), is_complete = run([counting("one", 1)], stop_after=1)
    assert first.share == 0
    assert not is_complete


def test_the_result_that_was_not_used_for_longest_is_forgotten():
    kept = Remembered()
    for key in range(MOST_KEPT):
        kept.keep(key, key)
    assert kept.known(0) == 0
    kept.keep("new", "new")
    assert 0 in kept
    assert 1 not in kept


def test_a_key_does_not_keep_its_slide_in_memory():
    class Slide:
        pass

    slide = Slide()
    key = who(slide)
    assert key == who(slide)
    assert key != who(Slide())
    del slide
    assert key() is None


class Thing:
    """Equal to itself alone, as slides are."""


def added(*numbers):
    return sum(numbers)


def slowly_added(*numbers):
    yield Progress(1, 2)
    return sum(numbers)


def test_a_step_is_its_function_with_its_arguments():
    first = step("adding", 1, added, 1, 2)
    second = step("adding more", 1, slowly_added, first, 10)
    came, is_complete = run([first, second])
    assert is_complete
    assert [one.result for one in came if isinstance(one, Finished)] == [3, 13]
    assert second.key == step("in other words", 5, slowly_added, first, 10).key
    others = [step("", 1, slowly_added, first, 11), step("", 1, added, first, 10), step("", 1, slowly_added, 3, 10)]
    assert second.key not in [other.key for other in others]


def test_keys_of_steps_tell_regions_by_their_pixels_and_slides_by_themselves_without_keeping_them():
    thing, masks = Thing(), [RegionMask(np.eye(4, dtype=bool), (2.0, 2.0)) for _ in range(2)]
    key = step("", 1, added, thing, masks[0], [1, None]).key
    assert key == step("", 1, added, thing, masks[1], (1, None)).key
    assert key != step("", 1, added, Thing(), masks[0], [1, None]).key
    assert key != step("", 1, added, thing, RegionMask(~masks[0].mask, (2.0, 2.0)), [1, None]).key
    gone = weakref.ref(thing)
    del thing
    assert gone() is None

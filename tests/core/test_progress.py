"""Long work comes to its result, or ends where it is stopped, and is always closed."""

import threading
from collections.abc import Generator

import pytest

from napari_hrpn.core import Progress, Stopped, drive, relayed


class Work:
    """Three steps, and whether they were closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def steps(self) -> Generator[Progress, None, str]:
        try:
            for done in (1, 2, 3):
                yield Progress(done, 3)
        finally:
            self.is_closed = True
        return "result"


def test_work_is_driven_to_its_result_and_every_record_is_seen() -> None:
    seen: list[Progress] = []
    assert drive(Work().steps(), seen.append) == "result"
    assert [progress.share for progress in seen] == [1 / 3, 2 / 3, 1.0]
    assert drive(Work().steps()) == "result"


def test_a_stop_ends_the_work_before_its_next_step_and_closes_it() -> None:
    work, stop, seen = Work(), threading.Event(), []
    with pytest.raises(Stopped):
        drive(work.steps(), lambda progress: (seen.append(progress), stop.set()), stop)
    assert len(seen) == 1
    assert work.is_closed


def test_records_that_are_not_shown_are_left_out() -> None:
    steps = relayed(Work().steps(), lambda progress: progress.done if progress.done != 1 else None)
    assert list(steps) == [2, 3]


def test_work_that_is_a_part_of_another_is_closed_with_it() -> None:
    work = Work()
    steps = relayed(work.steps(), lambda progress: progress.done)
    assert next(steps) == 1
    steps.close()
    assert work.is_closed


def test_an_error_of_whoever_shows_the_progress_closes_the_work() -> None:
    def fails(progress: Progress) -> None:
        raise OSError("no display")

    work = Work()
    with pytest.raises(OSError, match="no display"):
        drive(work.steps(), fails)
    assert work.is_closed

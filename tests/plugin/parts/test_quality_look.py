"""Slides are looked at in the background, once, and said in few words."""

import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image
from napari.utils.notifications import notification_manager

from napari_hrpn.analysis import Finding
from napari_hrpn.plugin.parts.quality_check import QualityLook, findings_tooltip, warnings_of, warnings_of_slides
from napari_hrpn.plugin.viewer import slide_from_layers
from napari_hrpn.slides import ChannelRoles, SlideError
from support.predictions import make_slide
from support.settling import WAIT_MS

CHANNELS = {"nuclei": 0, "vessels": 1, "probe": 2}
GRAVE = Finding("saturation", (0,), 0.1, "share of pixels", True, "DAPI: 10 % of the pixels are at the largest value.")
SLIGHT = Finding("zeros", (2,), 0.02, "share of pixels", False, "QD: 2 % of the pixels are 0.")
SIZE = Finding("pixel size", (), float("nan"), "µm", True, "The file has no pixel size.")


@pytest.fixture
def look(qtbot):
    look = QualityLook()
    yield look
    look.abandon()


@pytest.fixture
def finish(qtbot, look):
    """Asks for slides and waits until they are looked at."""

    def run(*wanted):
        look.look_at(wanted)
        qtbot.waitUntil(lambda: not look.is_looking, timeout=WAIT_MS)

    return run


@pytest.fixture
def checks(monkeypatch):
    """Stands in for `slide_quality`: finds one thing of each kind, as soon as it is allowed to."""
    fake = SimpleNamespace(calls=[], threads=set(), go_on=threading.Event(), closed=[], fails_with=None)
    fake.go_on.set()

    def check(slide, roles):
        fake.calls.append((slide, roles))
        fake.threads.add(threading.get_ident())
        try:
            while not fake.go_on.wait(0.01):
                yield
            if fake.fails_with is not None:
                raise fake.fails_with
            yield
            return SimpleNamespace(findings=(GRAVE, SIZE, SLIGHT))
        finally:
            fake.closed.append(slide)

    # once this has been imported, a name in it can be replaced
    monkeypatch.setattr(sys.modules["napari_hrpn.analysis"], "slide_quality", check)
    return fake


@pytest.fixture
def slide():
    return make_slide(300, 320, Path("tumour 1.ome.tif"))


@pytest.mark.parametrize("is_spoilt", [False, True])
def test_a_real_check_finds_what_is_wrong_and_nothing_else(look, finish, slide, is_spoilt):
    if is_spoilt:
        bright = da.clip(slide.levels[0].astype(np.uint16) + 80, 0, 255).astype(np.uint8)
        slide = replace(slide, levels=(bright, *slide.levels[1:]), pixel_size_um=None)
    finish((slide, CHANNELS))
    found = {finding.check for finding in look.findings(slide, CHANNELS)}
    assert found == ({"saturation", "pixel size"} if is_spoilt else set())


def test_each_slide_is_looked_at_once_and_in_another_thread(look, finish, checks, slide):
    other = make_slide(200, 220, Path("tumour 2.ome.tif"))
    told = []
    look.found.connect(lambda: told.append(len(checks.calls)))
    finish((slide, CHANNELS), (other, {}))
    assert [asked for asked, _ in checks.calls] == [slide, other]
    assert [roles for _, roles in checks.calls] == [ChannelRoles(0, 1, 2), None]
    assert told == [1, 2]
    assert threading.get_ident() not in checks.threads
    finish((other, {}), (slide, CHANNELS))
    finish()
    finish((slide, CHANNELS))
    assert len(checks.calls) == 2
    # other channels are compared, or finer levels are there
    finish((slide, {**CHANNELS, "probe": 1, "vessels": 2}))
    finish((replace(slide, stored_levels=2), CHANNELS))
    assert len(checks.calls) == 4


def test_findings_are_about_the_channels_in_use(look, finish, checks, slide):
    inputs = {"nuclei": 0, "vessels": 1}
    finish((slide, CHANNELS), (slide, inputs), (slide, {}), (slide, {"nuclei": 1, "vessels": 1}))
    assert look.findings(slide, CHANNELS) == look.findings(slide, {}) == (GRAVE, SIZE, SLIGHT)
    assert look.findings(slide, inputs) == (GRAVE, SIZE)
    # one channel for two roles is no choice yet
    assert look.findings(slide, {"nuclei": 1, "vessels": 1}) == (SIZE,)
    assert look.findings(make_slide(90, 90, slide.source), CHANNELS) == ()


def test_what_is_wanted_no_more_is_looked_at_no_further(look, finish, checks, slide, qtbot):
    other = make_slide(200, 220, Path("tumour 2.ome.tif"))
    checks.go_on.clear()
    look.look_at([(slide, CHANNELS), (other, CHANNELS)])
    qtbot.waitUntil(lambda: len(checks.calls) == 1, timeout=WAIT_MS)
    look.look_at([(slide, CHANNELS)])
    assert not checks.closed
    look.look_at([(other, CHANNELS)])
    qtbot.waitUntil(lambda: len(checks.calls) == 2, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: checks.closed == [slide], timeout=WAIT_MS)
    look.abandon()
    qtbot.waitUntil(lambda: checks.closed == [slide, other], timeout=WAIT_MS)
    assert not look.is_looking
    checks.go_on.set()
    finish((slide, CHANNELS))
    assert [asked for asked, _ in checks.calls] == [slide, other, slide]


def test_a_slide_that_cannot_be_read_is_told_and_a_fault_of_ours_goes_to_napari(
    look, finish, checks, slide, monkeypatch
):
    told = []
    monkeypatch.setattr(notification_manager, "receive_error", lambda *problem: told.append(problem[1]))
    checks.fails_with = SlideError("tumour 1 ends too early; copy it again.")
    finish((slide, CHANNELS))
    assert warnings_of(look.findings(slide, CHANNELS)) == ("tumour 1 ends too early; copy it again.",)
    assert told == []
    checks.fails_with = ZeroDivisionError("oh")
    finish((slide, {}))
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert look.findings(slide, {}) == ()


def test_loose_layers_are_looked_at_once(look, finish, checks):
    layers = [Image(np.full((64, 80), value, np.uint8), name=name) for value, name in ((1, "a"), (2, "b"))]
    finish((slide_from_layers(layers, ["a", "b"]), {}))
    finish((slide_from_layers(layers, ["a", "b"]), {}))
    assert len(checks.calls) == 1
    layers[1].data = np.full((64, 80), 3, np.uint8)
    finish((slide_from_layers(layers, ["a", "b"]), {}))
    assert len(checks.calls) == 2


def test_what_matters_is_said_and_all_is_in_the_tooltip():
    assert warnings_of([GRAVE, SLIGHT]) == (GRAVE.sentence,)
    assert findings_tooltip([GRAVE, SLIGHT]) == (f"⚠ {GRAVE.sentence}", f"– {SLIGHT.sentence}")
    (wrapped,) = findings_tooltip([replace(GRAVE, sentence="word " * 60)])
    assert max(map(len, wrapped.splitlines())) <= 90


def test_several_slides_with_the_same_fault_are_named_together():
    slides = [(f"tumour {number}", [SIZE]) for number in range(1, 6)]
    assert warnings_of_slides(slides[:2]) == (f"tumour 1, tumour 2: {SIZE.sentence}",)
    assert warnings_of_slides(slides) == (f"tumour 1, tumour 2, tumour 3 and 2 more: {SIZE.sentence}",)
    assert warnings_of_slides([("a", []), ("b", [SLIGHT])]) == ()
    faults = [("a", [replace(GRAVE, sentence=str(number)) for number in range(5)])]
    assert warnings_of_slides(faults) == (
        "a: 0",
        "a: 1",
        "a: 2",
        "2 more: see the tooltips of the slides with ⚠ in the table.",
    )

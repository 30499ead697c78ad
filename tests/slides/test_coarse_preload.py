"""A glance shows the levels that a slide has, and reads what lies beneath them once for many looks."""

from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from napari_hrpn.slides import Slide, coarser_levels, glance

PIXELS = np.random.default_rng(5).integers(0, 65535, (3, 2300, 2100), np.uint16)


class Watched:
    """Pixels that count how many of them were read, by channel."""

    shape, dtype, ndim = PIXELS.shape, PIXELS.dtype, 3

    def __init__(self) -> None:
        self.read = np.zeros(len(PIXELS), int)

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        block = PIXELS[key]
        self.read[key[0]] += block[0].size
        return block


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def slide(watched: Watched) -> Slide:
    finest = da.from_array(watched, chunks=(1, 512, 512), asarray=False, fancy=False, lock=False, name="watched")
    levels = (finest, *coarser_levels(finest, smallest=300))
    watched.read[:] = 0
    return Slide(levels, ("DAPI", "CD31", "QD"), (0.5, 0.5), Path("made-up"))


def test_all_levels_are_those_of_the_slide_in_the_order_asked_for(slide: Slide) -> None:
    seen = glance(slide, (2, 0), 1.0)
    assert seen.channel_names == ("QD", "DAPI")
    assert len(seen.levels) == len(slide.levels) == 4
    for shown, level in zip(seen.levels, slide.levels, strict=True):
        assert np.array_equal(shown.compute(), level[[2, 0]].compute())


def test_what_is_looked_at_again_and_again_is_read_once(slide: Slide, watched: Watched) -> None:
    seen = glance(slide, (0, 1), 1.0)
    for _ in range(3):
        [level.compute() for level in seen.levels[1:]]
    assert watched.read.tolist() == [PIXELS[0].size, PIXELS[0].size, 0]
    slide.levels[1][:2].compute()
    assert watched.read[0] == 2 * PIXELS[0].size


def test_levels_on_disk_are_left_there(slide: Slide, watched: Watched) -> None:
    stored = Slide(slide.levels, slide.channel_names, slide.pixel_size_um, slide.source, stored_levels=4)
    glance(stored, (0, 1), 1.0)
    assert watched.read.tolist() == [0, 0, 0]


def test_a_level_beyond_the_limit_is_still_computed(
    slide: Slide, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_hrpn.slides.pyramid.MOST_BYTES", slide.levels[2][:1].nbytes)
    seen = glance(slide, (1,), 1.0)
    assert watched.read[1] == PIXELS[0].size
    seen.levels[2].compute()
    assert watched.read[1] == PIXELS[0].size
    assert np.array_equal(seen.levels[1].compute(), slide.levels[1][1:2].compute())
    assert watched.read[1] == 3 * PIXELS[0].size

"""Quality checks of images whose faults are known exactly: displacement, leak, seams and grey levels."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from napari_hrpn.analysis.quality.channel_shift import channel_shifts
from napari_hrpn.analysis.quality.cross_talk import cross_talk
from napari_hrpn.analysis.quality.grey_levels import grey_levels
from napari_hrpn.analysis.quality.stitching import stitching
from napari_hrpn.slides import RegionMask
from support.steady import steady
from support.vessel_slides import slide_of

SEEDS = st.integers(0, 2**32 - 1)
MOVES = st.tuples(st.integers(-20, 20), st.integers(-20, 20))


def texture(random: np.random.Generator, size: int, sigma: float = 2.0) -> np.ndarray:
    """Bright spots of random brightness on a dark ground, as nuclei are."""
    field = ndimage.gaussian_filter(random.normal(size=(size, size)), sigma)
    return np.maximum(field / field.std(), 0) ** 2 * 20 + 10


def displaced_blocks(seed: int, moves: list[tuple[int, int]], noise: float = 1.0) -> list[np.ndarray]:
    """Four blocks of channels that show one texture, each displaced by its own move."""
    random = np.random.default_rng(seed)
    blocks = []
    for _ in range(4):
        scene = texture(random, 176)
        parts = [scene[24 - dy : 152 - dy, 24 - dx : 152 - dx] for dy, dx in moves]
        blocks.append(np.stack([part + random.normal(0, noise, part.shape) for part in parts]))
    return blocks


@steady(12)
@given(SEEDS, MOVES)
def test_a_displacement_of_whole_pixels_is_found_exactly_and_in_the_unit(seed, move):
    (found,) = channel_shifts(displaced_blocks(seed, [(0, 0), move]), [0, 1], (0.5, 0.25))
    assert found.reason == ""
    assert found.shift_px == pytest.approx(move, abs=0.11)
    assert found.shift_um == pytest.approx((found.shift_px[0] * 0.5, found.shift_px[1] * 0.25))
    assert found.blocks == 4


@steady(8)
@given(SEEDS, MOVES, MOVES)
def test_displacements_of_three_channels_add_up_and_turn_round(seed, first, second):
    blocks = displaced_blocks(seed, [(0, 0), first, second])
    found = {(shift.first, shift.second): shift.shift_px for shift in channel_shifts(blocks, [0, 1, 2], None)}
    assert found[0, 1] == pytest.approx(first, abs=0.11)
    assert found[0, 2] == pytest.approx(second, abs=0.11)
    if max(map(abs, np.subtract(second, first))) < 30:
        np.testing.assert_allclose(np.add(found[0, 1], found[1, 2]), found[0, 2], atol=0.3)
    (back,) = channel_shifts(blocks, [1, 0], None)
    np.testing.assert_allclose(back.shift_px, np.negative(found[0, 1]), atol=0.11)


@steady(8)
@given(SEEDS)
def test_channels_that_share_nothing_have_no_displacement(seed):
    random = np.random.default_rng(seed)
    blocks = [np.stack([texture(random, 128), texture(random, 128)]) for _ in range(4)]
    (found,) = channel_shifts(blocks, [0, 1], (1.0, 1.0))
    assert found.reason
    assert all(map(math.isnan, found.shift_px))
    assert found.shift_um is None


@steady(6)
@given(SEEDS, st.floats(0.05, 0.35))
def test_a_leak_has_its_share_and_its_direction(seed, share):
    random = np.random.default_rng(seed)
    blocks = []
    for _ in range(3):
        source, target = texture(random, 256), texture(random, 256, 2.5)
        blocks.append(np.stack([source, target + share * source]) + random.normal(0, 0.5, (2, 256, 256)))
    leak, back = cross_talk(blocks, [0, 1])
    assert (leak.source, leak.target, back.source, back.target) == (0, 1, 1, 0)
    # the textures of a few windows are alike by chance
    assert leak.share == pytest.approx(share, abs=0.06)
    assert back.share < leak.share or not back.is_found
    swapped = cross_talk([block[::-1] for block in blocks], [1, 0])
    assert swapped[0].share == pytest.approx(leak.share, rel=1e-5)


@steady(6)
@given(SEEDS, st.floats(0.2, 50))
def test_the_unit_of_a_channel_changes_the_share_of_its_leak_alone(seed, gain):
    random = np.random.default_rng(seed)
    source, target = texture(random, 256), texture(random, 256, 2.5)
    block = np.stack([source, target + 0.2 * source])
    scaled = block * np.array([1, gain])[:, None, None]
    first, second = (cross_talk([pixels], [0, 1])[0] for pixels in (block, scaled))
    assert second.share == pytest.approx(gain * first.share, rel=1e-3)
    assert second.spread == pytest.approx(first.spread, rel=1e-3)


@pytest.mark.parametrize("period", [128, 150, 200, 240])
@pytest.mark.parametrize("axis", ["y", "x"])
def test_seams_have_the_period_and_axis_that_they_were_made_with(period: int, axis: str) -> None:
    random = np.random.default_rng(period)
    place = np.arange(1024) % period / period
    fall = 1 + 0.1 * np.cos(2 * np.pi * place)
    image = random.poisson(100 * fall[:, None] * np.ones((1, 1024))).astype(np.uint16)
    slide = slide_of(np.ascontiguousarray(image if axis == "y" else image.T))
    found = {seams.axis: seams for seams in stitching(slide, [0], 0, None)}
    across = found.pop(axis)
    assert across.is_found
    assert across.period_px == pytest.approx(period, rel=0.06)
    assert across.depth == pytest.approx(0.2, abs=0.06)
    (along,) = found.values()
    assert not along.is_found
    assert along.reason


def test_seams_beside_the_tissue_do_not_count() -> None:
    random = np.random.default_rng(0)
    image = random.poisson(100, (1024, 1024)).astype(float)
    image[:, 512:] *= 1 + 0.3 * (np.arange(1024) // 64 % 2)[:, None]
    tissue = RegionMask(np.array([[True, False]]), (1024.0, 512.0))
    slide = slide_of(image.astype(np.uint16))
    assert stitching(slide, [0], 0, None)[0].is_found
    assert not stitching(slide, [0], 0, tissue)[0].is_found


@steady(40)
@given(
    npst.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int16, np.float32]),
        st.integers(1, 200),
        elements={"min_value": 0, "max_value": 120},
    )
)
def test_counts_of_grey_levels_are_those_of_numpy(pixels):
    found = grey_levels(pixels)
    assert (found.n, found.lowest, found.highest) == (pixels.size, pixels.min(), pixels.max())
    assert found.zeros == (pixels == 0).mean()
    assert found.levels == len(np.unique(pixels))
    assert 1 <= found.typical_levels <= found.levels


@steady(20)
@given(SEEDS, st.integers(0, 250), st.sampled_from([np.uint8, np.uint16]))
def test_the_share_of_clipped_pixels_is_that_of_the_pixels_at_the_end_of_the_type(seed, brightness, dtype):
    top = np.iinfo(dtype).max
    random = np.random.default_rng(seed)
    light = random.normal(brightness / 255, 0.15, (64, 64)) * top
    pixels = light.clip(0, top).astype(dtype)
    found = grey_levels(pixels)
    if pixels.max() == top:
        assert found.saturated == (pixels == top).mean()
    assert found.zeros == (pixels == 0).mean()


@steady(20)
@given(SEEDS, st.integers(1, 40), st.integers(5, 9))
def test_values_that_were_stretched_have_the_spacing_and_the_bits_of_the_camera(seed, factor, bits):
    random = np.random.default_rng(seed)
    camera = random.integers(0, 2**bits, (256, 256))
    camera[0, 0], camera[0, 1] = 0, 2**bits - 1
    found = grey_levels((camera * factor).astype(np.uint16))
    assert found.spacing == factor
    assert found.bits_used == bits

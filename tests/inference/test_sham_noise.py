"""Noise of sham edits: two SDs by distance, widened for few edits, and not below what rounding to integers hides."""

import math

import numpy as np
import pytest

from napari_hrpn.inference.counterfactual import ShamNoise


def shams(count):
    """Distances from edits, and differences that are smaller further away and zero beyond 23 µm."""
    random = np.random.default_rng(3)
    for _ in range(count):
        distance = random.uniform(0, 40, 500)
        change = random.normal(0, np.exp(-distance / 10)) * (distance < 23)
        yield distance, change.astype(np.float32)


def test_noise_is_that_of_the_pixels_that_two_edits_reach_at_the_same_distance():
    edits = list(shams(2))
    noise = ShamNoise.of(edits)
    # Student's t with two degrees of freedom has a closed form
    p = (1 + math.erf(2 / math.sqrt(2))) / 2
    factor = (2 * p - 1) / math.sqrt(2 * p * (1 - p))
    for low in (0, 5, 10, 15, 20):
        pooled = [
            float(value)
            for distance, change in edits
            for um, value in zip(distance, change, strict=True)
            if low <= um < low + 5 and value != 0
        ]
        expected = factor * math.sqrt(math.fsum(value**2 for value in pooled) / len(pooled))
        assert noise.at(np.array([low + 0.5, low + 4.9])) == pytest.approx([expected, expected], rel=1e-12)
    # beyond the reach nothing smaller is known
    assert noise.at(np.array([39.0, 400.0])) == pytest.approx([expected, expected], rel=1e-12)


def test_noise_has_a_floor_where_sham_edits_change_next_to_nothing():
    noise = ShamNoise.of(list(shams(4)), 0.5)
    near, far = noise.at(np.array([0.0, 22.0]))
    assert near > 1
    assert far == 0.5
    nothing = [(np.linspace(0, 30, 50), np.zeros(50, np.float32))] * 2
    assert (ShamNoise.of(nothing, 0.5).at(np.array([0.0, 100.0])) == 0.5).all()


@pytest.mark.parametrize("count", [2, 8])
def test_few_sham_edits_do_not_understate_the_noise(count):
    """An edit that changes nothing of note is above the noise as rarely as a normal deviate is above two SDs."""
    random = np.random.default_rng(1)
    place, above = np.zeros(20), 0
    for _ in range(1000):
        # all pixels of an edit go up or down together
        *noise, new = (np.full(20, level, np.float32) for level in random.normal(size=count + 1))
        above += abs(new[0]) > ShamNoise.of([(place, change) for change in noise]).at(place)[0]
    assert above / 1000 == pytest.approx(0.0455, abs=0.02)

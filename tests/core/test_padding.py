"""Mirrored indices, against numpy's own padding."""

import numpy as np
import pytest

from napari_hrpn.core import reflected


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64])
def test_mirroring_is_numpys_reflect_however_far_it_reaches(size):
    expected = np.pad(np.arange(size), 200, mode="reflect")
    np.testing.assert_array_equal(reflected(-200, size + 200, size), expected)


def test_inside_the_slide_nothing_is_mirrored():
    np.testing.assert_array_equal(reflected(3, 9, 20), np.arange(3, 9))

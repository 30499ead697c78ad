import numpy as np
import pytest
from scipy import ndimage

from napari_hrpn.core import Box, covering


def cost(boxes, halo):
    return sum((box.height + 2 * halo) * (box.width + 2 * halo) for box in boxes)


def covered(boxes, shape):
    count = np.zeros(shape, int)
    for box in boxes:
        count[box.y0 : box.y1, box.x0 : box.x1] += 1
    return count


@pytest.mark.parametrize("halo", [0, 0.75, 3])
@pytest.mark.parametrize("seed", range(5))
def test_all_that_is_wanted_is_covered_once_and_costs_no_more_than_the_whole(seed, halo):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((16, 13)), 1.5)
    wanted = noise > np.quantile(noise, 0.6)
    boxes = covering(wanted, halo)
    count = covered(boxes, wanted.shape)
    assert count.max() == 1
    assert (count[wanted] == 1).all()
    rows, columns = np.nonzero(wanted)
    around = Box(int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1)
    assert cost(boxes, halo) <= cost([around], halo)
    if halo == 0:
        assert count.sum() < around.area


def test_two_islands_are_one_rectangle_only_where_they_are_near():
    wanted = np.zeros((8, 8), bool)
    wanted[0:2, 0:2] = wanted[0:2, 3:5] = True
    assert covering(wanted, 0.75) == [Box(0, 2, 0, 5)]
    wanted[:, 3:5] = False
    wanted[6:8, 6:8] = True
    assert covering(wanted, 0.75) == [Box(0, 2, 0, 2), Box(6, 8, 6, 8)]


def test_nothing_wanted_is_nothing_covered_and_all_is_one_rectangle():
    assert covering(np.zeros((3, 4), bool), 0.75) == []
    assert covering(np.ones((3, 4), bool), 0.75) == [Box(0, 3, 0, 4)]
    assert covering(np.ones((1, 1), bool), 0) == [Box(0, 1, 0, 1)]

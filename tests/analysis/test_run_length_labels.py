import numpy as np
import pytest
from skimage.measure import label, regionprops_table

from napari_hrpn.analysis.tissue.vessel_mask import mask_runs


def random_masks(count: int = 60) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    sizes = generator.integers(1, 40, (count, 2))
    return [generator.random(size) < generator.random() for size in sizes]


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("diagonal", [False, True])
def test_parts_are_those_of_scikit_image(diagonal: bool, inverted: bool) -> None:
    for mask in random_masks():
        expected = label(mask ^ inverted, connectivity=1 + diagonal)
        runs = mask_runs(mask, diagonal=diagonal, inverted=inverted)
        np.testing.assert_array_equal(runs.painted(slice(0, mask.shape[0]), slice(0, mask.shape[1])), expected)
        assert runs.count == expected.max()


def test_areas_and_centroids_are_those_of_scikit_image() -> None:
    mask = np.random.default_rng(1).random((90, 70)) < 0.3
    expected = regionprops_table(label(mask), properties=("area", "centroid"))
    runs = mask_runs(mask)
    np.testing.assert_array_equal(runs.areas_px, expected["area"])
    np.testing.assert_allclose(runs.centroids_px.T, [expected["centroid-0"], expected["centroid-1"]], atol=1e-9)


def test_part_of_the_image_is_painted_as_it_is_in_the_whole() -> None:
    mask = np.random.default_rng(2).random((600, 50)) < 0.4
    runs = mask_runs(mask)
    whole = runs.painted(slice(0, 600), slice(0, 50))
    np.testing.assert_array_equal(runs.painted(slice(250, 270), slice(7, 31)), whole[250:270, 7:31])


def test_border_is_known_and_parts_can_be_set() -> None:
    mask = np.zeros((6, 8), bool)
    mask[0, 3] = mask[2:4, 2:5] = mask[4, 7] = True
    runs = mask_runs(mask)
    np.testing.assert_array_equal(runs.at_border, [True, False, True])
    runs.set_parts(mask, runs.at_border, False)
    assert mask.sum() == 6
    assert mask[2:4, 2:5].all()


@pytest.mark.parametrize("shape", [(5, 4), (1, 1)])
def test_empty_mask_has_no_part(shape: tuple[int, int]) -> None:
    runs = mask_runs(np.zeros(shape, bool))
    assert runs.count == 0
    assert not runs.painted(slice(0, shape[0]), slice(0, shape[1])).any()

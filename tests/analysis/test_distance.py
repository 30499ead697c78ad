import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_hrpn.analysis.tissue.distance import distance_tiles, longest_distance, nearest_in
from napari_hrpn.core import Box


def sparse(shape: tuple[int, int], share: float = 0.002, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < share


def joined(mask: np.ndarray, pixel_um: tuple[float, float], furthest_um: float, tile_px: int) -> np.ndarray:
    whole = np.full(mask.shape, np.nan)
    for tile in distance_tiles(mask, pixel_um, furthest_um, tile_px):
        whole[tile.box.y0 : tile.box.y1, tile.box.x0 : tile.box.x1] = tile.distance_um
    return whole


@pytest.mark.parametrize("pixel_um", [(1.0, 1.0), (0.7, 1.9)])
@pytest.mark.parametrize("tile_px", [37, 100, 1000])
def test_tiles_equal_the_whole_up_to_the_furthest_distance(pixel_um: tuple[float, float], tile_px: int) -> None:
    mask = sparse((310, 240))
    whole = ndimage.distance_transform_edt(~mask, sampling=pixel_um)
    assert (whole > 25).any()
    np.testing.assert_array_equal(joined(mask, pixel_um, 25, tile_px), np.where(whole <= 25, whole, np.inf))


def test_anisotropic_pixels_are_measured_in_micrometres() -> None:
    mask = np.zeros((9, 9), bool)
    mask[4, 4] = True
    (tile,) = distance_tiles(mask, (2.0, 0.5), 100)
    assert (tile.distance_um[0, 4], tile.distance_um[4, 0], tile.distance_um[1, 0]) == (8, 2, np.hypot(6, 2))


@pytest.mark.parametrize("pixel_um", [(1.0, 1.0), (0.5, 2.0)])
def test_distances_are_those_from_the_edge_that_was_drawn(pixel_um: tuple[float, float]) -> None:
    """Of discs and walls at any place and angle; from centre to centre they are half a pixel longer."""
    y, x = ((np.arange(120) + 0.5) * size for size in pixel_um)
    off, off_between_centres = [], []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        middle, angle = np.array([60, 60]) * pixel_um + generator.random(2), generator.uniform(0, np.pi)
        across = np.abs((y[:, None] - middle[0]) * np.cos(angle) + (x - middle[1]) * np.sin(angle))
        round_ = np.hypot(y[:, None] - middle[0], x - middle[1])
        truth = (round_ if seed % 2 else across) - generator.uniform(4, 8)
        found = nearest_in(truth <= 0, Box(0, 120, 0, 120), pixel_um, 20)
        near = (truth > 0) & (truth < 10)
        off.append((found.edge_um - truth)[near].mean())
        off_between_centres.append((found.distance_um - truth)[near].mean())
        assert (found.edge_um[truth <= 0] == 0).all()
    assert abs(np.mean(off)) < 0.15 * max(pixel_um)
    assert np.max(np.abs(off)) < 0.3 * max(pixel_um)
    assert np.mean(off_between_centres) > 0.3 * np.sqrt(np.prod(pixel_um))


def test_edge_is_half_a_pixel_off_along_an_axis() -> None:
    mask = np.zeros((9, 9), bool)
    mask[4, 4] = True
    edge = nearest_in(mask, Box(0, 9, 0, 9), (2.0, 0.5), 6).edge_um
    assert (edge[4, 4], edge[4, 8], edge[4, 5], edge[3, 4], edge[2, 4]) == (0, 1.75, 0.25, 1.0, 3.0)
    assert np.isinf(edge[0, 0])


def test_nearest_pixel_is_the_same_in_every_tile() -> None:
    for seed in range(5):
        mask = sparse((160, 150), 0.01, seed)
        _, (row, column) = ndimage.distance_transform_edt(~mask, return_indices=True)
        whole = nearest_in(mask, Box(0, 160, 0, 150), (1.0, 1.0), 20)
        for tile in distance_tiles(mask, (1.0, 1.0), 20, 41):
            there = np.isfinite(tile.distance_um)
            box = tile.box
            part = slice(box.y0, box.y1), slice(box.x0, box.x1)
            np.testing.assert_array_equal((tile.row + tile.around.y0)[there], row[part][there])
            np.testing.assert_array_equal((tile.column + tile.around.x0)[there], column[part][there])
            np.testing.assert_array_equal(tile.edge_um[there], whole.edge_um[part][there])


def test_without_vessels_every_distance_is_infinite() -> None:
    assert np.isinf(nearest_in(np.zeros((20, 30), bool), Box(2, 9, 4, 30), (1.0, 1.0), 50).distance_um).all()


def test_poisson_vessels_have_the_known_mean_distance() -> None:
    generator = np.random.default_rng(0)
    size, density_per_mm2 = 3000, 150.0
    points = generator.random((generator.poisson(density_per_mm2 * (size / 1000) ** 2), 2)) * size
    mask = np.zeros((size, size), bool)
    mask[tuple(points.astype(int).T)] = True
    inner = Box(250, size - 250, 250, size - 250)
    distance = nearest_in(mask, inner, (1.0, 1.0), 250).distance_um
    # 0.5 / sqrt(density); a field of 6 mm2 is good to 1.5 %
    assert distance.mean() == pytest.approx(40.825, rel=0.02)
    grid = np.stack(np.meshgrid(np.arange(250, 2750, 7), np.arange(250, 2750, 7), indexing="ij"), -1)
    np.testing.assert_allclose(cKDTree(np.argwhere(mask)).query(grid)[0], distance[::7, ::7])


@pytest.mark.parametrize("pixel_um", [(1.0, 1.0), (0.7, 1.9)])
@pytest.mark.parametrize("share", [0.02, 0.001, 0.0])
def test_looking_as_far_as_the_longest_distance_is_enough(pixel_um: tuple[float, float], share: float) -> None:
    mask, box = sparse((210, 190), share), Box(61, 130, 43, 101)
    inside = sparse((box.height, box.width), 0.3)
    reach = longest_distance(mask, box, inside, pixel_um, 60)
    far, near = (nearest_in(mask, box, pixel_um, um) for um in (60, reach))
    np.testing.assert_array_equal(near.distance_um[inside], far.distance_um[inside])
    found = far.distance_um[inside]
    assert found.max() <= reach <= 60 or np.isinf(found).any()
    assert reach < 30 or share < 0.02

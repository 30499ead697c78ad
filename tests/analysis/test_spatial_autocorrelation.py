import math
from itertools import permutations

import numpy as np
import pytest

from napari_hrpn.analysis import AnalysisError, morans_i


def by_weight_matrix(values: np.ndarray, mask: np.ndarray, reach: float) -> tuple[float, int]:
    """Moran's I with all n x n weights: 1 for patches whose centres are no further apart than `reach`."""
    places = np.argwhere(mask)
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1)
    weights = ((distance > 0) & (distance <= reach)).astype(float)
    deviations = values[mask] - values[mask].mean()
    scale = len(deviations) / weights.sum() / (deviations @ deviations)
    return scale * deviations @ weights @ deviations, int(weights.sum()) // 2


@pytest.mark.parametrize(("neighbours", "reach"), [("rook", 1.0), ("queen", 1.5)])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_that_of_the_weight_matrix(neighbours: str, reach: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    values, mask = random.normal(size=(7, 9)), random.random((7, 9)) < 0.7
    found = morans_i(values, mask, neighbours, permutations=0)
    expected, pairs = by_weight_matrix(values, mask, reach)
    assert found.i == pytest.approx(expected)
    assert (found.pairs, found.n, found.expected) == (pairs, mask.sum(), -1 / (mask.sum() - 1))
    assert math.isnan(found.p_value)


def test_checkerboard_and_gradient() -> None:
    y, x = np.mgrid[:8, :8]
    checkerboard, gradient = (y + x) % 2, x
    assert morans_i(checkerboard).i == pytest.approx(-1)
    assert morans_i(checkerboard).p_value == pytest.approx(0.001)
    # deviations -3.5 ... 3.5: squares add up to 42 a row; 7 upright pairs per column, and 26.25 along each row
    assert morans_i(gradient).i == pytest.approx(64 / 112 * (7 * 42 + 8 * 26.25) / (8 * 42))
    assert morans_i(gradient, neighbours="queen").i > 0.7
    assert morans_i(gradient).p_value == pytest.approx(0.001)


def test_p_value_is_the_share_of_all_orders() -> None:
    values = np.array([[1.0, 2.0, 4.0], [8.0, 9.0, 3.0]])
    orders = np.array(
        [by_weight_matrix(np.reshape(o, (2, 3)), values > 0, 1.0)[0] for o in permutations(values.ravel())]
    )
    found = morans_i(values, permutations=4000)
    assert np.mean(orders) == pytest.approx(found.expected)
    exact = np.mean(np.abs(orders - found.expected) >= abs(found.i - found.expected) - 1e-9)
    assert found.p_value == pytest.approx(exact, abs=0.03)


def test_p_values_of_random_patches_are_even() -> None:
    random = np.random.default_rng(0)
    values = [morans_i(random.normal(size=(8, 8)), permutations=99, seed=seed).p_value for seed in range(200)]
    assert 0.02 <= np.mean(np.array(values) <= 0.05) <= 0.09
    assert np.mean(values) == pytest.approx(0.5, abs=0.06)


def test_seed_decides() -> None:
    values = np.random.default_rng(3).normal(size=(5, 5))
    assert morans_i(values, seed=1) == morans_i(values, seed=1)
    assert morans_i(values, seed=1).p_value != morans_i(values, seed=2).p_value


@pytest.mark.parametrize(
    ("values", "mask"),
    [(np.ones((4, 4)), None), (np.arange(16.0).reshape(4, 4), np.eye(4, dtype=bool)), (np.zeros((1, 1)), None)],
)
def test_what_does_not_exist_has_a_reason(values: np.ndarray, mask: np.ndarray | None) -> None:
    found = morans_i(values, mask)
    assert math.isnan(found.i)
    assert found.reason


def test_unknown_neighbours_are_refused() -> None:
    with pytest.raises(AnalysisError, match="bishop"):
        morans_i(np.ones((3, 3)), neighbours="bishop")  # type: ignore[arg-type]

"""What a network has to beat, and how it is judged, against scikit-learn and plain sums."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from napari_hrpn.training.session import SIGMAS_PX, _agreement, _blurred_baseline, _sums


def batches():
    random = np.random.default_rng(0)
    inputs = ndimage.gaussian_filter(random.random((3, 2, 40, 48)), (0, 0, 2, 2)).astype(np.float32)
    target = ndimage.gaussian_filter(inputs[:, 1:], (0, 0, 3, 3)) + 0.01 * random.random((3, 1, 40, 48))
    valid = np.ones(target.shape, bool)
    valid[-1, :, 25:] = False
    whole = SimpleNamespace(inputs=inputs, target=target.astype(np.float32), valid=valid)
    parts = [SimpleNamespace(**{name: part[i : i + 2] for name, part in vars(whole).items()}) for i in (0, 2)]
    return whole, parts


def test_the_fit_is_that_of_least_squares_over_all_valid_pixels():
    whole, parts = batches()
    features = [
        ndimage.gaussian_filter(whole.inputs[:, stain].astype(float), (0, sigma, sigma))[whole.valid[:, 0]]
        for stain in (0, 1)
        for sigma in SIGMAS_PX
    ]
    x, y = np.stack(features, 1), whole.target[whole.valid].astype(float)
    fitted = LinearRegression().fit(x, y).predict(x)
    found = _blurred_baseline(parts)
    assert found.r2 == pytest.approx(r2_score(y, fitted), abs=1e-6)
    assert found.r == pytest.approx(np.corrcoef(y, fitted)[0, 1], abs=1e-6)
    assert found.mean_squared_error == pytest.approx(((y - fitted) ** 2).mean(), rel=1e-4)


def test_sums_of_parts_are_those_of_the_whole():
    random = np.random.default_rng(1)
    y, p = random.random(500), random.random(500)
    found = _agreement(sum(_sums(y[part], p[part]) for part in (slice(0, 130), slice(130, 500))))
    assert found.r == pytest.approx(np.corrcoef(y, p)[0, 1])
    assert found.r2 == pytest.approx(r2_score(y, p))
    assert found.mean_squared_error == pytest.approx(((y - p) ** 2).mean())


def test_constants_have_neither():
    found = _agreement(_sums(np.full(50, 0.1), np.linspace(0, 1, 50)))
    assert found.r is None
    assert found.r2 is None
    assert _blurred_baseline([]).r is None

"""Structural similarity around each pixel, as Wang et al. (2004) define it; the same at any division into pieces."""

from scipy.ndimage import gaussian_filter

from napari_hrpn.analysis.windows import Values, Window

_K1, _K2 = 0.01, 0.03


def _mean(values: Values) -> Values:
    found: Values = gaussian_filter(values, sigma=1.5, radius=5)
    return found


def _ssim(real: Values, predicted: Values, data_range: float) -> Values:
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    y, p = _mean(real), _mean(predicted)
    squares, product = y * y + p * p, y * p
    # both variances together, which saves a filter
    variances = _mean(real * real + predicted * predicted) - squares
    covariance = _mean(real * predicted) - product
    return (2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))


SSIM = Window("SSIM", border=5, values=_ssim)

"""Structural similarity (SSIM) around each pixel, as defined by Wang et al. (2004)."""

from scipy.ndimage import gaussian_filter

from napari_hrpn.analysis.windows import Values, Window

_K1, _K2 = 0.01, 0.03


def _mean(values: Values) -> Values:
    means: Values = gaussian_filter(values, sigma=1.5, radius=5)
    return means


def _ssim(real: Values, predicted: Values, data_range: float) -> Values:
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    real_mean, predicted_mean = _mean(real), _mean(predicted)
    squares, product = real_mean * real_mean + predicted_mean * predicted_mean, real_mean * predicted_mean
    # the formula needs only the sum of both variances, which takes one filter instead of two
    variances = _mean(real * real + predicted * predicted) - squares
    covariance = _mean(real * predicted) - product
    return (2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))


SSIM = Window("SSIM", border=5, values=_ssim)

"""Table of the metrics of a prediction in a region; files, pages, figures and widgets are made from its rows.

A new metric of the pixels of a region is one more row of `METRICS`, see "Add a metric" in CONTRIBUTING.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_hrpn.analysis.region_numbers import Metric
from napari_hrpn.analysis.scan.pair_counters import Windows
from napari_hrpn.analysis.windows.gaussian import CRPS, LEVELS, SCORE, SCORED, SPREAD, covered, half_width
from napari_hrpn.analysis.windows.ssim import SSIM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_hrpn.analysis.region_numbers import RegionNumbers
    from napari_hrpn.analysis.statistics.bootstrap import Interval

PAGE, COHORT, COHORT_PAGE, COHORT_FIGURE, COLOCALIZATION = "page", "cohort", "cohort page", "cohort figure", "co-loc."
ROI, ROI_FILE, ROI_DIFFERENCE = "ROI", "ROI, file alone", "ROI, from the first prediction"
ROI_FIRST, ROI_COLOCALIZATION = "ROI, before more columns", "ROI, co-loc."
STUDY, UNCERTAINTY = "study", "uncertainty"
_EVERYWHERE = (PAGE, COHORT, COHORT_PAGE)
_DRAWN = (*_EVERYWHERE, COHORT_FIGURE)


def metrics_in(view: str) -> tuple[Metric, ...]:
    """Metrics that a table or figure shows, in the order of its columns."""
    by_key = {metric.key: metric for metric in (*METRICS, *_ROI_METRICS)}
    keys = dict.fromkeys(_ROI_VIEWS.get(view, ())) | {metric.key: None for metric in METRICS if view in metric.views}
    return tuple(by_key[key] for key in keys)


def windows_of(data_range: float) -> Windows:
    """The windows that the metrics need, for pixels with this largest possible grey level."""
    return Windows(tuple(dict.fromkeys(window for metric in METRICS for window in metric.windows)), data_range)


def headings(keys: Iterable[str]) -> dict[str, str]:
    """Headings of metrics, in the order of their keys."""
    by_key = {metric.key: metric.heading for metric in METRICS}
    return {key: by_key[key] for key in keys}


def _interval(name: str) -> Callable[[RegionNumbers], Interval | None]:
    return lambda region: None if region.intervals is None else getattr(region.intervals, name)


def _difference(name: str) -> Callable[[RegionNumbers], Interval | None]:
    return lambda region: None if region.difference is None else getattr(region.difference, name)


def _costes(name: str) -> Callable[[RegionNumbers], float | None]:
    """Function for a number that needs Costes' thresholds, which are measured in regions of interest only."""
    return lambda region: None if region.colocalization is None else getattr(region.colocalization, name)


def _coverage(key: str, level: int) -> Metric:
    return Metric(
        key,
        covered(level),
        f"Share of the pixels whose real grey level lies in the {level} % interval of the ensemble: predicted mean "
        f"± {half_width(level):.3g} SD.",
        lambda r: r.value_mean(covered(level)),
        views=(UNCERTAINTY,),
    )


def _width(region: RegionNumbers) -> float | None:
    spread = region.value_mean(SPREAD)
    return None if spread is None else 2 * half_width(SCORED) * spread


_UNCERTAINTY_METRICS = (
    *map(_coverage, ("coverage_50", "coverage_80", "coverage_90", "coverage_95"), LEVELS),
    Metric(
        "width_80",
        f"width of {SCORED} %",
        f"Mean width of the {SCORED} % interval, in grey levels.",
        _width,
        views=(UNCERTAINTY,),
    ),
    Metric(
        "interval_score_80",
        f"{SCORE} of {SCORED} %",
        f"Width of the {SCORED} % interval plus a penalty for real grey levels outside (Gneiting and Raftery 2007), "
        "mean over the pixels in grey levels; smaller is better.",
        lambda r: r.value_mean(SCORE),
        views=(UNCERTAINTY,),
    ),
    Metric(
        "crps",
        CRPS,
        "Continuous ranked probability score of a Gaussian with the predicted mean and SD, mean over the pixels in "
        "grey levels; smaller is better, and without SD it is the mean absolute error.",
        lambda r: r.value_mean(CRPS),
        views=(UNCERTAINTY,),
    ),
)
"""Metrics that only the prediction of an ensemble has."""

_MANDERS, _ABOVE, _COSTES = "Manders M1 / M2", "M1 / M2 above Costes' thresholds", "Costes' thresholds"
METRICS = (
    Metric("n", "n", "Pixels that a number was taken from.", lambda r: r.agreement.n, "px", views=(PAGE, COHORT)),
    Metric(
        "mse",
        "MSE",
        "Mean squared difference of predicted and real grey levels over all pixels together.",
        lambda r: r.agreement.mse,
        views=(PAGE, COHORT),
    ),
    Metric("rmse", "RMSE", "Root of the MSE, in grey levels.", lambda r: r.agreement.rmse, views=_DRAWN),
    Metric(
        "r2",
        "R²",
        "1 - SSE/SST over all pixels of the region together: 1 is perfect, 0 is no better than the mean of the real "
        "image, negative is worse.",
        lambda r: r.agreement.r2,
        views=_DRAWN,
    ),
    Metric(
        "psnr",
        "PSNR",
        "20 log10(MAX / RMSE); a dark image has a high PSNR whatever is predicted.",
        lambda r: r.agreement.psnr_db,
        "dB",
        views=_EVERYWHERE,
    ),
    Metric(
        "psnr_max",
        "MAX",
        "Grey level that the PSNR is relative to: the largest value of the pixel type unless stated otherwise.",
        lambda r: r.agreement.data_range,
        views=(PAGE,),
    ),
    Metric(
        "ssim",
        "SSIM",
        "Mean structural similarity (Wang et al. 2004) under a Gaussian window of 11 x 11 pixels, 1 is perfect; "
        "relative to the largest value of the pixel type, or to a number stated as MAX, without which floating-point "
        "pixels have none.",
        lambda r: r.window_mean(SSIM),
        windows=(SSIM,),
        views=(*_DRAWN, ROI, STUDY),
    ),
    Metric(
        "pearson_r",
        "Pearson r",
        "Correlation of real and predicted pixels, -1 to 1; blind to gain and offset.",
        lambda r: r.regression.pearson_r,
        interval=_interval("pearson_r"),
        views=_DRAWN,
        short="r",
    ),
    Metric(
        "r_total",
        "R_total",
        "Pearson r without the pixels that are zero in both, as Fiji's Colocalization Threshold gives it.",
        lambda r: r.regression.r_total,
        views=_EVERYWHERE,
    ),
    Metric(
        "slope",
        "slope",
        "Of the least-squares line, predicted = intercept + slope x real; below 1, the prediction has too little "
        "contrast.",
        lambda r: r.regression.slope,
        interval=_interval("slope"),
        views=_DRAWN,
    ),
    Metric(
        "intercept",
        "intercept",
        "Of the least-squares line, in grey levels.",
        lambda r: r.regression.intercept,
        views=(PAGE, COHORT),
    ),
    Metric(
        "icc_a1",
        "ICC(A,1)",
        "Intraclass correlation for absolute agreement, lowered by scatter and by bias. Over patches that are like "
        "their neighbours, its interval draws blocks of them; there is none for fewer than 30 blocks.",
        lambda r: r.icc.icc_a1,
        views=_DRAWN,
    ),
    Metric(
        "bias",
        "bias",
        "Mean predicted minus mean real grey level.",
        lambda r: r.predicted_mean - r.real_mean,
        views=_EVERYWHERE,
    ),
    Metric(
        "icc_c1", "ICC(C,1)", "Intraclass correlation for consistency: bias does not lower it.", lambda r: r.icc.icc_c1
    ),
    Metric("real_mean", "mean, real", "Mean grey level of the real pixels.", lambda r: r.real_mean),
    Metric("predicted_mean", "mean, predicted", "Mean grey level of the predicted pixels.", lambda r: r.predicted_mean),
    Metric(
        "psnr_real_max",
        "PSNR to the brightest pixel",
        "PSNR with the brightest real pixel of the region as MAX.",
        lambda r: r.psnr_real_max,
        "dB",
    ),
    Metric("real_max", "maximum, real", "Brightest real pixel of the region.", lambda r: r.real_max),
    Metric(
        "residual_sd",
        "residual SD",
        "Standard deviation of the predicted pixels around the least-squares line, in grey levels.",
        lambda r: r.regression.residual_sd,
    ),
    Metric(
        "regression_r2",
        "R² of the line",
        "Share of the predicted pixels' variance that the least-squares line explains: the square of Pearson r.",
        lambda r: r.regression.r2,
    ),
    Metric(
        "orthogonal_slope",
        "orthogonal slope",
        "Slope of the line with the least squared distances at right angles to it.",
        lambda r: r.regression.orthogonal_slope,
    ),
    Metric(
        "orthogonal_intercept",
        "orthogonal intercept",
        "Intercept of the line with the least squared distances at right angles to it, in grey levels.",
        lambda r: r.regression.orthogonal_intercept,
    ),
    Metric(
        "manders_m1",
        "M1",
        "Manders: share of the real signal where the predicted one is above zero.",
        lambda r: r.manders.m1,
        views=(COLOCALIZATION,),
        line=_MANDERS,
    ),
    Metric(
        "manders_m2",
        "M2",
        "Manders: share of the predicted signal where the real one is above zero.",
        lambda r: r.manders.m2,
        views=(COLOCALIZATION,),
        line=_MANDERS,
    ),
    Metric(
        "overlap",
        "overlap",
        "Overlap coefficient: sum of products over the root of the product of the sums of squares.",
        lambda r: r.manders.overlap,
        views=(COLOCALIZATION,),
        line="overlap coefficient",
    ),
    Metric(
        "thresholded_m1",
        "M1 above Costes",
        "Manders M1 of the pixels above Costes' thresholds.",
        _costes("thresholded_m1"),
        views=(COLOCALIZATION,),
        short="tM1",
        line=_ABOVE,
    ),
    Metric(
        "thresholded_m2",
        "M2 above Costes",
        "Manders M2 of the pixels above Costes' thresholds.",
        _costes("thresholded_m2"),
        views=(COLOCALIZATION,),
        short="tM2",
        line=_ABOVE,
    ),
    Metric(
        "icq",
        "Li's ICQ",
        "Share of pixels on the same side of both means, less a half: -0.5 to 0.5.",
        _costes("icq"),
        views=(COLOCALIZATION,),
        short="ICQ",
        line="Li's ICQ",
    ),
    Metric(
        "costes_threshold_real",
        "Costes, real",
        "Real grey level below which the pixels of a region are no longer positively correlated.",
        _costes("costes_threshold_real"),
        views=(COLOCALIZATION,),
        short="Costes real",
        line=_COSTES,
    ),
    Metric(
        "costes_threshold_predicted",
        "Costes, predicted",
        "Predicted grey level below which the pixels of a region are no longer positively correlated.",
        _costes("costes_threshold_predicted"),
        views=(COLOCALIZATION,),
        short="Costes pred.",
        line=_COSTES,
    ),
    *_UNCERTAINTY_METRICS,
)
"""All metrics, in the order of the tables."""

_ROI_METRICS = (
    Metric(
        "pearson_r_difference",
        "Δr",
        "Pearson r less that of the first prediction, blocks paired.",
        lambda r: None if r.difference is None else r.difference.pearson_r.estimate,
        interval=_difference("pearson_r"),
    ),
    Metric(
        "slope_difference",
        "Δslope",
        "Slope less that of the first prediction, blocks paired.",
        lambda r: None if r.difference is None else r.difference.slope.estimate,
        interval=_difference("slope"),
    ),
    Metric("costes_slope", "", "Slope of the line on which Costes' thresholds lie.", _costes("costes_slope")),
    Metric("costes_intercept", "", "Intercept of that line, in grey levels.", _costes("costes_intercept")),
)
"""Metrics that exist only for regions drawn in the viewer."""

_COLOCALIZED_FIRST = ("manders_m1", "manders_m2", "thresholded_m1", "thresholded_m2")
_THRESHOLDS = ("costes_threshold_real", "costes_threshold_predicted")
_ROI_VIEWS = {
    ROI: ("pearson_r", "r_total", "slope", "intercept", "r2", "rmse"),
    ROI_FILE: ("residual_sd", "orthogonal_slope"),
    ROI_DIFFERENCE: ("pearson_r_difference", "slope_difference"),
    ROI_FIRST: ("pearson_r", "slope", "n", *_COLOCALIZED_FIRST),
    ROI_COLOCALIZATION: (*_COLOCALIZED_FIRST, "overlap", "icq", "costes_slope", "costes_intercept", *_THRESHOLDS),
}
"""Metrics of *ROI correlation* in the order of its columns; rows of `METRICS` that name such a view follow them."""

STUDY_METRICS = ("mse", "rmse", "r2", "psnr_db", "pearson_r", *(metric.key for metric in metrics_in(STUDY)))
"""Numbers of each slide of a study, under the names that its results use."""

"""Intervals of a cohort for a new tumour: those of the pixels, slides of one tumour pooled."""

import math

import numpy as np

from napari_hrpn.analysis import tumour_factor
from napari_hrpn.reports.cohort import tumour_intervals


def evaluation(tumour: str, ratios: np.ndarray | None) -> dict:
    """What an evaluation has of one tumour; None for a prediction of a single network."""
    if ratios is None:
        return {"about": {"tumour": tumour}, "predictions": {"p": {}}}
    percentiles = np.percentile(ratios, np.arange(1, 101), method="inverted_cdf").tolist()
    plain = [value if math.isfinite(value) else None for value in percentiles]
    return {"about": {"tumour": tumour}, "predictions": {"p": {"uncertainty": {"ratio_percentiles": plain}}}}


def test_factors_are_those_of_the_pixels() -> None:
    random = np.random.default_rng(0)
    errors = [random.normal(0, scale, 5000) for scale in (1, 2, 2, 3, 4)]
    slides = [evaluation(f"T{number}", np.abs(error)) for number, error in enumerate(errors)]
    rows = {row["level"]: row for row in tumour_intervals(slides)}
    assert {row["tumours"] for row in rows.values()} == {5}
    for level in (50, 80):
        expected = tumour_factor(errors, [np.ones(5000)] * 5, level / 100).factor
        # percentiles are rounded up
        assert expected <= rows[level]["factor"] <= 1.05 * expected
    assert math.isnan(rows[90]["factor"])
    assert "at most 83.3 % for a new tumour, and 90 % needs 9" in rows[90]["reason"]


def test_slides_of_one_tumour_are_one_tumour_and_single_networks_have_no_row() -> None:
    random = np.random.default_rng(1)
    slides = [evaluation(name, np.abs(random.normal(size=400))) for name in ("A", "A", "B")]
    assert {row["tumours"] for row in tumour_intervals(slides)} == {2}
    assert tumour_intervals([evaluation("A", None)]) == []


def test_tumours_that_a_network_was_trained_on_are_named_and_left_out() -> None:
    random = np.random.default_rng(2)
    slides = [evaluation(name, np.abs(random.normal(size=400))) for name in "ABC"]
    expected = tumour_intervals(slides[:2])
    slides[2]["about"]["predictions"] = {"p": {"trained_on": True}, "another": {}}
    assert tumour_intervals(slides) == [{**row, "trained_on": "C"} for row in expected]
    assert {row["trained_on"] for row in expected} == {""}
    (half, *_) = tumour_intervals(slides[2:])
    assert (half["tumours"], half["trained_on"]) == (0, "C")
    assert half["reason"].startswith("0 held-out tumours allow intervals of at most 0 %")


def test_pixels_without_deviation_count_as_never_covered() -> None:
    ratios = np.concatenate([np.ones(60), np.full(40, math.inf)])
    (half, *_) = tumour_intervals([evaluation("A", ratios), evaluation("B", ratios)])
    assert math.isnan(half["factor"])
    assert "no standard deviation" in half["reason"]

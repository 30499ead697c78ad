import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from napari_hrpn.analysis import AnalysisError, auroc, product_score, rank_features, reference_cohort


def test_product_score_is_relative_to_a_named_cohort() -> None:
    reference = reference_cohort("4T1 controls", [100, 200, 300], [10, 20, 60])
    assert (reference.mean_vessels, reference.mean_macrophages, reference.n) == (200, 30, 3)
    assert product_score([200, 400, 0], [30, 15, 90], reference).tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("name", "vessels", "macrophages"), [("", [1], [1]), ("A", [], []), ("A", [1, 2], [1]), ("A", [0, 0], [1, 2])]
)
def test_cohorts_that_scale_nothing_are_refused(name: str, vessels: list[float], macrophages: list[float]) -> None:
    with pytest.raises(AnalysisError, match="reference cohort"):
        reference_cohort(name, vessels, macrophages)


@pytest.mark.parametrize("seed", range(3))
def test_auroc_is_that_of_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    # whole numbers: there are ties
    scores, positive = random.integers(0, 8, 40), random.random(40) < 0.4
    assert auroc(scores, positive).auroc == pytest.approx(roc_auc_score(positive, scores))


def test_bootstrap_is_that_of_drawn_tumours() -> None:
    random = np.random.default_rng(5)
    scores, tumours = random.normal(size=60), np.repeat(np.arange(12), 5)
    positive = np.repeat(np.arange(12) % 2 == 0, 5)
    scores = scores + positive
    found = auroc(scores, positive, tumours, resamples=2000, seed=1)
    drawn = []
    for _ in range(2000):
        rows = np.concatenate([np.flatnonzero(tumours == tumour) for tumour in random.integers(12, size=12)])
        if 0 < positive[rows].sum() < len(rows):
            classes = positive[rows]
            drawn.append((scores[rows][classes][:, None] > scores[rows][~classes]).mean())
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)
    assert (found.n_positive, found.n_negative, found.n_tumours) == (30, 30, 12)
    # sections of one tumour are not independent: taken for tumours they would make the interval too narrow
    assert auroc(scores, positive).n_tumours == 60


def test_sections_of_one_tumour_widen_the_interval() -> None:
    random = np.random.default_rng(2)
    of_tumour = random.normal(size=10) + np.arange(10) % 2
    scores, positive = np.repeat(of_tumour, 8), np.repeat(np.arange(10) % 2 == 1, 8)
    grouped, alone = auroc(scores, positive, np.repeat(np.arange(10), 8)), auroc(scores, positive)
    assert grouped.auroc == alone.auroc
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


def test_missing_scores_are_left_out() -> None:
    found = auroc([1.0, math.nan, 3.0, 2.0], [False, True, True, False])
    assert (found.auroc, found.n_positive, found.n_negative) == (1.0, 1, 2)
    assert math.isnan(found.low)
    assert "too few tumours" in found.reason


def test_a_missing_class_gives_nan_with_a_reason() -> None:
    found = auroc(np.arange(8), np.ones(8, bool))
    assert math.isnan(found.auroc)
    assert "0 negative" in found.reason


def test_wrong_columns_are_refused() -> None:
    with pytest.raises(AnalysisError, match="one of each per case"):
        auroc([1, 2, 3], [True, False])
    with pytest.raises(AnalysisError, match="confidence"):
        auroc([1, 2], [True, False], confidence=95)


def cohort(tumours: int, each: int, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    names = np.repeat(np.arange(tumours), each)
    features = {name: random.normal(size=tumours * each) for name in ("vessels", "nuclei", "nothing")}
    outcome = 2 * features["vessels"] + 0.7 * features["nuclei"] + 0.3 * random.normal(size=tumours * each)
    return features, outcome, names


def test_features_are_ranked_by_what_they_say() -> None:
    features, outcome, names = cohort(10, 12)
    found = rank_features(features, outcome, names, repeats=3)
    assert [one.name for one in found.features] == ["vessels", "nuclei", "nothing"]
    assert (found.score_name, found.n_cases, found.n_tumours, found.folds) == ("R2", 120, 10, 5)
    assert found.score > 0.7
    assert abs(found.features[2].importance) < 0.1


def test_classes_are_ranked_by_auroc() -> None:
    features, outcome, names = cohort(8, 10, seed=1)
    features["vessels"][3] = math.nan
    found = rank_features(features, outcome > 0, names, repeats=2, folds=3)
    assert (found.score_name, found.features[0].name) == ("AUROC", "vessels")
    assert found.score > 0.85


def test_what_only_marks_the_tumour_says_nothing_of_others() -> None:
    random = np.random.default_rng(3)
    names = np.repeat(np.arange(10), 12)
    mark, outcome = random.normal(size=10)[names], random.normal(size=10)[names]
    known = rank_features({"mark": mark}, outcome, np.arange(120), repeats=1)
    held_out = rank_features({"mark": mark}, outcome, names, repeats=1)
    assert known.score > 0.9
    assert held_out.score < 0.3


def test_one_case_per_tumour_can_be_ranked() -> None:
    features, outcome, _ = cohort(24, 1, seed=2)
    found = rank_features(features, outcome > 0, repeats=2)
    assert found.n_tumours == 24
    assert found.features[0].name == "vessels"


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [(np.ones(6, bool), "0 negative ones"), (np.ones(6), "different"), (np.arange(6) == 1, "1 tumours")],
)
def test_what_cannot_be_ranked_has_a_reason(outcome: np.ndarray, reason: str) -> None:
    found = rank_features({"vessels": np.arange(6)}, outcome)
    assert found.features == ()
    assert math.isnan(found.score)
    assert reason in found.reason


def test_wrong_tables_are_refused() -> None:
    with pytest.raises(AnalysisError, match="vessels 2"):
        rank_features({"vessels": [1, 2]}, [1, 2, 3])
    with pytest.raises(AnalysisError, match="not finite"):
        rank_features({"vessels": [1, 2, 3]}, [1, 2, math.nan])

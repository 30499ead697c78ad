"""Feature ranking: importance of tumour features for an outcome, by boosted trees and held-out tumours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from napari_hrpn.core.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    Score = Callable[[NDArray[Any], NDArray[np.float64]], float]

_FOLDS = 5
_REPEATS = 20
_MOST_IN_A_LEAF = 20


@dataclass(frozen=True)
class FeatureImportance:
    """Importance of a feature for the prediction of held-out tumours."""

    name: str
    # mean decrease of the score when the values of the feature are shuffled; about 0 or below for a feature without
    # information beyond that of the others
    importance: float
    sd: float  # SD over the shuffles, not over tumours


@dataclass(frozen=True)
class FeatureRanking:
    """Features by their importance, most important first.

    If the score itself is no better than chance, the order has no meaning. Correlated features share their importance,
    so a feature of low importance may only be redundant.
    """

    features: tuple[FeatureImportance, ...]  # empty if there is no ranking
    score: float  # score of the predictions of held-out tumours, all folds together; NaN with a reason
    score_name: str  # "AUROC" for two classes, "R2" for numbers
    # numbers of cases, of tumours that they come from, of folds of the cross-validation and of shuffles per feature
    n_cases: int
    n_tumours: int
    folds: int
    repeats: int
    reason: str = ""  # why there is no ranking; empty if there is one


def rank_features(
    features: Mapping[str, ArrayLike],
    outcome: ArrayLike,
    tumours: Sequence[str] | None = None,
    *,
    folds: int = _FOLDS,
    repeats: int = _REPEATS,
    seed: int = 0,
) -> FeatureRanking:
    """Rank features by permutation importance on held-out tumours.

    Gradient-boosted trees are trained on the cases of some tumours and predict those of the others, so that each case
    is predicted once. Then one feature at a time is shuffled over all cases, and the cases are predicted again.

    Parameters
    ----------
    features : mapping of str to array_like
        One number per case for each name of a feature; NaN if it is not known.
    outcome : array_like
        Outcome of each case: bool for two classes, or any number.
    tumours : sequence of str, optional
        Tumour of each case, such as that of a patch. By default each case is a separate tumour.
    folds : int
        Number of folds of the cross-validation; fewer if there are too few tumours.
    repeats : int
        Number of shuffles per feature.
    seed : int
        Seed of the random folds and shuffles.

    Returns
    -------
    FeatureRanking
        Ranking; it has no features but a reason if a class is missing or there are too few tumours.

    Raises
    ------
    AnalysisError
        If the columns differ in length, or an outcome is not finite.
    """
    table, outcomes, groups = _checked(features, outcome, tumours)
    is_class = outcomes.dtype == bool
    score_name, n_tumours = "AUROC" if is_class else "R2", len(np.unique(groups))
    reason, used = _reason_and_folds(outcomes, groups, is_class, folds)
    if reason:
        return FeatureRanking((), math.nan, score_name, len(outcomes), n_tumours, 0, 0, reason)
    # one thread: with a few dozen cases, threads wait for each other and take ten times as long
    with threadpool_limits(1):
        models = _models(table, outcomes, groups, used, seed)
        base, falls = _falls(models, table, outcomes, tuple(features), repeats, seed)
    found = [FeatureImportance(name, float(np.mean(fall)), float(np.std(fall))) for name, fall in falls.items()]
    ranked = tuple(sorted(found, key=lambda feature: -feature.importance))
    return FeatureRanking(ranked, base, score_name, len(outcomes), n_tumours, used, repeats)


def _checked(
    features: Mapping[str, ArrayLike], outcome: ArrayLike, tumours: Sequence[str] | None
) -> tuple[NDArray[np.float64], NDArray[Any], NDArray[np.intp]]:
    outcomes = np.asarray(outcome).ravel()
    columns = [np.asarray(column, np.float64).ravel() for column in features.values()]
    names = np.arange(len(outcomes)) if tumours is None else np.asarray(tumours)
    if not columns or {len(names), *map(len, columns)} != {len(outcomes)}:
        lengths = ", ".join(f"{name} {len(column)}" for name, column in zip(features, columns, strict=True)) or "none"
        msg = (
            f"there are {len(outcomes)} outcomes, {len(names)} tumours, and features with so many values: {lengths}; "
            "expected at least one feature, and one of each per case"
        )
        raise AnalysisError(msg)
    if not np.isfinite(outcomes).all():
        msg = "some outcomes are not finite (NaN or infinite); leave those cases out"
        raise AnalysisError(msg)
    table = np.stack(columns, axis=1)
    # the trees handle NaN as a missing value
    table[~np.isfinite(table)] = np.nan
    return table, outcomes, np.unique(names, return_inverse=True)[1]


def _reason_and_folds(outcomes: NDArray[Any], groups: NDArray[np.intp], is_class: bool, folds: int) -> tuple[str, int]:
    if is_class:
        per_class = [len(np.unique(groups[outcomes == kind])) for kind in (True, False)]
        if min(per_class) < 2:
            return (
                f"{per_class[0]} tumours have positive cases and {per_class[1]} negative ones; expected 2 of each",
                0,
            )
        return "", max(2, min(folds, *per_class))
    n_tumours = len(np.unique(groups))
    if n_tumours < 3 or outcomes.min() == outcomes.max():
        return f"{n_tumours} tumours have {len(np.unique(outcomes))} different outcomes; expected 3 and 2 or more", 0
    return "", max(2, min(folds, n_tumours))


def _models(
    table: NDArray[np.float64], outcomes: NDArray[Any], groups: NDArray[np.intp], folds: int, seed: int
) -> list[tuple[Any, NDArray[np.intp]]]:
    """A trained model per fold, with the indices of the cases that it has not seen."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    is_class = outcomes.dtype == bool
    kind = HistGradientBoostingClassifier if is_class else HistGradientBoostingRegressor
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed) if is_class else GroupKFold(folds)
    models = []
    for seen, held_out in splitter.split(table, outcomes, groups):
        leaf = max(1, min(_MOST_IN_A_LEAF, len(seen) // 10))
        model = kind(max_iter=100, max_depth=3, min_samples_leaf=leaf, early_stopping=False, random_state=seed)
        models.append((model.fit(table[seen], outcomes[seen]), held_out))
    return models


def _falls(
    models: list[tuple[Any, NDArray[np.intp]]],
    table: NDArray[np.float64],
    outcomes: NDArray[Any],
    names: tuple[str, ...],
    repeats: int,
    seed: int,
) -> tuple[float, dict[str, list[float]]]:
    """Score on held-out cases, and its decreases when each feature is shuffled."""
    score = _scorer(outcomes.dtype == bool)
    base = score(outcomes, _held_out(models, table))
    falls: dict[str, list[float]] = {name: [] for name in names}
    random = np.random.default_rng(seed)
    for _ in range(repeats):
        order = random.permutation(len(outcomes))
        for column, name in enumerate(names):
            shuffled = table.copy()
            shuffled[:, column] = table[order, column]
            falls[name].append(base - score(outcomes, _held_out(models, shuffled)))
    return base, falls


def _held_out(models: list[tuple[Any, NDArray[np.intp]]], table: NDArray[np.float64]) -> NDArray[np.float64]:
    predicted = np.empty(len(table))
    for model, held_out in models:
        classes = list(getattr(model, "classes_", []))
        if not classes:
            predicted[held_out] = model.predict(table[held_out])
        else:
            # a model that was trained on a single class predicts only that class
            chances = model.predict_proba(table[held_out])
            predicted[held_out] = chances[:, classes.index(True)] if True in classes else 0.0
    return predicted


def _scorer(is_class: bool) -> Score:
    from sklearn.metrics import r2_score, roc_auc_score

    return lambda wanted, predicted: float((roc_auc_score if is_class else r2_score)(wanted, predicted))

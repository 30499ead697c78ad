"""Cohort of tumours: a row per tumour and means over tumours, since the tumour is the unit.

The rule: slides of one tumour are averaged first, so that each tumour counts once, whatever its number of pixels.
``cohort.json`` is written last; files that a killed run left behind are made again.
"""

from __future__ import annotations

import math
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis import AnalysisError, tumour_bootstrap, tumour_factor
from napari_hrpn.analysis.metrics import COHORT, metrics_in
from napari_hrpn.analysis.windows.gaussian import LEVELS
from napari_hrpn.recipes import Recipe, file_hash, save_output_recipe
from napari_hrpn.reports.cohort_page import cohort_figures, cohort_page
from napari_hrpn.reports.drawing import write_drawing
from napari_hrpn.reports.folder import FIGURES, TABLES, ReportError, ReportFolder, read_evaluation
from napari_hrpn.reports.serialization import fields_of, finite
from napari_hrpn.reports.tables import write_tables
from napari_hrpn.slides.writers.output_path import locked_output

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    Plain = dict[str, Any]

_IOU_PERCENTILES = (50, 75, 90)
_SLIDE_NUMBERS = ("vessels_per_mm2", "vessel_area_fraction", "cells_per_mm2")
"""Numbers of the slide itself, which are the same for all predictions."""


@dataclass(frozen=True)
class CohortTumour:
    """Numbers of one prediction in one tumour.

    Attributes
    ----------
    tumour, prediction, region : str
        Names of tumour and prediction, and "tissue" or "frame".
    slides : int
        Number of slides of the tumour, over which the numbers are means.
    numbers : dict of str to float
        Numbers by name; NaN if undefined.
    """

    tumour: str
    prediction: str
    region: str
    slides: int
    numbers: dict[str, float]


@dataclass(frozen=True)
class WrittenCohort:
    """Files of a complete cohort.

    Attributes
    ----------
    json, page : pathlib.Path
        Files with the numbers and with the page.
    tumours : int
        Number of tumours.
    """

    json: Path
    page: Path
    tumours: int


def write_cohort(folders: Sequence[Path], output: Path, *, overwrite: bool = False) -> WrittenCohort:
    """Combine evaluations of several slides.

    Parameters
    ----------
    folders : sequence of pathlib.Path
        Folders of complete evaluations.
    output : pathlib.Path
        Folder for ``cohort.json``, ``cohort.html``, ``tables/`` and ``figures/``.
    overwrite : bool
        Whether a cohort of other evaluations may be replaced; one of the same evaluations is always replaced.

    Returns
    -------
    WrittenCohort
        Paths of the files.

    Raises
    ------
    ReportError
        If a folder holds no complete evaluation, a slide is given twice, or the output holds something else.
    SlideError
        If another program writes the output, or it cannot be written.
    """
    evaluations = {folder: read_evaluation(folder) for folder in dict.fromkeys(folders)}
    target = ReportFolder(output, "a cohort", others=())
    # checked before the lock, so that a refusal makes no folder, and after it, as another program may have written
    _check(evaluations, target, overwrite=overwrite)
    with locked_output(output):
        _check(evaluations, target, overwrite=overwrite)
        target.start({"format": target.format})
        hashes = {path: file_hash(path) for path in (ReportFolder(folder).json for folder in evaluations)}
        step = {"folder": output, "evaluations": list(evaluations)}
        save_output_recipe(Recipe((), {"report": step}, hashes), output)
        return _write(evaluations, target)


def _write(evaluations: Mapping[Path, Plain], target: ReportFolder) -> WrittenCohort:
    tumours = cohort_rows(list(evaluations.values()))
    summary, differences = cohort_summary(tumours), cohort_differences(tumours)
    rows = [{**fields_of(row, "tumour", "prediction", "region", "slides"), **row.numbers} for row in tumours]
    tables = {"tumours": rows, "summary": summary, "differences": differences}
    if intervals := tumour_intervals(list(evaluations.values())):
        tables["intervals"] = intervals
    write_tables({name: table for name, table in tables.items() if table}, target.path / TABLES)
    drawings = cohort_figures(rows, evaluations)
    for drawing in drawings:
        write_drawing(drawing, target.path / FIGURES)
    content = {
        "format": target.format,
        **finite(tables),
        "evaluations": [{"folder": folder.name, **evaluation["about"]} for folder, evaluation in evaluations.items()],
        **({"trained_on": trained_on} if (trained_on := _trained_on(list(evaluations.values()))) else {}),
        "made_from": _made_from(evaluations),
    }
    target.finish(content, cohort_page(content, drawings, target.path / FIGURES))
    return WrittenCohort(target.json, target.page, len({row.tumour for row in tumours}))


def cohort_rows(evaluations: Sequence[Plain]) -> tuple[CohortTumour, ...]:
    """Numbers of each tumour, prediction and region."""
    slides: dict[tuple[str, str, str], list[dict[str, float]]] = defaultdict(list)
    for evaluation in evaluations:
        with _sentence_for_damage(evaluation):
            for name, prediction in evaluation["predictions"].items():
                for region in ("tissue", "frame"):
                    if prediction[region]["n"]:
                        key = str(evaluation["about"]["tumour"]), str(name), region
                        slides[key].append(_numbers(evaluation, prediction, region))
    return tuple(
        CohortTumour(*key, len(rows), {name: _mean(_column(rows, name)) for name in _names(rows)})
        for key, rows in slides.items()
    )


def cohort_summary(tumours: Sequence[CohortTumour]) -> list[Plain]:
    """Mean, SD and interval of each number over the tumours."""
    groups: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for row in tumours:
        groups[row.prediction, row.region].append(row.numbers)
    return [
        {"prediction": prediction, "region": region, "number": name, **_spread(_column(rows, name))}
        for (prediction, region), rows in groups.items()
        for name in _names(rows)
        if name != "n"
    ]


def cohort_differences(tumours: Sequence[CohortTumour]) -> list[Plain]:
    """Differences between each pair of predictions, tumour by tumour, since both predict the same slides."""
    numbers = {(row.prediction, row.region, row.tumour): row.numbers for row in tumours}
    names = list(dict.fromkeys(row.prediction for row in tumours))
    differences = []
    for first, second in combinations(names, 2):
        for region in ("tissue", "frame"):
            rows = [
                _difference(numbers[first, region, tumour], numbers[second, region, tumour])
                for tumour in dict.fromkeys(row.tumour for row in tumours)
                if (first, region, tumour) in numbers and (second, region, tumour) in numbers
            ]
            differences += [
                {
                    "first": first,
                    "second": second,
                    "region": region,
                    "number": name,
                    **_spread(_column(rows, name)),
                }
                for name in _names(rows)
                if name not in ("n", *_SLIDE_NUMBERS) and not name.startswith("real_")
            ]
    return differences


def tumour_intervals(evaluations: Sequence[Plain]) -> list[Plain]:
    """Factors for the SDs of ensembles with which intervals hold for a new tumour, or why there is none.

    Tumours that a network was trained on are no test, and are left out.
    """
    ratios: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for evaluation in evaluations:
        for name, prediction in evaluation["predictions"].items():
            # JSON has no infinity
            plain = prediction.get("uncertainty", {}).get("ratio_percentiles", ())
            if plain:
                found = [math.inf if ratio is None else ratio for ratio in plain]
                ratios[name][str(evaluation["about"]["tumour"])] += found
    trained_on = _trained_on(evaluations)
    return [
        _interval(name, level, by_tumour, trained_on.get(name, []))
        for name, by_tumour in ratios.items()
        for level in LEVELS
    ]


def _trained_on(evaluations: Sequence[Plain]) -> dict[str, list[str]]:
    """Tumours that the networks of each prediction were trained on or chosen by, if there are any."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for evaluation in evaluations:
        with _sentence_for_damage(evaluation):
            about = evaluation["about"]
            for name, facts in about.get("predictions", {}).items():
                if facts.get("trained_on"):
                    found[str(name)][str(about["tumour"])] = None
    return {name: list(tumours) for name, tumours in found.items()}


def _interval(prediction: str, level: int, by_tumour: Mapping[str, list[float]], trained_on: Sequence[str]) -> Plain:
    ratios = [found for tumour, found in by_tumour.items() if tumour not in trained_on]
    left_out = "; ".join(tumour for tumour in by_tumour if tumour in trained_on)
    about = {"prediction": prediction, "level": level, "tumours": len(ratios), "trained_on": left_out}
    return {**about, **_factor(ratios, level)}


def _factor(ratios: Sequence[Sequence[float]], level: int) -> Plain:
    known = [np.isfinite(of_one) for of_one in ratios]
    errors = [np.where(finite_ones, of_one, 1.0) for finite_ones, of_one in zip(known, ratios, strict=True)]
    try:
        return {"factor": tumour_factor(errors, known, level / 100).factor, "reason": ""}
    except AnalysisError as error:
        return {"factor": math.nan, "reason": str(error)}


# slides with and without known tissue have different numbers in a region
def _names(rows: Sequence[Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _column(rows: Sequence[Mapping[str, float]], name: str) -> list[float]:
    return [row.get(name, math.nan) for row in rows]


def _difference(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    return {name: first.get(name, math.nan) - second.get(name, math.nan) for name in _names([first, second])}


def _numbers(evaluation: Plain, prediction: Plain, region: str) -> dict[str, float]:
    # an evaluation may be older than a metric
    numbers = {metric.key: _float(prediction[region].get(metric.key)) for metric in metrics_in(COHORT)}
    # the other numbers are measured in one region only: the tissue, or the frame if no tissue is known
    if region != prediction["region"]:
        return numbers
    curve = {point["percentile"]: point for point in prediction["iou_curve"]}
    numbers |= {f"iou_{percentile}": _float(curve[percentile]["iou"]) for percentile in _IOU_PERCENTILES}
    distributions, patches = prediction["distributions"], prediction["patches"]
    numbers |= {name: _float(distributions[name]) for name in ("wasserstein", "qq_slope")}
    numbers["patch_icc_a1"] = _float(patches["icc_a1"])
    for image in ("real", "predicted"):
        profile = prediction["penetration"].get(image, {}).get("tissue", {})
        numbers |= {f"{image}_{name}": _float(profile.get(name)) for name in ("d50_um", "d90_um", "decay_um")}
    return numbers | {name: _float(evaluation["vessels"].get(name)) for name in _SLIDE_NUMBERS}


def _spread(values: Sequence[float]) -> Plain:
    # a tumour without this number does not count, so n differs between numbers
    known = [value for value in values if math.isfinite(value)]
    interval = tumour_bootstrap(known)
    return {
        "mean": interval.estimate,
        "sd": float(np.std(known, ddof=1)) if len(known) > 1 else math.nan,
        "n": len(known),
        **fields_of(interval, "low", "high", "reason"),
    }


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _made_from(evaluations: Mapping[Path, Plain]) -> list[list[str]]:
    pairs = []
    for evaluation in evaluations.values():
        with _sentence_for_damage(evaluation):
            about = evaluation["about"]
            pairs.append([str(about["tumour"]), str(about["real"]["identity"])])
    return sorted(pairs)


@contextmanager
def _sentence_for_damage(evaluation: Plain) -> Iterator[None]:
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        about = evaluation.get("about")
        of = f" of {ascii(about.get('tumour'))[:60]}" if isinstance(about, dict) else ""
        msg = f"the evaluation{of} lacks numbers or is damaged; evaluate the slide again."
        raise ReportError(msg) from error


def _check(evaluations: Mapping[Path, Plain], target: ReportFolder, *, overwrite: bool) -> None:
    made_from = _made_from(evaluations)
    if len(set(map(tuple, made_from))) < len(made_from):
        msg = "a slide of the same tumour was given twice; name the evaluation of each slide once."
        raise ReportError(msg)
    # a cohort that a killed run left unfinished has no "made_from", and may always be replaced
    earlier = target.report() or {}
    if earlier.get("made_from", made_from) != made_from and not overwrite:
        msg = f"{target.path} holds a cohort of other evaluations; choose another folder, or --overwrite it."
        raise ReportError(msg)

"""Cohort of tumours: a row per tumour and means over tumours, since the tumour is the unit.

The rule: slides of one tumour are averaged first; however many pixels or patches a tumour has, it counts once.
``cohort.json`` is written last; what a run that was killed left behind is made again.
"""

from __future__ import annotations

import math
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis import tumour_bootstrap
from napari_hrpn.analysis.metrics import COHORT, metrics_in
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
"""What a tumour has whatever is predicted."""


@dataclass(frozen=True)
class CohortTumour:
    """What a prediction reaches in one tumour.

    Attributes
    ----------
    tumour, prediction, region : str
        Which tumour, which prediction, and "tissue" or "frame".
    slides : int
        Slides of the tumour, over which the numbers are means.
    numbers : dict of str to float
        By name; NaN for what does not exist.
    """

    tumour: str
    prediction: str
    region: str
    slides: int
    numbers: dict[str, float]


@dataclass(frozen=True)
class WrittenCohort:
    """A cohort's page.

    Attributes
    ----------
    json, page : pathlib.Path
        Its numbers and its page.
    tumours : int
        How many.
    """

    json: Path
    page: Path
    tumours: int


def write_cohort(folders: Sequence[Path], output: Path, *, overwrite: bool = False) -> WrittenCohort:
    """Put evaluations of several slides together.

    Parameters
    ----------
    folders : sequence of pathlib.Path
        Complete evaluations.
    output : pathlib.Path
        Folder for ``cohort.json``, ``cohort.html``, ``tables/`` and ``figures/``.
    overwrite : bool
        Whether a cohort of other evaluations may be replaced; one of the same evaluations always is.

    Returns
    -------
    WrittenCohort
        Where it is.

    Raises
    ------
    ReportError
        If a folder holds no complete evaluation, a slide is given twice, or the output holds something else.
    SlideError
        If another program writes the output, or it cannot be written.
    """
    found = {folder: read_evaluation(folder) for folder in dict.fromkeys(folders)}
    place = ReportFolder(output, "a cohort", others=())
    # what is refused makes no folder; what another program did meanwhile is looked at again
    _check(found, place, overwrite=overwrite)
    with locked_output(output):
        _check(found, place, overwrite=overwrite)
        place.start({"format": place.format})
        return _write(found, place)


def _write(found: Mapping[Path, Plain], place: ReportFolder) -> WrittenCohort:
    tumours = cohort_rows(list(found.values()))
    summary, differences = cohort_summary(tumours), cohort_differences(tumours)
    rows = [{**fields_of(row, "tumour", "prediction", "region", "slides"), **row.numbers} for row in tumours]
    tables = {"tumours": rows, "summary": summary, "differences": differences}
    write_tables({name: table for name, table in tables.items() if table}, place.path / TABLES)
    drawings = cohort_figures(rows, found)
    for drawing in drawings:
        write_drawing(drawing, place.path / FIGURES)
    content = {
        "format": place.format,
        **finite(tables),
        "evaluations": [{"folder": folder.name, **evaluation["about"]} for folder, evaluation in found.items()],
        "made_from": _made_from(found),
    }
    place.finish(content, cohort_page(content, drawings, place.path / FIGURES))
    return WrittenCohort(place.json, place.page, len({row.tumour for row in tumours}))


def cohort_rows(evaluations: Sequence[Plain]) -> tuple[CohortTumour, ...]:
    """Numbers of each tumour, prediction and region."""
    slides: dict[tuple[str, str, str], list[dict[str, float]]] = defaultdict(list)
    for evaluation in evaluations:
        with _sentence_for_damage(evaluation):
            for name, found in evaluation["predictions"].items():
                for region in ("tissue", "frame"):
                    if found[region]["n"]:
                        key = str(evaluation["about"]["tumour"]), str(name), region
                        slides[key].append(_numbers(evaluation, found, region))
    return tuple(
        CohortTumour(*key, len(rows), {name: _mean([row[name] for row in rows]) for name in rows[0]})
        for key, rows in slides.items()
    )


def cohort_summary(tumours: Sequence[CohortTumour]) -> list[Plain]:
    """Mean, SD and interval of each number over the tumours."""
    groups: dict[tuple[str, str], list[CohortTumour]] = defaultdict(list)
    for row in tumours:
        groups[row.prediction, row.region].append(row)
    return [
        {"prediction": prediction, "region": region, "number": name, **_spread([row.numbers[name] for row in rows])}
        for (prediction, region), rows in groups.items()
        for name in rows[0].numbers
        if name != "n"
    ]


def cohort_differences(tumours: Sequence[CohortTumour]) -> list[Plain]:
    """Differences between each two predictions, tumour by tumour."""
    by_place = {(row.prediction, row.region, row.tumour): row.numbers for row in tumours}
    names = list(dict.fromkeys(row.prediction for row in tumours))
    found = []
    for first, second in combinations(names, 2):
        for region in ("tissue", "frame"):
            both = [
                (by_place[first, region, tumour], by_place[second, region, tumour])
                for tumour in dict.fromkeys(row.tumour for row in tumours)
                if (first, region, tumour) in by_place and (second, region, tumour) in by_place
            ]
            found += [
                {
                    "first": first,
                    "second": second,
                    "region": region,
                    "number": name,
                    **_spread([a[name] - b[name] for a, b in both]),
                }
                for name in (both[0][0] if both else ())
                if name not in ("n", *_SLIDE_NUMBERS) and not name.startswith("real_")
            ]
    return found


def _numbers(evaluation: Plain, found: Plain, region: str) -> dict[str, float]:
    # an evaluation may be older than a metric
    numbers = {metric.key: _float(found[region].get(metric.key)) for metric in metrics_in(COHORT)}
    if region != found["region"]:
        return numbers
    curve = {point["percentile"]: point for point in found["iou_curve"]}
    numbers |= {f"iou_{percentile}": _float(curve[percentile]["iou"]) for percentile in _IOU_PERCENTILES}
    distributions, patches = found["distributions"], found["patches"]
    numbers |= {name: _float(distributions[name]) for name in ("wasserstein", "qq_slope")}
    numbers["patch_icc_a1"] = _float(patches["icc_a1"])
    for image in ("real", "predicted"):
        profile = found["penetration"].get(image, {}).get("tissue", {})
        numbers |= {f"{image}_{name}": _float(profile.get(name)) for name in ("d50_um", "d90_um", "decay_um")}
    return numbers | {name: _float(evaluation["vessels"].get(name)) for name in _SLIDE_NUMBERS}


def _spread(values: Sequence[float]) -> Plain:
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


def _made_from(found: Mapping[Path, Plain]) -> list[list[str]]:
    pairs = []
    for one in found.values():
        with _sentence_for_damage(one):
            pairs.append([str(one["about"]["tumour"]), str(one["about"]["real"]["identity"])])
    return sorted(pairs)


@contextmanager
def _sentence_for_damage(evaluation: Plain) -> Iterator[None]:
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        about = evaluation.get("about")
        of = f" of {ascii(about.get('tumour'))[:60]}" if isinstance(about, dict) else ""
        msg = f"the evaluation{of} holds other numbers than those that are written; evaluate the slide again."
        raise ReportError(msg) from error


def _check(found: Mapping[Path, Plain], place: ReportFolder, *, overwrite: bool) -> None:
    made_from = _made_from(found)
    if len(set(map(tuple, made_from))) < len(made_from):
        msg = "a slide of the same tumour was given twice; name the evaluation of each slide once."
        raise ReportError(msg)
    # a cohort that a killed run left unfinished is made again, whatever it was of
    there = place.report() or {}
    if there.get("made_from", made_from) != made_from and not overwrite:
        msg = f"{place.path} holds a cohort of other evaluations; choose another folder, or --overwrite it."
        raise ReportError(msg)

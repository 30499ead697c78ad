"""Page of an evaluation: summary, tables, figures, definitions, and the files it was made from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from napari_hrpn.analysis import MORAN
from napari_hrpn.analysis.metrics import COLOCALIZATION, PAGE, UNCERTAINTY, headings, metrics_in
from napari_hrpn.analysis.windows.gaussian import LEVELS, covered
from napari_hrpn.reports.html import Page
from napari_hrpn.reports.numbers import definitions, number, with_interval
from napari_hrpn.reports.tissue_figures import background_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_hrpn.reports.drawing import Drawing

    Plain = dict[str, Any]

_FLOORS = (
    "By floor: range of D50 and D90 if the autofluorescence of the tissue, its floor, lies anywhere between this "
    "background and the darkest shell with a hundredth of the pixels. Blank glass shows only the camera's offset: take "
    "the floor from a section without probe (--background). No number here distinguishes a faint probe from "
    "autofluorescence."
)
# regions on a page, which a browser must still open; the tables have all
_MOST_REGIONS = 1000
_SUMMARY = ("n", "pearson_r", "r2", "slope")


def evaluation_page(content: Plain, parts: Mapping[str, Plain], drawings: Sequence[Drawing], folder: Path) -> str:
    """Make the page of an evaluation."""
    about = content["about"]
    page = Page(f"Evaluation of {about['real']['name']}")
    page.text(
        f"Tumour {about['tumour']}, probe {about['probe']}. Predictions: {', '.join(content['predictions'])}. "
        f"Tissue: {about['tissue']}. Made by napari-hrpn {about['versions']['napari-hrpn']} on {about['made']}.",
        quiet=True,
    )
    page.heading("Summary")
    _summary(page, content)
    page.heading("Numbers")
    _numbers(page, content)
    _uncertainty(page, content)
    page.heading("Figures")
    page.pictures(drawings, folder)
    page.heading("Penetration and vessels")
    _penetration(page, content, parts.get("penetration"))
    page.heading("Patches")
    _patches(page, parts["patches"])
    page.heading("Quality of the slide")
    _quality(page, content["quality"])
    page.heading("Definitions")
    has_ensemble = any("uncertainty" in one for one in content["predictions"].values())
    page.definitions(definitions(has_uncertainty=has_ensemble))
    page.heading("Made from")
    _made_from(page, about)
    return str(page)


def _region_cells(region: Plain) -> dict[str, str]:
    """Numbers of a region for a table, with their intervals."""
    cells = {}
    for metric in metrics_in(PAGE):
        ends = (region.get("intervals") or {}).get(metric.key, {})
        cells[metric.key] = with_interval(region[metric.key], ends.get("low"), ends.get("high"))
    return cells


def _summary(page: Page, content: Plain) -> None:
    about = content["about"]
    tiles = about.get("tiles")
    is_calibrated = "left_out" in (tiles or {})
    if about.get("measured"):
        page.text(f"{'Calibrated' if is_calibrated else 'Not finished'}: {about['measured']}.")
    for sentence in no_test_words(about):
        page.text(sentence)
    rows = []
    for name, found in content["predictions"].items():
        region = found[found["region"]]
        cells = _region_cells(region)
        tile_words = "all" if tiles is None or is_calibrated else f"{tiles['finished']} of {tiles['total']}"
        rows.append([name, tile_words, found["region"], *(cells[key] for key in _SUMMARY)])
    page.table(["prediction", "tiles", "region", *headings(_SUMMARY).values()], rows)
    page.table(
        ["prediction", "checkpoint", "digest", "resampled", "precision"],
        [[name, *_checkpoint(facts.get("prediction") or {})] for name, facts in about["predictions"].items()],
        words=True,
    )


def no_test_words(about: Plain) -> list[str]:
    """Sentences on the predictions of a tumour that their networks were trained on or chosen by."""
    return [
        f"{name}: a network of this prediction was trained on {about['tumour']} or chosen by it, so these numbers, "
        "coverage included, are no test of it."
        for name, facts in about["predictions"].items()
        if facts.get("trained_on")
    ]


def _checkpoint(record: Plain) -> list[str]:
    """Checkpoint and settings of a prediction, from its record; a dash for what is not recorded."""
    title, digest, precision = (str(record.get(key) or "–") for key in ("title", "checkpoint", "precision"))
    return [title, digest, "–" if "resample" not in record else "yes" if record["resample"] else "no", precision]


def _numbers(page: Page, content: Plain) -> None:
    regions = _regions(content)
    page.table(
        ["", *(metric.heading for metric in metrics_in(PAGE))],
        [[title, *_region_cells(region).values()] for title, region in regions.items()],
    )
    if more := sum(max(0, len(found["rois"]) - _MOST_REGIONS) for found in content["predictions"].values()):
        page.text(f"{more:,} more regions are in evaluation.json and tables/regions.csv.", quiet=True)
    notes = []
    for title, region in regions.items():
        intervals = region.get("intervals") or {}
        reasons = [*region.get("reasons", [region["reason"]]), intervals.get("pearson_r", {}).get("reason", "")]
        doubts = [doubt for doubt in region.get("colocalization_reason", "").split("; ") if doubt not in str(reasons)]
        notes += [f"{title}: {reason}." for reason in (*reasons, "; ".join(doubts)) if reason]
    page.text(_interval_words(content), quiet=True)
    page.bullets(dict.fromkeys(notes))
    rows = []
    for name, found in content["predictions"].items():
        distances, test = found["distributions"], found["anderson_darling"]
        cells = (number(distances[key]) for key in ("n_real", "wasserstein", "qq_slope", "kolmogorov_smirnov"))
        rows.append([name, *cells, number(test["statistic"]), test["p_reads"] or number(test["p_value"])])
    headings = ["n, px", "Wasserstein", "Q-Q slope", "Kolmogorov-Smirnov", "Anderson-Darling", "p, if independent"]
    page.table(["distributions", *headings], rows)
    _more_numbers(page, regions, COLOCALIZATION, "co-localisation")


def _more_numbers(page: Page, regions: Mapping[str, Plain], view: str, title: str) -> None:
    """Table of the metrics of a view that are known in any region, with these regions."""
    metrics = metrics_in(view)
    shown = [metric for metric in metrics if any(region.get(metric.key) is not None for region in regions.values())]
    if shown:
        rows = [[name, *(number(region.get(metric.key)) for metric in shown)] for name, region in regions.items()]
        page.table([title, *(metric.heading for metric in shown)], rows)


def _uncertainty(page: Page, content: Plain) -> None:
    found = {name: one["uncertainty"] for name, one in content["predictions"].items() if "uncertainty" in one}
    if not found:
        return
    page.heading("Uncertainty")
    page.text(
        "From the standard deviation (SD) of the prediction, as that of a Gaussian. It is right where the coverage is "
        "the nominal one, in every decile of the predicted grey level, and where SD and error are equal. Among the "
        "brightest and darkest real pixels it is lower even then, since their errors point one way. If the SD is only "
        "the spread between networks, errors that they share do not show, and the coverage is often too low."
    )
    uncertain = {metric.key for metric in metrics_in(UNCERTAINTY)}
    regions = {title: region for title, region in _regions(content).items() if uncertain & region.keys()}
    _more_numbers(page, regions, UNCERTAINTY, "uncertainty")
    keys = [f"coverage_{level}" for level in LEVELS]
    for title, kind in (("by predicted grey level", "predicted_deciles"), ("by real grey level", "deciles")):
        page.table(
            [title, "decile", "grey levels", "n, px", *(covered(level) for level in LEVELS)],
            [
                [name, str(row["decile"]), _ends(row), number(row["n"]), *(number(row[key]) for key in keys)]
                for name, one in found.items()
                for row in one.get(kind, ())
            ],
        )
    page.table(
        ["by SD", "SD", "RMSE", "n, px"],
        [
            [name, *(number(row[key]) for key in ("sd", "error", "n"))]
            for name, one in found.items()
            for row in one["spread"]
        ],
    )


def _ends(row: Plain) -> str:
    return f"{row['darkest']:.6g} to {row['brightest']:.6g}"


def _regions(content: Plain) -> dict[str, Plain]:
    """Numbers of tissue, frame and regions of interest of each prediction, by title."""
    return {
        f"{name}, {title}": region
        for name, found in content["predictions"].items()
        for title, region in (
            ("tissue", found["tissue"]),
            ("frame", found["frame"]),
            *((roi["region"], roi) for roi in found["rois"][:_MOST_REGIONS]),
        )
    }


def _interval_words(content: Plain) -> str:
    several = len(content["predictions"]) > 1
    # the side of blocks follows from the correlation length of the errors, which differs between predictions
    sides = [
        f"{title if several else region['region']} {region['intervals']['side_px']:,} px"
        for title, region in _regions(content).items()
        if "intervals" in region
    ]
    return f"In brackets: 95 % intervals by spatial block bootstrap within this slide; blocks: {'; '.join(sides)}."


def _penetration(page: Page, content: Plain, part: Plain | None) -> None:
    if part is None:
        page.text(f"Not measured: {content['penetration']['reason']}.")
        return
    density = {key: number(value) for key, value in part["density"].items() if key != "reason"}
    page.text(
        f"{density['vessels']} vessels in {density['tissue_mm2']} mm² of tissue: {density['vessels_per_mm2']} per mm², "
        f"{density['vessel_area_fraction']} of its area, {density['vessel_length_mm_per_mm2']} mm of centreline per "
        f"mm². Nuclei: {density['cells']}, {density['cells_per_mm2']} per mm². {_vessels_are(part)} "
        "Area and length are those inside the tissue. A vessel counts if its centroid is in the tissue, also if the "
        "border cuts it: there is no correction for edges, so the number per mm² is too high in a small field."
    )
    page.text(f"{background_words(part)}. {_FLOORS}")
    distances = [share["beyond_um"] for share in part["profiles"][0]["beyond"]]
    headings = ["n, px", "D50, µm", "D50 by floor", "D90, µm", "D90 by floor", "1/e, µm", "in vessels"]
    headings += [f"> {distance:g} µm" for distance in distances]
    page.table(
        ["image, area", *headings],
        [
            [
                f"{profile['image']}, {profile['area']}",
                number(profile["n"], 2),
                *(cell for key in ("d50", "d90") for cell in (number(profile[f"{key}_um"], 2), _between(profile, key))),
                *(number(profile[key], 2) for key in ("decay_um", "vessel_mean")),
                *(number(share["share"]) for share in profile["beyond"]),
            ]
            for profile in part["profiles"]
        ],
    )
    page.bullets(
        f"{profile['image']}, {profile['area']}: {profile['reason']}."
        for profile in part["profiles"]
        if profile["reason"]
    )


def _vessels_are(part: Plain) -> str:
    if part["vessel_threshold"] is None:
        return "The vessel mask was drawn."
    return f"Vessels are where the smoothed stain is above {number(part['vessel_threshold'])}."


def _between(profile: Plain, key: str) -> str:
    low, high = profile[f"{key}_low_um"], profile[f"{key}_high_um"]
    return "–" if low is None else f"{number(low, 2)} to {'further' if high is None else number(high, 2)}"


def _patches(page: Page, part: Plain) -> None:
    page.text(
        f"Patches of {part['patch_px']} x {part['patch_px']} px with at least {part['minimum_tissue']:.0%} tissue.",
        quiet=True,
    )
    keys = {"n": "n", "mean": "mean", "sd": "SD", "cv": "CV", "gini": "Gini", "moran_i_rook": MORAN}
    page.table(
        ["image", *keys.values()], [[row["image"], *(number(row[key]) for key in keys)] for row in part["spread"]]
    )
    rows = []
    for name, found in part["agreement"].items():
        icc = with_interval(found["icc_a1"], found["icc_a1_low"], found["icc_a1_high"])
        statistic, p = number(found["anderson_darling_statistic"]), number(found["p_permutation"])
        rows.append([name, number(found["n"]), icc, number(found["icc_c1"]), statistic, p])
    page.table(["patch means", "n", "ICC(A,1)", "ICC(C,1)", "Anderson-Darling", "p, patches exchanged"], rows)
    page.bullets(
        f"{name}: {what}: {found[key]}."
        for name, found in part["agreement"].items()
        for what, key in (("ICC", "reason"), ("p", "p_reason"))
        if found[key]
    )


def _quality(page: Page, quality: Plain) -> None:
    page.text(f"Checked blocks of up to 512 x 512 px, which overlap in a small slide: {quality['blocks']}.", quiet=True)
    findings = [f"{'! ' if finding['matters'] else ''}{finding['sentence']}" for finding in quality["findings"]]
    page.bullets([*(findings or ["No problems were found."]), *quality["not_checked"]])


def _made_from(page: Page, about: Plain) -> None:
    rows = [["real", *_facts(about["real"])]]
    rows += [[f"prediction {name}", *_facts(facts)] for name, facts in about["predictions"].items()]
    rows += [[purpose, facts["name"], facts["sha256"] or ""] for purpose, facts in about["files"].items()]
    page.table(["", "name", "SHA-256, or identity and record of a folder"], rows, words=True)
    page.table(["program", "version"], [[name, version] for name, version in about["versions"].items()], words=True)
    page.table(
        ["setting", "value"], [[name, json.dumps(value)] for name, value in about["settings"].items()], words=True
    )


def _facts(facts: Plain) -> list[str]:
    known = [] if facts["sha256"] else [f"identity {facts['identity']}"]
    known += [] if "prediction" not in facts else [json.dumps(facts["prediction"])]
    return [facts["name"], "; ".join([*filter(None, [facts["sha256"]]), *known])]

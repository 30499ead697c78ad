"""Serialization of an evaluation as plain numbers for JSON and tables; undefined numbers are None.

The rule: all figures, tables and pages are made from these numbers, so a resumed evaluation gives the same files.
"""

from __future__ import annotations

import math
from dataclasses import asdict, astuple, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis import ComparedPixels, PatchFindings, SlideQuality, VesselFindings
from napari_hrpn.analysis.metrics import METRICS, PAGE, metrics_in
from napari_hrpn.analysis.statistics.uncertainty import coverage_columns
from napari_hrpn.reports.folder import FORMAT
from napari_hrpn.slides import taken_away
from napari_hrpn.slides.annotation_properties import own_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_hrpn.analysis import (
        BlockIntervals,
        ChannelHeterogeneity,
        EvaluationPart,
        PatchAgreement,
        Penetration,
        RegionNumbers,
        SlideComparison,
    )
    from napari_hrpn.analysis.statistics.uncertainty import Uncertainty
    from napari_hrpn.slides import Annotation

    Plain = dict[str, Any]


def plain_part(part: EvaluationPart) -> Plain:
    """Findings of a part as plain numbers."""
    findings = part.findings
    plain: Plain = finite(_WRITERS[type(findings)](findings))
    if isinstance(findings, ComparedPixels):
        # one by one, since there may be many, and two copies of all of them would take too much memory
        plain["rois"] = [finite(_region(roi)) for roi in findings.rois]
    return plain


def fields_of(record: object, *names: str) -> Plain:
    """Selected fields of a record, by name."""
    return {name: getattr(record, name) for name in names}


def _no_region(reason: str) -> Plain:
    """Numbers of a region that is not known: none, with the reason."""
    return {**dict.fromkeys(metric.key for metric in metrics_in(PAGE)), "n": 0, "reason": reason}


def _pixels(pixels: ComparedPixels) -> Plain:
    regions = [region for region in (pixels.tissue, pixels.frame, *pixels.rois) if region is not None]
    test = pixels.distributions.anderson_darling
    return {
        "name": pixels.name,
        "region": pixels.region,
        "tissue": None if pixels.tissue is None else _region(pixels.tissue),
        "frame": _region(pixels.frame),
        "rois": [],
        "iou_curve": [asdict(point) for point in pixels.iou],
        "quantiles": asdict(pixels.quantiles),
        "anderson_darling": {
            **fields_of(test, "statistic", "p_value"),
            "capped": bool(test.capped),
            "p_reads": test.capped,
            **fields_of(test, "n", "reason"),
        },
        "distributions": fields_of(pixels.distributions, *_DISTANCES),
        "histogram": fields_of(pixels.histogram, "edges", "counts"),
        "densities": {region.region: _density(region) for region in regions if region.density is not None},
        **({} if pixels.uncertainty is None else {"uncertainty": _uncertainty(pixels.uncertainty)}),
    }


def _uncertainty(found: Uncertainty) -> Plain:
    return {
        **{
            kind: [
                {**fields_of(row, "decile", "darkest", "brightest", "n"), **coverage_columns(row.coverage)}
                for row in rows
            ]
            for kind, rows in (("deciles", found.deciles), ("predicted_deciles", found.predicted_deciles))
        },
        "spread": [asdict(row) for row in found.spread],
        "ratio_percentiles": found.ratios,
    }


_DISTANCES = ("wasserstein", "kolmogorov_smirnov", "qq_slope", "qq_intercept", "n_real", "n_predicted", "reason")


def _region(region: RegionNumbers) -> Plain:
    values = {metric.key: metric.value(region) for metric in METRICS}
    plain: Plain = {"region": region.region, **{key: value for key, value in values.items() if value is not None}}
    if region.box_px is not None:
        plain["box_px"] = list(astuple(region.box_px))
    if region.intervals is not None:
        plain["intervals"] = _intervals(region, region.intervals)
    if region.colocalization is not None:
        plain["colocalization_reason"] = region.colocalization.reason
    reasons = _region_reasons(region)
    parts = dict.fromkeys(part for reason in reasons for part in reason.split("; "))
    return {**plain, "reason": "; ".join(parts), "reasons": reasons}


def _region_reasons(region: RegionNumbers) -> list[str]:
    """Reasons why numbers are missing, one for each group of numbers."""
    infinite = "the images are equal, so the PSNR is infinite" if math.isinf(region.agreement.psnr_db) else ""
    manders = f"Manders' numbers: {region.manders.reason}" if region.manders.reason else ""
    parts = (
        region.agreement.reason,
        region.regression.reason,
        manders,
        region.icc.reason,
        infinite,
        *region.window_reasons,
    )
    return [reason for reason in dict.fromkeys(parts) if reason]


def _intervals(region: RegionNumbers, intervals: BlockIntervals) -> Plain:
    return {
        **{
            metric.key: fields_of(interval, "low", "high", "reason")
            for metric in METRICS
            if metric.interval and (interval := metric.interval(region))
        },
        "confidence": intervals.pearson_r.confidence,
        "blocks": intervals.blocks,
        "effective_blocks": intervals.pearson_r.units,
        **fields_of(intervals, "side_px", "resamples", "seed"),
    }


def _density(region: RegionNumbers) -> Plain:
    assert region.density is not None
    rows, columns = np.nonzero(region.density)
    counts = region.density[rows, columns]
    return {"range": list(region.density_range), "real": rows, "predicted": columns, "pixels": counts}


def _quality(quality: SlideQuality) -> Plain:
    return {
        "findings": [asdict(finding) for finding in quality.findings],
        "grey_levels": [
            {"channel": name, **asdict(levels)}
            for name, levels in zip(quality.channel_names, quality.grey_levels, strict=True)
        ],
        **fields_of(quality, "not_checked", "blocks", "pixels"),
    }


def _vessels(findings: VesselFindings) -> Plain:
    table, cells = findings.vessels, findings.cells
    near: dict[int, Plain] = {}
    for row in findings.penetration.vessels:
        columns = near.setdefault(row.label, {})
        columns[f"{row.image} within {row.within_um:g} µm"] = row.mean
        columns[f"n within {row.within_um:g} µm"] = row.n
    return {
        **fields_of(findings, "vessel_threshold", "background", "background_from"),
        "profiles": [_profile(profile) for profile in findings.penetration.profiles],
        "vessels": [{**asdict(vessel), **near.get(vessel.label, {})} for vessel in table.vessels],
        "density": {
            "vessels": table.n,
            "tissue_mm2": table.tissue_mm2,
            "vessels_per_mm2": table.density_per_mm2,
            "vessel_area_fraction": table.area_fraction,
            "vessel_length_mm_per_mm2": table.length_density_mm_per_mm2,
            "cells": None if cells is None else cells.n,
            "cells_per_mm2": None if cells is None else cells.density_per_mm2,
            "reason": "; ".join(filter(None, (table.reason, "no nuclei" if cells is None else cells.reason))),
        },
    }


def _profile(profile: Penetration) -> Plain:
    plain = asdict(profile)
    # shells without pixels have no numbers
    plain["shells"] = [shell for shell in plain["shells"] if shell["n"]]
    return plain


def _patches(findings: PatchFindings) -> Plain:
    real = findings.heterogeneity
    # for each image: its name, the measurement that contains it, and its channel there
    images = [(role, real, index) for index, role in enumerate(findings.roles)]
    images += [(prediction.name, prediction.heterogeneity, 0) for prediction in findings.predictions]
    return {
        "patch_px": real.patch_px,
        "minimum_tissue": findings.minimum_tissue,
        "images": [name for name, _, _ in images],
        "channels": {name: measured.channels[index].channel for name, measured, index in images},
        "thresholds": dict(zip(findings.roles, findings.thresholds, strict=True)) if findings.thresholds else {},
        "spread": [{"image": name, **_spread(measured.channels[index])} for name, measured, index in images],
        "agreement": {prediction.name: _patch_agreement(prediction) for prediction in findings.predictions},
        "patches": [
            {
                "row": row,
                "column": column,
                "y_px": row * real.patch_px,
                "x_px": column * real.patch_px,
                "n": real.pixels[row, column],
                "tissue_fraction": real.tissue_fraction[row, column],
                "enough": real.enough[row, column],
                **{
                    f"{name} {word}": values[index, row, column]
                    for name, measured, index in images
                    for word, values in (
                        ("total", measured.totals),
                        ("mean", measured.means),
                        ("coverage", measured.positive_fractions),
                    )
                },
            }
            for row, column in zip(*np.nonzero(real.pixels), strict=True)
        ],
    }


def _spread(spread: ChannelHeterogeneity) -> Plain:
    numbers = fields_of(spread, "n", "mean", "sd", "cv", "gini")
    return {**numbers, **spread.moran_columns, "reason": spread.reasons}


def _patch_agreement(agreement: PatchAgreement) -> Plain:
    icc, test = agreement.icc, agreement.test
    ends = (f"icc_{kind}{end}" for kind in ("a1", "c1") for end in ("", "_low", "_high"))
    return {
        **fields_of(icc, "n", *ends, "confidence"),
        "anderson_darling_statistic": test.statistic if test else None,
        "p_permutation": test.p_permutation if test else None,
        "permutations": test.permutations if test else 0,
        "exchanged": test.units[0] if test else 0,
        "p_reason": test.reason if test else "too few patches for a test",
        "reason": icc.reason,
    }


_WRITERS: dict[type, Callable[[Any], Plain]] = {
    ComparedPixels: _pixels,
    VesselFindings: _vessels,
    PatchFindings: _patches,
    SlideQuality: _quality,
}


def finite(value: object) -> Any:  # noqa: ANN401
    """Value that JSON can hold: plain Python, with None for numbers that are not finite."""
    if isinstance(value, dict):
        return {str(key): finite(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return finite(value.tolist())
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    if isinstance(value, np.generic):
        return finite(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value


_PIXEL_KEYS = ("frame", "iou_curve", "quantiles", "anderson_darling", "distributions")


def evaluation_content(parts: Mapping[str, Plain], about: Plain, why_no_penetration: str) -> Plain:
    """Content of ``evaluation.json``."""
    predictions = {name: _prediction(name, parts, about["tissue"], why_no_penetration) for name in about["predictions"]}
    first = next(iter(predictions.values()))
    patches, penetration = parts["patches"], parts.get("penetration")
    return {
        "format": FORMAT,
        **first,
        "vessels": {"reason": why_no_penetration} if penetration is None else penetration["density"],
        "heterogeneity": {
            "patch_px": patches["patch_px"],
            "thresholds": patches["thresholds"],
            "channels": patches["spread"],
        },
        "quality": parts["quality"],
        "predictions": predictions,
        "about": about,
    }


def measured_rois(comparison: SlideComparison, content: Plain) -> tuple[Annotation, ...]:
    """Regions of interest with their measurements, for QuPath."""
    predictions = content["predictions"]
    # texts are made once and shared by all regions, of which there may be many thousands
    names = {
        (prediction, metric.key): f"{prediction}: {metric.key}"
        for prediction in predictions
        for metric in metrics_in(PAGE)
    }
    measured = (
        replace(
            roi,
            # objects that have a name in their file keep it
            name=roi.name if own_name(roi.feature) else name,
            measurements={
                text: predictions[prediction]["rois"][index][key]
                for (prediction, key), text in names.items()
                if predictions[prediction]["rois"][index][key] is not None
            },
        )
        for index, (roi, name) in enumerate(zip(comparison.rois, comparison.region_names, strict=True))
    )
    return (*measured, *taken_away(comparison.rois))


def _prediction(name: str, parts: Mapping[str, Plain], tissue_words: str, why_no_penetration: str) -> Plain:
    pixels = parts[f"pixels {name}"]
    penetration = parts.get("penetration")
    return {
        "tissue": pixels["tissue"] or _no_region(f"the tissue is not known: {tissue_words}"),
        **{key: pixels[key] for key in (*_PIXEL_KEYS, "uncertainty") if key in pixels},
        "rois": [{"name": roi["region"], **roi} for roi in pixels["rois"]],
        "region": pixels["region"],
        "penetration": {"reason": why_no_penetration} if penetration is None else _penetration(name, penetration),
        "patches": parts["patches"]["agreement"][name],
    }


def _penetration(name: str, part: Plain) -> Plain:
    names = {"real": "real", "predicted": name}
    return {
        **{
            key: {profile["area"]: profile for profile in part["profiles"] if profile["image"] == image}
            for key, image in names.items()
        },
        "vessel_threshold": part["vessel_threshold"],
        "background": {key: part["background"].get(image, 0.0) for key, image in names.items()},
        "background_from": part["background_from"],
        "reason": "",
    }

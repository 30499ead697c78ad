"""Findings of an evaluation as plain numbers, ready for JSON and for tables; what does not exist is None.

The rule: all figures, tables and pages are made from these, so a resumed evaluation gives the same as one run through.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.analysis import ComparedPixels, PatchFindings, SlideQuality, VesselFindings
from napari_hrpn.analysis.metrics import METRICS, PAGE, metrics_in
from napari_hrpn.reports.folder import FORMAT
from napari_hrpn.slides import taken_away

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_hrpn.analysis import (
        BlockIntervals,
        ChannelHeterogeneity,
        EvaluationPart,
        Heterogeneity,
        Penetration,
        RegionNumbers,
        SlideComparison,
    )
    from napari_hrpn.slides import Annotation

    Plain = dict[str, Any]


def plain_part(part: EvaluationPart) -> Plain:
    """Turn what a part found into plain numbers."""
    findings = part.findings
    if isinstance(findings, ComparedPixels):
        found = _pixels(findings)
    elif isinstance(findings, VesselFindings):
        found = _vessels(findings)
    elif isinstance(findings, PatchFindings):
        found = _patches(findings)
    else:
        found = _quality(findings)
    plain: Plain = _finite(found)
    if isinstance(findings, ComparedPixels):
        # one by one: there may be many, and all of them twice would take too much memory
        plain["rois"] = [_finite(_region(roi)) for roi in findings.rois]
    return plain


def _no_region(reason: str) -> Plain:
    """What stands for a region that is not known."""
    return {**dict.fromkeys(metric.key for metric in metrics_in(PAGE)), "n": 0, "reason": reason}


def _pixels(found: ComparedPixels) -> Plain:
    regions = [region for region in (found.tissue, found.frame, *found.rois) if region is not None]
    test = found.distributions.anderson_darling
    return {
        "name": found.name,
        "region": found.region,
        "tissue": None if found.tissue is None else _region(found.tissue),
        "frame": _region(found.frame),
        "rois": [],
        "iou_curve": [asdict(point) for point in found.iou],
        "quantiles": asdict(found.quantiles),
        "anderson_darling": {
            "statistic": test.statistic,
            "p_value": test.p_value,
            "capped": bool(test.capped),
            "p_reads": test.capped,
            "n": list(test.n),
            "reason": test.reason,
        },
        "distributions": {
            "wasserstein": found.distributions.wasserstein,
            "kolmogorov_smirnov": found.distributions.kolmogorov_smirnov,
            "qq_slope": found.distributions.qq_slope,
            "qq_intercept": found.distributions.qq_intercept,
            "n_real": found.distributions.n_real,
            "n_predicted": found.distributions.n_predicted,
            "reason": found.distributions.reason,
        },
        "histogram": {"edges": found.histogram.edges, "counts": found.histogram.counts},
        "densities": {region.region: _density(region) for region in regions if region.density is not None},
    }


def _region(region: RegionNumbers) -> Plain:
    values = {metric.key: metric.value(region) for metric in METRICS}
    plain: Plain = {"region": region.region, **{key: value for key, value in values.items() if value is not None}}
    if region.box_px is not None:
        plain["box_px"] = list(region.box_px)
    if region.intervals is not None:
        plain["intervals"] = _intervals(region, region.intervals)
    if region.colocalization is not None:
        plain["colocalization_reason"] = region.colocalization.reason
    reasons = _region_reasons(region)
    parts = dict.fromkeys(part for reason in reasons for part in reason.split("; "))
    return {**plain, "reason": "; ".join(parts), "reasons": reasons}


def _region_reasons(region: RegionNumbers) -> list[str]:
    """Why numbers are missing, a whole sentence each."""
    infinite = "the images are equal, so the PSNR is infinite" if math.isinf(region.agreement.psnr_db) else ""
    manders = f"Manders' numbers: {region.manders.reason}" if region.manders.reason else ""
    parts = region.agreement.reason, region.regression.reason, manders, region.icc.reason, infinite
    return [reason for reason in dict.fromkeys(parts) if reason]


def _intervals(region: RegionNumbers, intervals: BlockIntervals) -> Plain:
    return {
        **{
            metric.key: {"low": interval.low, "high": interval.high, "reason": interval.reason}
            for metric in METRICS
            if metric.interval and (interval := metric.interval(region))
        },
        "confidence": intervals.pearson_r.confidence,
        "blocks": intervals.blocks,
        "effective_blocks": intervals.pearson_r.units,
        "side_px": intervals.side_px,
        "resamples": intervals.resamples,
        "seed": intervals.seed,
    }


def _density(region: RegionNumbers) -> Plain:
    assert region.density is not None
    rows, columns = np.nonzero(region.density)
    counts = region.density[rows, columns]
    return {"range": list(region.density_range), "real": rows, "predicted": columns, "pixels": counts}


def _quality(found: SlideQuality) -> Plain:
    return {
        "findings": [asdict(finding) for finding in found.findings],
        "grey_levels": [
            {"channel": name, **asdict(levels)}
            for name, levels in zip(found.channel_names, found.grey_levels, strict=True)
        ],
        "not_checked": list(found.not_checked),
        "blocks": found.blocks,
        "pixels": found.pixels,
    }


def _vessels(found: VesselFindings) -> Plain:
    table = found.vessels
    near: dict[int, Plain] = {}
    for row in found.penetration.vessels:
        own = near.setdefault(row.label, {})
        own[f"{row.image} within {row.within_um:g} µm"] = row.mean
        own[f"n within {row.within_um:g} µm"] = row.n
    return {
        "vessel_threshold": found.vessel_threshold,
        "background": found.background,
        "background_from": found.background_from,
        "profiles": [_profile(profile) for profile in found.penetration.profiles],
        "vessels": [{**asdict(vessel), **near.get(vessel.label, {})} for vessel in table.vessels],
        "density": {
            "vessels": table.n,
            "tissue_mm2": table.tissue_mm2,
            "vessels_per_mm2": table.density_per_mm2,
            "vessel_area_fraction": table.area_fraction,
            "vessel_length_mm_per_mm2": table.length_density_mm_per_mm2,
            "cells": None if found.cells is None else found.cells.n,
            "cells_per_mm2": None if found.cells is None else found.cells.density_per_mm2,
            "reason": "; ".join(filter(None, (table.reason, found.cells.reason if found.cells else "no nuclei"))),
        },
    }


def _profile(profile: Penetration) -> Plain:
    plain = asdict(profile)
    # shells that no pixel is in say nothing
    plain["shells"] = [shell for shell in plain["shells"] if shell["n"]]
    return plain


def _patches(found: PatchFindings) -> Plain:
    names = [*found.roles, *(prediction.name for prediction in found.predictions)]
    shown = [found.heterogeneity] * len(found.roles) + [one.heterogeneity for one in found.predictions]
    index = [*range(len(found.roles)), *([0] * len(found.predictions))]
    channels = [*found.channels, *(one.heterogeneity.channels[0].channel for one in found.predictions)]
    return {
        "patch_px": found.heterogeneity.patch_px,
        "minimum_tissue": found.minimum_tissue,
        "images": names,
        "channels": dict(zip(names, channels, strict=True)),
        "thresholds": dict(zip(found.roles, found.thresholds, strict=True)) if found.thresholds else {},
        "spread": [
            _spread(name, where.channels[place]) for name, where, place in zip(names, shown, index, strict=True)
        ],
        "agreement": {
            one.name: {
                "n": one.icc.n,
                **{
                    key: getattr(one.icc, key)
                    for key in ("icc_a1", "icc_a1_low", "icc_a1_high", "icc_c1", "icc_c1_low", "icc_c1_high")
                },
                "confidence": one.icc.confidence,
                "anderson_darling_statistic": one.test.statistic if one.test else None,
                "p_permutation": one.test.p_permutation if one.test else None,
                "permutations": one.test.permutations if one.test else 0,
                "exchanged": one.test.units[0] if one.test else 0,
                "p_reason": one.test.reason if one.test else "too few patches for a test",
                "reason": one.icc.reason,
            }
            for one in found.predictions
        },
        "patches": [
            _patch(row, column, found.heterogeneity, names, shown, index)
            for row, column in zip(*np.nonzero(found.heterogeneity.pixels), strict=True)
        ],
    }


def _spread(name: str, spread: ChannelHeterogeneity) -> Plain:
    return {
        "image": name,
        "n": spread.n,
        "mean": spread.mean,
        "sd": spread.sd,
        "cv": spread.cv,
        "gini": spread.gini,
        **spread.moran_columns,
        "reason": spread.reasons,
    }


def _patch(
    row: int, column: int, real: Heterogeneity, names: list[str], shown: list[Heterogeneity], index: list[int]
) -> Plain:
    plain: Plain = {
        "row": row,
        "column": column,
        "y_px": row * real.patch_px,
        "x_px": column * real.patch_px,
        "n": real.pixels[row, column],
        "tissue_fraction": real.tissue_fraction[row, column],
        "enough": real.enough[row, column],
    }
    for name, where, place in zip(names, shown, index, strict=True):
        plain[f"{name} total"] = where.totals[place, row, column]
        plain[f"{name} mean"] = where.means[place, row, column]
        plain[f"{name} coverage"] = where.positive_fractions[place, row, column]
    return plain


def _finite(value: object) -> Any:  # noqa: ANN401
    """A value that JSON can hold: plain Python, and None for what is not finite."""
    if isinstance(value, dict):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return _finite(value.tolist())
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    if isinstance(value, np.generic):
        return _finite(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value


_PIXEL_KEYS = ("frame", "iou_curve", "quantiles", "anderson_darling", "distributions")


def evaluation_content(parts: Mapping[str, Plain], about: Plain, why_no_penetration: str) -> Plain:
    """Put together what goes into ``evaluation.json``."""
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
    """Regions of interest with what was measured in them, for QuPath."""
    found = content["predictions"]
    # the same texts for all regions, of which there may be many
    names = {
        (prediction, metric.key): f"{prediction}: {metric.key}" for prediction in found for metric in metrics_in(PAGE)
    }
    measured = (
        replace(
            roi,
            name=name,
            measurements={
                text: found[prediction]["rois"][index][key]
                for (prediction, key), text in names.items()
                if found[prediction]["rois"][index][key] is not None
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
        **{key: pixels[key] for key in _PIXEL_KEYS},
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

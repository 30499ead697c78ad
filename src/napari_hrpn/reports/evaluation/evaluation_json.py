"""The one JSON of an evaluation, spelt as the manual has it, and its regions as annotations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_hrpn.analysis.metrics import PAGE, metrics_in
from napari_hrpn.reports.evaluation.folder import FORMAT
from napari_hrpn.reports.evaluation.serialization import no_region
from napari_hrpn.slides import taken_away

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_hrpn.analysis import SlideComparison
    from napari_hrpn.slides import Annotation

    Plain = dict[str, Any]

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
    measured = (
        replace(
            roi,
            name=name,
            measurements={
                f"{prediction}: {metric.key}": numbers["rois"][index][metric.key]
                for prediction, numbers in found.items()
                for metric in metrics_in(PAGE)
                if numbers["rois"][index][metric.key] is not None
            },
        )
        for index, (roi, name) in enumerate(zip(comparison.rois, comparison.region_names, strict=True))
    )
    return (*measured, *taken_away(comparison.rois))


def _prediction(name: str, parts: Mapping[str, Plain], tissue_words: str, why_no_penetration: str) -> Plain:
    pixels = parts[f"pixels {name}"]
    penetration = parts.get("penetration")
    return {
        "tissue": pixels["tissue"] or no_region(f"the tissue is not known: {tissue_words}"),
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

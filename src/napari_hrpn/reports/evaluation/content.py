"""The one JSON of an evaluation, spelt as the manual has it, and its regions as annotations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_hrpn.reports.evaluation.folder import FORMAT
from napari_hrpn.reports.evaluation.plain import REGION_KEYS, no_region
from napari_hrpn.slides import taken_away

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_hrpn.analysis import SlideComparison
    from napari_hrpn.slides import Annotation

    Plain = dict[str, Any]

PIXEL_KEYS = ("frame", "iou_curve", "quantiles", "anderson_darling", "distributions")


def evaluation_content(parts: Mapping[str, Plain], about: Plain, why_no_penetration: str) -> Plain:
    """Put together what goes into ``evaluation.json``.

    Parameters
    ----------
    parts : mapping of str to dict
        Plain parts by name.
    about : dict
        What it was made from.
    why_no_penetration : str
        A sentence; empty where it was measured.

    Returns
    -------
    dict
        The numbers of the first prediction at the top, those of all under "predictions".
    """
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
    """Regions of interest with what was measured in them, for QuPath.

    Parameters
    ----------
    comparison : SlideComparison
        With the regions.
    content : dict
        As `evaluation_content` gives it.

    Returns
    -------
    tuple of Annotation
        Measurements are called after the prediction and the number. What was taken away from regions comes last.
    """
    found = content["predictions"]
    # the same texts for all regions, of which there may be many
    words = {(prediction, key): f"{prediction}: {key}" for prediction in found for key in REGION_KEYS}
    measured = (
        replace(
            roi,
            name=name,
            measurements={
                word: found[prediction]["rois"][index][key]
                for (prediction, key), word in words.items()
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
        "tissue": pixels["tissue"] or no_region(f"the tissue is not known: {tissue_words}"),
        **{key: pixels[key] for key in PIXEL_KEYS},
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

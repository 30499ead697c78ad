"""Regimes of varied phantoms: for each seed another vascular bed, probe, stain and camera."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from napari_hrpn.phantom.sampling import Purpose, keyed_generator
from napari_hrpn.phantom.settings import PhantomSettings

# share of the tissue that vessels may fill, and the share of space that hard-core points may claim
_MOST_VESSEL_AREA = 0.15
_MOST_CLAIMED = 0.8


def drawn_regime(settings: PhantomSettings, seed: int) -> PhantomSettings:
    """Return the regime of one tumour of a varied phantom."""
    draw = _Draw(keyed_generator(seed, Purpose.REGIME))
    vessels = _vessels(draw)
    return replace(
        settings,
        is_varied=False,
        has_outline=settings.has_outline and draw.even(0, 1) < 0.5,
        **vessels,
        **_nuclei(draw),
        **_probe(draw, vessels),
        **_camera(draw, settings),
        section_sd=draw.even(0, 0.8),
        section_um=draw.ratio(2, 8),
    )


class _Draw:
    """Numbers of a regime, in a fixed order."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random

    def even(self, low: float, high: float) -> float:
        return float(self._random.uniform(low, high))

    def ratio(self, low: float, high: float) -> float:
        """A number whose logarithm is evenly distributed."""
        return float(np.exp(self._random.uniform(np.log(low), np.log(high))))


def _vessels(draw: _Draw) -> dict[str, Any]:
    density, radius_um = draw.ratio(100, 800), draw.ratio(1.5, 6)
    length_mm_per_mm2 = min(draw.ratio(2, 20), _MOST_VESSEL_AREA / (2e-3 * radius_um))
    return {
        "vessel_density_per_mm2": density,
        "vessel_radius_um": radius_um,
        "vessel_half_length_um": float(np.clip(500 * length_mm_per_mm2 / density, 0.5, 30)),
        "vessel_bend": draw.even(0, 1),
        "vessel_distance_um": min(20.0, 280 / density**0.5),
        "vessel_clustering": draw.even(0.1, 0.8),
        "vessel_clustering_um": draw.ratio(60, 200),
        "vessel_radius_sd": draw.even(0.2, 0.45),
        "vessel_wall_um": draw.even(0.5, 1.1),
        "vessel_brightness_sd": draw.even(0.2, 0.5),
        "solid_vessel_um": draw.even(1.5, 5),
        "perfused_share": draw.even(0.4, 1),
        "permeability_visible": draw.even(-1, 1),
        "permeability_hidden_sd": draw.even(0.1, 0.6),
    }


def _nuclei(draw: _Draw) -> dict[str, Any]:
    density, radius_um = draw.ratio(1500, 12000), draw.ratio(3, 5.5)
    clustering = draw.even(0.1, 0.8)
    return {
        "nucleus_density_per_mm2": density,
        "nucleus_radius_um": radius_um,
        "nucleus_distance_um": min(1.4 * radius_um, 1000 * (_MOST_CLAIMED / (1.6 * np.pi * density)) ** 0.5),
        "nucleus_clustering": clustering,
        "nucleus_clustering_um": draw.ratio(40, 150),
        "nest_avoidance": draw.even(0, 0.7),
        "chromatin_contrast": draw.even(0.1, 0.35),
        "necrosis": draw.even(0, 0.3),
        "haze": draw.even(0, 1.2),
        "haze_um": draw.ratio(4, 12),
    }


def _probe(draw: _Draw, vessels: dict[str, Any]) -> dict[str, Any]:
    """Brightness is exposed: at the wall, where the probe is brightest, it does not depend on how far it penetrates."""
    penetration_um, exposure_grey = draw.ratio(2, 80), draw.ratio(30, 100)
    wall_um = 2 * np.pi * vessels["vessel_radius_um"] + 4 * vessels["vessel_half_length_um"]
    at_wall = 1e6 / (2 * penetration_um * vessels["vessel_density_per_mm2"] * wall_um)
    return {
        "penetration_um": penetration_um,
        "probe_grey": exposure_grey / max(1.0, float(at_wall)),
        "uptake_rise": draw.even(0.2, 1),
        "perinuclear_uptake": draw.even(0, 0.5),
        "nuclear_exclusion": draw.even(0, 0.9),
        "retained_share": draw.even(0, 1),
        "retained_grey": exposure_grey,
        "retained_sd": draw.even(0.2, 0.8),
        "floor_grey": exposure_grey * draw.even(0.05, 0.3),
        "floor_texture_sd": draw.even(0.1, 0.4),
        "floor_texture_um": draw.ratio(2, 12),
        "probe_electrons_per_grey": draw.ratio(0.6, 6),
    }


def _camera(draw: _Draw, settings: PhantomSettings) -> dict[str, Any]:
    return {
        "input_gain": (draw.ratio(0.5, 2), draw.ratio(0.5, 2)),
        "input_offset_grey": (draw.even(0, 12), draw.even(0, 12)),
        "offset_grey": draw.even(1, 8),
        "nuclei_grey": 70.0,
        "vessels_grey": 90.0,
        "tissue_grey": draw.ratio(1.5, 12),
        "electrons_per_grey": draw.ratio(1.5, 8),
        "psf_um": min(draw.even(0.25, 0.7), 1.5 * settings.pixel_size_um),
    }

"""Profiles and densities as texts for tables on the screen; arranges numbers and computes none."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from napari_hrpn.plugin.parts.numbers_table import count
from napari_hrpn.reports import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.analysis import CellDensity, Penetration, PenetrationSettings, VesselTable

_FLOORS = (
    "If the floor of the tissue, its autofluorescence, lay anywhere between the background that was taken off and the "
    "darkest shell, this is what"
)
# the floor decides a D50 that differs by more than this
_DECIDES = 1.5
# with as many digits as on the page of an evaluation
_length = partial(number, digits=2)
DENSITY_HEADINGS = {"Density": "What is counted", "Value": "Per area of tissue", "n": "How many", "Tissue": "The area"}


def profile_headings(settings: PenetrationSettings) -> dict[str, str]:
    """Headings of the table of profiles, and their tooltips."""
    beyond = {
        f"> {d:g} µm": f"Share of the signal outside vessels that is further than {d:g} µm" for d in settings.beyond_um
    }
    return {
        "Image": "Real, or which prediction",
        "Area": f"Tissue; periphery is within {settings.periphery_um:g} µm of its edge, core the rest",
        "n": "Pixels outside vessels",
        "D50, µm": "Distance from the edge of the nearest vessel within which half of the signal is",
        "D90, µm": "Distance within which nine tenths of the signal are",
        "1/e, µm": "Length over which the profile falls to 1/e, fitted to its logarithm beyond "
        f"{settings.fit_from_um:g} µm, a short one from the vessel's edge; – where it does not fall that far, or not "
        "exponentially",
        **beyond,
        "Background": "Grey level that was taken off",
        "D50 by floor": f"{_FLOORS} D50 would be, in µm",
        "D90 by floor": f"{_FLOORS} D90 would be, in µm",
    }


def profile_rows(profiles: Sequence[Penetration]) -> tuple[list[list[str]], list[str]]:
    """Rows for a table, and why numbers are missing."""
    rows = [
        [
            one.image,
            one.area,
            count(one.n),
            _length(one.d50_um),
            _length(one.d90_um),
            _length(one.decay_um),
            *(_percent(part.share) for part in one.beyond),
            _length(one.background),
            _between(one.d50_low_um, one.d50_high_um),
            _between(one.d90_low_um, one.d90_high_um),
        ]
        for one in profiles
    ]
    return rows, [one.reason or f"{one.image}, {one.area}" for one in profiles]


def reasons(profiles: Sequence[Penetration], *, has_glass: bool) -> str:
    """Why numbers are missing, each reason once."""
    places: dict[str, list[str]] = {}
    for one in profiles:
        places.setdefault(one.reason, []).append(f"{one.image}, {one.area}")
    lines = [f"{'; '.join(named)}: {reason}." for reason, named in places.items() if reason]
    lines += [
        f"{one.image}: D50 is {_between(one.d50_low_um, one.d50_high_um)} µm, for floors between "
        f"{_length(one.background)} and {_length(one.darkest)}, the darkest shell. State the grey level of a "
        "section without probe."
        for one in profiles
        if one.area == "tissue" and not one.d50_high_um <= _DECIDES * one.d50_low_um and not math.isnan(one.d50_low_um)
    ]
    if not has_glass:
        lines.append("There is no blank glass around the tissue, so no background is taken off.")
    return "\n".join(lines)


def density_rows(table: VesselTable | None, cells: CellDensity | None) -> tuple[list[list[str]], list[str]]:
    """Rows under `DENSITY_HEADINGS`, and why numbers are missing."""
    rows, tips = [], []
    if table is not None:
        n, area = count(table.n), f"{table.tissue_mm2:.4g} mm²"
        rows += [
            ["Vessels", f"{number(table.density_per_mm2)} per mm²", n, area],
            ["Vessel area", _percent(table.area_fraction), n, area],
            ["Vessel length", f"{number(table.length_density_mm_per_mm2)} mm/mm²", n, area],
        ]
        tips += [
            table.reason or one
            for one in (
                "Vessels whose centroid is in the tissue, also those that the border cuts",
                "Share of the tissue inside vessels",
                "Middle lines of vessels inside the tissue",
            )
        ]
    if cells is not None:
        area = "–" if math.isnan(cells.tissue_mm2) else f"{cells.tissue_mm2:.4g} mm²"
        rows.append(["Nuclei", f"{number(cells.density_per_mm2)} per mm²", count(cells.n), area])
        tips.append(
            cells.reason
            or f"Peaks of the stain above the grey level {cells.threshold:.4g}; nuclei that touch may count once"
        )
    return rows, tips


def _between(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{_length(low)} to {'further' if math.isnan(high) else _length(high)}"


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{share:.2%}"

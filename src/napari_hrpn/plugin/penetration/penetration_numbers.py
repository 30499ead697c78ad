"""Profiles, vessels and densities as rows for tables and files; arranges numbers and computes none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from napari_hrpn.plugin.measuring.numbers_table import count, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.analysis import CellDensity, Penetration, PenetrationSettings, VesselProbe, VesselTable

DENSITY_HEADINGS = {"Density": "What is counted", "Value": "Per area of tissue", "n": "How many", "Tissue": "The area"}


def profile_headings(settings: PenetrationSettings) -> dict[str, str]:
    """Headings of the table of profiles, and their tooltips.

    Parameters
    ----------
    settings : PenetrationSettings
        Names the distances.

    Returns
    -------
    dict
        For `NumbersTable`.
    """
    beyond = {
        f"> {d:g} µm": f"Share of the signal outside vessels that is further than {d:g} µm" for d in settings.beyond_um
    }
    return {
        "Image": "Real, or which prediction",
        "Area": f"Tissue; periphery is within {settings.periphery_um:g} µm of its edge, core the rest",
        "n": "Pixels outside vessels",
        "D50, µm": "Distance from the nearest vessel within which half of the signal is",
        "D90, µm": "Distance within which nine tenths of the signal are",
        "1/e, µm": "Length over which the profile falls to 1/e, fitted to its logarithm beyond "
        f"{settings.fit_from_um:g} µm; - where it does not fall so",
        **beyond,
        "Background": "Grey level that was taken off",
    }


def profile_rows(profiles: Sequence[Penetration]) -> tuple[list[list[str]], list[str]]:
    """Rows for a table, and why numbers are missing.

    Parameters
    ----------
    profiles : sequence of Penetration
        Of all images and areas.

    Returns
    -------
    tuple
        Texts, and one tooltip per row.
    """
    rows = [
        [
            one.image,
            one.area,
            count(one.n),
            number(one.d50_um),
            number(one.d90_um),
            number(one.decay_um),
            *(_percent(part.share) for part in one.beyond),
            number(one.background),
        ]
        for one in profiles
    ]
    return rows, [one.reason or f"{one.image}, {one.area}" for one in profiles]


def reasons(profiles: Sequence[Penetration], without_glass: Sequence[str] = ()) -> str:
    """Why numbers are missing, in a line each.

    Parameters
    ----------
    profiles : sequence of Penetration
        Of all images and areas.
    without_glass : sequence of str
        Names of images of which no background could be taken off.

    Returns
    -------
    str
        Empty where none is.
    """
    lines = [f"{one.image}, {one.area}: {one.reason}." for one in profiles if one.reason]
    if without_glass:
        lines.append("There is no blank glass around the tissue, so no background is taken off.")
    return "\n".join(lines)


def profile_records(profiles: Sequence[Penetration]) -> list[dict[str, object]]:
    """The same with all digits, for a file.

    Parameters
    ----------
    profiles : sequence of Penetration
        Of all images and areas.

    Returns
    -------
    list of dict
        A row per image and area.
    """
    return [
        {
            "image": one.image,
            "area": one.area,
            "d50_um": one.d50_um,
            "d90_um": one.d90_um,
            "decay_um": one.decay_um,
            **{f"share_beyond_{part.beyond_um:g}_um": part.share for part in one.beyond},
            **{f"share_{_span(band.from_um, band.to_um)}": band.share for band in one.bands},
            "vessel_mean": one.vessel_mean,
            "background": one.background,
            "n": one.n,
            "reason": one.reason,
        }
        for one in profiles
    ]


def shell_records(profiles: Sequence[Penetration]) -> list[dict[str, object]]:
    """A row per image, area and shell, for a file.

    Parameters
    ----------
    profiles : sequence of Penetration
        Of all images and areas.

    Returns
    -------
    list of dict
        The end of the last shell is empty.
    """
    return [
        {
            "image": one.image,
            "area": one.area,
            "from_um": shell.from_um,
            "to_um": shell.to_um if math.isfinite(shell.to_um) else None,
            "n": shell.n,
            "mean": shell.mean,
            "share": shell.share,
        }
        for one in profiles
        for shell in one.shells
    ]


def vessel_records(table: VesselTable, probes: Sequence[VesselProbe]) -> list[dict[str, Any]]:
    """A row per vessel, for a table and for a file.

    Parameters
    ----------
    table : VesselTable
        Vessels.
    probes : sequence of VesselProbe
        The probe around each; none where it was not measured.

    Returns
    -------
    list of dict
        By column.
    """
    around: dict[int, dict[str, Any]] = {}
    for probe in probes:
        own = around.setdefault(probe.label, {})
        own[f"{probe.image} within {probe.within_um:g} µm"] = probe.mean
        own[f"n within {probe.within_um:g} µm"] = probe.n
    return [
        {
            "vessel": one.label,
            "area, µm²": one.area_um2,
            "diameter, µm": one.equivalent_diameter_um,
            "width, µm": one.mean_diameter_um,
            "length, µm": one.length_um,
            "stain mean": one.stain_mean,
            **around.get(one.label, {}),
            "y, px": one.centroid_y_px,
            "x, px": one.centroid_x_px,
        }
        for one in table.vessels
    ]


def density_rows(table: VesselTable | None, cells: CellDensity | None) -> tuple[list[list[str]], list[str]]:
    """Rows under `DENSITY_HEADINGS`, and why numbers are missing.

    Parameters
    ----------
    table : VesselTable or None
        Vessels.
    cells : CellDensity or None
        Nuclei.

    Returns
    -------
    tuple
        Texts, and one tooltip per row.
    """
    rows, tips = [], []
    if table is not None:
        n, area = count(table.n), f"{table.tissue_mm2:.4g} mm²"
        rows += [
            ["Vessels", f"{number(table.density_per_mm2)} per mm²", n, area],
            ["Vessel area", _percent(table.area_fraction), n, area],
            ["Vessel length", f"{number(table.length_density_mm_per_mm2)} mm per mm²", n, area],
        ]
        tips += [table.reason or "Vessels whose centroid is in the tissue"] * 3
    if cells is not None:
        area = "-" if math.isnan(cells.tissue_mm2) else f"{cells.tissue_mm2:.4g} mm²"
        rows.append(["Nuclei", f"{number(cells.density_per_mm2)} per mm²", count(cells.n), area])
        tips.append(
            cells.reason
            or f"Peaks of the stain above the grey level {cells.threshold:.4g}; nuclei that touch may count once"
        )
    return rows, tips


def density_records(table: VesselTable | None, cells: CellDensity | None) -> list[dict[str, object]]:
    """The same with all digits, for a file.

    Parameters
    ----------
    table : VesselTable or None
        Vessels.
    cells : CellDensity or None
        Nuclei.

    Returns
    -------
    list of dict
        A row per density.
    """
    rows: list[tuple[object, ...]] = []
    if table is not None:
        values = {
            "vessels per mm2": table.density_per_mm2,
            "vessel area fraction": table.area_fraction,
            "vessel length, mm per mm2": table.length_density_mm_per_mm2,
        }
        rows += [(name, value, table.n, table.tissue_mm2, table.reason) for name, value in values.items()]
    if cells is not None:
        rows.append(("nuclei per mm2", cells.density_per_mm2, cells.n, cells.tissue_mm2, cells.reason))
    return [dict(zip(("density", "value", "n", "tissue_mm2", "reason"), row, strict=True)) for row in rows]


def _percent(share: float) -> str:
    # a sum of shares may be less than 1 by rounding, which is no negative share
    return "-" if math.isnan(share) else f"{max(0.0, share):.2%}"


def _span(low: float, high: float) -> str:
    return f"{low:g}_to_{high:g}_um" if math.isfinite(high) else f"beyond_{low:g}_um_band"

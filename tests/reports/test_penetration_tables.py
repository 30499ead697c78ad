"""A length that does not exist is empty in tables and JSON, and its reason stands beside it."""

import json
import math

import numpy as np

from napari_hrpn.analysis import (
    EvaluationPart,
    SlidePenetration,
    Vessel,
    VesselFindings,
    VesselProbe,
    VesselTable,
    penetration,
)
from napari_hrpn.reports import penetration_tables
from napari_hrpn.reports.serialization import plain_part
from napari_hrpn.reports.tissue_figures import penetration_figure

DISTANCE_UM = np.linspace(0, 299, 3000)[None]


def findings() -> VesselFindings:
    """A real profile with a length of 30 µm, and a predicted one that hardly falls."""
    images = {"real": 1e6 * np.exp(-DISTANCE_UM / 30), "flat": 1e6 * np.exp(-DISTANCE_UM / 2665)}
    vessels = tuple(Vessel(label, 1.0, 2.0, 50.0, 8.0, 7.0, 3.0, math.nan) for label in (1, 4))
    probes = tuple(VesselProbe(label, image, 10.0, 7 * label, 0.5) for image in images for label in (1, 2, 4))
    table = VesselTable(vessels, 2, 1.0, 2.0, 0.1, 0.006)
    return VesselFindings(math.nan, table, None, SlidePenetration(penetration(DISTANCE_UM, images), probes), {})


def test_length_without_meaning_is_empty_with_its_reason() -> None:
    real, flat = penetration_tables(findings())["penetration"]
    assert round(real["decay_um"], 1) == 30.0
    assert real["reason"] == ""
    assert flat["decay_um"] is None
    assert "would be 2,665 µm, and the distances span 280 µm" in flat["reason"]
    plain = json.loads(json.dumps(plain_part(EvaluationPart("penetration", findings()))))
    assert plain["profiles"][1]["decay_um"] is None
    assert plain["profiles"][1]["reason"] == flat["reason"]


def test_range_over_floors_and_of_the_plot_are_in_the_table() -> None:
    real, flat = penetration_tables(findings())["penetration"]
    assert real["d50_low_um"] <= real["d50_um"] <= real["d50_high_um"]
    assert real["range_um"] == 300
    assert (real["decay_from_um"], flat["decay_from_um"]) == (20, None)


def test_figure_ends_where_the_plot_of_the_widget_ends() -> None:
    plain = plain_part(EvaluationPart("penetration", findings()))
    for profile in plain["profiles"]:
        profile["range_um"] = 80.0
    colours = {profile["image"]: "#2fd5e0" for profile in plain["profiles"]}
    (axes,) = penetration_figure(plain, colours).figure.axes
    assert all(line.get_xdata()[-1] == 77.5 for line in axes.lines if len(line.get_xdata()) > 2)


def test_an_area_without_a_pixel_has_no_panel() -> None:
    plain = plain_part(EvaluationPart("penetration", findings()))
    own = plain["profiles"]
    plain["profiles"] = [*own, *({**profile, "area": "core", "n": 0} for profile in own)]
    (axes,) = penetration_figure(plain, dict.fromkeys(("real", "flat"), "#2fd5e0")).figure.axes
    assert axes.get_title().startswith("tissue")


def test_rows_of_vessels_hold_the_probe_around_them_and_its_pixels() -> None:
    first, last = penetration_tables(findings())["vessels"]
    assert (first["label"], last["label"]) == (1, 4)
    assert (last["n within 10 µm"], last["real within 10 µm"], last["flat within 10 µm"]) == (28, 0.5, 0.5)
    assert first["stain_mean"] is None


def test_shells_without_pixels_are_left_out_and_the_last_end_is_open() -> None:
    tables = penetration_tables(findings())
    assert next(row["n"] for row in tables["penetration_shells"] if row["image"] == "real") == 50
    assert all(row["n"] > 0 for row in tables["penetration_shells"])
    assert tables["penetration_bands"][3]["to_um"] is None

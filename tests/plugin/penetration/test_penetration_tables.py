"""Tables and tooltips of penetration, and masks as layers: against pandas, SciPy and the numbers of the analysis."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from scipy import ndimage

from napari_hrpn.analysis import Subareas, penetration
from napari_hrpn.analysis.tissue.cell_density import CellDensity
from napari_hrpn.analysis.tissue.vessels import VesselTable
from napari_hrpn.plugin.parts.messages import UserError
from napari_hrpn.plugin.parts.plot import ON_PAPER
from napari_hrpn.plugin.parts.selection import compared_channel
from napari_hrpn.plugin.penetration.mask_layers import MaskLayers, box_of, vessel_at
from napari_hrpn.plugin.penetration.profile_plot import ProfilePlot
from napari_hrpn.plugin.penetration.tables import (
    DENSITY_HEADINGS,
    VesselTableView,
    density_rows,
    profile_headings,
    profile_rows,
    reasons,
)
from napari_hrpn.reports import number
from napari_hrpn.settings import PenetrationSettings
from support.compared import compared_slides, show
from support.settling import WAIT_MS
from support.vessel_slides import discs, drawn_mask

SHAPE = (120, 160)
CENTRES = np.array([(20, 30), (60, 120), (100, 50)])
VESSELS = [
    {"label": 1, "area_um2": 50.25, "length_um": math.nan, "centroid_y_px": 4.0, "centroid_x_px": 9.0},
    {"label": 2, "area_um2": 1234567.0, "length_um": 3.0, "centroid_y_px": 5.0, "centroid_x_px": 1.0},
    {"label": 7, "area_um2": 0.125, "length_um": 12.0, "centroid_y_px": 6.0, "centroid_x_px": 2.0},
    {"label": 9, "area_um2": 50.25, "length_um": 7.5, "centroid_y_px": 8.0, "centroid_x_px": 3.0},
]


@pytest.fixture
def view(qtbot, qtmodeltester):
    made = VesselTableView()
    qtbot.addWidget(made)
    made.show_rows(VESSELS)
    # Qt's own check of a model
    qtmodeltester.check(made.model())
    return made


def cells(view, column, role=Qt.ItemDataRole.DisplayRole):
    model = view.model()
    return [model.index(row, column).data(role) for row in range(model.rowCount())]


@pytest.mark.parametrize("column", range(3))
@pytest.mark.parametrize("order", [Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder])
def test_vessels_are_sorted_as_pandas_sorts_them_with_missing_numbers_last(view, column, order):
    frame = pd.DataFrame(VESSELS)[["label", "area_um2", "length_um"]]
    view.sortByColumn(column, order)
    is_rising = order == Qt.SortOrder.AscendingOrder
    expected = frame.sort_values(frame.columns[column], ascending=is_rising, kind="stable", na_position="last")
    assert cells(view, 0) == [str(label) for label in expected["label"]]
    assert cells(view, 1) == [number(value) for value in expected["area_um2"]]
    for row, label in enumerate(expected["label"]):
        assert view.vessels.row_of(label) == row
        assert view.vessels.label_at(row) == label
    assert view.vessels.row_of(5) is None


def test_the_tooltip_of_a_vessel_has_the_exact_number(view):
    tips = cells(view, 1, Qt.ItemDataRole.ToolTipRole)
    assert [float(tip.rsplit(": ", 1)[1]) for tip in tips] == [row["area_um2"] for row in VESSELS]
    headers = [view.model().headerData(column, Qt.Orientation.Horizontal) for column in range(3)]
    assert headers == ["vessel", "area, µm²", "length, µm"]


def test_a_selected_vessel_stays_selected_in_other_rows_and_under_another_order(view):
    chosen = []
    view.chosen.connect(chosen.append)
    assert view.selected is None
    assert view.select(7)
    assert (view.selected, chosen) == (7, [])
    view.sortByColumn(1, Qt.SortOrder.DescendingOrder)
    assert view.selected == 7
    view.show_rows(VESSELS[1:])
    assert (view.selected, chosen) == (7, [])
    assert not view.select(1)
    # only what the user selects is reported
    view.selectRow(view.vessels.row_of(9))
    assert (view.selected, chosen) == (9, [9])
    view.show_rows([])
    assert view.selected is None
    assert view.model().rowCount() == 0


@pytest.fixture(scope="module")
def profiles():
    """Profiles of a probe that falls with 30 µm, of a flat one, and of nothing."""
    vessels = discs(SHAPE, CENTRES, 6)
    distance = np.where(vessels, 0, ndimage.distance_transform_edt(~vessels))
    images = {"real": 1000 * np.exp(-distance / 30), "flat": np.full(SHAPE, 5.0), "dark": np.zeros(SHAPE)}
    return penetration(distance, images)


def test_profiles_have_a_row_each_under_their_headings(profiles):
    settings = PenetrationSettings()
    rows, tips = profile_rows(profiles)
    headings = list(profile_headings(settings))
    frame = pd.DataFrame(rows, columns=headings)
    assert len(frame) == len(profiles) == len(tips)
    for (_, row), one in zip(frame.iterrows(), profiles, strict=True):
        assert (row["Image"], row["Area"], row["n"]) == (one.image, one.area, one.n)
        assert row["D50, µm"] == number(one.d50_um, digits=2)
        for beyond in one.beyond:
            shown = float(row[f"> {beyond.beyond_um:g} µm"].rstrip("%").replace("–", "nan")) / 100
            assert shown == pytest.approx(beyond.share, abs=5.1e-5, nan_ok=True)
    assert frame.set_index("Image")["D50, µm"]["dark"] == "–"


def test_missing_numbers_are_explained_once_and_uncertain_ones_too(profiles):
    text = reasons(profiles, has_glass=True)
    for one in profiles:
        if one.reason:
            assert text.count(one.reason) == 1
            line = next(line for line in text.split("\n") if one.reason in line)
            assert f"{one.image}, {one.area}" in line
    assert any(one.reason for one in profiles)
    without = reasons(profiles, has_glass=False)
    assert without.removeprefix(text).strip() == (
        "There is no blank glass around the tissue, so no background is subtracted."
    )
    certain = replace(profiles[0], area="tissue", reason="", d50_low_um=10.0, d50_high_um=12.0)
    assert reasons([certain], has_glass=True) == ""
    for high, word in ((40.0, "40.0"), (math.nan, "further")):
        doubtful = replace(certain, d50_high_um=high)
        assert f"D50 is 10.0 to {word} µm" in reasons([doubtful], has_glass=True)
        assert reasons([replace(doubtful, area="core")], has_glass=True) == ""


def test_densities_are_rows_of_what_was_counted():
    table = VesselTable((), 12, 0.5, 24.0, 0.125, 3.25)
    cells = CellDensity(1000, 0.5, 2000.0, 33.3)
    rows, tips = density_rows(table, cells)
    frame = pd.DataFrame(rows, columns=list(DENSITY_HEADINGS)).set_index("Density")
    assert list(frame.index) == ["Vessels", "Vessel area", "Vessel length", "Nuclei"]
    values = [f"{number(24.0)} per mm²", "12.50%", f"{number(3.25)} mm/mm²", f"{number(2000.0)} per mm²"]
    assert frame["Value"].tolist() == values
    assert frame["n"].tolist() == [12, 12, 12, 1000]
    assert set(frame["Tissue"]) == {"0.5 mm²"}
    assert "grey level 33.3" in tips[-1]
    # a missing number says why, instead of how it is counted
    none = CellDensity(0, math.nan, math.nan, math.nan, "Pixels are too large.")
    rows, tips = density_rows(None, none)
    assert (rows[0][-1], tips) == ("–", ["Pixels are too large."])
    assert density_rows(None, None) == ([], [])


@pytest.fixture
def plot(qtbot, profiles):
    made = ProfilePlot()
    qtbot.addWidget(made)
    made.show_profiles(profiles, {"flat": "#ff0000"})
    return made


def test_the_tooltip_of_a_profile_is_its_shell(plot, profiles):
    shells = profiles[0].shells[:-1]
    for shell, others in zip(shells, zip(*(one.shells for one in profiles), strict=True), strict=False):
        words = plot.words_at(SimpleNamespace(xdata=(shell.from_um + shell.to_um) / 2)).split("\n")
        assert words[0] == f"{shell.from_um:g} to {shell.to_um:g} µm, n = {shell.n:,}"
        assert words[1:] == [f"{one.image}: {other.mean:.4g}" for one, other in zip(profiles, others, strict=True)]
    assert plot.words_at(SimpleNamespace(xdata=-0.1)) == ""
    assert plot.words_at(SimpleNamespace(xdata=shells[-1].to_um + 1)) == ""


def test_bars_are_the_pixels_of_the_shells_and_cover_almost_all(plot, profiles):
    figure = Figure()
    plot.draw_on(figure, ON_PAPER)
    upper, lower = figure.axes
    values, edges, _ = lower.patches[0].get_data()
    shells = profiles[0].shells[: len(values)]
    np.testing.assert_array_equal(values, [shell.n for shell in shells])
    np.testing.assert_array_equal(edges, [*(shell.from_um for shell in shells), shells[-1].to_um])
    assert sum(values) > 0.97 * profiles[0].n
    assert upper.get_title(loc="left").endswith(f"n = {profiles[0].n:,} pixels outside vessels")
    assert [line.get_color() for line in upper.lines] == [ON_PAPER.text, "#ff0000", ON_PAPER.text]
    plot.show_profiles((), {})
    empty = Figure()
    plot.draw_on(empty, ON_PAPER)
    assert (empty.axes, len(empty.texts), plot.words_at(SimpleNamespace(xdata=1))) == ([], 1, "")


@pytest.mark.parametrize("factor", [1.0, 2.5])
def test_a_pixel_of_the_slide_finds_its_vessel_and_the_box_encloses_it(factor):
    mask = discs(SHAPE, CENTRES, 7)
    vessels = drawn_mask(mask, factor=factor)
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    for label in range(1, count + 1):
        rows, columns = np.nonzero(labels == label)
        box = box_of(vessels, label)
        assert box.y0 <= rows.min() * factor < (rows.max() + 1) * factor <= box.y1
        assert box.x0 <= columns.min() * factor < (columns.max() + 1) * factor <= box.x1
        assert box.height <= (np.ptp(rows) + 4) * factor
    for row, column in np.ndindex(SHAPE[0] // 5, SHAPE[1] // 5):
        pixel = int(5 * row * factor), int(5 * column * factor)
        y, x = (int((index + 0.5) / factor) for index in pixel)
        assert vessel_at(vessels, pixel) == (labels[y, x] or None)


@pytest.fixture
def layers(qtbot):
    viewer = ViewerModel()
    slide, _ = compared_slides(shape=SHAPE)
    show(viewer, slide)
    made = MaskLayers(viewer)
    made.viewer, made.real = viewer, compared_channel(viewer.layers["QD · tumour"])
    yield made
    made.shut_down()


def test_a_found_mask_has_a_layer_which_the_next_one_takes_over_until_the_user_edits_it(layers, qtbot):
    masks = [drawn_mask(discs(SHAPE, CENTRES, radius), 0.5) for radius in (4, 7, 9)]
    first = layers.show_vessels(masks[0], layers.real)
    qtbot.waitUntil(lambda: layers.is_settled, timeout=WAIT_MS)
    assert [layer for _, layer in layers.choices()] == [first]
    assert layers.was_found_on(first, layers.real)
    mark = layers.mark(first)
    assert layers.show_vessels(masks[1], layers.real) is first
    np.testing.assert_array_equal(first.data, masks[1].mask)
    qtbot.waitUntil(lambda: layers.is_settled, timeout=WAIT_MS)
    assert (layers.is_edited(first), layers.mark(first)) == (False, mark)
    with qtbot.waitSignal(layers.edited, timeout=WAIT_MS) as edited:
        first.data_setitem((np.array([0]), np.array([0])), 1)
    assert edited.args == [first]
    assert layers.is_edited(first)
    assert layers.mark(first) != mark
    # the user's mask is left alone
    second = layers.show_vessels(masks[2], layers.real)
    assert second is not first
    assert first.data[0, 0] == 1
    np.testing.assert_array_equal(second.data, masks[2].mask)


def test_subareas_have_one_layer_that_is_not_offered_as_vessels(layers, qtbot):
    labels = np.zeros(SHAPE, np.uint8)
    labels[:60], labels[60:] = 1, 2
    active = layers.viewer.layers.selection.active
    first = layers.show_subareas(Subareas(labels, (1.0, 1.0), ("periphery", "core")), layers.real)
    assert layers.viewer.layers.selection.active is active
    number_of_layers = len(layers.viewer.layers)
    other = Subareas(3 - labels, (1.0, 1.0), ("core", "periphery"))
    assert layers.show_subareas(other, layers.real) is first
    assert len(layers.viewer.layers) == number_of_layers
    np.testing.assert_array_equal(first.data, other.labels)
    assert list(first.features["subarea"]) == ["none", "core", "periphery"]
    assert not first.editable
    qtbot.waitUntil(lambda: layers.is_settled, timeout=WAIT_MS)
    assert layers.choices() == []


def test_drawn_labels_have_to_cover_the_slide(layers):
    whole = layers.viewer.add_labels(np.ones(SHAPE, int), scale=(0.5, 0.5), units=("um", "um"), name="whole")
    assert layers.drawn(whole, layers.real).shape == SHAPE
    half = layers.viewer.add_labels(np.ones((60, 80), int), scale=(0.5, 0.5), units=("um", "um"), name="half")
    with pytest.raises(UserError, match="'half' do not cover 'QD · tumour' from corner to corner"):
        layers.drawn(half, layers.real)

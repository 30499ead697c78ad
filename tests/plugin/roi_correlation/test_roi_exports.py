"""Files that are taken along: tables that can be computed with, regions that QuPath opens, settings beside them."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog

from napari_hrpn.analysis import (
    colocalize_roi,
    measure_roi,
    roi_images,
)
from napari_hrpn.analysis.metrics import ROI, metrics_in
from napari_hrpn.analysis.tissue.slide_penetration import ProbeImage
from napari_hrpn.core import drive
from napari_hrpn.plugin.roi_correlation.exports import (
    Exported,
    roi_figure,
    tidy_rows,
    write_roi_figure,
    write_rois_geojson,
    write_rois_table,
)
from napari_hrpn.plugin.roi_correlation.regions import ListedRoi
from napari_hrpn.plugin.roi_correlation.result_panel import numbers_html, summary_html
from napari_hrpn.plugin.roi_correlation.results import RoiRow, RoiTable
from napari_hrpn.slides import Annotation, LabelRegion, SlideError, read_geojson
from support.roi_shapes import box

WINDOW = slice(0, 500), slice(0, 640)


@pytest.fixture
def exported(pixels, make_slide):
    """Two regions of two predictions: a rectangle partly beyond the slide, and a label with a hole."""
    _, real, first, second = pixels
    images = [
        ProbeImage(name, make_slide([each], ("QD",), f"/slides/{name}.ome.tif"))
        for name, each in (("QD · tumour", real), ("tumour HRPN", first), ("tumour GANDA", second))
    ]
    compared = roi_images(images[0], tuple(images[1:]))
    inside = np.ones((90, 120), bool)
    inside[30:40, 50:80] = False
    rois = [
        Annotation("ROI 1", "include", ((box(-40, 210, 20, 260) + 0.5,),)),
        LabelRegion("label 4", inside, np.eye(2), np.array([-300.0, -200.0])),
    ]
    rows = []
    for index, roi in enumerate(rois):
        rows.append(RoiRow(ListedRoi(index, roi), drive(measure_roi(compared, roi))))
    return Exported(compared, tuple(rows), "drawn")


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_table_has_a_row_for_each_region_and_prediction(exported, tmp_path):
    path = tmp_path / "out" / "rois.csv"
    write_rois_table(exported, path)
    rows = read(path)
    assert [(row["roi"], row["prediction"]) for row in rows] == [
        ("ROI 1", "tumour HRPN"),
        ("ROI 1", "tumour GANDA"),
        ("label 4", "tumour HRPN"),
        ("label 4", "tumour GANDA"),
    ]
    numbers = exported.rows[0].measurement.numbers[1]
    assert float(rows[1]["pearson_r"]) == numbers.regression.pearson_r
    assert float(rows[1]["slope_low"]) == numbers.intervals.slope.low
    assert float(rows[1]["slope_difference_high"]) == numbers.difference.slope.high
    assert rows[0]["compared_with"] == rows[0]["slope_difference"] == ""
    assert rows[1]["compared_with"] == "tumour HRPN"
    assert (rows[0]["beyond_slide"], rows[0]["n"], rows[0]["y_px"], rows[0]["height_px"]) == (
        "True",
        "50400",
        "0",
        "210",
    )
    assert float(rows[2]["area_um2"]) == pytest.approx((90 * 120 - 300) * 0.65**2)
    assert "manders_m1" not in rows[0]
    facts = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert [each["name"] for each in facts["predictions"]] == ["tumour HRPN", "tumour GANDA"]
    assert facts["intervals"]["resamples"] == 2000
    assert facts["mean_and_sd"]["GANDA"]["slope_difference"]["n"] == 2


def test_colocalization_is_in_the_table_where_it_was_asked_for(exported):
    row = exported.rows[0]
    found = colocalize_roi(exported.images, row.listed.roi)
    rows = tidy_rows(
        Exported(exported.images, (RoiRow(row.listed, row.measurement, "", found), exported.rows[1]), "drawn")
    )
    assert rows[1]["costes_threshold_real"] == found[1].costes_threshold_real
    assert rows[3]["costes_threshold_real"] is None


def test_regions_come_back_from_geojson_with_the_same_pixels(exported, tmp_path):
    path = tmp_path / "rois.geojson"
    write_rois_geojson(exported, path)
    for found, row in zip(read_geojson(path), exported.rows, strict=True):
        assert found.name == row.listed.name
        np.testing.assert_array_equal(found.within(*WINDOW), row.listed.roi.within(*WINDOW))
        assert found.measurements["GANDA: Slope"] == row.measurement.numbers[1].regression.slope
        assert found.measurements["n px"] == row.measurement.n
    collection = json.loads(path.read_text("utf-8"))
    assert collection["type"] == "FeatureCollection"
    feature = collection["features"][1]
    # x before y, each ring closed
    outline = feature["geometry"]["coordinates"][0]
    assert outline[0] == outline[-1]
    np.testing.assert_allclose([np.min(outline, axis=0), np.max(outline, axis=0)], [[200, 300], [320, 390]], atol=0.5)
    assert feature["properties"]["objectType"] == "annotation"
    assert len(feature["geometry"]["coordinates"]) == 2


def test_the_figure_has_its_cells_beside_it(exported, tmp_path):
    path = tmp_path / "roi.png"
    write_roi_figure(exported, exported.rows[0], path)
    assert path.read_bytes().startswith(b"\x89PNG")
    cells = read(path.with_suffix(".csv"))
    for name in ("HRPN", "GANDA"):
        assert sum(int(cell["pixels"]) for cell in cells if cell["prediction"] == name) == 50400
    titles = [axes.get_title(loc="left") for axes in roi_figure(exported, exported.rows[0]).axes]
    assert "ROI 1, HRPN" in titles[0]
    assert "n = 50,400 px" in titles[0]
    write_roi_figure(exported, exported.rows[0], tmp_path / "roi2.svg")


def test_nothing_is_replaced_unasked(exported, tmp_path):
    path = tmp_path / "rois.csv"
    path.with_suffix(".json").write_text("mine", "utf-8")
    with pytest.raises(SlideError, match=r"rois.json exists already"):
        write_rois_table(exported, path, overwrite=True)
    assert not path.exists()
    path.with_suffix(".json").unlink()
    write_rois_table(exported, path)
    with pytest.raises(SlideError):
        write_rois_table(exported, path)
    write_rois_table(exported, path, overwrite=True)


def test_the_widget_asks_where_and_says_what_it_did(drawn, tmp_path, monkeypatch):
    widget, _ = drawn
    for action, name in (
        (widget.save_table, "t.csv"),
        (widget.save_figure, "f.png"),
        (widget.save_regions, "r.geojson"),
    ):
        chosen = str(tmp_path / name)
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, chosen=chosen, **__: (chosen, "X (*.x)"))
        action()
        assert widget.message == f"Saved: {chosen}"
        assert (tmp_path / name).exists()
    widget.bar.say("")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: ("", ""))
    widget.save_table()
    assert widget.message == ""


def test_the_table_sorts_by_number_and_what_is_not_measured_comes_last(exported, qtbot):
    table = RoiTable()
    qtbot.addWidget(table)
    waiting = RoiRow(ListedRoi(7, replace(exported.rows[0].listed.roi, name="ROI 8")))
    table.show_regions([waiting, *exported.rows], exported.names)
    last = table.columnCount() - 1
    table.sortByColumn(last, table.horizontalHeader().sortIndicatorOrder())
    assert [table.item(row, last).text() for row in range(3)] == ["10,500", "50,400", "…"]
    picked = []
    table.picked.connect(picked.append)
    table.selectRow(0)
    assert picked == [2]
    table.pick(0)
    assert table.item(2, 0).isSelected()
    assert table.picked_index() == 0
    assert picked == [2]
    table.show_regions(exported.rows, exported.names[:1])
    assert table.columnCount() == 4
    table.more_box.value = True
    assert table.columnCount() == 2 + len(metrics_in(ROI))


def test_words_have_n_and_intervals(exported):
    words = numbers_html(exported.rows[1], exported.names).replace("&nbsp;", " ")
    assert "10,500 px" in words
    assert "GANDA − HRPN, paired: r" in words
    assert "2 ROIs" in summary_html(exported.rows, exported.names)
    assert "1 not measured yet" in summary_html([exported.rows[0], RoiRow(exported.rows[1].listed)], exported.names)
    assert summary_html([], exported.names) == ""

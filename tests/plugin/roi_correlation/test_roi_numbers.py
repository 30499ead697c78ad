"""Numbers of regions in rows, tables, CSV, JSON and GeoJSON: one measurement, the same digits everywhere."""

import csv
import json
import math
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from napari_hrpn.analysis import RandomRois, measure_roi, roi_images
from napari_hrpn.analysis.metrics import ROI, metrics_in
from napari_hrpn.analysis.tissue.slide_penetration import ProbeImage
from napari_hrpn.core import drive
from napari_hrpn.plugin.roi_correlation.exports import (
    Exported,
    tidy_rows,
    write_roi_figure,
    write_rois_geojson,
    write_rois_table,
)
from napari_hrpn.plugin.roi_correlation.regions import ListedRoi
from napari_hrpn.plugin.roi_correlation.results import Number, Origin, RoiRow, RoiTable, summary
from napari_hrpn.slides import Annotation, SlideError
from support.compared import slide_of_pixels
from support.roi_shapes import box

BOXES = {"core": (10, 230, 20, 280), "rim": (240, 320, 100, 330), "=edge": (330, 430, 10, 200)}
WIDTHS = (0.65, 0.5)


@pytest.fixture(scope="module")
def exported(pixels):
    """Three regions of two predictions on pixels that are not square; the last region was placed at random."""
    images = [
        ProbeImage(name, slide_of_pixels(image[None], f"/slides/{name}.tif", ("QD",), WIDTHS))
        for name, image in zip(("QD · tumour", "tumour HRPN", "tumour GANDA"), pixels[1:], strict=True)
    ]
    compared, rows = roi_images(images[0], tuple(images[1:])), []
    for index, (name, sides) in enumerate(BOXES.items()):
        roi = Annotation(name, "include", ((box(*sides) + 0.5,),))
        origin = Origin(None, RandomRois(seed=8)) if name == "=edge" else Origin("mine.geojson")
        rows.append(RoiRow(ListedRoi(index, roi), drive(measure_roi(compared, roi)), origin=origin))
    return Exported(compared, tuple(rows), "drawn")


def cut(image, name):
    y0, y1, x0, x1 = BOXES[name]
    return image[y0:y1, x0:x1].astype(float).ravel()


def test_numbers_of_a_row_are_those_of_scipy(exported, pixels):
    for row in exported.rows:
        real = cut(pixels[1], row.listed.name)
        for record, image in zip(row.records, pixels[2:], strict=True):
            predicted = cut(image, row.listed.name)
            line = stats.linregress(real, predicted)
            assert record["pearson_r"].value == pytest.approx(line.rvalue)
            assert record["slope"].value == pytest.approx(line.slope)
            assert record["n"].value == real.size


def test_files_have_the_digits_of_the_measurement(exported, tmp_path):
    write_rois_table(exported, tmp_path / "t.csv")
    write_rois_geojson(exported, tmp_path / "r.geojson")
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = iter(list(csv.DictReader(file)))
    features = json.loads((tmp_path / "r.geojson").read_text("utf-8"))["features"]
    for row, feature in zip(exported.rows, features, strict=True):
        assert feature["properties"]["name"] == row.listed.name
        measurements = feature["properties"]["measurements"]
        for name, record in zip(exported.names, row.records, strict=True):
            found = next(rows)
            # a name that is a formula for a spreadsheet is marked in the table only
            assert found["roi"].removeprefix("'") == row.listed.name
            y0, y1, x0, x1 = BOXES[row.listed.name]
            place = [int(found[column]) for column in ("y_px", "height_px", "x_px", "width_px")]
            assert place == [y0, y1 - y0, x0, x1 - x0]
            assert float(found["area_um2"]) == pytest.approx((y1 - y0) * (x1 - x0) * math.prod(WIDTHS))
            for metric in metrics_in(ROI):
                if metric.key not in record:
                    continue
                value, interval, _ = record[metric.key]
                assert float(found[metric.key] or "nan") == pytest.approx(value, rel=0, nan_ok=True)
                title = f"{name}: {metric.title[0].upper()}{metric.title[1:]}".replace("²", "2")
                if math.isfinite(value):
                    assert measurements[title] == value
                if interval is not None and math.isfinite(interval.low):
                    ends = float(found[f"{metric.key}_low"]), float(found[f"{metric.key}_high"])
                    assert ends == (interval.low, interval.high)
                    assert (measurements[f"{title} low"], measurements[f"{title} high"]) == ends
    assert next(rows, None) is None
    # the largest region has intervals
    assert all(math.isfinite(record["slope"].interval.low) for record in exported.rows[0].records)


def test_without_a_pixel_size_there_is_no_area(exported, pixels):
    images = [
        replace(image, slide=slide_of_pixels(pixels[1][None], "/a.tif", ("QD",), None))
        for image in (exported.images.real,) * 2
    ]
    compared = roi_images(images[0], (replace(images[1], name="other"),))
    rows = tidy_rows(Exported(compared, exported.rows[:1], "drawn"))
    assert [row["area_um2"] for row in rows] == [None]
    assert "compared_with" not in rows[0]


def test_mean_and_sd_over_regions_are_those_of_pandas(exported):
    frame = pd.DataFrame(tidy_rows(exported))
    for name, means in zip(("tumour HRPN", "tumour GANDA"), summary(exported.rows, 2), strict=True):
        of_one = frame[frame["prediction"] == name]
        for key in ("pearson_r", "slope"):
            assert means[key].mean == pytest.approx(of_one[key].mean())
            assert means[key].sd == pytest.approx(of_one[key].std(ddof=1))
            assert means[key].n == 3
    waiting = RoiRow(exported.rows[0].listed)
    assert summary([*exported.rows, waiting], 2)[0]["slope"].n == 3
    assert waiting.records == []


def test_settings_beside_a_file_say_where_each_region_is_from(exported, tmp_path):
    write_roi_figure(exported, exported.rows[2], tmp_path / "one.svg")
    one = json.loads((tmp_path / "one.json").read_text("utf-8"))
    assert [origin["roi"] for origin in one["origins"]] == ["=edge"]
    write_rois_table(exported, tmp_path / "all.csv")
    facts = json.loads((tmp_path / "all.json").read_text("utf-8"))
    assert [origin["file"] for origin in facts["origins"]] == ["mine.geojson", "mine.geojson", None]
    assert facts["random_regions"] == facts["origins"][2]["random"] == asdict(RandomRois(seed=8))
    assert facts["pixel_size_um"] == list(WIDTHS)
    assert (facts["height_px"], facts["width_px"]) == exported.images.shape


def test_cells_of_the_figure_are_the_pixels_in_equal_steps(exported, tmp_path, pixels):
    write_roi_figure(exported, exported.rows[0], tmp_path / "core.png")
    frame = pd.read_csv(tmp_path / "core.csv")
    real, predicted = cut(pixels[1], "core"), cut(pixels[2], "core")
    of_one = frame[frame["prediction"] == "HRPN"]
    assert of_one["pixels"].min() > 0
    assert of_one["pixels"].sum() == real.size
    weights = of_one["pixels"] / real.size
    low, high = exported.rows[0].measurement.density_range
    step = (high - low) / len(exported.rows[0].measurement.densities[0])
    # means of cells differ from those of pixels by less than a cell
    assert abs((of_one["real"] * weights).sum() - real.mean()) < step
    assert abs((of_one["predicted"] * weights).sum() - predicted.mean()) < step


@pytest.mark.parametrize("name", ["t.json", "t.csv"])
def test_a_file_that_would_replace_its_own_settings_is_refused(exported, tmp_path, name):
    (tmp_path / "t.json").write_text("mine")
    with pytest.raises(SlideError, match="choose another name"):
        write_rois_table(exported, tmp_path / name)
    assert (tmp_path / "t.json").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]


def test_a_number_shows_its_interval_if_it_has_one(exported):
    found = exported.rows[0].records[0]["pearson_r"]
    assert found.text == f"{Number(found.value).text} [{found.interval.low:.3f}, {found.interval.high:.3f}]"
    assert "[" not in Number(0.5).text
    assert "[" not in Number(0.5, replace(found.interval, low=math.nan, high=math.nan)).text


def test_a_table_keeps_the_chosen_region_when_it_is_shown_and_sorted_anew(exported, qtbot):
    table = RoiTable()
    qtbot.addWidget(table)
    table.show_regions(exported.rows, exported.names)
    centred = []
    table.centred.connect(centred.append)
    table.pick(1)
    for column in range(table.columnCount()):
        for order in (0, 1):
            table.sortByColumn(column, type(table.horizontalHeader().sortIndicatorOrder())(order))
            assert table.picked_index() == 1
    table.show_regions(exported.rows[::-1], exported.names)
    assert table.picked_index() == 1
    table.itemDoubleClicked.emit(table.selectedItems()[0])
    assert centred == [1]
    table.pick(None)
    assert table.picked_index() is None


def test_a_region_that_cannot_be_measured_says_why_in_every_cell(exported, qtbot):
    table = RoiTable()
    qtbot.addWidget(table)
    bad = RoiRow(exported.rows[0].listed, problem="It lies beyond the slide.")
    table.show_regions([bad, RoiRow(exported.rows[1].listed)], exported.names)
    cells = np.array([[table.item(row, column) for column in range(1, table.columnCount())] for row in range(2)])
    assert {(cell.text(), cell.toolTip()) for cell in cells[0]} == {("–", "It lies beyond the slide.")}
    assert {(cell.text(), cell.toolTip()) for cell in cells[1]} == {("…", "")}

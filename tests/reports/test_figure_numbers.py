"""What a figure draws is what it was given: lines, points, bars and pictures hold the numbers, each in its colour."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread

from napari_hrpn.analysis import ProbeImage
from napari_hrpn.reports.drawing import (
    REAL_COLOUR,
    Drawing,
    draw_equality,
    file_name,
    new_figure,
    tidy,
    write_drawing,
)
from napari_hrpn.reports.pixel_figures import pixel_figures
from napari_hrpn.reports.tissue_figures import (
    background_words,
    draw_violin,
    image_colours,
    patch_figure,
    penetration_figure,
    scale_bar_um,
    slide_figure,
)
from support.vessel_slides import slide_of

steady = settings(derandomize=True, deadline=None, max_examples=60)
COLOURS = ["#2fd5e0", "#e0c53a"]


def region_of(name: str, seed: int) -> dict[str, Any]:
    """Numbers of a region, with an interval of r alone."""
    random = np.random.default_rng(seed)
    keys = ("pearson_r", "r_total", "slope", "intercept", "r2", "rmse")
    ends = {"pearson_r": {"low": 0.1, "high": 0.4}, "slope": {"low": None, "high": None}, "confidence": 0.9}
    return {"region": name, "n": 100 + seed, "intervals": ends, **dict(zip(keys, random.uniform(0, 1, 6), strict=True))}


def part_of(name: str, seed: int, rois: int = 2) -> dict[str, Any]:
    """Plain numbers of the pixels of a prediction."""
    random = np.random.default_rng(seed)
    regions = [region_of("tissue", seed), *(region_of(f"roi {index}", seed + index) for index in range(1, rois + 1))]
    cells = random.permutation(256)[:40]
    density = {
        "range": [0.0, 256.0],
        "real": cells.tolist(),
        "predicted": cells[::-1].tolist(),
        "pixels": random.integers(1, 99, 40).tolist(),
    }
    curve = [
        {"percentile": p, "tied": p in (10, 11), "n": 500, **dict(zip(keys, random.uniform(0, 1, 4), strict=True))}
        for p in range(1, 100)
        for keys in [("iou", "mean_iou", "chance", "mean_chance")]
    ]
    return {
        "name": name,
        "region": "tissue",
        "tissue": regions[0],
        "frame": region_of("frame", seed + 50),
        "rois": regions[1:],
        "iou_curve": curve,
        "quantiles": {
            "percentiles": [0, 50, 100],
            "real": [0.0, 4.0, 9.0],
            "predicted": [1.0, None, 6.0 + seed],
            "slope": 0.5,
            "n_real": 500,
        },
        "histogram": {"edges": [0, 4, 8, 12], "counts": [[5, 3, 2], [1, 1 + seed, 2]]},
        "densities": {region["region"]: density for region in regions},
        "distributions": {"wasserstein": 1.5},
    }


@pytest.fixture(scope="module")
def parts() -> list[dict[str, Any]]:
    return [part_of("HRPN", 1), part_of("GANDA", 2)]


@pytest.fixture(scope="module")
def figures(parts: list[dict[str, Any]]) -> dict[str, Drawing]:
    return {drawing.name: drawing for drawing in pixel_figures(parts, "QD", COLOURS)}


def lines_of(axes: Axes, colour: str, style: str = "-") -> list[list[list[float]]]:
    """Coordinates of the lines of one colour and style."""
    return [
        [list(line.get_xdata()), list(line.get_ydata())]
        for line in axes.lines
        if line.get_color() == colour and line.get_linestyle() == style
    ]


def test_every_prediction_has_its_density_and_shares_the_other_figures(figures: dict[str, Drawing]) -> None:
    assert list(figures) == ["density-HRPN", "density-GANDA", "iou-curve", "histogram", "quantiles", "regions"]
    without = [drawing.name for drawing in pixel_figures([part_of("HRPN", 1, rois=0)], "QD", COLOURS[:1])]
    assert without == ["density-HRPN", "iou-curve", "histogram", "quantiles"]


def test_a_density_shows_each_count_at_its_grey_levels_and_the_fitted_line(
    parts: list[dict[str, Any]], figures: dict[str, Drawing]
) -> None:
    for part in parts:
        panels = [axes for axes in figures[f"density-{part['name']}"].figure.axes if axes.images and axes.lines]
        assert [axes.get_title().split(",")[0] for axes in panels] == ["tissue", "roi 1", "roi 2"]
        for axes, region in zip(panels, (part["tissue"], *part["rois"]), strict=True):
            (image,) = axes.images
            density = part["densities"][region["region"]]
            shown = np.ma.filled(image.get_array(), 0)
            assert shown.sum() == sum(density["pixels"])
            for real, predicted, pixels in zip(density["real"], density["predicted"], density["pixels"], strict=True):
                assert shown[predicted, real] == pixels
            assert (image.origin, tuple(image.get_extent())) == ("lower", (0, 256, 0, 256))
            ((x, y),) = lines_of(axes, "#d62728")
            np.testing.assert_allclose(y, region["intercept"] + region["slope"] * np.array(x))
            ((x, y),) = lines_of(axes, REAL_COLOUR, "--")
            assert x == y
            assert f"n = {region['n']} px" in axes.get_title()


def test_at_most_twelve_densities_are_drawn_and_the_rest_is_counted() -> None:
    drawing = pixel_figures([part_of("HRPN", 1, rois=20)], "QD", COLOURS[:1])[0]
    assert len([axes for axes in drawing.figure.axes if axes.images and axes.lines]) == 12
    assert "9 more regions are in the table" in drawing.caption


def test_curves_of_overlap_and_of_chance_are_those_of_the_tables(
    parts: list[dict[str, Any]], figures: dict[str, Drawing]
) -> None:
    for axes, suffix in zip(figures["iou-curve"].figure.axes, ("", "mean_"), strict=True):
        for part, colour in zip(parts, COLOURS, strict=True):
            curve = part["iou_curve"]
            for key, style in (("iou", "-"), ("chance", ":")):
                expected = [[point["percentile"] for point in curve], [point[suffix + key] for point in curve]]
                assert lines_of(axes, colour, style) == [expected]
        # ties are shaded, once for all predictions
        assert sorted(patch.get_x() for patch in axes.patches) == [9.5, 10.5]


def test_a_histogram_shows_shares_that_add_up_to_one(parts: list[dict[str, Any]], figures: dict[str, Drawing]) -> None:
    (axes,) = figures["histogram"].figure.axes
    steps = {patch.get_label(): patch.get_data() for patch in axes.patches}
    assert set(steps) == {"real QD", "HRPN", "GANDA"}
    for part in parts:
        values, edges, _ = steps[part["name"]]
        np.testing.assert_allclose(
            values, np.array(part["histogram"]["counts"][1]) / sum(part["histogram"]["counts"][1])
        )
        assert list(edges) == part["histogram"]["edges"]
    np.testing.assert_allclose(steps["real QD"].values, [0.5, 0.3, 0.2])
    assert axes.get_yscale() == "log"


def test_bins_of_twice_the_width_are_drawn_at_half_their_share() -> None:
    fine, coarse = part_of("HRPN", 1), part_of("GANDA", 2)
    coarse["histogram"] = {"edges": [0, 8, 16], "counts": [[5, 5], [6, 4]]}
    drawing = pixel_figures([fine, coarse], "QD", COLOURS)[3]
    (axes,) = drawing.figure.axes
    (values,) = [patch.get_data().values for patch in axes.patches if patch.get_label() == "GANDA"]
    np.testing.assert_allclose(values, [0.3, 0.2])


def test_quantiles_are_drawn_with_a_gap_where_there_is_none(
    parts: list[dict[str, Any]], figures: dict[str, Drawing]
) -> None:
    (axes,) = figures["quantiles"].figure.axes
    for part, colour in zip(parts, COLOURS, strict=True):
        ((x, y),) = lines_of(axes, colour)
        assert x == part["quantiles"]["real"]
        np.testing.assert_array_equal(y, [1, math.nan, 6 + (1 if part["name"] == "HRPN" else 2)])
    ((x, y),) = lines_of(axes, REAL_COLOUR, "--")
    assert x == y
    assert x[0] <= 0
    assert x[1] >= 9


def test_regions_are_points_with_their_intervals_in_rows_of_their_own(
    parts: list[dict[str, Any]], figures: dict[str, Drawing]
) -> None:
    drawing = figures["regions"]
    labels = [label.get_text() for label in drawing.figure.axes[0].get_yticklabels()]
    assert labels == ["tissue, n = 101", "roi 1, n = 102", "roi 2, n = 103"]
    for axes, key in zip(drawing.figure.axes, ("pearson_r", "slope"), strict=True):
        for part, colour in zip(parts, COLOURS, strict=True):
            lines = [line for line in axes.lines if line.get_color() == colour]
            points = [line for line in lines if line.get_marker() == "o" and len(line.get_xdata()) == 1]
            assert [line.get_xdata()[0] for line in points] == [row[key] for row in (part["tissue"], *part["rois"])]
            assert [round(line.get_ydata()[0]) for line in points] == [0, 1, 2]
            bars = [list(line.get_xdata()) for line in lines if len(line.get_xdata()) == 2]
            assert bars == ([[0.1, 0.4]] * 3 if key == "pearson_r" else [])
    assert "90 %" in drawing.caption


def patches_part() -> dict[str, Any]:
    """Patches of three images, of which every fourth has too little tissue."""
    patches = [
        {"enough": index % 4 > 0, "nuclei total": 1.0 * index, "probe total": 9.0 - index, "HRPN total": 3.0 * index}
        for index in range(12)
    ]
    images = ["nuclei", "probe", "HRPN"]
    channels = {"nuclei": "DAPI", "probe": "QD", "HRPN": "predicted QD"}
    return {"images": images, "channels": channels, "patches": patches, "patch_px": 64, "minimum_tissue": 0.5}


def test_violins_show_every_patch_with_enough_tissue_and_their_median() -> None:
    part = patches_part()
    drawing = patch_figure(part, {"HRPN": COLOURS[0]})
    chosen = [patch for patch in part["patches"] if patch["enough"]]
    for axes, image in zip(drawing.figure.axes, part["images"], strict=True):
        body, median, points = axes.collections
        values = [patch[f"{image} total"] for patch in chosen]
        np.testing.assert_array_equal(np.ma.getdata(points.get_offsets())[:, 1], values)
        assert median.get_segments()[0][0, 1] == np.median(values)
        assert to_hex(body.get_facecolor()[0]) == image_colours([image], {"HRPN": COLOURS[0]})[0]
        assert axes.get_title().endswith("n = 9 patches")
    assert [axes.get_title().split("\n")[0] for axes in drawing.figure.axes] == ["DAPI", "QD", "HRPN"]


def test_real_and_predicted_probe_are_on_one_scale_and_other_channels_on_theirs() -> None:
    nuclei, probe, predicted = patch_figure(patches_part(), {"HRPN": COLOURS[0]}).figure.axes
    assert probe.get_ylim() == predicted.get_ylim()
    assert nuclei.get_ylim() != probe.get_ylim()
    assert "50% tissue" in patch_figure(patches_part(), {"HRPN": COLOURS[0]}).caption


@pytest.mark.parametrize(
    ("values", "violins"), [([], 0), ([1.0], 0), ([1.0, 2.0], 0), ([3.0] * 5, 0), ([1.0, 2.0, 4.0], 2)]
)
def test_few_or_equal_values_are_points_without_a_violin(values: list[float], violins: int) -> None:
    (axes,) = new_figure(2, 2)[1]
    draw_violin(axes, [*values, None], 3.0, "#123456")  # type: ignore[list-item]
    assert len(axes.collections) == violins + 1
    x, y = np.ma.getdata(axes.collections[-1].get_offsets()).reshape(-1, 2).T
    assert list(y) == values
    assert (np.abs(x - 3) <= 0.25).all()
    assert len(set(x)) == len(values)


def test_a_profile_is_drawn_at_the_middle_of_its_shells_up_to_its_range() -> None:
    shells = [{"from_um": 5.0 * i, "to_um": 5.0 * i + 5, "mean": 9.0 - i} for i in range(4)]
    shells.append({"from_um": 20.0, "to_um": None, "mean": 1.0})
    names = {"real": 8.25, "HRPN": None}
    profiles = [
        {
            "image": name,
            "area": "tissue",
            "n": 1234,
            "shells": shells,
            "d50_um": d50,
            "decay_um": None,
            "range_um": 15.0,
        }
        for name, d50 in names.items()
    ]
    part = {"profiles": profiles, "density": {"vessels": 7}, "background": {"real": 2.5}, "background_from": "stated"}
    drawing = penetration_figure(part, {"HRPN": COLOURS[0]})
    (axes,) = drawing.figure.axes
    assert lines_of(axes, REAL_COLOUR) == lines_of(axes, COLOURS[0]) == [[[2.5, 7.5, 12.5], [9.0, 8.0, 7.0]]]
    assert lines_of(axes, REAL_COLOUR, ":") == [[[8.25, 8.25], [0, 1]]]
    assert lines_of(axes, COLOURS[0], ":") == []
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["real: D50 8.25 µm", "HRPN"]
    assert "7 vessels" in drawing.caption
    assert background_words(part) == "Background subtracted, as stated: real 2.500"
    assert background_words({"background": {}}).startswith("No background was subtracted")


def test_pictures_of_a_slide_hold_its_pixels_their_difference_and_their_overlay() -> None:
    random = np.random.default_rng(0)
    real, predicted = (random.integers(0, 200, (40, 60)).astype(np.uint8) for _ in range(2))
    images = ProbeImage("real", slide_of(real)), ProbeImage("HRPN", slide_of(predicted))
    drawing = slide_figure(*images, "QD")
    shown = [np.asarray(axes.images[0].get_array()) for axes in drawing.figure.axes[:4]]
    np.testing.assert_array_equal(shown[0], real)
    np.testing.assert_array_equal(shown[1], predicted)
    np.testing.assert_array_equal(shown[2], predicted.astype(float) - real)
    low, high = drawing.figure.axes[0].images[0].get_clim()
    assert drawing.figure.axes[1].images[0].get_clim() == (low, high)
    expected = [np.clip((image - low) / (high - low), 0, 1) for image in (real.astype(float), predicted.astype(float))]
    np.testing.assert_allclose(shown[3][..., :2], np.stack(expected, axis=-1), atol=1e-6)
    assert not shown[3][..., 2].any()
    least, most = drawing.figure.axes[2].images[0].get_clim()
    assert least == -most
    assert "60 x 40 px at full resolution" in drawing.caption


@pytest.mark.parametrize(("pixel_um", "bars"), [(1.0, 1), (None, 0)])
def test_a_scale_bar_is_as_long_as_it_says_and_absent_without_a_pixel_size(pixel_um: float | None, bars: int) -> None:
    slide = slide_of(np.arange(40 * 60, dtype=np.uint16).reshape(40, 60), pixel_um)
    image = ProbeImage("HRPN", slide)
    for axes in slide_figure(image, image, "QD").figure.axes[:4]:
        assert len(axes.lines) == len(axes.texts) == bars
        for line, text in zip(axes.lines, axes.texts, strict=True):
            assert np.ptp(line.get_xdata()) == pytest.approx(float(text.get_text().split()[0]))


@steady
@given(st.floats(-2, 6).map(lambda power: 10**power))
def test_a_scale_bar_is_a_tenth_to_a_quarter_of_the_picture(width_um: float) -> None:
    length = scale_bar_um(width_um)
    assert 0.1 * width_um <= length * (1 + 1e-6)
    assert length <= 0.25 * width_um * (1 + 1e-6)
    digit = length / 10.0 ** math.floor(math.log10(length) + 1e-9)
    assert any(digit == pytest.approx(step) for step in (1, 2, 5))


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@steady
@given(NAMES)
def test_a_name_of_a_file_is_one_of_its_own_in_any_folder(text: str) -> None:
    name = file_name(text)
    assert name
    assert len(name.encode()) <= 130
    assert Path(name).name == name
    assert not set('/\\:*?"<>|\0 ') & set(name)
    assert name[0] not in "-."
    # a name that needs no change has none
    assert file_name(name) == name or len(text.encode()) > 120


def test_figures_are_written_at_their_size_and_as_svg_with_their_titles(tmp_path: Path) -> None:
    figure, (axes,) = new_figure(3, 2)
    axes.plot([1, 2], [3, 4], label="a line")
    draw_equality(axes, [0.0, 5.0])
    tidy(axes, "x words", "y words", "title words", has_legend=True)
    assert not axes.spines["top"].get_visible()
    assert axes.spines["left"].get_visible()
    (tmp_path / "one.png").write_text("earlier")
    png, svg = write_drawing(Drawing("one", "One", "A line.", figure), tmp_path)
    assert imread(png).shape[:2] == (260, 390)
    assert svg.read_text("utf-8").count("<svg") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"one.png", "one.svg"}


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3), (3, 1)])
def test_panels_come_row_by_row(rows: int, columns: int) -> None:
    figure, panels = new_figure(4, 5, rows, columns, sharey=True)
    assert isinstance(figure, Figure)
    assert list(figure.get_size_inches()) == [4, 5]
    places = [axes.get_subplotspec() for axes in panels]
    assert [(place.rowspan.start, place.colspan.start) for place in places if place] == [
        (row, column) for row in range(rows) for column in range(columns)
    ]

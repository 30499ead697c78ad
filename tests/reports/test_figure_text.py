"""Names are text in figures and tables, whatever a parser or a spreadsheet would make of them."""

import csv
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from napari_hrpn.analysis import ProbeImage
from napari_hrpn.experiments.results import ResultRow, read_results, write_results
from napari_hrpn.reports import plain_text
from napari_hrpn.reports.drawing import Drawing, file_name, write_drawing
from napari_hrpn.reports.tables import write_tables
from napari_hrpn.reports.tissue_figures import slide_figure
from support.vessel_slides import slide_of

NAMES = [r"$\frac{", "$a$ and $b$", r"\$x$", "50 $", "a\x00b", "\ud800", "x_{1}^2", "n" * 240, "a\nb"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_drawn_as_it_is_anywhere_in_a_figure(tmp_path: Path, name: str) -> None:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([1, 10], [1, 100], label=name)
    axes.set_yscale("log")
    axes.set_title(name)
    axes.set_xlabel(name)
    axes.set_xticks([1, 10], [name, name])
    axes.legend()
    axes.text(1, 1, name)
    figure.suptitle(name)
    with warnings.catch_warnings():
        # a font need not have a sign for every character
        warnings.filterwarnings("ignore", "Glyph|constrained_layout")
        write_drawing(Drawing("figure", "", "", figure), tmp_path)
    shown = axes.get_title()
    if name.isprintable() and len(name) < 100:
        assert shown == name
        assert [label.get_text() for label in axes.get_xticklabels()] == [name] * 2
    assert len(shown) <= 110
    assert any(label.get_text().startswith(r"$\mathdefault{10") for label in axes.get_yticklabels())
    assert (tmp_path / "figure.svg").stat().st_size > 1000


def test_powers_of_ten_are_still_typeset() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.set_yscale("log")
    axes.set_ylabel("$x$")
    plain_text(figure)
    assert all(label.get_parse_math() for label in axes.get_yticklabels())
    assert not axes.yaxis.label.get_parse_math()


def test_a_long_name_makes_a_short_file_name_of_its_own() -> None:
    names = {file_name("n" * length) for length in (200, 240)} | {file_name("ä" * 240)}
    assert len(names) == 3
    assert all(len(name.encode()) < 140 for name in names)
    assert file_name("short one") == "short-one"


@pytest.mark.parametrize("shape", [(9000, 1), (1, 9000)])
def test_a_slide_of_one_pixel_in_width_has_a_picture_that_fits_on_a_page(shape: tuple[int, int]) -> None:
    slide = slide_of(np.random.default_rng(0).integers(0, 99, shape, np.uint8), None)
    image = ProbeImage("p", slide)
    assert max(slide_figure(image, image, "QD").figure.get_size_inches()) < 40


FORMULAS = ["=1+1", "+1", "-a", "@SUM(A1)", "\tx", "\rx"]


def test_names_are_text_in_a_spreadsheet_and_numbers_numbers(tmp_path: Path) -> None:
    rows = [{"name": name, "=head mean": -1.5, "n": -3} for name in FORMULAS]
    write_tables({"table": rows}, tmp_path)
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        head, *cells = list(csv.reader(file))
    assert head == ["name", "'=head mean", "n"]
    assert cells == [["'" + name.replace("\r", "\n"), "-1.5", "-3"] for name in FORMULAS]
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet"), pd.DataFrame(rows))


def test_results_of_a_study_read_back_the_same(tmp_path: Path) -> None:
    texts = dict.fromkeys(("model", "channels", "part", "region"), "a")
    fields = {name: "x" if kind == "str" else 0 for name, kind in ResultRow.__annotations__.items()}
    fields |= texts | {"mse": np.nan, "chose_checkpoint": False, "more": {}}
    rows = [ResultRow(**{**fields, "tumour": name, "slide": name}) for name in ("=a", "'=a", "'b", "-1", "c")]
    back = read_results(write_results(rows, tmp_path))
    assert [(row.tumour, row.slide) for row in back] == [(row.tumour, row.slide) for row in rows]

"""Pages hold what they are given and ask for nothing; numbers are written for people; pictures come out the same."""

import math
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from napari_hrpn.reports import ReportError, read_evaluation
from napari_hrpn.reports.drawing import Drawing, file_name, write_drawing
from napari_hrpn.reports.folder import ReportFolder
from napari_hrpn.reports.html import Page
from napari_hrpn.reports.numbers import number


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"), (math.nan, "–"), (-math.inf, "–"),
        (0.0, "0"), (-2e-16, "0"), (0.12345, "0.123"), (12.345, "12.35"), (255.0, "255.0"),
        (12345.6, "12,346"), (624600, "624,600"), (0.00012, "0.00012"), (-0.5, "-0.500"),
    ],
)  # fmt: skip
def test_numbers_are_written_for_people(value: float | None, words: str) -> None:
    assert number(value) == words


def test_page_escapes_what_it_is_given() -> None:
    page = Page("<b>A & B</b>")
    page.heading("Numbers")
    page.table(["a<"], [["<script>alert(1)</script>"]])
    page.definitions({"R²": "1 - SSE/SST, < 1"})
    text = str(page)
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<h1>&lt;b&gt;A &amp; B&lt;/b&gt;</h1>" in text
    assert '<a href="#section-1">Numbers</a>' in text
    # the style is not escaped, or no browser would read it
    assert "&gt;" not in text[text.index("<style>") : text.index("</style>")]


def drawing() -> Drawing:
    figure = Figure(layout="constrained")
    figure.subplots().plot([1, 2], [3, 4], label="a")
    return Drawing("line", "A line", "It rises.", figure)


def test_pictures_come_out_the_same_each_time(tmp_path: Path) -> None:
    first, second = (write_drawing(drawing(), tmp_path / name) for name in ("a", "b"))
    assert [path.name for path in first] == ["line.png", "line.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_names_of_files_hold_nothing_odd() -> None:
    assert [file_name(words) for words in ("HRPN", "a b/c", "../..", "µ 1.5")] == [
        "HRPN",
        "a-b-c",
        "prediction",
        "µ-1.5",
    ]


def test_a_folder_is_one_requests_alone(tmp_path: Path) -> None:
    place = ReportFolder(tmp_path / "out")
    with place.locked():
        assert not place.begin({"seed": 1})
        place.keep("pixels a/b", {"r": 1.5})
        with pytest.raises(ReportError, match="another program"), ReportFolder(tmp_path / "out").locked():
            pass
    # as after a kill
    with place.locked():
        assert not place.begin({"seed": 1})
        assert place.parts() == {"pixels a/b": {"r": 1.5}}
        with pytest.raises(ReportError, match="holds another evaluation"):
            place.begin({"seed": 2})
        assert not place.begin({"seed": 2}, overwrite=True)
        assert place.parts() == {}
    with pytest.raises(ReportError, match="unfinished"):
        read_evaluation(tmp_path / "out")


def test_only_files_of_the_report_are_removed(tmp_path: Path) -> None:
    place = ReportFolder(tmp_path, "a cohort", others=())
    place.start({"format": place.format})
    for name in ("cohort.html", "rois.geojson", "notes.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "figures").mkdir()
    # an unfinished cohort is none of an evaluation, whatever may be overwritten
    with pytest.raises(ReportError, match="which is not of an evaluation"):
        ReportFolder(tmp_path).begin({"seed": 1}, overwrite=True)
    place.start({"format": place.format})
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "rois.geojson", "unfinished"}

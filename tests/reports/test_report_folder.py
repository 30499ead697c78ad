"""A folder of a report goes on with its own request, refuses what belongs to others, and ends with the JSON alone."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hrpn.reports import ReportError, read_evaluation
from napari_hrpn.reports.folder import ReportFolder

steady = settings(derandomize=True, deadline=None, max_examples=15)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
REQUEST = {"seed": 1, "real": "a", "settings": {"patch_px": None}}


def finished(path: Path, request: dict[str, Any]) -> ReportFolder:
    """A folder with a complete evaluation."""
    place = ReportFolder(path)
    place.begin(request)
    place.finish({"format": place.format, "about": {"request": request}}, "<p>page</p>")
    return place


def files(path: Path) -> dict[str, bytes]:
    """All files below a folder with what they hold."""
    return {str(found.relative_to(path)): found.read_bytes() for found in path.rglob("*") if found.is_file()}


@steady
@given(st.dictionaries(TEXTS, st.dictionaries(TEXTS, PLAIN, max_size=3), max_size=5))
def test_parts_come_back_by_name_as_they_were_kept(
    tmp_path_factory: pytest.TempPathFactory, parts: dict[str, dict[str, Any]]
) -> None:
    place = ReportFolder(tmp_path_factory.mktemp("report") / "out")
    place.begin(REQUEST)
    for name, part in parts.items():
        place.keep(name, part)
    assert ReportFolder(place.path).parts() == parts
    assert list(place.parts()) == list(parts)


def test_a_part_that_is_kept_again_replaces_the_earlier_one(tmp_path: Path) -> None:
    place = ReportFolder(tmp_path)
    place.begin(REQUEST)
    for value in (1, 2):
        place.keep("patches", {"value": value})
    assert place.parts() == {"patches": {"value": 2}}


def test_a_number_that_json_lacks_is_not_written(tmp_path: Path) -> None:
    place = ReportFolder(tmp_path)
    place.begin(REQUEST)
    before = files(tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        place.keep("patches", {"value": math.nan})
    assert files(tmp_path) == before


def test_a_finished_report_is_its_page_and_its_numbers_and_no_parts(tmp_path: Path) -> None:
    place = ReportFolder(tmp_path / "out")
    assert place.report() is None
    assert place.begin(REQUEST) is False
    place.keep("patches", {"n": 3})
    assert place.report() == REQUEST
    content = {"format": place.format, "about": {"request": REQUEST}, "words": "µm² – ü"}
    place.finish(content, "<p>µm²</p>")
    assert {name: found.decode("utf-8") for name, found in files(place.path).items()} == {
        "evaluation.html": "<p>µm²</p>",
        "evaluation.json": json.dumps(content, indent=1, ensure_ascii=False) + "\n",
    }
    assert place.parts() == {}
    assert read_evaluation(place.path) == place.report() == content


def test_the_same_request_is_not_done_again_unless_it_is_overwritten_or_its_page_is_gone(tmp_path: Path) -> None:
    place = finished(tmp_path, REQUEST)
    assert place.begin(REQUEST) is True
    assert place.json.exists()
    place.page.unlink()
    assert place.begin(REQUEST) is False
    assert place.json.exists()
    finished(tmp_path, REQUEST)
    assert place.begin(REQUEST, overwrite=True) is False
    assert not place.json.exists()


def test_another_request_is_refused_with_what_differs_and_changes_no_file(tmp_path: Path) -> None:
    place = finished(tmp_path, REQUEST)
    before = files(tmp_path)
    with pytest.raises(ReportError) as caught:
        place.begin({**REQUEST, "real": "b", "tumour": "T"})
    assert "the real slide or its channel and the name of the tumour differ" in str(caught.value)
    assert "--overwrite" in str(caught.value)
    assert files(tmp_path) == before


def test_a_begun_report_keeps_its_parts_for_its_request_alone(tmp_path: Path) -> None:
    place = ReportFolder(tmp_path)
    place.begin(REQUEST)
    place.keep("patches", {"n": 3})
    assert place.begin(dict(reversed(REQUEST.items()))) is False
    assert place.parts() == {"patches": {"n": 3}}
    with pytest.raises(ReportError, match="holds another evaluation \\(seed differ"):
        place.begin({**REQUEST, "seed": 2})
    assert place.parts() == {"patches": {"n": 3}}


@pytest.mark.parametrize("name", ["evaluation.html", "rois.geojson", "figures", "tables", "unfinished"])
def test_files_of_something_else_are_refused_whatever_may_be_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ReportError, match=f"holds {name}, which is not of an evaluation"):
        ReportFolder(tmp_path).begin(REQUEST, overwrite=True)
    assert files(tmp_path) == {name: b"mine"}


@pytest.mark.parametrize("kind", ["an evaluation", "a cohort"])
def test_files_with_other_names_are_left_alone_for_good(tmp_path: Path, kind: str) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "evaluation-old").mkdir()
    (tmp_path / "evaluation-old" / "evaluation.json").write_text("{}")
    before = files(tmp_path)
    place = ReportFolder(tmp_path, kind)
    place.start({"format": place.format})
    place.finish({"format": place.format}, "")
    place.start({"format": place.format})
    assert files(tmp_path).items() >= before.items()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"format": "another"}', "is not an evaluation of this program"),
        ("[]", "something other than expected"),
        ("{", "cannot be read"),
    ],
)
def test_json_of_another_program_is_refused_and_kept(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "evaluation.json").write_text(content)
    with pytest.raises(ReportError, match=words):
        ReportFolder(tmp_path).begin(REQUEST, overwrite=True)
    assert files(tmp_path) == {"evaluation.json": content.encode()}
    with pytest.raises(ReportError):
        read_evaluation(tmp_path)


@pytest.mark.parametrize("act", [ReportFolder.report, lambda place: place.locked(), lambda place: place.begin(REQUEST)])
def test_a_file_is_no_folder(tmp_path: Path, act: Callable[[ReportFolder], object]) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ReportError, match="is a file; name a folder for the evaluation"):
        act(ReportFolder(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "mine"


def test_a_lock_ends_with_its_block_even_when_it_fails(tmp_path: Path) -> None:
    place = ReportFolder(tmp_path / "out")
    with pytest.raises(ZeroDivisionError), place.locked():
        raise ZeroDivisionError
    with (
        place.locked(),
        pytest.raises(ReportError, match="another program is writing an evaluation"),
        ReportFolder(tmp_path / "out").locked(),
    ):
        pass
    with ReportFolder(tmp_path / "out").locked():
        assert place.path.is_dir()


def test_a_folder_is_free_for_a_request_if_nothing_of_another_is_in_it(tmp_path: Path) -> None:
    place = ReportFolder(tmp_path / "out")
    assert place.is_free_for(REQUEST)
    with place.locked():
        assert place.is_free_for(REQUEST)
        place.begin(REQUEST)
    other = {**REQUEST, "seed": 2}
    assert (place.is_free_for(REQUEST), place.is_free_for(other)) == (True, False)
    finished(place.path, REQUEST)
    assert (place.is_free_for(REQUEST), place.is_free_for(other)) == (True, False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("")
    assert not ReportFolder(tmp_path / "mine").is_free_for(REQUEST)
    (tmp_path / "mine" / "figures").mkdir()
    assert not ReportFolder(tmp_path / "mine").is_free_for(REQUEST)


def test_no_evaluation_and_an_unfinished_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="holds no evaluation"):
        read_evaluation(tmp_path)
    ReportFolder(tmp_path).begin(REQUEST)
    with pytest.raises(ReportError, match="holds an unfinished evaluation"):
        read_evaluation(tmp_path)

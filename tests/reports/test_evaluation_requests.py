"""A request decides the numbers of an evaluation: names are distinct, roles are kept, regions lie on the slide."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hrpn.analysis import EvaluationSettings, ProbeImage
from napari_hrpn.core.errors import AgreementError
from napari_hrpn.reports import (
    EvaluationRequest,
    ReportError,
    check_on_slide,
    evaluation_of,
    nuclei_words,
    own_folder,
    prediction_names,
    prediction_record,
    roles_around,
)
from napari_hrpn.reports.evaluation import evaluation_request
from napari_hrpn.reports.folder import ReportFolder
from napari_hrpn.reports.provenance import hash_steps, slide_facts
from napari_hrpn.slides import ChannelRoles, Slide
from support.evaluated_slides import box
from support.vessel_slides import slide_of

steady = settings(derandomize=True, deadline=None, max_examples=40)
STAINS = ("DAPI", "CD31", "QD")
ROLES = ("nuclei", "vessels", "probe")


def slide_named(path: str, names: tuple[str, ...] = ("a",), shape: tuple[int, int] = (30, 40)) -> Slide:
    """A slide in memory with this source and these channels."""
    pixels = np.random.default_rng(0).integers(0, 99, (len(names), *shape)).astype(np.uint8)
    return replace(slide_of(pixels), source=Path(path), channel_names=names)


REAL = ProbeImage("real", slide_named("tumour.ome.tif", STAINS), 2)


def request_of(*files: str, seed: int = 0, tumour: str = "", **more: object) -> EvaluationRequest:
    """A request for predictions in these files."""
    predictions = [ProbeImage(f"name {index}", slide_named(file)) for index, file in enumerate(files)]
    roles = ChannelRoles(nuclei=0, vessels=1)
    return evaluation_of(REAL, predictions, roles, EvaluationSettings(seed=seed), tumour=tumour, **more)  # type: ignore[arg-type]


def names_in(request: EvaluationRequest) -> list[str]:
    """Names of the predictions of a request."""
    return [image.name for image in request.comparison.predictions]


def test_predictions_are_named_after_their_files_unless_they_have_names() -> None:
    files = "tumour.predicted.ome.zarr", "tumour_other.tif"
    assert names_in(request_of(*files)) == ["predicted", "other"]
    assert names_in(request_of(*files, are_named=True)) == ["name 0", "name 1"]
    # these files and their folders have equal names
    assert names_in(request_of("a/x.tif", "a/x.ome.tif")) == ["name 0", "name 1"]


def test_predictions_that_cannot_be_told_apart_are_refused() -> None:
    nameless = [ProbeImage("", slide_named(file)) for file in ("a/x.tif", "a/x.ome.tif")]
    with pytest.raises(ReportError, match="x and x cannot be told apart by their names; give each one with --name"):
        evaluation_of(REAL, nameless, ChannelRoles(), EvaluationSettings())


@pytest.mark.parametrize("name", ["real", "nuclei", "vessels", "probe"])
def test_no_prediction_takes_the_name_of_another_image(name: str) -> None:
    with pytest.raises(AgreementError, match="names of the predictions are"):
        evaluation_of(
            REAL, [ProbeImage(name, slide_named("p.tif"))], ChannelRoles(), EvaluationSettings(), are_named=True
        )


def test_a_prediction_of_another_size_is_refused() -> None:
    with pytest.raises(AgreementError, match=r"p.tif is 40 x 31 px and tumour.ome.tif is 40 x 30 px"):
        evaluation_of(
            REAL, [ProbeImage("p", slide_named("p.tif", shape=(31, 40)))], ChannelRoles(), EvaluationSettings()
        )


FILES = st.lists(
    st.text("ab_-.", min_size=1, max_size=4).map(lambda text: f"tumour{text}1.tif"), min_size=1, max_size=4
)


@steady
@given(FILES)
def test_each_prediction_has_a_name_that_does_not_depend_on_the_slide(files: list[str]) -> None:
    names = prediction_names([Path(file) for file in files], Path("tumour.tif"))
    other = [Path(file.replace("tumour", "another slide")) for file in files]
    assert prediction_names(other, Path("another slide.ome.tif")) == names or len(set(names)) < len(names)
    assert len(names) == len(files)
    assert all(names)


@steady
@given(st.dictionaries(st.sampled_from(ROLES), st.integers(0, 2), max_size=3))
def test_roles_that_were_named_win_and_no_channel_has_two(named: dict[str, int]) -> None:
    named = {role: channel for role, channel in named.items() if list(named.values()).count(channel) == 1}
    found = vars(roles_around(REAL.slide, named))
    assert {role: found[role] for role in named} == named
    channels = [channel for channel in found.values() if channel is not None]
    assert len(set(channels)) == len(channels)
    # the others keep the role that their name says, if it is free
    for role, channel in zip(ROLES, range(3), strict=True):
        if role not in named and channel not in named.values():
            assert found[role] == channel


@pytest.mark.parametrize(("rows", "columns"), [((30, 35), (0, 9)), ((0, 9), (40, 50)), ((-9, 0), (0, 9))])
def test_a_region_outside_of_the_slide_is_refused_by_its_number_and_name(
    rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    inside, outside = box(slice(0, 5), slice(0, 5), "in"), box(slice(*rows), slice(*columns), "out")
    check_on_slide([inside, inside], REAL.slide, "the layer")
    with pytest.raises(
        ReportError, match=r"region 2 \(out\) of the layer lies outside of tumour.ome.tif, which is 40 x 30"
    ):
        check_on_slide([inside, outside], REAL.slide, "the layer")
    with pytest.raises(ReportError, match="region 1 of the file lies outside"):
        request_of("p.tif", rois=[replace(outside, name="")], rois_from="the file")


def test_a_region_with_a_single_pixel_on_the_slide_is_on_it() -> None:
    check_on_slide([box(slice(29, 90), slice(39, 90), "corner")], REAL.slide, "the layer")
    with pytest.raises(ReportError):
        check_on_slide([box(slice(30, 90), slice(39, 90), "corner")], REAL.slide, "the layer")


def test_the_tumour_is_the_slide_unless_it_is_named_and_tissue_is_said_to_be_from_the_nuclei() -> None:
    assert (request_of("p.tif").tumour, request_of("p.tif", tumour="T3").tumour) == ("tumour", "T3")
    assert request_of("p.tif").tissue_words == nuclei_words(REAL.slide, 0) == "from the nuclei, channel DAPI"
    assert request_of("p.tif", tissue_words="drawn").tissue_words == "drawn"


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"tumour": "T"}, {"are_named": True}, {"rois": [box(slice(0, 5), slice(0, 5), "a")]}],
)
def test_requests_are_equal_if_and_only_if_their_numbers_are(change: dict) -> None:
    record = evaluation_request(request_of("p.tif"))
    assert record == evaluation_request(request_of("p.tif"))
    assert record == json.loads(json.dumps(record))
    assert evaluation_request(request_of("p.tif", **change)) != record


def test_an_evaluation_has_a_folder_in_which_it_replaces_nothing(tmp_path: Path) -> None:
    first, second = request_of("p.tif"), request_of("p.tif", seed=1)
    assert own_folder(first, tmp_path, "my slide/1") == tmp_path / "my-slide-1"
    ReportFolder(tmp_path / "my-slide-1").begin(evaluation_request(first))
    assert own_folder(first, tmp_path, "my slide/1") == tmp_path / "my-slide-1"
    assert own_folder(second, tmp_path, "my slide/1") == tmp_path / "my-slide-1-2"
    (tmp_path / "my-slide-1-2").mkdir()
    (tmp_path / "my-slide-1-2" / "notes.txt").write_text("mine")
    assert own_folder(second, tmp_path, "my slide/1") == tmp_path / "my-slide-1-3"
    assert {path.name for path in tmp_path.iterdir()} == {"my-slide-1", "my-slide-1-2"}


@pytest.mark.parametrize("size", [0, 1, 2**24 - 1, 2**24, 2**24 + 1])
def test_a_hash_in_pieces_is_that_of_the_whole_file(tmp_path: Path, size: int) -> None:
    content = bytes(size)
    (tmp_path / "a").write_bytes(content)
    steps = list(hash_steps(tmp_path / "a"))
    assert steps[-1] == (size, hashlib.sha256(content).hexdigest())
    done = [count for count, _ in steps]
    assert done == sorted(done)
    assert len(steps) == -(-size // 2**24) + 1


def test_facts_of_a_slide_are_json_and_name_what_is_not_known() -> None:
    facts = slide_facts(replace(REAL.slide, pixel_size_um=None), None)
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["name"], facts["height_px"], facts["width_px"]) == ("tumour.ome.tif", 30, 40)
    assert (facts["dtype"], facts["channels"]) == ("uint8", list(STAINS))
    assert facts["pixel_size_um"] is facts["sha256"] is None
    assert slide_facts(REAL.slide, "abc")["pixel_size_um"] == [1.0, 1.0]
    assert "prediction" not in facts


@pytest.mark.parametrize(
    "attributes", [{}, {"napari_hrpn": {}}, {"napari_hrpn": {"complete": True}}, {"napari_hrpn": 3}]
)
def test_what_is_no_prediction_of_this_program_has_no_record(tmp_path: Path, attributes: dict) -> None:
    group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    (tmp_path / "zarr.json").write_text(json.dumps(group))
    assert prediction_record(tmp_path) is None
    (tmp_path / "file").write_text("")
    assert prediction_record(tmp_path / "file") is None
    assert prediction_record(tmp_path / "absent") is None

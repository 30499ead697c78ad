"""What predictions are called and which colours they have, from what they say about themselves."""

import json

import pytest

from napari_hrpn.reports import prediction_names
from napari_hrpn.reports.cohort_page import _colours
from napari_hrpn.reports.evaluation_page import _interval_words


@pytest.fixture
def stored(tmp_path):
    """Makes a folder that says which checkpoint it was predicted with."""

    def make(name, title):
        record = {"complete": True, "title": title, "request": {"checkpoint": "1"}}
        path = tmp_path / name
        path.mkdir(parents=True)
        text = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {"napari_hrpn": record}})
        (path / "zarr.json").write_text(text)
        return path

    return make


@pytest.mark.parametrize(
    ("predictions", "names"),
    [
        ([("t.predicted.ome.zarr", "HRPN")], ["predicted"]),
        ([("t.predicted.ome.zarr", "HRPN"), ("t.predicted-GANDA.ome.zarr", "GANDA")], ["HRPN", "GANDA"]),
        ([("a/t.predicted.ome.zarr", "HRPN"), ("b/t.predicted.ome.zarr", "GANDA")], ["HRPN", "GANDA"]),
        ([("a/t.predicted.ome.zarr", "HRPN"), ("b/t.predicted.ome.zarr", "HRPN")], ["a", "b"]),
        ([("mine.ome.zarr", "HRPN"), ("t.predicted.ome.zarr", "GANDA")], ["mine", "GANDA"]),
        ([("t.predicted.ome.zarr", ""), ("t.predicted-GANDA.ome.zarr", "probe")], ["predicted", "predicted-GANDA"]),
    ],
)
def test_several_predictions_are_called_by_their_checkpoints_where_nobody_named_them(
    stored, tmp_path, predictions, names
):
    places = [stored(*one) for one in predictions]
    assert prediction_names(places, tmp_path / "t.ome.tif") == names


def test_a_cohort_has_the_colours_of_its_evaluations():
    evaluations = [
        {"about": {"predictions": {"HRPN": {"name": "older"}, "GANDA": {"colour": "#e0c53a"}}}},
        {"about": {"predictions": {"HRPN": {"colour": "#2fd5e0"}}}},
    ]
    assert _colours(evaluations) == {"HRPN": "#2fd5e0", "GANDA": "#e0c53a"}


def test_the_blocks_of_each_prediction_are_told():
    def found(side_px):
        return {"tissue": {"region": "tissue", "intervals": {"side_px": side_px}}, "frame": {}, "rois": []}

    words = _interval_words({"predictions": {"HRPN": found(751), "GANDA": found(118)}})
    assert words.endswith("blocks: HRPN, tissue 751 px; GANDA, tissue 118 px.")
    assert _interval_words({"predictions": {"HRPN": found(751)}}).endswith("blocks: tissue 751 px.")

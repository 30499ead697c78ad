import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
from skimage.color import rgb2lab

from napari_hrpn.slides import (
    colour_in_folder,
    distinct_colours,
    prediction_colours,
    prediction_record,
)
from napari_hrpn.slides.predictions import PREDICTION_COLOURS, _prediction_colour

# of Machado, Oliveira and Fernandes (2009), for linear red, green and blue
SEEN_BY = {
    "all cones": np.eye(3),
    "no red cones": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green cones": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
}
EASILY_TOLD_APART = 20


def write_prediction(folder, *, slide="s", checkpoint="0", colour="FF0000", **record):
    folder.mkdir()
    own = {"kind": "prediction", "request": {"slide": slide, "checkpoint": checkpoint}, "complete": True, **record}
    ome = {"omero": {"channels": [{"color": colour}]}}
    metadata = {"zarr_format": 3, "node_type": "group", "attributes": {"napari_hrpn": own, "ome": ome}}
    (folder / "zarr.json").write_text(json.dumps(metadata))
    return folder


def lab(colour, seen):
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = seen @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear, 0, 1)
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return rgb2lab(shown[None, None])[0, 0]


@pytest.mark.parametrize("seen", SEEN_BY.values(), ids=SEEN_BY)
def test_colours_are_told_apart_by_all_kinds_of_colour_vision(seen):
    seen_colours = [lab(colour, seen) for colour in PREDICTION_COLOURS]
    apart = [np.linalg.norm(one - other) for one, other in itertools.combinations(seen_colours, 2)]
    assert min(apart) > EASILY_TOLD_APART


def test_no_colour_is_that_of_a_stain():
    for stain, colour in itertools.product(("#ff0000", "#00ff00", "#0000ff"), PREDICTION_COLOURS):
        assert np.linalg.norm(lab(stain, np.eye(3)) - lab(colour, np.eye(3))) > EASILY_TOLD_APART


def test_a_checkpoint_has_its_colour_unless_another_prediction_has_it():
    own = _prediction_colour("00000000000000a7")
    assert own == _prediction_colour("00000000000000a7", set(PREDICTION_COLOURS) - {own})
    others = []
    for _ in PREDICTION_COLOURS:
        others.append(_prediction_colour("00000000000000a7", others))
    assert sorted(others) == sorted(PREDICTION_COLOURS)
    assert _prediction_colour("00000000000000a7", others) == own
    assert _prediction_colour("not hexadecimal") in PREDICTION_COLOURS


def test_a_colour_is_read_back_and_avoids_those_beside_it(tmp_path):
    request = {"slide": "s", "checkpoint": "0"}
    # as earlier versions wrote it, in the red of the real probe
    old = write_prediction(tmp_path / "a.ome.zarr")
    assert prediction_record(old).colour == colour_in_folder(old, request) == PREDICTION_COLOURS[0]
    assert colour_in_folder(tmp_path / "new.ome.zarr", request) == PREDICTION_COLOURS[1]
    assert colour_in_folder(tmp_path / "new.ome.zarr", {**request, "slide": "another"}) == PREDICTION_COLOURS[0]
    kept = write_prediction(tmp_path / "b.ome.zarr", colour=PREDICTION_COLOURS[3][1:].upper())
    assert prediction_record(kept).colour == colour_in_folder(kept, request) == PREDICTION_COLOURS[3]


def test_what_is_no_prediction_has_no_record(tmp_path):
    assert prediction_record(tmp_path / "nowhere.ome.zarr") is None
    for number, text in enumerate(("", "[]", "{}", '{"attributes": []}', '{"attributes": {"napari_hrpn": 3}}')):
        folder = tmp_path / f"{number}.ome.zarr"
        folder.mkdir()
        (folder / "zarr.json").write_text(text)
        assert prediction_record(folder) is None
    record = prediction_record(write_prediction(tmp_path / "a.ome.zarr", title="HRPN", complete=False))
    assert (record.title, record.slide, record.complete) == ("HRPN", "s", False)


def test_colours_that_are_shown_together_differ():
    first, second = PREDICTION_COLOURS[:2]
    assert distinct_colours([first, second]) == (first, second)
    assert distinct_colours([first, first, None])[0] == first
    assert len(set(distinct_colours([first, first, None, "#123456"]))) == 4
    assert len(distinct_colours([None] * 9)) == 9


def test_a_figure_has_the_colours_of_the_layers(tmp_path):
    same = PREDICTION_COLOURS[2][1:].upper()
    stores = [write_prediction(tmp_path / f"{name}.ome.zarr", colour=same) for name in "ab"]
    slides = [SimpleNamespace(source=place) for place in (*stores, tmp_path / "measured.tif")]
    first, second, third = prediction_colours(slides)
    assert first == PREDICTION_COLOURS[2]
    assert len({first, second, third}) == 3

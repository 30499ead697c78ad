"""``--class`` beside ``--roi``, ``--mask`` and ``--regions``: what it uses and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest

from napari_hrpn import training
from napari_hrpn.cli import run
from napari_hrpn.cli.evaluate import read_rois, read_tissue
from napari_hrpn.settings import TrainingSettings
from napari_hrpn.slides import Slide, open_slide
from napari_hrpn.training import SlideEntry
from napari_hrpn.training.entries import open_entry
from napari_hrpn.training.run_request import RunRequest, SavedRequest, plain_entry
from support.predictions import make_slide, save_slide

CLASSES = {"Tumor": (0, 60), "Stroma": (60, 120), "Ignore*": (40, 80)}


@pytest.fixture
def regions(tmp_path: Path) -> Path:
    """Bands of 20 rows or more, one of each class."""
    features = []
    for name, (top, bottom) in CLASSES.items():
        ring = [[0, top], [128, top], [128, bottom], [0, bottom], [0, top]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        properties = {"classification": {"name": name, "color": [1, 2, 3]}}
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    path = tmp_path / "drawn.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture
def slide(tmp_path: Path) -> Slide:
    return open_slide(save_slide(make_slide(128, 128, tmp_path / "none"), tmp_path / "slide.ome.zarr").source)


@pytest.mark.parametrize("command", ["calibrate", "evaluate", "what-if", "train"])
def test_a_class_that_is_not_there_is_one_sentence(
    command: str, slide: Slide, regions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, output = str(slide.source), ["-o", str(tmp_path / "out")]
    words = {
        "calibrate": [place, place],
        "evaluate": [place, place, *output],
        "what-if": [place, *output],
        "train": [place, place, *output],
    }[command]
    option = "--regions" if command == "train" else "--roi"
    if command == "train":
        words = words[1:]
    assert run([command, *words, option, str(regions), "--class", "Tumour"]) == 2
    sentence = "drawn.geojson has no object of the class Tumour, expected one of Ignore*, Stroma, Tumor: choose one of"
    assert sentence in capsys.readouterr().err.replace("\n", " ")
    if command != "calibrate":
        edit = ["--remove", "9,9"] if command == "what-if" else []
        assert run([command, *words, *edit, "--class", "Tumor"]) == 2
        assert f"--class chooses objects of a file that is not given; give it together with {option}" in (
            capsys.readouterr().err.replace("\n", " ")
        )


def test_only_objects_of_the_class_are_used(slide: Slide, regions: Path) -> None:
    assert [roi.name for roi in read_rois(regions, ())] == ["Tumor", "Stroma"]
    (tumour,) = read_rois(regions, ("Tumor", "Ignore*"))
    rows = [slice(0, 128), slice(0, 1)]
    np.testing.assert_array_equal(np.flatnonzero(tumour.within(*rows)), np.arange(40))
    (tumour,) = read_rois(regions, ("Tumor",))
    np.testing.assert_array_equal(np.flatnonzero(tumour.within(*rows)), np.arange(60))
    for is_alone in (True, False):
        mask = read_tissue(regions, slide, ("Stroma",), is_alone=is_alone)
        np.testing.assert_array_equal(np.flatnonzero(mask.within(*rows)), np.arange(60, 120))
    np.save(regions.parent / "labels.npy", np.ones((128, 128), np.uint8))
    assert read_tissue(regions.parent / "labels.npy", slide, ("Stroma",), is_alone=False).fraction == 1
    entry = SlideEntry(slide.source, regions=regions, classes=("Stroma", "Ignore*"))
    found = open_entry(entry, TrainingSettings()).regions
    assert found is not None
    np.testing.assert_array_equal(np.flatnonzero(found.within(*rows)), np.arange(80, 120))


def test_a_training_is_resumed_with_the_same_classes_only(
    slide: Slide, regions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def train_model(entries: tuple[SlideEntry, ...], *_: object, **__: object) -> None:
        asked.append(entries)
        raise training.TrainingError("seen")

    monkeypatch.setattr(training, "train_model", train_model)
    words = ["-o", str(tmp_path / "run"), "--regions", str(regions), "--class", "Tumor", "--device", "cpu"]
    assert run(["train", str(slide.source), *words]) == 2
    (entry,) = asked[0]
    assert entry.classes == ("Tumor",)
    plain = plain_entry(SlideEntry(slide.source, regions=regions))
    assert "classes" not in plain
    settings = TrainingSettings()
    request = RunRequest((entry,), settings)
    saved = SavedRequest("napari-hrpn training 1", (json.loads(json.dumps(plain_entry(entry))),), {}, None).request()
    assert saved.entries == request.entries
    assert not request.matches(RunRequest((SlideEntry(slide.source, regions=regions),), settings))
    assert request.matches(RunRequest((entry,), settings))

"""Addresses on the command line: slides and predictions in object storage, and one sentence where that cannot be."""

from pathlib import Path

import pytest

from napari_hrpn.cli import run
from napari_hrpn.models import save_checkpoint
from napari_hrpn.slides import open_slide
from support.object_storage import uploaded
from support.predictions import lively_checkpoint, make_slide, save_slide


@pytest.fixture
def address(tmp_path: Path, bucket: str) -> str:
    """A slide in object storage."""
    save_slide(make_slide(600, 500, tmp_path / "none"), tmp_path / "slide.ome.zarr")
    return str(uploaded(tmp_path / "slide.ome.zarr", f"{bucket}/slides/slide.ome.zarr"))


@pytest.fixture
def predict(tmp_path: Path) -> list[str]:
    """The command, with a small network."""
    save_checkpoint(lively_checkpoint(), tmp_path / "network.safetensors")
    options = {"--checkpoint": str(tmp_path / "network.safetensors"), "--core": "512", "--halo": "32"}
    return ["predict", *(word for option in options.items() for word in option)]


def test_a_slide_is_predicted_from_an_address_to_an_address(address, bucket, predict, tmp_path, capsys):
    assert run([*predict, address, "-o", f"{bucket}/out"]) == 0
    made = f"{bucket}/out/slide.predicted.ome.zarr"
    assert made in capsys.readouterr().out
    assert run([*predict, address, "-o", f"{bucket}/out"]) == 0
    assert "already complete" in capsys.readouterr().out
    assert run([*predict, address, "-o", made, "--halo", "48"]) == 2
    assert "halo 32 instead of 48" in capsys.readouterr().err
    assert run([*predict, address, "-o", made, "--halo", "48", "--overwrite"]) == 0
    assert run(["convert", made, str(tmp_path / "copy.ome.zarr")]) == 0
    assert (open_slide(tmp_path / "copy.ome.zarr").levels[0] == open_slide(made).levels[0]).all().compute()
    capsys.readouterr()
    assert run(["info", made]) == 0
    assert "OME-Zarr 0.5" in capsys.readouterr().out


@pytest.mark.usefixtures("tiny_figures")
def test_a_prediction_at_an_address_is_evaluated_on_this_machine(address, bucket, predict, tmp_path, capsys):
    assert run([*predict, address, "-o", f"{bucket}/out"]) == 0
    place = tmp_path / "evaluation"
    made = f"{bucket}/out/slide.predicted.ome.zarr"
    assert run(["evaluate", address, made, "-o", f"{bucket}/evaluation"]) == 2
    assert "expected a file or folder of this machine" in capsys.readouterr().err
    assert run(["evaluate", address, made, "-o", str(place), "--patch", "64"]) == 0
    assert (place / "evaluation.html").is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["predict", "BUCKET/none.ome.zarr", "-o", "BUCKET/out"], "There is no OME-Zarr at BUCKET/none.ome.zarr"),
        (["predict", "SLIDE", "-o", "https://host.invalid/out"], "can only be read"),
        (["predict", "foo://slide.ome.zarr", "-o", "out"], "is not a valid address"),
        (["info", "http://127.0.0.1:1/slide.ome.zarr"], "cannot be reached"),
        (["convert", "SLIDE", "BUCKET/copy.ome.zarr"], "expected a file or folder of this machine"),
        (["quality", "SLIDE"], "which quality does not take"),
        (["train", "slide.ome.tif", "--output=BUCKET/run"], "which train does not take"),
    ],
)
def test_what_cannot_be_is_one_sentence(words, sentence, address, bucket, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert run([word.replace("BUCKET", bucket).replace("SLIDE", address) for word in words]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert sentence.replace("BUCKET", bucket) in said[0]
    assert sorted(tmp_path.iterdir()) == before

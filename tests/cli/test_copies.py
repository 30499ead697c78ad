"""Slides and predictions for other programs: OME-Zarr 0.4, and stains beside predicted channels."""

import json

import numpy as np
import pytest
import tifffile
import zarr

from napari_hrpn.cli import run
from napari_hrpn.models import save_checkpoint
from napari_hrpn.slides import open_slide
from support.predictions import lively_checkpoint, make_slide, save_slide


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A slide, a checkpoint, its prediction, and a copy of that."""
    folder = tmp_path_factory.mktemp("copies")
    save_slide(make_slide(300, 420, folder / "slide.ome.zarr"), folder / "slide.ome.zarr")
    save_checkpoint(lively_checkpoint(), folder / "network.safetensors")
    assert run(_predict(folder, "out", "--copy", folder / "copies", "--ome-zarr", "0.4")) == 0
    return folder


def _predict(folder, output, *words):
    network = folder / "network.safetensors"
    return [
        "predict",
        str(folder / "slide.ome.zarr"),
        "-o",
        str(folder / output),
        "--checkpoint",
        str(network),
        *map(str, words),
    ]


def test_a_prediction_is_copied_as_ome_zarr_0_4(folder):
    copy, store = (folder / place / "slide.predicted.ome.zarr" for place in ("copies", "out"))
    assert zarr.open_group(copy, mode="r").metadata.zarr_format == 2
    assert zarr.open_group(store, mode="r").metadata.zarr_format == 3
    for one, other in zip(open_slide(copy).levels, open_slide(store).levels, strict=True):
        np.testing.assert_array_equal(one.compute(), other.compute())
    assert open_slide(copy).channel_names == open_slide(store).channel_names


def test_a_copy_that_exists_is_refused_before_anything_is_predicted(folder, capsys):
    assert run(_predict(folder, "other", "--copy", folder / "copies")) == 2
    assert "exists already" in capsys.readouterr().err
    assert not (folder / "other").exists()


@pytest.mark.parametrize("place", ["copies", "copy.ome.tif"])
def test_a_repeated_command_keeps_a_copy_that_is_up_to_date(folder, place, capsys):
    words = ["--copy", folder / place, *(["--ome-zarr", "0.4"] if place == "copies" else [])]
    assert run(_predict(folder, "out", *words)) == 0
    copy = folder / place / "slide.predicted.ome.zarr" if place == "copies" else folder / place
    changed = copy.stat().st_mtime_ns
    capsys.readouterr()
    assert run(_predict(folder, "out", *words)) == 0
    printed = capsys.readouterr()
    assert "wrote" not in printed.out
    assert str(copy) not in printed.err
    assert copy.stat().st_mtime_ns == changed


def test_a_copy_of_another_version_or_with_other_pixels_is_refused_with_the_way_out(folder, capsys):
    copies = folder / "changed"
    assert run(_predict(folder, "out", "--copy", copies)) == 0
    refused = "--overwrite it.\n"
    assert run(_predict(folder, "out", "--copy", copies, "--ome-zarr", "0.4")) == 2
    assert capsys.readouterr().err.endswith(refused)
    level = zarr.open_group(copies / "slide.predicted.ome.zarr")["0"]
    level[0, 7, 9] = level[0, 7, 9] + 1
    assert run(_predict(folder, "out", "--copy", copies)) == 2
    assert capsys.readouterr().err.endswith(refused)
    assert run(_predict(folder, "out", "--copy", copies, "--overwrite")) == 0
    assert run(_predict(folder, "out", "--copy", copies)) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--copy", "x.png"], "x.png is the name of an image that cannot be written here"),
        (["--copy", "x.nd2"], "ends in .ome.zarr or .ome.tif"),
        (["--copy", ""], "the value of --copy is empty"),
        (["--copy="], "the value of --copy is empty"),
        (["-o", "x.tif"], "for one slide a path that ends in .ome.zarr."),
        (["-o", " "], "the value of -o is empty"),
    ],
)
def test_a_place_that_cannot_be_meant_is_refused_before_anything_is_predicted(
    folder, words, sentence, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert run([*_predict(folder, "never"), *words]) == 2
    printed = capsys.readouterr().err
    assert sentence in printed
    assert printed.count("\n") == 1
    assert not list(tmp_path.iterdir())
    assert not (folder / "never").exists()


@pytest.mark.filterwarnings("default::napari_hrpn.core.errors.PredictionWarning")
def test_an_incomplete_prediction_is_not_copied(folder, capsys):
    words = ["--region", "0:9,0:9", "--core", 512, "--copy", folder / "part.ome.tif", "--json"]
    big = folder / "big.ome.zarr"
    save_slide(make_slide(300, 600, big), big)
    command = _predict(folder, "part", *words)
    assert run([command[0], str(big), *command[2:]]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["complete"] is False
    assert "is not complete, so it is not copied" in printed.err
    assert not (folder / "part.ome.tif").exists()


@pytest.mark.parametrize("name", ["both.ome.tif", "both.ome.zarr"])
def test_stains_and_prediction_become_one_image(folder, name, capsys):
    slide, predicted = folder / "slide.ome.zarr", folder / "out" / "slide.predicted.ome.zarr"
    assert run(["convert", str(slide), str(folder / name), "--with", str(predicted), "--json"]) == 0
    names = ["DAPI", "AF488", "QD", "predicted probe"]
    assert json.loads(capsys.readouterr().out)["channels"] == names
    both = open_slide(folder / name)
    assert list(both.channel_names) == names
    np.testing.assert_array_equal(both.levels[0][3].compute(), open_slide(predicted).levels[0][0].compute())


def test_a_prediction_is_not_replaced_by_its_image_with_the_stains(folder, capsys):
    slide, predicted = folder / "slide.ome.zarr", folder / "out" / "slide.predicted.ome.zarr"
    assert run(["convert", str(slide), str(predicted), "--with", str(predicted), "--overwrite"]) == 2
    assert "choose another name" in capsys.readouterr().err
    assert open_slide(predicted).channel_names == ("predicted probe",)


def test_a_stack_is_flattened_by_its_maximum(tmp_path, capsys):
    pixels = np.random.default_rng(1).integers(0, 250, (3, 2, 40, 50)).astype("uint8")
    tifffile.imwrite(tmp_path / "stack.ome.tif", pixels, metadata={"axes": "ZCYX"}, photometric="minisblack")
    places = [str(tmp_path / name) for name in ("stack.ome.tif", "flat.ome.zarr")]
    assert run(["convert", *places, "--z", "max"]) == 0
    np.testing.assert_array_equal(open_slide(places[1]).levels[0].compute(), pixels.max(axis=0))
    assert run(["convert", *places, "--z", "2", "--overwrite"]) == 0
    np.testing.assert_array_equal(open_slide(places[1]).levels[0].compute(), pixels[2])
    assert run(["info", places[0], "--z", "most"]) == 2
    assert "z is 'most'" in capsys.readouterr().err

"""``napari-hrpn what-if``: maps with their position, numbers, figure, refusals, and repetition."""

import json
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_hrpn.cli import run
from napari_hrpn.core import drive
from napari_hrpn.models import save_checkpoint
from napari_hrpn.phantom import PHANTOM_PRESETS, phantom_slide
from napari_hrpn.phantom.sampling import Bounds
from napari_hrpn.phantom.tissue import TissueShape, vessels_within
from napari_hrpn.slides import open_slide, write_ome_tiff, write_ome_zarr
from support.predictions import lively_checkpoint
from support.vessel_slides import discs

SETTINGS = replace(PHANTOM_PRESETS["tiny"], pixel_size_um=1.0)
SIZE = 300


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """A phantom, a network of random weights, and the command to edit the slide with them."""
    folder = tmp_path_factory.mktemp("what-if")
    drive(write_ome_tiff(phantom_slide(SETTINGS, size=SIZE, seed=1).slide, folder / "slide.ome.tif"))
    save_checkpoint(lively_checkpoint(pixel_size_um=1.0), folder / "network.safetensors")
    return [
        "what-if",
        *(str(folder / "slide.ome.tif"), "--checkpoint", str(folder / "network.safetensors")),
        *("--shams", "2", "--device", "cpu"),
    ]


def centre():
    extent = (SIZE, SIZE)
    vessels = vessels_within(Bounds(0, 0, *extent), SETTINGS, TissueShape(SETTINGS, extent, 1))
    return vessels.centre_um[np.argmin(np.abs(vessels.centre_um - SIZE / 2).max(axis=1))]


@pytest.fixture(scope="module")
def written(command, tmp_path_factory):
    out = tmp_path_factory.mktemp("written") / "out"
    y, x = centre()
    before = (out.parent.parent / command[1]).read_bytes()
    assert run([*command, "--remove", f"{y:.1f},{x:.1f}", "-o", str(out)]) == 0
    assert (out.parent.parent / command[1]).read_bytes() == before
    return out


def test_numbers_are_those_of_the_maps(written):
    numbers = json.loads((written / "what-if.json").read_text())
    maps = open_slide(written / "what-if.ome.zarr")
    _, network, physics, noise = maps.levels[0].compute()
    y0, y1, x0, x1 = numbers["box_px"]
    assert network.shape == (y1 - y0, x1 - x0)
    assert maps.pixel_size_um == pytest.approx((1.0, 1.0))
    assert np.abs(network).max() > 0
    assert physics.max() <= 1e-6
    near = numbers["shells"][0]
    assert near["physics"] < 0
    assert near["physics"] == pytest.approx(numbers["shells"][1]["physics"] * 1.0, abs=abs(near["physics"]))
    y, x = (int(v) for v in centre())
    # the deepest loss by diffusion lies at the vessel
    deepest = np.unravel_index(np.argmin(physics), physics.shape)
    assert np.hypot(deepest[0] + y0 - y, deepest[1] + x0 - x) < 15
    assert 2 < numbers["physics"]["lambda_um"] < 128
    assert numbers["physics"]["fitted_to"] == "imaged"
    assert noise.min() >= 0
    assert (written / "what-if.png").stat().st_size > 10_000
    above = network[np.abs(network) > np.maximum(noise, 1e-6)]
    assert numbers["opposite_share"] == pytest.approx(np.mean(above > 0))
    assert numbers["noise_floor"] == pytest.approx(noise.min())
    assert noise.min() >= 0.5


def test_the_maps_have_their_place_on_the_slide(written):
    numbers = json.loads((written / "what-if.json").read_text())
    multiscale = zarr.open_group(written / "what-if.ome.zarr", mode="r").attrs["ome"]["multiscales"][0]
    assert multiscale["coordinateTransformations"][1]["translation"] == [0, numbers["box_px"][0], numbers["box_px"][2]]


def test_the_same_request_is_complete_and_another_one_refused(command, written, capsys):
    y, x = centre()
    assert run([*command, "--remove", f"{y:.1f},{x:.1f}", "-o", str(written)]) == 0
    assert "already complete" in capsys.readouterr().out
    # the same place on pixels of another size is another one
    assert run([*command, "--remove", f"{y:.1f},{x:.1f}", "-o", str(written), "--pixel-size", "1"]) == 2
    assert "already complete" not in capsys.readouterr().out
    assert run([*command, "--remove", f"{y:.1f},{x:.1f}", "-o", str(written), "--seed", "3"]) == 2
    assert "holds another result (settings differ)" in capsys.readouterr().err
    before = (written / "what-if.json").read_bytes()
    (written / "what-if.png").unlink()
    assert run([*command, "--remove", f"{y:.1f},{x:.1f}", "-o", str(written)]) == 0
    assert (written / "what-if.png").exists()
    assert (written / "what-if.json").read_bytes() == before


def test_a_vessel_is_added_and_a_sham_changes_nothing_by_physics(command, tmp_path):
    for action, sign in (("--add", 1), ("--sham", 0)):
        out = tmp_path / action[2:]
        assert run([*command, action, "211,80", "-o", str(out)]) == 0
        assert np.sign(json.loads((out / "what-if.json").read_text())["shells"][0]["physics"]) == sign


@pytest.mark.filterwarnings("default::napari_hrpn.core.errors.PredictionWarning")
def test_without_a_sham_edit_no_noise_is_claimed(command, tmp_path, capsys):
    slide = open_slide(Path(command[1]))
    pixels = slide.levels[0].compute()
    # tissue of one grey level between the vessels, where texture over texture changes nothing
    flat = np.where(discs((SIZE, SIZE), np.array([[150, 150], [90, 220], [220, 80]]), 7), 200, 20)
    levels = (da.from_array(np.stack([pixels[0], flat, pixels[2]]).astype(pixels.dtype)),)
    drive(write_ome_tiff(replace(slide, levels=levels, stored_levels=1), tmp_path / "flat.ome.tif"))
    words = ["--remove", "150,150", "--threshold", "90", "-o", str(tmp_path / "out")]
    assert run([command[0], str(tmp_path / "flat.ome.tif"), *command[2:], *words]) == 0
    printed = capsys.readouterr()
    assert "no noise could be measured, because no sham edit was possible" in printed.out
    assert "above" not in printed.out
    assert "no noise could be measured" in printed.err
    numbers = json.loads((tmp_path / "out" / "what-if.json").read_text())
    assert {shell["significant_share"] for shell in numbers["shells"]} == {None}
    assert (numbers["significant_share"], numbers["opposite_share"], numbers["shams"]) == (None, None, 0)
    assert open_slide(tmp_path / "out" / "what-if.ome.zarr").channel_names == (
        "predicted",
        "network difference",
        "physics difference",
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "no edit was given; expected one of --remove"),
        (["--remove", "1,2", "--add", "3,4"], "--remove and --add were given"),
        (["--remove", "1;2"], "expected Y,X in µm"),
        (["--remove", "900,2"], "lies outside of slide.ome.tif"),
        (["--remove", "1,2", "--window", "501"], "the window is 501 µm; expected 50 to 500 µm."),
    ],
)
def test_refusals_are_one_sentence(command, tmp_path, capsys, words, sentence):
    assert run([*command, *words, "-o", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out" / "what-if.json").exists()


@pytest.mark.parametrize("option", ["--add", "--sham"])
def test_a_place_on_a_vessel_is_refused(command, tmp_path, capsys, option):
    y, x = centre()
    assert run([*command, option, f"{y:.1f},{x:.1f}", "-o", str(tmp_path / "out")]) == 2
    assert "lies in a vessel, and an edit there would change that vessel; name a place" in capsys.readouterr().err
    assert not (tmp_path / "out" / "what-if.json").exists()


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_computed(command, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("napari_hrpn.inference.CounterfactualNetwork", None)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "what-if.png").write_text("mine")
    slide = tmp_path / "slide.ome.zarr"
    drive(write_ome_zarr(open_slide(Path(command[1])), slide))
    for at, output, sentence in (
        (command[1], tmp_path / "notes.txt" / "out", "could not be written"),
        (command[1], tmp_path, "what-if.png exists without what-if.json"),
        (str(slide), slide / "out", "one is inside the other"),
    ):
        before = sorted(tmp_path.rglob("*"))
        assert run([command[0], at, *command[2:], "--sham", "150,150", "-o", str(output)]) == 2
        assert sentence in capsys.readouterr().err
        assert sorted(tmp_path.rglob("*")) == before

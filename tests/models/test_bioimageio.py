"""Model packages of bioimage.io: they predict as we do in other programs, and what comes back is the checkpoint."""

import hashlib
import io
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from napari_hrpn.cli import run
from napari_hrpn.inference import PredictionSettings, predict_slide
from napari_hrpn.inference.predictor import Predictor
from napari_hrpn.models import (
    GANDA,
    Checkpoint,
    CheckpointError,
    GANDASettings,
    GreyLevelNetwork,
    IntensityScaling,
    ModelCard,
    bundled_checkpoint,
    halo_of,
    load_checkpoint,
    save_checkpoint,
)
from napari_hrpn.models.bioimageio import WEIGHTS, fixed_scaling, write_package
from napari_hrpn.settings.vessel_distance import VesselDistance
from napari_hrpn.slides import open_slide
from support import bioimageio_core
from support.predictions import lively_checkpoint, make_slide, save_slide

RANGES = ((10.0, 110.0), (20.0, 90.0))


def lively_ganda(roles: tuple[str, ...] = ("nuclei", "vessels")) -> Checkpoint:
    torch.manual_seed(5)
    network = GANDA(GANDASettings(len(roles), channels=(4, 6, 8)))
    scaling = IntensityScaling("fixed", (127.5,) * len(roles), (127.5,) * len(roles), 127.5, 127.5)
    distance = VesselDistance() if "distance" in roles else None
    card = ModelCard("small", input_roles=roles, scaling=scaling, distance=distance)
    return Checkpoint(network.settings, network.state_dict(), card)


CHECKPOINTS = {"hrpn": lambda: lively_checkpoint(2, input_ranges=RANGES), "ganda": lively_ganda}


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> dict[str, tuple[Checkpoint, Path]]:
    """Each checkpoint with its package."""
    made = {name: make() for name, make in CHECKPOINTS.items()}
    return {name: (one, exported(one, tmp_path_factory.mktemp(name))) for name, one in made.items()}


@pytest.fixture(params=CHECKPOINTS)
def checkpoint(request, packages) -> Checkpoint:
    return packages[request.param][0]


@pytest.fixture
def package(checkpoint, packages) -> Path:
    return next(package for one, package in packages.values() if one is checkpoint)


@pytest.fixture
def small_package(packages) -> Path:
    return packages["ganda"][1]


def exported(checkpoint: Checkpoint, folder: Path, *options: object) -> Path:
    save_checkpoint(checkpoint, folder / "network.safetensors")
    assert command("export", folder / "network.safetensors", folder / "package.zip", *options) == 0
    return folder / "package.zip"


def command(*words: object) -> int:
    return run([str(word) for word in words])


def content(package: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(package) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def described(package: Path) -> dict:
    return yaml.safe_load(content(package)["rdf.yaml"])


def another_tile(checkpoint: Checkpoint, side: int) -> np.ndarray:
    rng = np.random.default_rng(8)
    return rng.integers(0, 200, (checkpoint.settings.in_channels, side, side + checkpoint.settings.stride), np.uint8)


def ours(checkpoint: Checkpoint, pixels: np.ndarray) -> np.ndarray:
    scaling = checkpoint.card.scaling
    return scaling.unscale_output(Predictor(checkpoint).run(pixels, 0, scaling.scale_inputs))


def assert_equal_to_ours(found: np.ndarray, checkpoint: Checkpoint, pixels: np.ndarray) -> None:
    expected = ours(checkpoint, pixels)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.ptp(expected))
    assert np.ptp(expected) > 0.01


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_of_a_package_equals_our_prediction(checkpoint, package):
    script = torch.jit.load(io.BytesIO(content(package)["torchscript.pt"]))
    pixels = another_tile(checkpoint, 3 * checkpoint.settings.stride)
    with torch.no_grad():
        found = script(torch.from_numpy(pixels)[None].float())[0, 0].numpy()
        assert script(torch.from_numpy(np.stack([pixels, pixels]))).shape[0] == 2
    assert_equal_to_ours(found, checkpoint, pixels)


def test_state_of_a_package_loads_into_the_network_that_it_names(checkpoint, package):
    weights = described(package)["weights"]["pytorch_state_dict"]
    assert weights["architecture"]["import_from"] == "napari_hrpn.models"
    assert weights["architecture"]["callable"] == "GreyLevelNetwork"
    network = GreyLevelNetwork(**weights["architecture"]["kwargs"]).eval()
    network.load_state_dict(torch.load(io.BytesIO(content(package)["weights.pt"]), weights_only=True))
    pixels = another_tile(checkpoint, 2 * checkpoint.settings.stride)
    with torch.no_grad():
        found = network(torch.from_numpy(pixels)[None])[0, 0].numpy()
    assert_equal_to_ours(found, checkpoint, pixels)


def test_bioimageio_core_runs_a_package_and_its_prediction_equals_ours(packages, tmp_path):
    pytest.importorskip("bioimageio.core")
    folders, tiles = {}, {}
    for name, (checkpoint, package) in packages.items():
        folders[name] = tmp_path / name
        folders[name].mkdir()
        shutil.copyfile(package, folders[name] / "package.zip")
        side = 2 * halo_of(checkpoint.settings) + 3 * checkpoint.settings.stride
        tiles[name] = another_tile(checkpoint, side)
        np.save(folders[name] / "tile.npy", tiles[name].astype(np.float32))
    words = [sys.executable, "-W", "ignore", bioimageio_core.__file__, *folders.values()]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for name, (checkpoint, _) in packages.items():
        for weights in bioimageio_core.FORMATS:
            assert_equal_to_ours(np.load(folders[name] / f"{weights}.npy"), checkpoint, tiles[name])
        # what another program has packed again can still be imported
        assert command("import", folders[name] / "again.zip", folders[name] / "back.safetensors") == 0
        assert load_checkpoint(folders[name] / "back.safetensors").digest == checkpoint.digest


def test_a_package_says_how_it_is_to_be_run(checkpoint, package):
    found, files = described(package), content(package)
    (given,), (output,) = found["inputs"], found["outputs"]
    halo, stride = halo_of(checkpoint.settings), checkpoint.settings.stride
    assert given["axes"][1]["channel_names"] == ["nuclei", "vessels"]
    for axis, of_output in zip(given["axes"][2:], output["axes"][2:], strict=True):
        assert axis["size"] == {"min": 2 * halo + stride, "step": stride}
        assert of_output["halo"] == halo
        assert axis.get("scale") == of_output.get("scale") == checkpoint.card.pixel_size_um
        assert axis.get("unit") == (checkpoint.card.pixel_size_um and "micrometer")
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    stated = [given["test_tensor"], output["test_tensor"], *found["attachments"], *found["weights"].values()]
    assert all(hashes[file["source"]] == file["sha256"] for file in stated)
    assert found["cite"][-1]["doi"] == "10.1002/aisy.202300592"
    assert checkpoint.card.title in files["README.md"].decode()


def test_the_same_checkpoint_gives_the_same_bytes(package, tmp_path):
    write_package(package.parent / "network.safetensors", tmp_path / "again.zip")
    assert content(tmp_path / "again.zip") == content(package)
    assert (tmp_path / "again.zip").read_bytes() == package.read_bytes()
    folders = (str(Path(torch.__file__).parent), str(Path(__file__).parents[2]))
    assert not any(folder.encode() in data for data in content(package).values() for folder in folders)


def test_the_checkpoint_comes_back_byte_by_byte(checkpoint, package, tmp_path, capsys):
    output = tmp_path / "back.safetensors"
    assert command("import", package, output) == 0
    assert checkpoint.card.title in capsys.readouterr().out
    assert output.read_bytes() == (package.parent / "network.safetensors").read_bytes()


def test_a_distance_is_a_channel_that_the_readme_explains(tmp_path):
    package = exported(lively_ganda(("nuclei", "vessels", "distance")), tmp_path)
    assert described(package)["inputs"][0]["axes"][1]["channel_names"][2] == "distance"
    readme = content(package)["README.md"].decode()
    assert "**distance** is the distance in µm to the nearest vessel, in whole steps of 0.4 µm" in readme


def test_percentiles_become_those_of_the_training_slides():
    card = lively_checkpoint(scaling=IntensityScaling("percentile"), input_ranges=RANGES).card
    assert fixed_scaling(card) == IntensityScaling("fixed", (10.0, 20.0), (100.0, 70.0))
    other = replace(card, scaling=replace(card.scaling, high_percentile=90.0))
    for unknown in (replace(card, input_ranges=()), other):
        with pytest.raises(CheckpointError, match="name a slide"):
            fixed_scaling(unknown)
    assert fixed_scaling(other, ((0.0, 4.0), (1.0, 2.0))).scales == (4.0, 1.0)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_package_for_a_slide_predicts_it_as_we_do(tmp_path, capsys):
    checkpoint = lively_checkpoint(1, scaling=IntensityScaling("percentile", target_scale=20.0))
    slide = save_slide(make_slide(320, 300, tmp_path / "made.zarr"), tmp_path / "slide.zarr")
    package = exported(checkpoint, tmp_path, "--slide", slide.source, "--vessels", "AF488")
    assert "percentiles of slide.zarr" in capsys.readouterr().out
    script = torch.jit.load(io.BytesIO(content(package)["torchscript.pt"]))
    with torch.no_grad():
        found = script(torch.from_numpy(slide.levels[0][:2].compute())[None])[0, 0].numpy()
    settings = PredictionSettings(skip_blank=False, output="float32", device="cpu")
    list(predict_slide(slide, checkpoint, tmp_path / "predicted.ome.zarr", settings))
    expected, halo = open_slide(tmp_path / "predicted.ome.zarr").levels[0][0].compute(), halo_of(checkpoint.settings)
    inside = slice(halo, -halo)
    np.testing.assert_allclose(found[inside, inside], expected[inside, inside], rtol=0, atol=1e-5 * np.ptp(expected))


def test_the_bundled_checkpoint_is_exported_by_name_with_author_and_licence(tmp_path, monkeypatch):
    made, names = [], [*WEIGHTS, "environment.yaml", "test_input.npy", "test_output.npy"]

    def files(package, _):
        made.append(package)
        return dict.fromkeys(names, b"")

    monkeypatch.setattr("napari_hrpn.models.bioimageio._Package.files", files)
    assert command("export", "synthetic", tmp_path / "a.zip") == 0
    assert made[0].checkpoint.digest == load_checkpoint(bundled_checkpoint()).digest
    assert described(tmp_path / "a.zip")["license"] == "BSD-3-Clause"
    options = ("--author", "Ada Doe", "--author", "Bo", "--license", "CC0-1.0")
    assert command("export", "synthetic", tmp_path / "b.zip", *options) == 0
    found = described(tmp_path / "b.zip")
    assert ([author["name"] for author in found["authors"]], found["license"]) == (["Ada Doe", "Bo"], "CC0-1.0")


def test_nothing_is_replaced_unless_the_user_says_so(small_package, tmp_path, capsys):
    for words in (("export", small_package.parent / "network.safetensors", tmp_path / "a.zip"),
                  ("import", small_package, tmp_path / "a.safetensors")):  # fmt: skip
        words[2].write_text("mine")
        assert command(*words) == 2
        assert "exists already" in capsys.readouterr().err
        assert words[2].read_text() == "mine"
        assert command(*words, "--overwrite") == 0
        assert words[2].stat().st_size > 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "a.zip"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--format", "onnx"], "expected bioimageio"),
        (["--author", "a/b"], "a name without slashes"),
        (["--license", "my own"], "an identifier of spdx.org/licenses"),
        (["--vessels", "1"], "together with --slide"),
        (["--pixel-size", "1"], "--pixel-size is about a slide"),
        (["--slide", "nowhere.ome.tif"], "leave out --slide"),
    ],
)
def test_options_that_make_no_sense_are_refused(small_package, tmp_path, capsys, options, sentence):
    assert command("export", small_package.parent / "network.safetensors", tmp_path / "a.zip", *options) == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_outputs_need_their_suffix(small_package, tmp_path, capsys):
    assert command("export", small_package.parent / "network.safetensors", tmp_path / "a.tar") == 2
    assert "ends in .zip" in capsys.readouterr().err
    assert command("import", small_package, tmp_path / "a.pt") == 2
    assert "ends in .safetensors" in capsys.readouterr().err


def with_description(files: dict[str, bytes], change) -> dict[str, bytes]:
    description = yaml.safe_load(files["rdf.yaml"])
    change(description)
    return {**files, "rdf.yaml": yaml.safe_dump(description).encode()}


def without(files: dict[str, bytes], name: str) -> dict[str, bytes]:
    return {other: data for other, data in files.items() if other != name}


def recorded_again(files: dict[str, bytes]) -> dict[str, bytes]:
    """With the hashes that the files have now, as somebody who means harm would write them."""

    def record(description: dict) -> None:
        record = description["config"]["napari_hrpn"]
        record.update({name: hashlib.sha256(files[name]).hexdigest() for name in record})

    return with_description(files, record)


MERGED = zip("abcdefgh", "bcdefghi", strict=True)
MERGES = "a: &a {k: 0}\n" + "".join(f"{new}: &{new}\n  <<: [{', '.join([f'*{old}'] * 60)}]\n" for old, new in MERGED)
BROKEN = {
    "no description": (lambda files: without(files, "rdf.yaml"), "holds no rdf.yaml"),
    "long description": (lambda files: {**files, "rdf.yaml": b"#" * 300_000}, "rdf.yaml of 300,000 bytes"),
    "no YAML": (lambda files: {**files, "rdf.yaml": b"{" * 20}, "is no YAML"),
    "deep YAML": (lambda files: {**files, "rdf.yaml": b"[" * 3_000}, "is no YAML"),
    "no text": (lambda files: {**files, "rdf.yaml": b"\xff\xfe\xff"}, "is no YAML"),
    "merges without end": (lambda files: {**files, "rdf.yaml": MERGES.encode()}, "of no model"),
    "no model": (lambda files: with_description(files, lambda rdf: rdf.update(type="dataset")), "of no model"),
    "another program": (lambda files: with_description(files, lambda rdf: rdf.update(config={})), "of another program"),
    "no checkpoint": (lambda files: without(files, "checkpoint.safetensors"), "lacks checkpoint.safetensors"),
    "no weights": (lambda files: without(files, "weights.pt"), "lacks weights.pt"),
    "trained further": (lambda files: {**files, "weights.pt": b"other"}, "has another weights.pt than was exported"),
    "no network": (
        lambda files: recorded_again({**files, "checkpoint.safetensors": pickle.dumps(1)}),
        "which can run code when it is opened",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_package_that_is_none_of_ours_is_refused_in_a_sentence(small_package, tmp_path, capsys, kind):
    change, sentence = BROKEN[kind]
    package = written(tmp_path / "package.zip", change(content(small_package)))
    assert_refused(package, sentence, capsys)


def assert_refused(package: Path, sentence: str, capsys) -> None:
    before = sorted(package.parent.iterdir())
    assert command("import", package, package.parent / "out.safetensors") == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.startswith("napari-hrpn: error: ")
    assert len(said.splitlines()) == 1
    assert sorted(package.parent.iterdir()) == before


def test_what_is_no_archive_is_refused_in_a_sentence(small_package, tmp_path, capsys):
    package = tmp_path / "package.zip"
    data = small_package.read_bytes()
    for wrong in (b"", b"text", data[:-100], data[: len(data) // 2] + b"\0" * 4000 + data[len(data) // 2 + 4000 :]):
        package.write_bytes(wrong)
        assert_refused(package, "package.zip", capsys)
    assert_refused(tmp_path, "is not a file", capsys)


def test_an_archive_that_would_unpack_without_end_is_refused(small_package, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("napari_hrpn.models.package_import._MOST_BYTES", 1 << 20)
    files = {**content(small_package), "checkpoint.safetensors": bytes(1 << 21)}
    package = written(tmp_path / "package.zip", files)
    assert package.stat().st_size < 1 << 18
    assert_refused(package, "states 2,097,152 bytes", capsys)


def test_an_import_opens_no_pickle_and_writes_nothing_else(small_package, tmp_path):
    class Harm:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path / 'harmed'}",))

    harm = pickle.dumps(Harm())
    files = {**content(small_package), "weights.pt": harm, "torchscript.pt": harm}
    package = written(tmp_path / "package.zip", {**recorded_again(files), "../../slipped": b"1", "/slipped": b"1"})
    assert command("import", package, tmp_path / "out.safetensors") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.safetensors", "package.zip"]
    assert not (tmp_path.parents[1] / "slipped").exists()


def test_a_failed_export_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    save_checkpoint(lively_ganda(), tmp_path / "network.safetensors")
    monkeypatch.setattr("napari_hrpn.models.bioimageio.torchscript_bytes", fail)
    with pytest.raises(ValueError, match="disk"):
        write_package(tmp_path / "network.safetensors", tmp_path / "package.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["network.safetensors"]

"""The checkpoint file: what is written comes back, and everything else is refused in one sentence."""

import io
import json
import math
import os
import pickle
import zipfile
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from napari_hrpn.models import (
    GANDA,
    HRPN,
    Checkpoint,
    CheckpointError,
    GANDASettings,
    HRPNSettings,
    IntensityScaling,
    ModelCard,
    checkpoint_path,
    load_checkpoint,
    save_checkpoint,
)
from napari_hrpn.models.training_features import TrainingFeatures, compared_features
from napari_hrpn.settings.vessel_distance import VesselDistance


@pytest.fixture
def checkpoint() -> Checkpoint:
    torch.manual_seed(3)
    network = HRPN(HRPNSettings(branches=1, in_channels=2))
    card = ModelCard(
        title="Test",
        scaling=IntensityScaling("percentile", target_scale=50),
        pixel_size_um=0.2744,
        input_ranges=((1.0, 90.0), (2.0, 80.0)),
        recipe={"name": "paper", "epochs": 20},
        split={"train": ["tumour 0"]},
        metrics={"r2": 0.5},
        versions={"torch": "2"},
    )
    return Checkpoint(network.settings, network.state_dict(), card)


@pytest.fixture
def ganda_checkpoint() -> Checkpoint:
    torch.manual_seed(4)
    network = GANDA(GANDASettings(in_channels=1, channels=(3, 4, 5), patch_px=64))
    card = ModelCard(input_roles=("vessels",), scaling=IntensityScaling(offsets=(127.5,), scales=(127.5,)))
    return Checkpoint(network.settings, network.state_dict(), card)


@pytest.fixture
def path(checkpoint, tmp_path):
    save_checkpoint(checkpoint, tmp_path / "one.safetensors")
    return tmp_path / "one.safetensors"


def header_of(path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return file.metadata()


def rewritten(path, checkpoint, **header):
    """The same checkpoint with some of its header changed."""
    metadata = {**header_of(path), **header}
    path.write_bytes(save(dict(checkpoint.weights), metadata=metadata))
    return path


def test_what_is_written_comes_back(checkpoint, path):
    loaded = load_checkpoint(path)
    assert loaded.settings == checkpoint.settings
    assert loaded.card == checkpoint.card
    assert loaded.digest == checkpoint.digest
    assert all(torch.equal(loaded.weights[name], tensor) for name, tensor in checkpoint.weights.items())


def test_the_loaded_network_predicts_the_same(checkpoint, path):
    pixels = torch.rand(1, 2, 32, 32)
    with torch.no_grad():
        assert torch.equal(load_checkpoint(path).network()(pixels), checkpoint.network()(pixels))


def test_writing_leaves_nothing_else_behind(path):
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_the_digest_depends_on_weights_architecture_and_scaling(checkpoint):
    other = {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in checkpoint.weights.items()}
    rescaled = replace(checkpoint.card, scaling=IntensityScaling())
    digests = {checkpoint.digest, replace(checkpoint, weights=other).digest, replace(checkpoint, card=rescaled).digest}
    assert len(digests) == 3


def test_ganda_comes_back_as_ganda(ganda_checkpoint, tmp_path):
    path, pixels = tmp_path / "ganda.safetensors", torch.rand(1, 1, 32, 32)
    save_checkpoint(ganda_checkpoint, path)
    loaded = load_checkpoint(path)
    assert loaded.settings == ganda_checkpoint.settings
    assert loaded.digest == ganda_checkpoint.digest
    assert isinstance(loaded.network(), GANDA)
    with torch.no_grad():
        assert torch.equal(loaded.network()(pixels), ganda_checkpoint.network()(pixels))


def test_the_header_names_the_architecture(checkpoint, ganda_checkpoint, path, tmp_path):
    save_checkpoint(ganda_checkpoint, tmp_path / "ganda.safetensors")
    assert header_of(path)["architecture"] == checkpoint.architecture == "hrpn"
    assert header_of(tmp_path / "ganda.safetensors")["architecture"] == ganda_checkpoint.architecture == "ganda"


def test_a_file_from_before_architectures_had_names_is_hrpn(checkpoint, path):
    old = {name: value for name, value in header_of(path).items() if name != "architecture"}
    path.write_bytes(save(dict(checkpoint.weights), metadata=old))
    assert load_checkpoint(path).digest == checkpoint.digest
    assert isinstance(load_checkpoint(path).network(), HRPN)


@pytest.mark.parametrize(("name", "words"), [("ganda", "header"), ("nanonet", "is for a network 'nanonet'")])
def test_another_architecture_than_the_weights_are_of_is_refused(path, checkpoint, name, words):
    with pytest.raises(CheckpointError, match=words) as error:
        load_checkpoint(rewritten(path, checkpoint, architecture=name))
    assert one_sentence(error)


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_no_length_of_the_header_makes_it_look_like_a_pickle(tmp_path):
    starts = set()
    for length in range(0, 256, 8):
        path = tmp_path / f"{length}.safetensors"
        network = HRPN(HRPNSettings(branches=1))
        save_checkpoint(Checkpoint(network.settings, network.state_dict(), ModelCard(title="x" * length)), path)
        starts.add(path.read_bytes()[0])
        assert load_checkpoint(path).card.title == "x" * length
    assert 0x80 in starts


@pytest.mark.parametrize("kind", ["pickle", "torch", "old torch", "zip"])
def test_a_pickle_is_refused_and_never_run(kind, tmp_path):
    marker, path = tmp_path / "ran", tmp_path / "model.safetensors"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Malicious(marker)))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.pkl", pickle.dumps(Malicious(marker)))
    else:
        buffer = io.BytesIO()
        torch.save({"a": Malicious(marker)}, buffer, _use_new_zipfile_serialization=kind == "torch")
        path.write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="can run code"):
        load_checkpoint(path)
    assert not marker.exists()


def one_sentence(error) -> bool:
    text = str(error.value)
    return "\n" not in text and text.endswith(".") and len(text) < 400


@pytest.mark.parametrize("content", [b"", b"text", b"\0" * 100, b"\xff" * 8 + b"{", b"\x10\0\0\0\0\0\0\0{" + b"x" * 15])
def test_what_is_no_checkpoint_gets_one_sentence(content, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert one_sentence(error)


def test_a_file_that_is_not_there_gets_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read") as error:
        load_checkpoint(tmp_path / "none.safetensors")
    assert one_sentence(error)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_cut_off_checkpoint_is_refused(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_safetensors_of_another_program_are_refused(path):
    path.write_bytes(save({"a": torch.zeros(1)}, metadata={"format": "pt"}))
    with pytest.raises(CheckpointError, match="has the format 'pt'"):
        load_checkpoint(path)


@pytest.mark.parametrize("settings", ["[]", "{", '{"branches": 9}', '{"unknown": 1}', '{"branches": "4"}', "null"])
def test_a_header_that_makes_no_sense_is_refused(path, checkpoint, settings):
    with pytest.raises(CheckpointError, match="header") as error:
        load_checkpoint(rewritten(path, checkpoint, settings=settings))
    assert one_sentence(error)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        *(("settings", "stage1_blocks", value) for value in (10**9, 0, True, 1.0, None, "4")),
        *(("settings", "stem_channels", value) for value in (-1, 10**6, [64])),
        *(("settings", "branch_channels", value) for value in ([18, -36], 18, [18] * 99, [[18]], ["18"])),
        *(("settings", "dropout", value) for value in (math.nan, 2, "none")),
        *(("settings", "in_channels", value) for value in (10**6, -2)),
        *(("card", "scaling", value) for value in (None, [], {"scales": [math.nan, 1]}, {"scales": [1, 1e-300]})),
        *(("card", "scaling", value) for value in ({"target_offset": 10**400}, {"kind": "x"}, {"low_percentile": 100})),
        *(("card", "input_ranges", value) for value in ([[1]], [[1, 2]], [1, 2], {"a": 1})),
        *(("card", "pixel_size_um", value) for value in (-1, math.inf, "0.27", True)),
        *(("card", "title", value) for value in (None, 5, "\ud800")),
        *(("card", name, []) for name in ("metrics", "dtype", "input_roles", "target")),
    ],
)
def test_values_of_another_type_or_beyond_bounds_are_refused_before_anything_is_built(
    part, name, value, path, checkpoint
):
    fields = {"settings": asdict(checkpoint.settings), "card": asdict(checkpoint.card)}[part]
    if isinstance(value, dict) and name == "scaling":
        value = fields["scaling"] | value
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(rewritten(path, checkpoint, **{part: json.dumps(fields | {name: value})}))
    assert one_sentence(error)


def test_a_header_of_more_than_the_file_is_not_read(path, checkpoint):
    save_checkpoint(checkpoint, path)
    path.write_bytes((10**12).to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(CheckpointError, match="states a header of 1,000,000,000,000 bytes"):
        load_checkpoint(path)


def test_weights_that_do_not_fit_the_architecture_are_refused(path, checkpoint):
    with pytest.raises(CheckpointError, match="do not fit"):
        load_checkpoint(rewritten(path, checkpoint, settings=json.dumps({"branches": 2})))


def test_a_card_that_does_not_fit_the_inputs_is_refused(path, checkpoint):
    weights = HRPN(HRPNSettings(branches=1, in_channels=3)).state_dict()
    with pytest.raises(CheckpointError, match="input channels"):
        load_checkpoint(
            rewritten(
                path, replace(checkpoint, weights=weights), settings=json.dumps({"branches": 1, "in_channels": 3})
            )
        )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resamples": True, "pixel_size_um": 1e-300}, "pixel size of 1e-300 µm; expected 0.01 to 100 µm"),
        ({"resamples": True, "pixel_size_um": 1e300}, "expected 0.01 to 100 µm"),
        ({"resamples": True, "pixel_size_um": None}, "has no pixel size"),
        ({"input_quantiles": (((0.0,) * 6 + (1e300,),) * 2,)}, "a quantile beyond 1e[+]12"),
        ({"distance": VesselDistance()}, "inputs nuclei, vessels, and settings of the distance to vessels"),
    ],
)
def test_a_card_with_numbers_that_no_prediction_can_use_is_refused(checkpoint, changes, words):
    with pytest.raises(ValueError, match=words):
        replace(checkpoint.card, **changes)


def test_weights_that_are_not_finite_are_refused(path, checkpoint):
    weights = dict(checkpoint.weights)
    weights["head.last.weight"] = torch.full_like(weights["head.last.weight"], float("nan"))
    save_checkpoint(replace(checkpoint, weights=weights), path)
    with pytest.raises(CheckpointError, match="not finite"):
        load_checkpoint(path)


@pytest.fixture
def features(checkpoint):
    count = compared_features(checkpoint.settings)
    random = np.random.default_rng(0)
    return TrainingFeatures(*(random.random(shape).astype(np.float32) for shape in ((count,), (count, count))))


def test_features_of_the_training_come_back_and_decide_no_digest(checkpoint, features, path):
    save_checkpoint(replace(checkpoint, features=features), path)
    loaded = load_checkpoint(path)
    assert loaded.features.digest == features.digest
    np.testing.assert_array_equal(loaded.features.to_distance, features.to_distance)
    assert loaded.digest == checkpoint.digest
    assert loaded.weights.keys() == checkpoint.weights.keys()


def test_features_that_do_not_fit_or_are_no_numbers_are_refused(checkpoint, features, ganda_checkpoint, path):
    for wrong, words in (
        (replace(features, mean=features.mean[:-1]), "are not those of its network"),
        (replace(features, to_distance=np.full_like(features.to_distance, np.nan)), "are not finite"),
        (replace(features, mean=features.mean.astype(np.float64)), "are not finite"),
    ):
        save_checkpoint(replace(checkpoint, features=wrong), path)
        with pytest.raises(CheckpointError, match=words) as error:
            load_checkpoint(path)
        assert one_sentence(error)
    save_checkpoint(replace(ganda_checkpoint, features=features), path)
    with pytest.raises(CheckpointError, match="are not those of its network"):
        load_checkpoint(path)


def test_the_summary_shows_what_a_reader_needs(checkpoint):
    summary = checkpoint.card.summary()
    for words in ("# Test", "nuclei, vessels -> probe", "0.2744 µm", "r2: 0.5", "tumour 0"):
        assert words in summary


@pytest.mark.parametrize(
    ("name", "target", "digest"), [("synthetic", "QD", "518be09d581122b8"), ("dextran", "dextran", "329c19b60c095304")]
)
def test_bundled_checkpoints_say_what_they_are(name, target, digest):
    path = checkpoint_path(name)
    checkpoint = load_checkpoint(path)
    card = checkpoint.card
    assert path.stat().st_size < 10e6
    assert sum(p.numel() for p in checkpoint.network().parameters()) == 2_176_824 + 9 * 64  # a third input
    assert (card.input_roles, card.pixel_size_um) == (("nuclei", "vessels", "distance"), 0.55)
    assert (card.target, card.resamples, card.scaling.kind) == (target, True, "percentile")
    assert name in card.title.lower()
    assert all([card.probe, card.source, card.licence, card.valid_for, card.not_for, card.input_quantiles])
    assert checkpoint.features is not None
    # predictions that were begun with it know it by this
    assert checkpoint.digest == digest

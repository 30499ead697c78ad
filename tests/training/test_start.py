"""A training that begins with another checkpoint: the weights it begins with, what stays frozen, what is refused."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from napari_hrpn.core import drive
from napari_hrpn.models import (
    Checkpoint,
    CheckpointError,
    IntensityScaling,
    ModelCard,
    bundled_checkpoint,
    checkpoint_path,
    load_checkpoint,
    save_checkpoint,
)
from napari_hrpn.models.architectures import built, settings_class
from napari_hrpn.settings.networks import NETWORKS
from napari_hrpn.settings.vessel_distance import VesselDistance
from napari_hrpn.training import (
    RunFolder,
    SlideEntry,
    StepReport,
    TrainingError,
    TrainingSettings,
    check_training,
    recipe_settings,
    train_model,
)
from napari_hrpn.training.data.patch_loader import Batch
from napari_hrpn.training.learners import make_learner
from napari_hrpn.training.start import open_start, placed_weights, start_warnings

few_patches = pytest.mark.filterwarnings("ignore:there are only:napari_hrpn.training.TrainingWarning")
CARD = ModelCard(
    "Parent",
    scaling=IntensityScaling("percentile"),
    split={"train": ["A", "B"], "validation": ["C"]},
    pixel_size_um=0.2744,
)


def settings_of(model: str = "hrpn", **changes: object) -> TrainingSettings:
    small = {"branches": 1} if model == "hrpn" else {}
    return recipe_settings("fast", model, **{"patch_px": 32, "precision": "fp32", **small, **changes})


def lively(settings: TrainingSettings, card: ModelCard = CARD) -> Checkpoint:
    """A checkpoint with random weights and batch statistics."""
    torch.manual_seed(5)
    network = built(settings_class(settings.model).of_training(settings))
    state = {
        name: torch.rand_like(tensor) + 0.5 if name.endswith("running_var") else tensor
        for name, tensor in network.state_dict().items()
    }
    return Checkpoint(network.settings, state, replace(card, recipe={"scaling": settings.scaling}))


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    path = tmp_path / "parent.safetensors"
    save_checkpoint(lively(settings_of()), path)
    return path


def started(checkpoint: Checkpoint, settings: TrainingSettings) -> torch.nn.Module:
    network = built(settings_class(settings.model).of_training(settings))
    network.load_state_dict(placed_weights(checkpoint, settings))
    return network.eval()


@pytest.mark.parametrize("model", ["hrpn", "ganda"])
def test_weights_are_put_by_role_and_a_new_input_changes_nothing(model: str) -> None:
    checkpoint = lively(settings_of(model))
    pixels = torch.rand(1, 3, 32, 32)
    network = started(checkpoint, settings_of(model, channels=("vessels", "fap", "nuclei")))
    with torch.no_grad():
        torch.testing.assert_close(network(pixels), checkpoint.network()(pixels[:, [2, 0]]), rtol=1e-5, atol=1e-6)
    same = placed_weights(checkpoint, settings_of(model))
    assert all(torch.equal(tensor, same[name]) for name, tensor in checkpoint.weights.items())


def learn(settings: TrainingSettings, start: Checkpoint, steps: int = 3) -> dict[str, torch.Tensor]:
    learner = make_learner(settings, "cpu", start=start)
    for step in range(steps):
        torch.manual_seed(step)
        inputs = torch.rand(2, len(settings.channels), 32, 32)
        target = inputs.mean(dim=1, keepdim=True)
        learner.step([Batch(inputs, target, torch.ones_like(target, dtype=torch.bool))], 1e-3)
    return {name: tensor.clone() for name, tensor in learner.tensors().items()}


@pytest.mark.parametrize(("model", "frozen"), [("hrpn", ("stem", "stage1")), ("ganda", ("encoders",))])
def test_frozen_weights_and_statistics_stay_to_the_last_bit(model: str, frozen: tuple[str, ...]) -> None:
    settings = settings_of(model, start="x.safetensors", freeze=frozen, averaging=0.9)
    checkpoint = lively(settings)
    after = learn(settings, checkpoint)
    for part in ("network", "average"):
        kept = {name for name, tensor in checkpoint.weights.items() if torch.equal(tensor, after[f"{part}.{name}"])}
        assert {name for name in checkpoint.weights if name.startswith(frozen)} <= kept
        learnt = {name for name in checkpoint.weights if name.endswith(".weight") and not name.startswith(frozen)}
        assert not learnt & kept


@pytest.mark.parametrize("model", ["hrpn", "ganda"])
def test_before_the_first_step_weights_and_average_are_the_parents(model: str) -> None:
    settings = settings_of(model, start="x.safetensors", averaging=0.9)
    checkpoint = lively(settings)
    begun = learn(settings, checkpoint, steps=0)
    for name, tensor in checkpoint.weights.items():
        assert torch.equal(tensor, begun[f"network.{name}"])
        assert torch.equal(tensor, begun[f"average.{name}"])


@pytest.mark.parametrize(("model", "branches"), [*(("hrpn", count) for count in (1, 2, 3, 4)), ("ganda", 4)])
def test_every_weight_belongs_to_one_stage(model: str, branches: int) -> None:
    settings = recipe_settings("fast", model, branches=branches)
    with torch.device("meta"):
        state = built(settings_class(model).of_training(settings)).state_dict()
    prefixes = [f"{module}." for modules in NETWORKS[model].stages.values() for module in modules]
    assert all(sum(name.startswith(prefix) for prefix in prefixes) == 1 for name in state)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"branches": 2}, "branches 1 and this training 2"),
        ({"model": "ganda"}, "a network HRPN, and this training one of GANDA"),
        ({"channels": ("vessels", "fap")}, "nuclei is no input of this training"),
        ({"scaling": "raw"}, "scaled by percentiles, and this training takes grey levels as they are"),
        ({"freeze": ("stem", "neck")}, "no stage 'neck' to freeze; expected some of stem, stage1, stage2, head"),
        # a network of one branch has no weights there
        ({"freeze": ("stage3",)}, "no stage 'stage3'"),
        ({"freeze": ("stem", "stage1", "stage2", "head")}, "leave at least one to learn"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(changes: dict, words: str, parent: Path) -> None:
    settings = settings_of(**{"start": str(parent), **changes})
    with pytest.raises(TrainingError, match=words) as error:
        open_start(settings, parent / "none")
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


def test_a_parent_that_counts_distances_otherwise_is_refused(tmp_path: Path) -> None:
    """Its weights would take each grey level of the distance for another length."""
    roles = ("nuclei", "vessels", "distance")
    settings = settings_of(start=str(tmp_path / "parent.safetensors"), channels=roles)
    scaling = IntensityScaling("percentile", offsets=(0, 0, 0), scales=(1, 1, 1))
    for distance, words in ((VesselDistance(reach_um=20), "up to 20 µm in steps of 0.4 µm"), (VesselDistance(), "")):
        card = replace(CARD, input_roles=roles, scaling=scaling, distance=distance)
        save_checkpoint(lively(settings, card), Path(settings.start))
        if words:
            with pytest.raises(TrainingError, match=words):
                open_start(settings, tmp_path / "none")
        else:
            assert open_start(settings, tmp_path / "none").card.distance == distance


def test_a_parent_of_the_published_recipe_fits_only_that(tmp_path: Path) -> None:
    raw = settings_of(scaling="raw", start=str(tmp_path / "raw.safetensors"))
    save_checkpoint(lively(raw, replace(CARD, scaling=IntensityScaling())), tmp_path / "raw.safetensors")
    assert open_start(raw, tmp_path / "none") is not None
    with pytest.raises(TrainingError, match=r"takes grey levels as they are, and this training .* by percentiles"):
        open_start(replace(raw, scaling="fixed"), tmp_path / "none")


def test_without_a_start_nothing_can_be_frozen_or_is_read(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="stem cannot be frozen at random weights"):
        settings_of(freeze=("stem",))
    assert open_start(settings_of(), tmp_path / "none") is None


def test_a_checkpoint_is_named_by_file_or_by_the_name_of_a_bundled_one(parent: Path) -> None:
    assert checkpoint_path("synthetic") == bundled_checkpoint()
    assert checkpoint_path(str(parent)) == parent
    with pytest.raises(CheckpointError, match=r"there is no checkpoint synthetics; expected .* synthetic or dextran\."):
        checkpoint_path("synthetics")


def test_warnings_of_a_start_that_fits_but_may_mislead(parent: Path, entries: tuple[SlideEntry, ...]) -> None:
    tumours = [replace(entry, tumour=name) for entry, name in zip(entries, "XYA", strict=True)]
    save_checkpoint(lively(settings_of(), replace(CARD, pixel_size_um=0.5)), parent)
    settings = settings_of(start=str(parent), patch_px=64)
    warned = check_training(tumours, settings, parent.parent / "run", validate="A").warnings
    found = [sentence for sentence in warned if sentence.startswith("parent.safetensors")]
    assert len(found) == 2
    assert "was trained at 0.5 µm per pixel" in found[0]
    assert "has seen A, by the names on its card, and this training holds it out" in found[1]
    # a target that is named after its channel has the role of that channel
    of_channel = replace(CARD, target="QD", pixel_size_um=None)
    assert not list(start_warnings(of_channel, settings, (0.5, 0.5), ["X"]))
    (sentence,) = start_warnings(CARD, replace(settings, target="collagen"), (0.28, 0.27), ["X"])
    assert "predicts probe, and this training collagen" in sentence
    # pixels that are not square differ, though not by their mean
    (sentence,) = start_warnings(replace(CARD, pixel_size_um=0.75), settings, (0.5, 1.0), ["X"])
    assert "these slides have pixels of 0.5 x 1 µm" in sentence


@few_patches
def test_a_stopped_run_resumes_once_its_start_is_gone(
    parent: Path, entries: tuple[SlideEntry, ...], quick: TrainingSettings, tmp_path: Path
) -> None:
    settings = replace(quick, start=str(parent), freeze=("stem",), learning_rate=1e-3)
    whole = drive(train_model(entries, tmp_path / "whole", settings))
    stop = threading.Event()
    for report in (steps := train_model(entries, tmp_path / "run", settings, stop=stop)):
        if isinstance(report, StepReport):
            stop.set()
    steps.close()
    digest = load_checkpoint(parent).digest
    save_checkpoint(load_checkpoint(whole.checkpoint), parent)
    with pytest.raises(TrainingError, match=r"begun with another parent\.safetensors; restore that file"):
        drive(train_model(entries, tmp_path / "run", settings))
    parent.unlink()
    again = drive(train_model(entries, tmp_path / "run", settings))
    one, other = (load_checkpoint(result.checkpoint) for result in (whole, again))
    assert one.digest == other.digest != digest
    states = [RunFolder(tmp_path / name).tensors() for name in ("whole", "run")]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert other.card.parent == {
        "digest": digest,
        "title": "Parent",
        "file": "parent.safetensors",
        "frozen": ["stem"],
        "seen": ["A", "B", "C"],
    }
    assert other.card.recipe["start"] == "parent.safetensors"
    assert "- title: Parent" in other.card.summary()
    with pytest.raises(CheckpointError, match=r"parent\.safetensors cannot be read"):
        drive(train_model(entries, tmp_path / "other", settings))

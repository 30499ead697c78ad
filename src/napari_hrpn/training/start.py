"""Start of a training from another checkpoint: whether it fits, where its weights go, and what stays frozen."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from napari_hrpn.core.errors import TrainingError
from napari_hrpn.models import checkpoint_path, load_checkpoint
from napari_hrpn.models.architectures import built, settings_class
from napari_hrpn.settings.networks import BUNDLED, NETWORKS
from napari_hrpn.settings.vessel_distance import VesselDistance
from napari_hrpn.slides import guess_roles
from napari_hrpn.slides.resampling import has_pixel_size, pixel_size_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from torch import Tensor

    from napari_hrpn.models import Checkpoint, ModelCard
    from napari_hrpn.models.architectures import NetworkSettings
    from napari_hrpn.settings import TrainingSettings

_RULES = {
    "raw": "takes grey levels as they are",
    "full_scale": "takes grey levels scaled by the full scale of the camera",
    "percentiles": "takes grey levels scaled by percentiles",
}


def absolute_start(settings: TrainingSettings) -> TrainingSettings:
    """Settings whose start is a name or an absolute path, so that it is found from any folder."""
    if settings.start is None or settings.start in BUNDLED:
        return settings
    return replace(settings, start=str(Path(settings.start).expanduser().absolute()))


def open_start(settings: TrainingSettings, kept: Path) -> Checkpoint | None:
    """Read the checkpoint to start from, or the copy that a run has kept; refuse one that misfits or was changed."""
    if settings.start is None:
        return None
    checkpoint = load_checkpoint(kept if kept.is_file() else checkpoint_path(settings.start))
    # a bundled checkpoint may change with the version of this program, which does not stop a run
    if settings.start not in BUNDLED and named_or_kept(settings.start, kept).digest != checkpoint.digest:
        msg = (
            f"the training in {kept.parent} was begun with another {_name(settings)}; restore that file, remove it "
            "(the run has a copy), or choose another folder for the run."
        )
        raise TrainingError(msg)
    for sentence in _misfits(checkpoint, settings):
        raise TrainingError(sentence)
    return checkpoint


def named_or_kept(start: str, kept: Path) -> Checkpoint:
    """Read a checkpoint by its name, or the copy that a run has kept if the file is gone."""
    is_gone = start not in BUNDLED and not Path(start).expanduser().is_file() and kept.is_file()
    return load_checkpoint(kept if is_gone else checkpoint_path(start))


def placed_weights(checkpoint: Checkpoint, settings: TrainingSettings) -> dict[str, Tensor]:
    """Weights of a checkpoint, with those of each input at the place of its role, and zero for a new input."""
    weights = dict(checkpoint.weights)
    places = [settings.channels.index(role) for role in checkpoint.card.input_roles]
    one, two = (_shapes(replace(checkpoint.settings, in_channels=count)) for count in (1, 2))
    for name in (name for name in one if one[name] != two[name]):
        former = weights[name]
        weights[name] = former.new_zeros((len(former), len(settings.channels), *former.shape[2:]))
        weights[name][:, places] = former
    return weights


def frozen_modules(settings: TrainingSettings) -> list[str]:
    """Names of the modules of the stages that stay as the start has them."""
    stages, state = NETWORKS[settings.model].stages, _shapes(settings_class(settings.model).of_training(settings))
    return [name for stage in settings.freeze for name in stages[stage] if _has_weights(name, state)]


def parent_facts(checkpoint: Checkpoint, settings: TrainingSettings) -> dict[str, Any]:
    """Facts about the start of a training, for the card of its checkpoint."""
    card = checkpoint.card
    return {
        "digest": checkpoint.digest,
        "title": card.title,
        "file": checkpoint_path(str(settings.start)).name,
        "frozen": list(settings.freeze),
        "seen": list(card.seen),
    }


def start_warnings(
    card: ModelCard, settings: TrainingSettings, pixel_size_um: tuple[float, float] | None, held_out: Iterable[str]
) -> Iterator[str]:
    """Sentences on a start that fits but may mislead; `held_out` are the tumours of validation and test."""
    name = _name(settings)
    if (
        card.pixel_size_um is not None
        and pixel_size_um is not None
        and not has_pixel_size(pixel_size_um, card.pixel_size_um)
    ):
        yield (
            f"{name} was trained at {card.pixel_size_um:.4g} µm per pixel, and these slides have pixels of "
            f"{pixel_size_words(pixel_size_um)}: shapes look larger or smaller to the network than it has learnt."
        )
    if _role(card.target) != _role(settings.target):
        yield f"{name} predicts {card.target}, and this training {settings.target}: only what it has in common helps."
    known = card.seen
    seen = [tumour for tumour in dict.fromkeys(held_out) if tumour in known]
    if seen:
        yield (
            f"{name} has seen {', '.join(seen)}, by the names on its card, and this training holds "
            f"{'it' if len(seen) == 1 else 'them'} out: numbers measured there are too good."
        )


def _misfits(checkpoint: Checkpoint, settings: TrainingSettings) -> Iterator[str]:
    """Sentences on why a checkpoint cannot be the start; each check relies on the checks before it."""
    name, found = _name(settings), checkpoint.settings
    if checkpoint.architecture != settings.model:
        titles = (NETWORKS[network].title for network in (checkpoint.architecture, settings.model))
        yield "{} is a network {}, and this training one of {}; expected the same: choose another.".format(
            name, *titles
        )
    wanted = replace(settings_class(settings.model).of_training(settings), in_channels=found.in_channels)
    state = _shapes(wanted)
    if state != _shapes(found):
        yield f"{name} has {_difference(found, wanted)}; expected the same: change the settings, or the start."
    roles = checkpoint.card.input_roles
    if missing := [role for role in roles if role not in settings.channels]:
        yield (
            f"{name} predicts from {', '.join(roles)}, and {' and '.join(missing)} is no input of this training; "
            f"expected all of them among {', '.join(settings.channels)}: add it, or choose another start."
        )
    rules = _rule(checkpoint.card), _rule_named(settings.scaling)
    if rules[0] != rules[1]:
        yield (
            f"{name} {_RULES[rules[0]]}, and this training {_RULES[rules[1]]}; expected the same: choose another "
            "recipe, scaling or start."
        )
    distance = checkpoint.card.distance
    if distance is not None and distance != VesselDistance():
        yield (
            f"{name} counts the distance to vessels {distance}, and this training {VesselDistance()}; expected the "
            "same: choose another start."
        )
    yield from _misfrozen(settings, state)


def _misfrozen(settings: TrainingSettings, state: Mapping[str, object]) -> Iterator[str]:
    stages = NETWORKS[settings.model].stages
    known = [stage for stage, modules in stages.items() if any(_has_weights(module, state) for module in modules)]
    if unknown := [stage for stage in settings.freeze if stage not in known]:
        yield f"the network has no stage {unknown[0]!r} to freeze; expected some of {', '.join(known) or 'none'}."
    if known and set(known) <= set(settings.freeze):
        yield "all stages of the network are frozen, so that nothing would learn; leave at least one to learn."


def _has_weights(module: str, state: Iterable[str]) -> bool:
    return any(name.startswith(f"{module}.") for name in state)


def _shapes(settings: NetworkSettings) -> dict[str, tuple[int, ...]]:
    """Shapes of a network's weights; on the device "meta" they take no memory."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in built(settings).state_dict().items()}


def _difference(found: NetworkSettings, wanted: NetworkSettings) -> str:
    pairs = ((field.name, getattr(found, field.name), getattr(wanted, field.name)) for field in fields(wanted))
    return ", ".join(f"{name} {former} and this training {new}" for name, former, new in pairs if former != new)


def _rule(card: ModelCard) -> str:
    """Rule by which a checkpoint scales its inputs."""
    scaling = card.scaling
    is_raw = scaling.kind == "fixed" and not any(scaling.offsets) and set(scaling.scales) == {1}
    return _rule_named(card.recipe.get("scaling", "raw" if is_raw else scaling.kind))


def _rule_named(scaling: object) -> str:
    # percentiles of all slides and of each slide make the same numbers of a usual slide
    return str(scaling) if str(scaling) in _RULES else "percentiles"


def _role(target: str) -> str:
    """Role of a target that is named after its channel, such as QD."""
    return next((role for role, index in vars(guess_roles((target,))).items() if index == 0), target)


def _name(settings: TrainingSettings) -> str:
    path = Path(str(settings.start))
    # all trainings name their checkpoint alike, so the folder of the run is named too
    return f"{path.parent.name}/{path.name}" if path.stem == "checkpoint" else path.name

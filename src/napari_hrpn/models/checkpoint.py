"""Checkpoint file with weights, settings and card, which cannot run code.

It is a safetensors file; its header names the architecture and holds its settings and the model card as JSON.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import safetensors
import torch
from safetensors.torch import save

from napari_hrpn.core.files import replaced_file
from napari_hrpn.models.architectures import architecture_of, built, settings_class
from napari_hrpn.models.card import ModelCard
from napari_hrpn.models.checkpoint_header import read_record
from napari_hrpn.models.training_features import named_tensors, taken_from
from napari_hrpn.settings.networks import BUNDLED, HRPN, NETWORKS, SYNTHETIC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from napari_hrpn.models.architectures import NetworkSettings
    from napari_hrpn.models.training_features import TrainingFeatures

_FORMAT = "napari-hrpn checkpoint 1"
# headers have some kilobytes; a damaged file may state any length
_MOST_HEADER_BYTES = 16 << 20
_MOST_LISTED = 200


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message is one sentence for the user."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained network.

    Attributes
    ----------
    settings : NetworkSettings
        Settings of the network; their class decides the architecture.
    weights : mapping of str to Tensor
        State of the network, batch normalisation included; for GANDA, that of the generator.
    card : ModelCard
        Facts about the training, and the scaling of input and output.
    features : TrainingFeatures or None
        What the network has seen, from which a prediction says where a slide is unlike it; None if not known.
    source : pathlib.Path or None
        The file that it was read from.
    """

    settings: NetworkSettings
    weights: Mapping[str, Tensor]
    card: ModelCard = field(default_factory=ModelCard)
    features: TrainingFeatures | None = None
    source: Path | None = None

    @property
    def architecture(self) -> str:
        """Name of the architecture."""
        return architecture_of(self.settings).name

    def network(self) -> nn.Module:
        """Build the network, ready to predict."""
        network = built(self.settings)
        network.load_state_dict(dict(self.weights))
        return network.eval()

    @property
    def digest(self) -> str:
        """Short hash of everything that decides a prediction: weights, architecture, scaling."""
        # titles and metrics of the card may change without changing a prediction
        facts = [asdict(self.settings), asdict(self.card.scaling)]
        if self.card.resamples or self.card.distance:
            # checkpoints without either keep the digest that they had before there was such a thing
            facts.append({name: asdict(self.card)[name] for name in ("resamples", "pixel_size_um", "distance")})
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for name in sorted(self.weights):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(self.weights[name].detach().cpu().numpy()).tobytes())
        return digest.hexdigest()[:16]


def bundled_checkpoint() -> Path:
    """Path of the checkpoint that comes with the package, trained on synthetic tumours.

    Returns
    -------
    pathlib.Path
        A safetensors file of 9 MB.
    """
    return checkpoint_path(SYNTHETIC)


def checkpoint_path(checkpoint: str | Path) -> Path:
    """Path of a checkpoint that is named as on a command line.

    Parameters
    ----------
    checkpoint : str or Path
        Name of a checkpoint that comes with the package, such as "synthetic"; or a file, as "./synthetic" if it has
        such a name.

    Returns
    -------
    pathlib.Path
        The file, which need not exist if it has an ending.

    Raises
    ------
    CheckpointError
        If a word is neither a name nor a file.
    """
    if checkpoint in BUNDLED:
        return Path(__file__).with_name(f"{checkpoint}.safetensors")
    path = Path(checkpoint).expanduser()
    if not (path.suffix or path.exists()):
        msg = f"there is no checkpoint {checkpoint}; expected a .safetensors file, or {' or '.join(BUNDLED)}."
        raise CheckpointError(msg)
    return path


def save_checkpoint(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write a checkpoint atomically.

    Parameters
    ----------
    checkpoint : Checkpoint
        Checkpoint to write.
    path : str or Path
        File to write, usually ``.safetensors``; an existing file is replaced in one step.
    """
    header = {
        "format": _FORMAT,
        "architecture": checkpoint.architecture,
        "settings": json.dumps(asdict(checkpoint.settings)),
        "card": json.dumps(asdict(checkpoint.card)),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.weights.items()}
    tensors |= named_tensors(checkpoint.features)
    with replaced_file(Path(path), sync=False) as partial:
        partial.write_bytes(save(tensors, metadata=header))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint, and check that it is complete and fits its architecture.

    Parameters
    ----------
    path : str or Path
        A file written by `save_checkpoint`.

    Returns
    -------
    Checkpoint
        On the CPU.

    Raises
    ------
    CheckpointError
        If the file is anything else; the message is one sentence. A pickle is never opened.
    """
    path = Path(path)
    _check_is_safetensors(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            # copied, since a file whose bytes are in use cannot be replaced or deleted on Windows
            weights = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (safetensors.SafetensorError, OSError, ValueError, TypeError) as error:
        msg = (
            f"{path.name} is damaged or not a safetensors file ({error}); expected a checkpoint written by napari-hrpn."
        )
        raise CheckpointError(msg) from error
    return _checked(path, header, weights)


def _check_is_safetensors(path: Path) -> None:
    if path.exists() and not path.is_file():
        # reading a pipe would block, and a device may have no end
        msg = f"checkpoint {path} is not a file; expected a .safetensors file written by napari-hrpn."
        raise CheckpointError(msg)
    try:
        with path.open("rb") as file:
            start, size = file.read(9), path.stat().st_size
    except OSError as error:
        msg = (
            f"checkpoint {path} cannot be read ({error.strerror}); expected a .safetensors file written by napari-hrpn."
        )
        raise CheckpointError(msg) from error
    # a safetensors file begins with the length of its header, whose bytes may be those that begin a pickle
    if start[8:9] == b"{":
        length = int.from_bytes(start[:8], "little")
        if length <= min(_MOST_HEADER_BYTES, size - 8):
            return
        msg = (
            f"{path.name} states a header of {length:,} bytes; expected at most {_MOST_HEADER_BYTES:,}, and no more "
            "than the file: it is damaged or not a checkpoint of napari-hrpn, get it again."
        )
        raise CheckpointError(msg)
    # PyTorch files are zip archives ("PK") or pickles (0x80)
    if start[:2] == b"PK" or start[:1] == b"\x80":
        msg = (
            f"{path.name} is a PyTorch or pickle file, which can run code when it is opened; expected a .safetensors "
            "checkpoint written by napari-hrpn: ask its author for one."
        )
        raise CheckpointError(msg)
    msg = f"{path.name} is not a safetensors file; expected a checkpoint written by napari-hrpn."
    raise CheckpointError(msg)


def _checked(path: Path, header: Mapping[str, str], weights: dict[str, Tensor]) -> Checkpoint:
    if header.get("format") != _FORMAT:
        msg = f"{path.name} has the format {header.get('format', 'none')!r}; expected {_FORMAT!r}: export it again."
        raise CheckpointError(msg)
    # files that were written before there was a second architecture do not name theirs
    architecture = header.get("architecture", HRPN.name)
    if architecture not in NETWORKS:
        known = " or ".join(NETWORKS)
        msg = f"{path.name} is for a network {architecture!r}; expected {known}: update napari-hrpn."
        raise CheckpointError(msg)
    try:
        settings: NetworkSettings = read_record(settings_class(architecture), json.loads(header["settings"]))
        card = read_record(ModelCard, json.loads(header["card"]))
        # on the device "meta", weights have shapes but take no memory, whatever the header states
        with torch.device("meta"):
            expected = built(settings).state_dict()
        features = taken_from(weights, settings)
    except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError) as error:
        msg = f"{path.name} has an invalid header ({error}); expected a checkpoint of napari-hrpn."
        raise CheckpointError(msg) from error
    _check_weights(path, expected, weights)
    if len(card.input_roles) != settings.in_channels or len(card.scaling.offsets) != settings.in_channels:
        listed = ", ".join(card.input_roles)[:_MOST_LISTED] or "none"
        msg = f"{path.name} has {settings.in_channels} input channels but its card lists {listed}; get it again."
        raise CheckpointError(msg)
    return Checkpoint(settings, weights, card, features, path.absolute())


def _check_weights(path: Path, network: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    expected, found = (
        {name: (tuple(tensor.shape), tensor.is_floating_point()) for name, tensor in state.items()}
        for state in (network, weights)
    )
    if found != expected:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        msg = f"{path.name} has weights that do not fit its architecture (first {wrong[0]}); get it again."
        raise CheckpointError(msg)
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        msg = f"{path.name} has weights that are not finite ({broken[0]}); its training diverged: train it again."
        raise CheckpointError(msg)

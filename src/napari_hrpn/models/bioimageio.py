"""Model package of bioimage.io (spec 0.5), which ilastik, deepImageJ and others can run, made from a checkpoint.

Another program cannot measure percentiles of a slide on the tiles that it cuts, so a package has a fixed scaling.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml

from napari_hrpn.models.checkpoint import CheckpointError, bundled_checkpoint, load_checkpoint
from napari_hrpn.models.receptive_field import halo_of
from napari_hrpn.models.torchscript import GreyLevelNetwork, torchscript_bytes
from napari_hrpn.phantom import phantom_slide
from napari_hrpn.settings import DISTANCE
from napari_hrpn.settings.networks import NETWORKS
from napari_hrpn.slides.writers.output_path import partial_output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_hrpn.models.card import ModelCard
    from napari_hrpn.models.checkpoint import Checkpoint
    from napari_hrpn.models.scaling import IntensityScaling
    from napari_hrpn.settings.vessel_distance import VesselDistance

    Ranges = Sequence[tuple[float, float]]

DESCRIPTION, README, CHECKPOINT = "rdf.yaml", "README.md", "checkpoint.safetensors"
STATE, SCRIPT, _ENVIRONMENT = "weights.pt", "torchscript.pt", "environment.yaml"
WEIGHTS = (CHECKPOINT, STATE, SCRIPT)
_TEST_INPUT, _TEST_OUTPUT = "test_input.npy", "test_output.npy"
_SPEC = "0.5.3"
"""Version of the format: the oldest that has everything that is written here, so that older programs read it too."""
_RANGES_OF_CARDS = (1.0, 99.5)
"""Percentiles that the ranges on a card are, whatever percentiles the scaling measures."""
_OTHER_CHARACTERS = re.compile(r"[^a-zA-Z0-9_+\- ()]+")
_LONGEST_TITLE, _LONGEST_DESCRIPTION = 48, 512


def _derived(distance: VesselDistance) -> str:
    """How the input that no stain shows is made."""
    return (
        f"- **{DISTANCE}** is the distance in µm to the nearest vessel, in whole steps of {distance.step_um:g} µm, at "
        f"most {distance.steps}. Vessels are where their stain, smoothed by a Gaussian with an SD of "
        f"{distance.smoothing_um:g} µm, is above the threshold of Otsu's method for the tissue."
    )


def fixed_scaling(card: ModelCard, ranges: Ranges | None = None) -> IntensityScaling:
    """Scaling of a package: the checkpoint's own, or percentiles of one slide or of the training slides."""
    scaling = card.scaling
    if scaling.kind == "fixed":
        return scaling
    measured = (scaling.low_percentile, scaling.high_percentile)
    ranges = ranges or (card.input_ranges if measured == _RANGES_OF_CARDS else ())
    if not ranges:
        msg = (
            f"the checkpoint scales each slide from its percentiles {measured[0]:g} to {measured[1]:g}, and its card "
            "does not say what they were in the training; name a slide whose percentiles it shall have (--slide)."
        )
        raise CheckpointError(msg)
    low, high = zip(*ranges, strict=True)
    return scaling.fixed_to(low, high)


def write_package(
    source: Path,
    path: Path,
    ranges: Ranges | None = None,
    *,
    authors: Sequence[str] = (),
    licence: str | None = None,
    overwrite: bool = False,
) -> IntensityScaling:
    """Write a checkpoint as a package; returns the scaling that the package has."""
    checkpoint = load_checkpoint(source)
    if source.resolve().parent == bundled_checkpoint().parent:
        authors, licence = authors or ("The napari-hrpn developers",), licence or "BSD-3-Clause"
    scaling = fixed_scaling(checkpoint.card, ranges)
    package = _Package(checkpoint, scaling, tuple(ranges or checkpoint.card.input_ranges))
    with partial_output(path, source, overwrite=overwrite) as partial:
        files = package.files(source.read_bytes())
        described = package.description(files, authors or ("unknown",), licence)
        files[DESCRIPTION] = yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=120).encode()
        with zipfile.ZipFile(partial, "w") as archive:
            for name, content in sorted(files.items()):
                # with the date of 1980 that zipfile gives it, so that the same checkpoint gives the same bytes
                entry = zipfile.ZipInfo(name)
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return scaling


@dataclass(frozen=True, eq=False)
class _Package:
    """Content of a package."""

    checkpoint: Checkpoint
    scaling: IntensityScaling
    ranges: Ranges

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """Arguments of a `GreyLevelNetwork`, as YAML can hold them."""
        settings, scaling = asdict(self.checkpoint.settings), asdict(self.scaling)
        names = {"architecture": self.checkpoint.architecture, "settings": settings, "scaling": scaling}
        plain: dict[str, Any] = json.loads(json.dumps(names))
        return plain

    @property
    def halo(self) -> int:
        """Receptive field's radius, rounded up to the stride."""
        return halo_of(self.checkpoint.settings)

    @property
    def smallest(self) -> int:
        """Smallest side of an image of which anything is left without the halo."""
        return 2 * self.halo + self.checkpoint.settings.stride

    def files(self, checkpoint: bytes) -> dict[str, bytes]:
        """Contents of all files but the description, by name."""
        network = GreyLevelNetwork(**self.arguments).eval()
        network.network.load_state_dict(dict(self.checkpoint.weights))
        image = self._test_image()
        with torch.inference_mode():
            predicted = network(torch.from_numpy(image)).numpy()
        return {
            README: self._readme().encode(),
            CHECKPOINT: checkpoint,
            STATE: _written(torch.save, network.state_dict()),
            SCRIPT: torchscript_bytes(network, image.shape[1], self.checkpoint.settings.stride),
            _ENVIRONMENT: b"dependencies: [python>=3.11, pip, {pip: [napari-hrpn]}]\n",
            _TEST_INPUT: _written(lambda array, file: np.save(file, array), image),
            _TEST_OUTPUT: _written(lambda array, file: np.save(file, array), predicted),
        }

    def _test_image(self) -> NDArray[np.float32]:
        """A phantom of the smallest size, in the grey levels of the training slides."""
        card, side = self.checkpoint.card, self.smallest
        stains = phantom_slide("tiny", size=side, seed=1).slide.levels[0][:2].compute().astype(np.float64)
        # an input other than nuclei gets the picture of the vessels
        image = np.stack([stains[0 if role == "nuclei" else 1] for role in card.input_roles])
        if self.ranges:
            low, high = np.percentile(image, _RANGES_OF_CARDS, axis=(1, 2))[..., None, None]
            wanted = np.asarray(self.ranges, np.float64).T[..., None, None]
            image = wanted[0] + (image - low) / (high - low) * (wanted[1] - wanted[0])
        if np.issubdtype(card.dtype, np.integer):
            limits = np.iinfo(card.dtype)
            image = np.clip(np.rint(image), limits.min, limits.max)
        # in the type that the description states, as bioimageio.spec 0.5.3 demands
        return image.astype(np.float32)[None]

    def _readme(self) -> str:
        card, stride = self.checkpoint.card, self.checkpoint.settings.stride
        derived = [] if card.distance is None else [_derived(card.distance)]
        pixels = "" if card.pixel_size_um is None else f" with pixels of {card.pixel_size_um:g} µm"
        return "\n".join(
            [
                card.summary(),
                "## Use in other programs",
                "",
                f"- Input: the channels {', '.join(card.input_roles)}, in this order, as grey levels of the camera"
                f"{pixels}; nothing else scales them.",
                *derived,
                f"- Output: grey levels of {card.target}, as in the slides of the training ({card.dtype}).",
                f"- Sides: {self.smallest} px plus multiples of {stride} px. Up to {self.halo} px from the edge of a "
                "tile, the output depends on what lies outside (halo).",
                f"- Scaling, part of the network here: {scaling_in_words(card, self.scaling)}.",
                *([_ADAPTS] if card.scaling.kind == "percentile" else []),
                "",
                "## Validation",
                "",
                "Compare predictions with the imaged probe in sections of other animals: `napari-hrpn evaluate`. The "
                "metrics above are those of the training alone.",
                "",
                f"`napari-hrpn import` makes a checkpoint of napari-hrpn from this package ({CHECKPOINT}).",
                "",
            ]
        )

    def description(self, files: Mapping[str, bytes], authors: Sequence[str], licence: str | None) -> dict[str, Any]:
        """Content of the description."""
        checkpoint, card = self.checkpoint, self.checkpoint.card
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}

        def file(name: str) -> dict[str, str]:
            return {"source": name, "sha256": hashes[name]}

        network = NETWORKS[checkpoint.architecture]
        title = _OTHER_CHARACTERS.sub(" ", card.title)[:_LONGEST_TITLE].strip()
        torch_version = torch.__version__.partition("+")[0]
        return {
            "format_version": _SPEC,
            "type": "model",
            "name": f"{title} ({network.title})",
            "description": (card.description or f"Predicts {card.target}.")[:_LONGEST_DESCRIPTION],
            "authors": [{"name": author} for author in authors],
            **({} if licence is None else {"license": licence}),
            "cite": [{"text": text, "doi": doi} for text, doi in network.papers],
            "documentation": README,
            "tags": ["fluorescence-light-microscopy", "whole-slide-imaging", "2d", "tissue", "vasculature", "nuclei",
                     "pytorch", "in-silico-labeling", "nanoparticles", "tumour", "napari"],
            "attachments": [file(CHECKPOINT)],
            "inputs": [self._tensor("input", card.input_roles, file(_TEST_INPUT))],
            "outputs": [self._tensor("output", (card.target,), file(_TEST_OUTPUT))],
            "weights": {
                "pytorch_state_dict": {
                    **file(STATE),
                    "architecture": {
                        "callable": GreyLevelNetwork.__name__,
                        "import_from": "napari_hrpn.models",
                        "kwargs": self.arguments,
                    },
                    "pytorch_version": torch_version,
                    "dependencies": file(_ENVIRONMENT),
                },
                "torchscript": {**file(SCRIPT), "parent": "pytorch_state_dict", "pytorch_version": torch_version},
            },
            "config": {"napari_hrpn": {name: hashes[name] for name in WEIGHTS}},
        }  # fmt: skip

    def _tensor(self, name: str, channels: Sequence[str], test: Mapping[str, str]) -> dict[str, Any]:
        size = self.checkpoint.card.pixel_size_um
        scale = {} if size is None else {"unit": "micrometer", "scale": size}
        step = {"min": self.smallest, "step": self.checkpoint.settings.stride}

        def space(axis: str) -> dict[str, Any]:
            if name == "input":
                # of a copy, since YAML would write a reference to the first of two that are one object
                return {"type": "space", "id": axis, "size": dict(step), "concatenable": True, **scale}
            return {
                "type": "space",
                "id": axis,
                "size": {"tensor_id": "input", "axis_id": axis},
                "halo": self.halo,
                **scale,
            }

        return {
            "id": name,
            "axes": [{"type": "batch"}, {"type": "channel", "channel_names": list(channels)}, space("y"), space("x")],
            "data": {"type": "float32"},
            "test_tensor": test,
        }


_ADAPTS = (
    "- napari-hrpn itself measures these percentiles on every slide. In other programs they stay as they are here: a "
    "slide that was exposed otherwise needs a package of its own (`napari-hrpn export --slide`)."
)


def scaling_in_words(card: ModelCard, scaling: IntensityScaling) -> str:
    """Grey levels that become 0 and 1, for each input."""
    levels = (
        f"{role} {offset:.4g} to {offset + scale:.4g}"
        for role, offset, scale in zip(card.input_roles, scaling.offsets, scaling.scales, strict=True)
    )
    return f"grey levels of {', '.join(levels)} become 0 to 1"


def _written(write: Any, content: object) -> bytes:  # noqa: ANN401 (any function that writes into a file)
    file = io.BytesIO()
    write(content, file)
    return file.getvalue()

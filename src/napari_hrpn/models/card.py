"""Card of a checkpoint: inputs, target, scaling, how it was trained, and what it may be used for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_hrpn.models.scaling import IntensityScaling
from napari_hrpn.settings import DISTANCE, VESSELS
from napari_hrpn.settings.trained_network import stains_of
from napari_hrpn.settings.vessel_distance import VesselDistance

_QUANTILES = 7
_LARGEST_QUANTILE = 1e12
_COUNTABLE_UM = 0.01, 100.0
"""Pixel sizes that a slide may have: with others, a distance in µm is too many pixels for any memory."""
_PIXEL_TYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")


@dataclass(frozen=True)
class ModelCard:
    """Facts about a checkpoint: inputs, target, scaling, and how it was trained.

    Attributes
    ----------
    title, description : str
        Texts for people.
    input_roles : tuple of str
        Stain of each input channel, in order: "nuclei", "vessels", or the name of another stain; "distance" is derived
        from the vessels.
    target : str
        Stain that is predicted.
    scaling : IntensityScaling
        From grey levels to the network's numbers and back.
    pixel_size_um : float or None
        Pixel size of the slides trained on, in µm.
    dtype : str
        Pixel type of the slides trained on.
    input_ranges : tuple of (float, float)
        1st and 99.5th percentile of each input over the tissue trained on, in grey levels.
    input_quantiles : tuple of tuple of tuple of float
        For each slide trained on and each input, seven quantiles over the tissue, in the network's numbers.
    resamples : bool
        Whether every slide is brought to `pixel_size_um`, in training and in prediction.
    distance : VesselDistance or None
        How the distance to vessels is made, if it is one of the inputs.
    recipe, split, metrics, versions : dict
        Settings of the training, slides by part, what was reached, and versions of the packages.
    probe : dict
        What the target shows: name, size_nm, dose, hours after the injection; what is not known is left out.
    n_animals, n_sections : int or None
        Animals and sections trained on; None if not known.
    source, licence : str
        Where the slides trained on are from.
    known_faults : tuple of str
        What is known to be wrong with them, one sentence each.
    valid_for, not_for : str
        What the checkpoint may be used for, and what not.
    parent : dict
        The checkpoint that the training began with: digest, title, file, frozen parts, and the tumours that it or its
        own parents have seen; empty if it began with random weights.
    """

    title: str = "untitled"
    description: str = ""
    input_roles: tuple[str, ...] = ("nuclei", "vessels")
    target: str = "probe"
    scaling: IntensityScaling = field(default_factory=IntensityScaling)
    pixel_size_um: float | None = None
    dtype: str = "uint8"
    input_ranges: tuple[tuple[float, float], ...] = ()
    input_quantiles: tuple[tuple[tuple[float, ...], ...], ...] = ()
    resamples: bool = False
    distance: VesselDistance | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    split: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    parent: Mapping[str, Any] = field(default_factory=dict)
    probe: Mapping[str, Any] = field(default_factory=dict)
    n_animals: int | None = None
    n_sections: int | None = None
    source: str = ""
    licence: str = ""
    known_faults: tuple[str, ...] = ()
    valid_for: str = ""
    not_for: str = ""

    def __post_init__(self) -> None:
        if self.pixel_size_um is not None and not 0 < self.pixel_size_um < math.inf:
            msg = f"the card has a pixel size of {self.pixel_size_um} µm; expected more than 0."
            raise ValueError(msg)
        if self.dtype not in _PIXEL_TYPES:
            msg = f"the card has the pixel type {self.dtype!r}; expected one of {', '.join(_PIXEL_TYPES)}."
            raise ValueError(msg)
        quantiles = np.array(self.input_quantiles, dtype=object)
        if len(quantiles) and quantiles.shape[1:] != (len(self.input_roles), _QUANTILES):
            msg = f"the card has quantiles of shape {quantiles.shape}; expected {_QUANTILES} for each slide and input."
            raise ValueError(msg)
        if len(quantiles) and np.abs(quantiles.astype(np.float64)).max() > _LARGEST_QUANTILE:
            msg = f"the card has a quantile beyond {_LARGEST_QUANTILE:g}; expected the network's numbers, about 0 to 1."
            raise ValueError(msg)
        self._check_lengths()
        if len(self.input_ranges) not in (0, len(self.input_roles)):
            msg = f"the card has {len(self.input_ranges)} ranges for {len(self.input_roles)} inputs; expected one each."
            raise ValueError(msg)

    def _check_lengths(self) -> None:
        """Refuse what a prediction that counts in µm cannot use."""
        lowest, highest = _COUNTABLE_UM
        size, counts = self.pixel_size_um, self.distance is not None
        if (self.resamples or counts) and size is not None and not lowest <= size <= highest:
            msg = f"the card has a pixel size of {size:g} µm; expected {lowest:g} to {highest:g} µm."
            raise ValueError(msg)
        if self.resamples and size is None:
            msg = "the card says that slides are resampled but has no pixel size; expected one."
            raise ValueError(msg)
        if counts != (DISTANCE in self.input_roles) or (counts and VESSELS not in self.input_roles):
            msg = (
                f"the card has the inputs {', '.join(self.input_roles)}, and {'' if counts else 'no '}settings of the "
                "distance to vessels; expected vessels and distance with settings, or no distance and none."
            )
            raise ValueError(msg)

    @property
    def stains(self) -> tuple[str, ...]:
        """Inputs that are channels of a slide, and not derived from others, in order."""
        return stains_of(self.input_roles)

    @property
    def seen(self) -> tuple[str, ...]:
        """Names of the tumours that the network, or those that it began with, has learnt from or was chosen on."""
        parts = (self.split.get("train"), self.split.get("validation"), self.parent.get("seen"))
        found = (str(name) for part in parts if isinstance(part, list | tuple) for name in part)
        return tuple(dict.fromkeys(found))

    def summary(self) -> str:
        """Return the card as Markdown."""
        size = "unknown" if self.pixel_size_um is None else f"{self.pixel_size_um:g} µm"
        lines = [f"# {self.title}", "", self.description, ""]
        lines += [
            f"- Inputs: {', '.join(self.input_roles)} -> {self.target}",
            f"- Pixel size: {size}{', to which slides are resampled' * self.resamples}; pixel type: {self.dtype}",
        ]
        material = {
            "probe": ", ".join(f"{name.replace('_', ' ')} {_in_words(value)}" for name, value in self.probe.items()),
            "animals": self.n_animals,
            "sections": self.n_sections,
            "source": self.source,
            "licence": self.licence,
            "known faults": " ".join(self.known_faults),
            "valid for": self.valid_for,
            "not for": self.not_for,
        }
        lines += [f"- {name[0].upper()}{name[1:]}: {value or 'unknown'}" for name, value in material.items()]
        for heading in ("metrics", "split", "parent", "recipe", "versions"):
            if heading == "parent" and not self.parent:
                continue
            lines += ["", f"## {heading.capitalize()}", ""]
            facts = getattr(self, heading).items()
            lines += [f"- {key.replace('_', ' ')}: {_in_words(value)}" for key, value in facts] or ["- not recorded"]
        return "\n".join(lines) + "\n"


def _in_words(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_in_words, value)) or "none"
    return "none" if value is None else str(value)

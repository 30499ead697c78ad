"""A study as its small TOML file describes it: tumours, models, ablations.

Whatever the file says that cannot be meant is refused here, in a sentence that names the key and the file.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from napari_hrpn.experiments.errors import StudyError
from napari_hrpn.slides import slide_name
from napari_hrpn.training import SlideEntry, TrainingError, TrainingSettings, recipe_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MODELS = ("hrpn", "ganda")


@dataclass(frozen=True)
class Ablations:
    """Which parts of HRPN are taken away, in all combinations.

    Attributes
    ----------
    channels : tuple of tuple of str
        Sets of input stains.
    branches : tuple of int
        Numbers of branches.
    """

    channels: tuple[tuple[str, ...], ...] = (("nuclei",), ("vessels",), ("nuclei", "vessels"))
    branches: tuple[int, ...] = (1, 2, 4)


@dataclass(frozen=True)
class StudySlide:
    """A slide of a study.

    Attributes
    ----------
    name : str
        Different for every slide of the study, and fit for a file's name.
    entry : SlideEntry
        The slide.
    """

    name: str
    entry: SlideEntry


@dataclass(frozen=True)
class Study:
    """What is trained on what, and measured on what.

    Attributes
    ----------
    source : pathlib.Path
        The file that describes it.
    slides : tuple of StudySlide
        All slides.
    title : str
        For people.
    test : tuple of str
        Tumours that are never trained on and never choose an epoch.
    models : tuple of str
        "hrpn", "ganda" or both.
    recipe : str
        "paper" or "fast".
    validate : str
        Tumour that chooses the epoch of the final model; the last one that is not for testing where left out.
    settings : mapping of str to object
        Fields of `TrainingSettings` that differ from the recipe's; those of one model under its name.
    ablations : Ablations or None
        None: no ablations.
    folds : bool
        Leave each tumour out in turn; otherwise only the final model and the ablations are trained.
    """

    source: Path
    slides: tuple[StudySlide, ...]
    title: str = ""
    test: tuple[str, ...] = ()
    models: tuple[str, ...] = MODELS
    recipe: str = "fast"
    validate: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)
    ablations: Ablations | None = None
    folds: bool = True

    def __post_init__(self) -> None:
        self._check_models()
        self._check_tumours()
        for model in self.models:
            self.settings_for(model)
        self._check_ablations()

    @property
    def tumours(self) -> tuple[str, ...]:
        """Tumours that are trained on, each once, in the order of the file."""
        return tuple(dict.fromkeys(self._tumours_of(trained=True)))

    @property
    def final_validation(self) -> str:
        """Tumour that chooses the epoch of the final model."""
        return self.validate or self.tumours[-1]

    @property
    def reference_settings(self) -> TrainingSettings:
        """Settings whose inputs and target decide tissue and baselines: those of the first model."""
        return self.settings_for(self.models[0])

    def slides_of(self, tumours: Sequence[str]) -> tuple[StudySlide, ...]:
        """Return the slides of some tumours, in the order of the file."""
        return tuple(slide for slide in self.slides if slide.entry.tumour_id in tumours)

    def settings_for(self, model: str) -> TrainingSettings:
        """Settings of a model as the study has them, before any ablation.

        Parameters
        ----------
        model : str
            "hrpn" or "ganda".

        Returns
        -------
        TrainingSettings
            The recipe's, with the study's changes.

        Raises
        ------
        StudyError
            When a value is out of its range.
        """
        own = self.settings.get(model, {})
        changes = {name: value for name, value in self.settings.items() if name not in MODELS}
        try:
            return recipe_settings(self.recipe, model, **{**changes, **own})  # type: ignore[dict-item]
        except TrainingError as error:
            msg = f"the settings of {model} in {self.source.name} do not work: {error}"
            raise StudyError(msg) from error

    def with_settings(self, **changes: object) -> Study:
        """Return the study with settings that hold for all its models, whatever its file says."""
        kept = {
            name: {key: value for key, value in own.items() if key not in changes} if isinstance(own, dict) else own
            for name, own in self.settings.items()
        }
        return replace(self, settings={**kept, **changes})

    def _tumours_of(self, *, trained: bool) -> list[str]:
        return [slide.entry.tumour_id for slide in self.slides if (slide.entry.tumour_id not in self.test) == trained]

    def _check_models(self) -> None:
        wrong = [model for model in self.models if model not in MODELS]
        if wrong or not self.models or len(set(self.models)) < len(self.models):
            found = ", ".join(map(repr, self.models)) or "no model"
            msg = f"models of {self.source.name} is {found}; expected hrpn, ganda or both, each once."
            raise StudyError(msg)

    def _check_tumours(self) -> None:
        there = {slide.entry.tumour_id for slide in self.slides}
        for tumour in self.test:
            if tumour not in there:
                msg = f"test of {self.source.name} names the tumour {tumour!r}, which no slide is from: correct it."
                raise StudyError(msg)
        if len(self.tumours) < 2:
            msg = (
                f"{self.source.name} has {len(self.tumours)} tumour{'' if len(self.tumours) == 1 else 's'} that are "
                "not for testing; expected two or more, so that one can be held out: add [[slide]] tables."
            )
            raise StudyError(msg)
        if not (self.folds or self.test):
            msg = f"{self.source.name} has neither folds nor tumours for testing; expected one of them to measure on."
            raise StudyError(msg)
        if self.validate and self.validate not in self.tumours:
            msg = (
                f"validate of {self.source.name} is {self.validate!r}; expected one of the tumours that are not for "
                f"testing: {', '.join(self.tumours)}."
            )
            raise StudyError(msg)
        folders = Counter(readable(tumour).casefold() for tumour in there)
        alike = [tumour for tumour in sorted(there) if folders[readable(tumour).casefold()] > 1]
        if alike:
            msg = f"the tumours {' and '.join(alike)} of {self.source.name} differ too little for names of folders."
            raise StudyError(msg)

    def _check_ablations(self) -> None:
        if self.ablations is None:
            return
        base = self.settings_for("hrpn")
        try:
            for channels in self.ablations.channels:
                for branches in self.ablations.branches:
                    replace(base, channels=channels, branches=branches)
        except TrainingError as error:
            msg = f"the ablations of {self.source.name} do not work: {error}"
            raise StudyError(msg) from error


def readable(name: str) -> str:
    """A name that every file system takes."""
    return re.sub(r"[^\w.+]+", "-", name).strip(".-") or "unnamed"


def named_slides(entries: Sequence[SlideEntry]) -> tuple[StudySlide, ...]:
    """Give each slide a name of its own."""
    files = [readable(slide_name(entry.path)) for entry in entries]
    longer = [f"{readable(entry.tumour_id)}-{file}" for entry, file in zip(entries, files, strict=True)]
    names = files if _all_differ(files) else longer
    if not _all_differ(names):
        names = [f"{name}-{number}" for number, name in enumerate(names, start=1)]
    return tuple(StudySlide(name, entry) for name, entry in zip(names, entries, strict=True))


def _all_differ(names: Sequence[str]) -> bool:
    return len({name.casefold() for name in names}) == len(names)


def place_of(entry: SlideEntry) -> tuple[Any, ...]:
    """What tells one image from another: file, series and plane."""
    return entry.path.resolve(), entry.series, entry.z, entry.t

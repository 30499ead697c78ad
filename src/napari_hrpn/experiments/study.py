"""Study of several tumours: folds over them, models and ablations, and the networks to be trained.

A study that makes no sense is refused here, in a sentence that names the key and the file.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from napari_hrpn.core.plain_text import no_device
from napari_hrpn.settings.networks import COMPARED, HRPN, NETWORKS
from napari_hrpn.training import RunRequest, SlideEntry, TrainingError, TrainingSettings, recipe_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_FINAL = "final"


class StudyError(ValueError):
    """A study cannot be carried out; the message says what was found, what was expected and what to do."""


class IncompleteStudyError(StudyError):
    """A study has ended, but some of its networks have no result; the table of the others is in ``args[1]``."""

    def __str__(self) -> str:
        return str(self.args[0])


class StudyWarning(UserWarning):
    """One experiment of a study has failed, and the study continues without it."""


@dataclass(frozen=True)
class Ablations:
    """Grid of ablations of HRPN: all combinations of input stains and numbers of branches.

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
        Name that no other slide of the study has, usable as a file name.
    entry : SlideEntry
        Path, tumour, channels and regions.
    """

    name: str
    entry: SlideEntry


@dataclass(frozen=True)
class Study:
    """Slides, tumours, models, settings and ablations of a study.

    Attributes
    ----------
    source : pathlib.Path
        The file that describes it.
    slides : tuple of StudySlide
        All slides.
    title : str
        Title for people.
    test : tuple of str
        Tumours that are never trained on and never choose an epoch.
    models : tuple of str
        Names of networks.
    recipe : str
        "paper" or "fast".
    validate : str
        Tumour that chooses the epoch of the final model; if empty, the last one that is not for testing.
    settings : mapping of str to object
        Fields of `TrainingSettings` that differ from the recipe's; those of one model under its name.
    ablations : Ablations or None
        The ablation grid; None for no ablations.
    folds : bool
        Leave each tumour out in turn; otherwise only the final model and the ablations are trained.
    """

    source: Path
    slides: tuple[StudySlide, ...]
    title: str = ""
    test: tuple[str, ...] = ()
    models: tuple[str, ...] = COMPARED
    recipe: str = "fast"
    validate: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)
    ablations: Ablations | None = None
    folds: bool = True

    def __post_init__(self) -> None:
        # the first sentence is enough, and later checks rely on earlier ones
        for sentence in self._faults():
            raise StudyError(sentence)
        for model in self.models:
            self.settings_for(model)
        try:
            study_experiments(self)
        except TrainingError as error:
            msg = f"the ablations of {self.source.name} do not work: {error}"
            raise StudyError(msg) from error

    @property
    def tumours(self) -> tuple[str, ...]:
        """Tumours that are trained on, each once, in the order of the file."""
        return tuple(
            dict.fromkeys(tumour for slide in self.slides if (tumour := slide.entry.tumour_id) not in self.test)
        )

    @property
    def final_validation(self) -> str:
        """Tumour that chooses the epoch of the final model."""
        return self.validate or self.tumours[-1]

    @property
    def reference_settings(self) -> TrainingSettings:
        """Settings of the first model, whose inputs and target decide tissue and baselines for all models."""
        return self.settings_for(self.models[0])

    def slides_of(self, tumours: Sequence[str]) -> tuple[StudySlide, ...]:
        """Return the slides of some tumours, in the order of the file."""
        return tuple(slide for slide in self.slides if slide.entry.tumour_id in tumours)

    def settings_for(self, model: str) -> TrainingSettings:
        """Settings of a model in the study, before any ablation.

        Parameters
        ----------
        model : str
            Name of a network.

        Returns
        -------
        TrainingSettings
            Settings of the recipe, with the changes of the study.

        Raises
        ------
        StudyError
            If a value is out of its range.
        """
        of_model = self.settings.get(model, {})
        changes = {name: value for name, value in self.settings.items() if name not in NETWORKS}
        try:
            return recipe_settings(self.recipe, model, **{**changes, **of_model})  # type: ignore[dict-item]
        except TrainingError as error:
            msg = f"the settings of {model} in {self.source.name} do not work: {error}"
            raise StudyError(msg) from error

    def with_settings(self, **changes: object) -> Study:
        """Return the study with settings that override those of its file for all models."""
        kept = {
            name: {key: value for key, value in values.items() if key not in changes}
            for name, values in self.settings.items()
            if isinstance(values, dict)
        }
        return replace(self, settings={**self.settings, **kept, **changes})

    def _faults(self) -> Iterator[str]:
        """Sentences on what is wrong; each check relies on the checks before it."""
        file, tumours = self.source.name, {slide.entry.tumour_id for slide in self.slides}
        if not self.models or set(self.models) - set(NETWORKS) or len(set(self.models)) < len(self.models):
            models = ", ".join(map(repr, self.models)) or "no model"
            yield f"models of {file} is {models}; expected one or more of {', '.join(NETWORKS)}, each once."
        for tumour in self.test:
            if tumour not in tumours:
                yield f"test of {file} names the tumour {tumour!r}, which no slide is from: correct it."
        if len(self.tumours) < 2:
            yield (
                f"{file} has {len(self.tumours)} tumour{'' if len(self.tumours) == 1 else 's'} that are not for "
                "testing; expected two or more, so that one can be held out: add [[slide]] tables."
            )
        if not (self.folds or self.test):
            yield f"{file} has neither folds nor tumours for testing; expected one of them to measure on."
        if self.validate and self.validate not in self.tumours:
            yield (
                f"validate of {file} is {self.validate!r}; expected one of the tumours that are not for testing: "
                f"{', '.join(self.tumours)}."
            )
        # run folders are named after tumours, and some file systems do not distinguish upper and lower case
        folders = Counter(readable(tumour).casefold() for tumour in tumours)
        alike = [tumour for tumour in sorted(tumours) if folders[readable(tumour).casefold()] > 1]
        if alike:
            yield f"the tumours {' and '.join(alike)} of {file} differ too little for names of folders."


@dataclass(frozen=True)
class Fold:
    """A split of the tumours into training, validation and measurement."""

    name: str  # The tumour that is held out, or "final"
    part: Literal["validation", "test"]  # Purpose of the measured slides
    slides: tuple[StudySlide, ...]  # Slides of the training, and those of the tumour that chooses the epoch
    validate: str  # The tumour among them that chooses the epoch
    measured: tuple[StudySlide, ...]  # Slides that the network is measured on

    @property
    def learnable(self) -> tuple[StudySlide, ...]:
        """Slides for fits without epochs: those of training and validation, without the measured ones."""
        return tuple(slide for slide in self.slides if slide not in self.measured)

    @property
    def entries(self) -> tuple[SlideEntry, ...]:
        """Entries for the training; the measured slides of a test are marked, so that they are kept out."""
        seen = tuple(replace(slide.entry, part="auto") for slide in self.slides)
        held_out = self.measured if self.part == "test" else ()
        return (*seen, *(replace(slide.entry, part="test") for slide in held_out))


@dataclass(frozen=True)
class Experiment:
    """One network to train and to measure."""

    name: str  # Name of its folder
    fold: Fold
    settings: TrainingSettings
    ablation: bool = False  # Whether channels or branches differ from the study's own

    @property
    def request(self) -> RunRequest:
        """Request for the training."""
        return RunRequest(self.fold.entries, self.settings, self.fold.validate)


def study_folds(study: Study) -> tuple[Fold, ...]:
    """Leave one tumour out at a time, then train on all and test.

    A tumour that is held out also decides, as published, which epoch is kept, so its numbers are biased. The fold
    "final" trains on the tumours that are not for testing, except one that chooses the epoch, and measures the others.
    """
    seen = study.slides_of(study.tumours)
    left_out = study.tumours if study.folds else ()
    folds = [Fold(tumour, "validation", seen, tumour, study.slides_of((tumour,))) for tumour in left_out]
    if study.test:
        folds.append(Fold(_FINAL, "test", seen, study.final_validation, study.slides_of(study.test)))
    return tuple(folds)


def study_experiments(study: Study) -> tuple[Experiment, ...]:
    """All networks that a study trains, in order: each model on each fold, then the ablation grid of HRPN.

    The grid is trained on the final fold, or on the first fold if there are no test tumours. The cell that equals the
    study's own model is trained once.
    """
    folds = study_folds(study)
    experiments = [_experiment(fold, study.settings_for(model)) for model in study.models for fold in folds]
    if study.ablations is not None:
        base, fold = study.settings_for(HRPN.name), folds[-1] if study.test else folds[0]
        experiments += [
            _experiment(fold, replace(base, channels=channels, branches=branches), base)
            for channels in study.ablations.channels
            for branches in study.ablations.branches
        ]
    # a cell of the grid may equal a network that is trained already
    first_of_name: dict[str, Experiment] = {}
    for experiment in experiments:
        first_of_name.setdefault(experiment.name, experiment)
    return tuple(first_of_name.values())


def _experiment(fold: Fold, settings: TrainingSettings, base: TrainingSettings | None = None) -> Experiment:
    branches = settings.branches if "branches" in NETWORKS[settings.model].options else None
    name = run_name(settings.model, "+".join(settings.channels), branches, fold.name if fold.part != "test" else _FINAL)
    return Experiment(name, fold, settings, base is not None and settings != base)


def run_name(model: str, channels: str, branches: int | None, fold: str) -> str:
    """Name of the folder of a network, from the columns of its results."""
    number = "" if branches is None else f"-{branches}-branch{'es' * (branches > 1)}"
    ending = _FINAL if fold == _FINAL else f"without-{readable(fold)}"
    return f"{model}-{readable(channels)}{number}-{ending}"


def readable(name: str) -> str:
    """File name that every file system accepts, made from a name."""
    return no_device(re.sub(r"[^\w.+]+", "-", name).strip(".-") or "unnamed")

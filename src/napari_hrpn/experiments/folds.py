"""Which networks a study trains: folds over tumours, the final model, and the ablation grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from napari_hrpn.experiments.study import readable

if TYPE_CHECKING:
    from napari_hrpn.experiments.study import Study, StudySlide
    from napari_hrpn.training import TrainingSettings

_FINAL = "final"


@dataclass(frozen=True)
class Fold:
    """A division of the tumours.

    Attributes
    ----------
    name : str
        The tumour that is held out, or "final".
    part : {"validation", "test"}
        What the measured slides are for.
    slides : tuple of StudySlide
        What training sees: learnt from, or deciding which epoch is kept.
    validate : str
        The tumour among them that decides.
    measured : tuple of StudySlide
        What the network is measured on.
    """

    name: str
    part: Literal["validation", "test"]
    slides: tuple[StudySlide, ...]
    validate: str
    measured: tuple[StudySlide, ...]

    @property
    def learnable(self) -> tuple[StudySlide, ...]:
        """Slides that a fit without epochs may learn from: all that training sees, less what is measured."""
        held_out = {slide.name for slide in self.measured}
        return tuple(slide for slide in self.slides if slide.name not in held_out)


@dataclass(frozen=True)
class Experiment:
    """One network to train, and where to measure it.

    Attributes
    ----------
    name : str
        Of its folder.
    fold : Fold
        On what.
    settings : TrainingSettings
        How.
    ablation : bool
        Whether channels or branches differ from the study's own.
    """

    name: str
    fold: Fold
    settings: TrainingSettings
    ablation: bool = False


def study_folds(study: Study) -> tuple[Fold, ...]:
    """Leave one tumour out at a time, then train on all and test.

    Parameters
    ----------
    study : Study
        With its tumours.

    Returns
    -------
    tuple of Fold
        One per tumour that is not for testing; it is held out and, as published, also decides which epoch is kept,
        so its figures are not unbiased. Then, where there are tumours for testing, the fold "final": all others are
        seen in training, one of them decides which epoch is kept, and the test tumours are measured.
    """
    seen = study.slides_of(study.tumours)
    left_out = study.tumours if study.folds else ()
    folds = [Fold(tumour, "validation", seen, tumour, study.slides_of((tumour,))) for tumour in left_out]
    if study.test:
        folds.append(Fold(_FINAL, "test", seen, study.final_validation, study.slides_of(study.test)))
    return tuple(folds)


def study_experiments(study: Study) -> tuple[Experiment, ...]:
    """All networks that a study trains, in order.

    Parameters
    ----------
    study : Study
        With its models and ablations.

    Returns
    -------
    tuple of Experiment
        Each model on each fold; then the ablation grid of HRPN on the final fold, or on the first where there is
        nothing to test on. A cell of the grid that is the study's own model is trained once.
    """
    folds = study_folds(study)
    experiments = [_experiment(fold, study.settings_for(model)) for model in study.models for fold in folds]
    if study.ablations is not None:
        base, fold = study.settings_for("hrpn"), folds[-1] if study.test else folds[0]
        experiments += [
            _experiment(fold, replace(base, channels=channels, branches=branches), base)
            for channels in study.ablations.channels
            for branches in study.ablations.branches
        ]
    first_of_name: dict[str, Experiment] = {}
    for experiment in experiments:
        first_of_name.setdefault(experiment.name, experiment)
    return tuple(first_of_name.values())


def _experiment(fold: Fold, settings: TrainingSettings, base: TrainingSettings | None = None) -> Experiment:
    branches = f"-{settings.branches}-branch{'es' * (settings.branches > 1)}" if settings.model == "hrpn" else ""
    ending = _FINAL if fold.part == "test" else f"without-{readable(fold.name)}"
    name = f"{settings.model}-{readable('+'.join(settings.channels))}{branches}-{ending}"
    return Experiment(name, fold, settings, base is not None and settings != base)

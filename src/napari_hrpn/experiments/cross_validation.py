"""A whole study, from its file to one table: train, predict and measure, and go on wherever it was stopped."""

from __future__ import annotations

import warnings
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

from napari_hrpn.analysis import AgreementError, PairReport
from napari_hrpn.experiments.baseline_rows import baseline_rows
from napari_hrpn.experiments.errors import IncompleteStudyError, StudyWarning
from napari_hrpn.experiments.evaluation import evaluate
from napari_hrpn.experiments.folds import study_experiments, study_folds
from napari_hrpn.experiments.results import write_results
from napari_hrpn.experiments.study_folder import StudyFolder, run_request
from napari_hrpn.inference import PredictionError, TileReport, choose_device
from napari_hrpn.models import CheckpointError
from napari_hrpn.slides import SlideError
from napari_hrpn.training import EpochReport, StepReport, TrainingError, open_entry, train_model
from napari_hrpn.training.checks import check_training

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from napari_hrpn.experiments.folds import Experiment
    from napari_hrpn.experiments.results import ResultRow
    from napari_hrpn.experiments.study import Study

_Result = TypeVar("_Result")

_BASELINES = "baselines"
_TRAINING_SHARE = 0.9
"""Of the time of an experiment; the rest is prediction and measurement."""
_FAILURES = (TrainingError, PredictionError, AgreementError, SlideError, CheckpointError)
"""What ends one experiment, but not the study."""


@dataclass(frozen=True)
class StudyReport:
    """How far a study is.

    Attributes
    ----------
    experiment : str
        What is being done: the name of a run, or "baselines".
    done, total : int
        Finished networks, those of earlier runs included, and all of them.
    share : float
        Of this network, 0 to 1; 1 once it is finished and counted.
    inner : object
        What training, prediction or measurement reported, or the tuple of `ResultRow` of a network just finished.
    """

    experiment: str
    done: int
    total: int
    share: float
    inner: object


def cross_validate(
    study: Study, folder: str | Path, *, stop: Event | None = None
) -> Generator[StudyReport, None, Path | None]:
    """Carry out a study.

    Parameters
    ----------
    study : Study
        What is trained on what; see `read_study`.
    folder : str or Path
        Everything goes here. Networks that an earlier run finished are kept, the one it was at goes on.
    stop : threading.Event, optional
        Once set, the study ends after the step or tile being computed; the same call goes on from there.

    Yields
    ------
    StudyReport
        As it goes.

    Returns
    -------
    pathlib.Path or None
        ``results.csv``, with ``results.parquet`` beside it; None when it was stopped.

    Raises
    ------
    StudyError
        In one sentence, before any time is spent, when the study cannot work or the folder is another study's.
    IncompleteStudyError
        At the end, with the results of all others written, when a network could not be trained or measured.
    TrainingError, SlideError, PredictionError
        Before any time is spent.
    """
    place, stop = StudyFolder(Path(folder)), stop or Event()
    with place.locked():
        experiments = study_experiments(study)
        place.check(experiments)
        _check_all(study, place, [experiment for experiment in experiments if place.rows(experiment) is None])
        return (yield from _Course(study, place, experiments, stop).run())


def _check_all(study: Study, place: StudyFolder, pending: Sequence[Experiment]) -> None:
    """Refuse what cannot work before any of it begins: each slide, and one training of each kind."""
    for slide in study.slides:
        open_entry(slide.entry, study.reference_settings)
    one_of_each = {experiment.settings: experiment for experiment in reversed(pending)}
    for experiment in one_of_each.values():
        choose_device(experiment.settings.device)
        asked = run_request(experiment)
        check_training(asked.entries, asked.settings, place.run(experiment).path, asked.validate, place.patches)


class _Course:
    """One run over a study: what is finished, what failed, and how far it is."""

    def __init__(self, study: Study, place: StudyFolder, experiments: Sequence[Experiment], stop: Event) -> None:
        self._study, self._place, self._experiments, self._stop = study, place, experiments, stop
        self._baselines: tuple[ResultRow, ...] = ()
        self._finished = {each.name: rows for each in experiments if (rows := place.rows(each)) is not None}
        self._failures: dict[str, str] = {}

    def run(self) -> Generator[StudyReport, None, Path | None]:
        """Baselines, then each network that is not finished; None when it was stopped."""
        reading = baseline_rows(self._study, study_folds(self._study), self._place, self._study.reference_settings)
        baselines = yield from self._told(_BASELINES, reading, lambda _: 0.0, self._stop)
        if baselines is None:
            return None
        self._baselines = baselines
        for experiment in self._experiments:
            if experiment.name in self._finished:
                continue
            try:
                rows = yield from self._one(experiment)
            except _FAILURES as error:
                self._note_failure(experiment, error)
                continue
            if rows is None:
                return None
            self._place.keep(experiment, rows)
            self._finished[experiment.name] = rows
            self._write()
            yield StudyReport(experiment.name, len(self._finished), len(self._experiments), 0.0, rows)
        path = self._write()
        self._complain(path)
        return path

    def _one(self, experiment: Experiment) -> Generator[StudyReport, None, tuple[ResultRow, ...] | None]:
        asked, folder = run_request(experiment), self._place.run(experiment).path
        training = train_model(
            asked.entries,
            folder,
            asked.settings,
            validate=asked.validate,
            cache=self._place.patches,
            stop=self._stop,
        )
        result = yield from self._told(
            experiment.name, training, lambda report: _TRAINING_SHARE * _trained_share(report)
        )
        if self._stop.is_set():
            return None
        if result is None or result.checkpoint is None:
            raise TrainingError((result and result.reason) or "the training left no checkpoint.")
        measuring = evaluate(experiment, result, self._study.reference_settings, self._stop)
        return (
            yield from self._told(
                experiment.name,
                measuring,
                lambda report: _TRAINING_SHARE + (1 - _TRAINING_SHARE) * _measured_share(report),
            )
        )

    def _told(
        self,
        name: str,
        steps: Generator[Any, None, _Result],
        share: Callable[[object], float],
        stop: Event | None = None,
    ) -> Generator[StudyReport, None, _Result | None]:
        """Pass the reports of a piece of work on as those of the study."""
        with closing(steps):
            while stop is None or not stop.is_set():
                try:
                    report = next(steps)
                except StopIteration as end:
                    result: _Result = end.value
                    return result
                yield StudyReport(name, len(self._finished), len(self._experiments), share(report), report)
        return None

    def _note_failure(self, experiment: Experiment, error: Exception) -> None:
        self._failures[experiment.name] = str(error)
        warnings.warn(f"{experiment.name} has no result, the study goes on: {error}", StudyWarning, stacklevel=3)

    def _write(self) -> Path:
        finished = [self._finished[each.name] for each in self._experiments if each.name in self._finished]
        return write_results((row for rows in (self._baselines, *finished) for row in rows), self._place.path)

    def _complain(self, path: Path) -> None:
        if self._failures:
            name, sentence = next(iter(self._failures.items()))
            count = len(self._failures)
            msg = (
                f"{count} of {len(self._experiments)} networks {'has' if count == 1 else 'have'} no result, {name} "
                f"first ({sentence.rstrip('.')}); the others are in {path}."
            )
            raise IncompleteStudyError(msg, path)


def _trained_share(report: object) -> float:
    """Share of a training that is done."""
    if isinstance(report, StepReport):
        seconds, left = report.seconds, report.seconds_left
    elif isinstance(report, EpochReport):
        seconds, left = report.record.seconds, report.seconds_left
    else:
        return 0.0
    return seconds / max(1e-9, seconds + left)


def _measured_share(report: object) -> float:
    """Share of the prediction or measurement of a slide that is done."""
    if isinstance(report, TileReport):
        return 0.9 * report.finished / report.total
    if isinstance(report, PairReport):
        return 0.9 + 0.1 * report.done / report.total
    return 0.0

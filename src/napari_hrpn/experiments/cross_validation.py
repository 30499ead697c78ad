"""Cross-validation of a study from its file to one table: train, predict, measure; a stopped study goes on."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, TypeVar

from napari_hrpn.analysis import AgreementError
from napari_hrpn.core import Progress, Stopped, relayed
from napari_hrpn.experiments.evaluation import baseline_rows, network_rows
from napari_hrpn.experiments.results import write_results
from napari_hrpn.experiments.study import IncompleteStudyError, StudyWarning, study_experiments
from napari_hrpn.experiments.study_folder import StudyFolder
from napari_hrpn.inference import PredictionError, TileReport, choose_device
from napari_hrpn.models import CheckpointError
from napari_hrpn.slides import SlideError
from napari_hrpn.training import EpochReport, StepReport, TrainingError, open_entry, train_model
from napari_hrpn.training.checks import check_training

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_hrpn.experiments.results import ResultRow
    from napari_hrpn.experiments.study import Experiment, Study

_Report = TypeVar("_Report")
_Result = TypeVar("_Result")

_BASELINES = "baselines"
_TRAINING_SHARE, _PREDICTION_SHARE = 0.9, 0.09
"""Of the time of an experiment; the rest is measurement."""
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
    place = StudyFolder(Path(folder))
    with place.locked():
        run = _StudyRun(study, place, stop or Event())
        run.check()
        try:
            return (yield from run.carry_out())
        except Stopped:
            return None


class _StudyRun:
    """One run over a study: what is finished, what failed, and how far it is."""

    def __init__(self, study: Study, place: StudyFolder, stop: Event) -> None:
        self._study, self._place, self._stop = study, place, stop
        self._experiments = study_experiments(study)
        self._baselines: tuple[ResultRow, ...] = ()
        self._finished: dict[str, tuple[ResultRow, ...]] = {}
        self._failures: dict[str, str] = {}

    def check(self) -> None:
        """Refuse what cannot work before any of it begins: each slide, and one training of each kind."""
        self._place.check(self._experiments)
        found = {experiment.name: self._place.rows(experiment) for experiment in self._experiments}
        self._finished = {name: rows for name, rows in found.items() if rows is not None}
        for slide in self._study.slides:
            open_entry(slide.entry, self._study.reference_settings)
        for experiment in {experiment.settings: experiment for experiment in reversed(self._pending)}.values():
            choose_device(experiment.settings.device)
            asked = experiment.request
            folder = self._place.run(experiment).path
            check_training(asked.entries, asked.settings, folder, asked.validate, self._place.patches)

    def carry_out(self) -> Generator[StudyReport, None, Path]:
        """Baselines, then each network that is not finished."""
        self._baselines = yield from self._part(
            _BASELINES, baseline_rows(self._study, self._place), lambda _: 0.0, self._stop
        )
        for experiment in self._pending:
            try:
                rows = yield from self._one(experiment)
            except _FAILURES as error:
                self._failures[experiment.name] = str(error)
                sentence = f"{experiment.name} has no result, the study goes on: {error}"
                warnings.warn(sentence, StudyWarning, stacklevel=2)
                continue
            self._place.keep(experiment, rows)
            self._finished[experiment.name] = rows
            self._write()
            yield StudyReport(experiment.name, len(self._finished), len(self._experiments), 0.0, rows)
        path = self._write()
        if self._failures:
            raise IncompleteStudyError(self._complaint(path), path)
        return path

    @property
    def _pending(self) -> list[Experiment]:
        return [experiment for experiment in self._experiments if experiment.name not in self._finished]

    def _one(self, experiment: Experiment) -> Generator[StudyReport, None, tuple[ResultRow, ...]]:
        asked, folder, cache = experiment.request, self._place.run(experiment).path, self._place.patches
        training = train_model(
            asked.entries, folder, asked.settings, validate=asked.validate, cache=cache, stop=self._stop
        )
        # a training that is to stop keeps its state first, so it is run to its end
        result = yield from self._part(experiment.name, training, _share)
        if self._stop.is_set():
            raise Stopped
        if result.checkpoint is None:
            raise TrainingError(result.reason or "the training left no checkpoint.")
        measuring = network_rows(experiment, result, self._study.reference_settings, self._stop)
        return (yield from self._part(experiment.name, measuring, _share))

    def _part(
        self,
        name: str,
        steps: Generator[_Report, None, _Result],
        share: Callable[[_Report], float],
        stop: Event | None = None,
    ) -> Generator[StudyReport, None, _Result]:
        """Pass the reports of a piece of work on as those of the study."""
        done, total = len(self._finished), len(self._experiments)
        return (yield from relayed(steps, lambda report: StudyReport(name, done, total, share(report), report), stop))

    def _write(self) -> Path:
        finished = [self._finished.get(experiment.name, ()) for experiment in self._experiments]
        return write_results((row for rows in (self._baselines, *finished) for row in rows), self._place.path)

    def _complaint(self, path: Path) -> str:
        name, sentence = next(iter(self._failures.items()))
        count = len(self._failures)
        return (
            f"{count} of {len(self._experiments)} networks {'has' if count == 1 else 'have'} no result, {name} "
            f"first ({sentence.rstrip('.')}); the others are in {path}."
        )


def _share(report: object) -> float:
    """Share of an experiment that is done when its training, prediction or measurement reports."""
    if isinstance(report, StepReport | EpochReport):
        seconds = report.seconds if isinstance(report, StepReport) else report.record.seconds
        return _TRAINING_SHARE * seconds / max(1e-9, seconds + report.seconds_left)
    if isinstance(report, TileReport):
        return _TRAINING_SHARE + _PREDICTION_SHARE * report.finished / report.total
    if isinstance(report, Progress):
        before = _TRAINING_SHARE + _PREDICTION_SHARE
        return before + (1 - before) * report.share
    return 0.0

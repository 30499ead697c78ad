"""Cross-validation of a study: networks are trained, predict and are measured; a stopped study is resumed."""

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
from napari_hrpn.experiments.uncertainty import measure_errors
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

_BASELINES, _UNCERTAINTY = "baselines", "uncertainty"
_TRAINING_SHARE, _PREDICTION_SHARE = 0.9, 0.09
"""Shares of the time of an experiment; the rest is measurement."""
_FAILURES = (TrainingError, PredictionError, AgreementError, SlideError, CheckpointError)
"""Errors that end one experiment, but not the study."""


@dataclass(frozen=True)
class StudyReport:
    """Progress of a study.

    Attributes
    ----------
    experiment : str
        Name of the present run, "baselines", or "uncertainty".
    done, total : int
        Finished networks, those of earlier runs included, and all networks.
    share : float
        Finished share of the present network, 0 to 1.
    inner : object
        Report of the training, prediction or measurement, or the tuple of `ResultRow` of a network just finished.
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
        The study; see `read_study`.
    folder : str or Path
        Output folder. Networks that an earlier run finished are kept, and the one that was interrupted is resumed.
    stop : threading.Event, optional
        Once set, the study ends after the step or tile being computed; the same call resumes it.

    Yields
    ------
    StudyReport
        For each report of a training, prediction or measurement.

    Returns
    -------
    pathlib.Path or None
        ``results.csv``, with ``results.parquet`` beside it; None if the study was stopped.

    Raises
    ------
    StudyError
        In one sentence, before any training, if the study cannot work or the folder belongs to another study.
    IncompleteStudyError
        At the end, after the results of all other networks are written, if one could not be trained or measured.
    TrainingError, SlideError, PredictionError
        Before any training.
    """
    study_folder = StudyFolder(Path(folder))
    with study_folder.locked():
        run = _StudyRun(study, study_folder, stop or Event())
        run.check()
        try:
            return (yield from run.carry_out())
        except Stopped:
            return None


class _StudyRun:
    """One run over a study: its finished and failed experiments, and its progress."""

    def __init__(self, study: Study, folder: StudyFolder, stop: Event) -> None:
        self._study, self._folder, self._stop = study, folder, stop
        self._experiments = folder.as_begun(study_experiments(study))
        self._baselines: tuple[ResultRow, ...] = ()
        self._finished: dict[str, tuple[ResultRow, ...]] = {}
        self._failures: dict[str, str] = {}

    def check(self) -> None:
        """Check each slide, and one training for each set of settings, before any training begins."""
        self._folder.check(self._experiments)
        kept = {experiment.name: self._folder.rows(experiment) for experiment in self._experiments}
        self._finished = {name: rows for name, rows in kept.items() if rows is not None}
        for slide in self._study.slides:
            open_entry(slide.entry, self._study.reference_settings)
        # checks read slides, so experiments with equal settings are checked once
        for experiment in {experiment.settings: experiment for experiment in reversed(self._pending)}.values():
            choose_device(experiment.settings.device)
            request = experiment.request
            run_folder = self._folder.run(experiment).path
            check_training(request.entries, request.settings, run_folder, request.validate, self._folder.patches)

    def carry_out(self) -> Generator[StudyReport, None, Path]:
        """Baselines, then each network that is not finished, then the errors of all on held-out tumours."""
        self._baselines = yield from self._relayed(
            _BASELINES, baseline_rows(self._study, self._folder), lambda _: 0.0, self._stop
        )
        for experiment in self._pending:
            try:
                rows = yield from self._trained_and_measured(experiment)
            except _FAILURES as error:
                self._failures[experiment.name] = str(error)
                sentence = f"{experiment.name} has no result, the study continues: {error}"
                warnings.warn(sentence, StudyWarning, stacklevel=2)
                continue
            self._folder.keep(experiment, rows)
            self._finished[experiment.name] = rows
            # after each network, so that a study that is stopped has a table of what is finished
            self._write()
            yield StudyReport(experiment.name, len(self._finished), len(self._experiments), 0.0, rows)
        path = self._write()
        yield from self._error_models()
        if self._failures:
            raise IncompleteStudyError(self._complaint(path), path)
        return path

    def _error_models(self) -> Generator[StudyReport, None, None]:
        steps = measure_errors(self._experiments, self._folder, self._study.reference_settings, self._stop)
        try:
            yield from self._relayed(_UNCERTAINTY, steps, lambda _: 0.0, self._stop)
        except _FAILURES as error:
            sentence = f"the errors on held-out tumours are not measured, all other results are there: {error}"
            warnings.warn(sentence, StudyWarning, stacklevel=2)

    @property
    def _pending(self) -> list[Experiment]:
        return [experiment for experiment in self._experiments if experiment.name not in self._finished]

    def _trained_and_measured(self, experiment: Experiment) -> Generator[StudyReport, None, tuple[ResultRow, ...]]:
        request, run_folder = experiment.request, self._folder.run(experiment).path
        training = train_model(
            request.entries,
            run_folder,
            request.settings,
            validate=request.validate,
            cache=self._folder.patches,
            stop=self._stop,
        )
        # a training saves its state when it is stopped, so its generator must not be closed before its end
        result = yield from self._relayed(experiment.name, training, _share)
        if self._stop.is_set():
            raise Stopped
        if result.checkpoint is None:
            raise TrainingError(result.reason or "the training has made no checkpoint.")
        measuring = network_rows(experiment, result, self._study.reference_settings, self._stop)
        return (yield from self._relayed(experiment.name, measuring, _share))

    def _relayed(
        self,
        name: str,
        steps: Generator[_Report, None, _Result],
        share: Callable[[_Report], float],
        stop: Event | None = None,
    ) -> Generator[StudyReport, None, _Result]:
        """Run a piece of work, with its reports passed on as reports of the study."""
        done, total = len(self._finished), len(self._experiments)
        return (yield from relayed(steps, lambda report: StudyReport(name, done, total, share(report), report), stop))

    def _write(self) -> Path:
        finished = [self._finished.get(experiment.name, ()) for experiment in self._experiments]
        return write_results((row for rows in (self._baselines, *finished) for row in rows), self._folder.path)

    def _complaint(self, path: Path) -> str:
        name, sentence = next(iter(self._failures.items()))
        count = len(self._failures)
        return (
            f"{count} of {len(self._experiments)} networks {'has' if count == 1 else 'have'} no result, {name} "
            f"first ({sentence.rstrip('.')}); the others are in {path}."
        )


def _share(report: object) -> float:
    """Finished share of an experiment at a report of its training, prediction or measurement."""
    if isinstance(report, StepReport | EpochReport):
        seconds = report.seconds if isinstance(report, StepReport) else report.record.seconds
        return _TRAINING_SHARE * seconds / max(1e-9, seconds + report.seconds_left)
    if isinstance(report, TileReport):
        return _TRAINING_SHARE + _PREDICTION_SHARE * report.finished / report.total
    if isinstance(report, Progress):
        before = _TRAINING_SHARE + _PREDICTION_SHARE
        return before + (1 - before) * report.share
    return 0.0

"""Folder of a study: one run folder per network, and the record of what is finished."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.core.files import differing, locked_folder, save_json, saved_json
from napari_hrpn.experiments.baselines import SIGMAS_UM, BlurMoments
from napari_hrpn.experiments.results import ResultRow, read_results
from napari_hrpn.experiments.study import StudyError, run_name
from napari_hrpn.models import load_checkpoint
from napari_hrpn.settings.networks import NETWORKS, NO_AUGMENTATION
from napari_hrpn.slides import open_slide, slide_identity
from napari_hrpn.training import RunFolder
from napari_hrpn.training.start import named_or_kept

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from napari_hrpn.experiments.study import Experiment, StudySlide
    from napari_hrpn.training import TrainingSettings

_FORMAT = "napari-hrpn experiment 1"
_METRICS = "metrics.json"
_ANYWHERE = ("device",)
"""Settings that do not change the trained network, and may differ when a study is resumed."""
UNCERTAINTY = "uncertainty.json"
"""Errors of the networks on the tumours that were held out."""


class StudyFolder:
    """Folder that holds the runs, patches, baselines and results of a study."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.patches = path / "patches"
        self._identities: dict[str, str] = {}

    def run(self, experiment: Experiment) -> RunFolder:
        """Return the run folder of an experiment."""
        return RunFolder(self.path / "runs" / experiment.name)

    def locked(self) -> AbstractContextManager[None]:
        """Lock the folder against other programs, for the length of a block."""
        return locked_folder(self.path, StudyError, "carrying out a study in", "study")

    def as_begun(self, experiments: Sequence[Experiment]) -> tuple[Experiment, ...]:
        """Experiments without augmentation, if a run in this folder is older than its options."""
        begun = next((run for run in map(self.run, experiments) if run.request() is not None), None)
        if begun is None:
            return tuple(experiments)
        return tuple(replace(one, settings=begun.as_begun(one.request).settings) for one in experiments)

    def check(self, experiments: Sequence[Experiment]) -> None:
        """Refuse a folder with a run that was made from other slides, tumours or settings."""
        for experiment in experiments:
            run, finished = self.run(experiment), self._finished(experiment)
            if finished is not None:
                difference = _difference(finished["request"], self._request(experiment)) or _replaced(finished, run)
            else:
                begun = run.request()
                differs = begun is not None and not begun.matches(experiment.request)
                difference = "it was begun with other slides or settings" if differs else ""
            if difference:
                msg = (
                    f"{run.path} was made from another study ({difference}); choose another folder, restore the study, "
                    "or delete that run to have it made again."
                )
                raise StudyError(msg)

    def rows(self, experiment: Experiment) -> tuple[ResultRow, ...] | None:
        """Rows of a finished experiment; None if it is not finished."""
        record = self._finished(experiment)
        return None if record is None else tuple(map(ResultRow.from_plain, record["rows"]))

    def keep(self, experiment: Experiment, rows: Sequence[ResultRow]) -> None:
        """Mark an experiment as finished; this record is written last, after all its other files."""
        run = self.run(experiment)
        made = {"request": self._request(experiment), "checkpoint": load_checkpoint(run.checkpoint).digest}
        save_json(run.path / _METRICS, {"format": _FORMAT, **made, "rows": [row.plain() for row in rows]})

    def moments(self, slide: StudySlide, settings: TrainingSettings) -> BlurMoments | None:
        """Sums of a slide for the baselines; None if there are none, or they are of another slide or settings."""
        record = saved_json(self._baseline(slide), StudyError)
        if record is None or record.get("request") != self._moments_request(slide, settings):
            return None
        return BlurMoments(np.array(record["tissue"]), np.array(record["frame"]))

    def keep_moments(self, slide: StudySlide, settings: TrainingSettings, moments: BlurMoments) -> None:
        """Keep the sums of a slide for the baselines."""
        sums = {"tissue": moments.tissue.tolist(), "frame": moments.frame.tolist()}
        save_json(self._baseline(slide), {"request": self._moments_request(slide, settings), **sums})

    def _baseline(self, slide: StudySlide) -> Path:
        return self.path / "baselines" / f"{slide.name}.json"

    def _moments_request(self, slide: StudySlide, settings: TrainingSettings) -> dict[str, Any]:
        return {
            "slide": self._identity(slide),
            "roles": dict(slide.entry.roles),
            "channels": [*settings.channels, settings.target],
            "sigmas_um": list(SIGMAS_UM),
        }

    def _identity(self, slide: StudySlide) -> str:
        """Hash of a slide's identity and its regions."""
        if slide.name not in self._identities:
            entry = slide.entry
            opened = slide_identity(open_slide(entry.path, series=entry.series, z=entry.z, t=entry.t))
            regions = b"" if entry.regions is None else entry.regions.read_bytes() + "\0".join(entry.classes).encode()
            self._identities[slide.name] = f"{opened}-{hashlib.sha256(regions).hexdigest()[:8]}" if regions else opened
        return self._identities[slide.name]

    def _finished(self, experiment: Experiment) -> dict[str, Any] | None:
        path = self.run(experiment).path / _METRICS
        record = saved_json(path, StudyError)
        if record is not None and record.get("format") != _FORMAT:
            msg = f"{path} was not written by a study of this program; choose another folder for the study."
            raise StudyError(msg)
        return record

    def _request(self, experiment: Experiment) -> dict[str, Any]:
        fold = experiment.fold
        slides = {
            slide.name: {
                "tumour": slide.entry.tumour_id,
                "roles": dict(slide.entry.roles),
                "identity": self._identity(slide),
            }
            for slide in (*fold.slides, *fold.measured)
        }
        settings = asdict(experiment.settings)
        if experiment.settings.start is not None:
            settings["start"] = named_or_kept(experiment.settings.start, self.run(experiment).start).digest
        request = {
            # studies from before there was such a field are resumed: an empty one is as good as none
            "settings": {name: value for name, value in settings.items() if name not in _ANYWHERE and value != ()},
            "slides": slides,
            "validate": fold.validate,
            "measured": [slide.name for slide in fold.measured],
        }
        # as it will be read back: tuples become lists, so that equal requests compare equal
        plain: dict[str, Any] = json.loads(json.dumps(request))
        return plain


def fold_checkpoints(folder: Path) -> tuple[Path, ...]:
    """Networks of the folds of a finished study, of its first model: an ensemble; without folds, the final network.

    Parameters
    ----------
    folder : pathlib.Path
        Output folder of the study.

    Returns
    -------
    tuple of pathlib.Path
        A checkpoint for each tumour that was held out, in the order of the study, or that of the final network.

    Raises
    ------
    StudyError
        If the folder holds no study, or a network is not finished, or there is one alone whose errors on held-out
        tumours were not measured.
    """
    table = folder / "results.csv"
    if not table.is_file():
        msg = f"{folder} holds no results of a study; expected the output folder of napari-hrpn cross-validate."
        raise StudyError(msg)
    whole = [row for row in read_results(table) if not row.ablation]
    rows = [row for row in whole if row.part == "validation"] or whole
    # baselines have rows for every fold from the beginning, networks as soon as they are finished
    folds = dict.fromkeys(row.fold for row in rows)
    networks = [row for row in rows if row.model in NETWORKS]
    runs = {row.fold: row for row in networks if row.model == networks[0].model}
    missing = [fold for fold in folds if fold not in runs]
    if missing:
        which = "final network" if rows[0].part == "test" else f"network without {missing[0]}"
        msg = (
            f"the study in {folder} is not finished: there is no {which} yet; run "
            "napari-hrpn cross-validate again to resume it."
        )
        raise StudyError(msg)
    if len(runs) < 2 and not (folder / UNCERTAINTY).is_file():
        msg = (
            f"the study in {folder} has too few networks for an ensemble ({len(runs)}), and their errors on held-out "
            "tumours are not measured; run napari-hrpn cross-validate again, which does so without training again."
        )
        raise StudyError(msg)
    names = (run_name(row.model, row.channels, row.branches, fold) for fold, row in runs.items())
    return tuple(RunFolder(folder / "runs" / name).checkpoint for name in names)


def _replaced(finished: dict[str, Any], run: RunFolder) -> str:
    # studies of earlier versions do not record it, and a user may delete checkpoints once the results are there
    if "checkpoint" not in finished or not run.checkpoint.exists():
        return ""
    is_same = load_checkpoint(run.checkpoint).digest == finished["checkpoint"]
    return "" if is_same else "its checkpoint is another network than that of its results"


def _difference(earlier: dict[str, Any], now: dict[str, Any]) -> str:
    earlier = {**earlier, "settings": {**NO_AUGMENTATION, **earlier["settings"]}}
    for name in differing(earlier["settings"], now["settings"]):
        return f"{name} was {earlier['settings'].get(name)}, now it is {now['settings'].get(name)}"
    for name in differing(earlier["slides"], now["slides"]):
        return f"the slide {name} is new, gone or changed"
    is_split_otherwise = any(earlier.get(name) != now[name] for name in ("validate", "measured"))
    return "other tumours were held out" if is_split_otherwise else ""

"""Folder of a study: one run folder per network, and what is finished of what is asked for."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.core.files import differing, locked_folder, save_json, saved_json
from napari_hrpn.experiments.baselines import SIGMAS_UM, BlurMoments
from napari_hrpn.experiments.results import ResultRow
from napari_hrpn.experiments.study import StudyError
from napari_hrpn.slides import open_slide, slide_identity
from napari_hrpn.training import RunFolder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from napari_hrpn.experiments.study import Experiment, StudySlide
    from napari_hrpn.training import TrainingSettings

_FORMAT = "napari-hrpn experiment 1"
_METRICS = "metrics.json"
_ANYWHERE = ("device",)
"""Settings that do not change what is learnt."""


class StudyFolder:
    """Where a study is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.patches = path / "patches"
        self._identities: dict[str, str] = {}

    def run(self, experiment: Experiment) -> RunFolder:
        """Return the run folder of an experiment."""
        return RunFolder(self.path / "runs" / experiment.name)

    def locked(self) -> AbstractContextManager[None]:
        """Keep other programs from carrying out a study here at the same time."""
        return locked_folder(self.path, StudyError, "carrying out a study in", "study")

    def check(self, experiments: Sequence[Experiment]) -> None:
        """Refuse to go on where what is there was made from something else."""
        for experiment in experiments:
            run, finished = self.run(experiment), self._finished(experiment)
            if finished is not None:
                difference = _difference(finished["request"], self._request(experiment))
            else:
                begun = run.request()
                differs = begun is not None and not begun.matches(experiment.request)
                difference = "it began with other slides or settings" if differs else ""
            if difference:
                msg = (
                    f"{run.path} was made from another study ({difference}); choose another folder, restore the study, "
                    "or delete that run to have it made again."
                )
                raise StudyError(msg)

    def rows(self, experiment: Experiment) -> tuple[ResultRow, ...] | None:
        """Rows of a finished experiment; None where it is not finished."""
        found = self._finished(experiment)
        return None if found is None else tuple(map(ResultRow.from_plain, found["rows"]))

    def keep(self, experiment: Experiment, rows: Sequence[ResultRow]) -> None:
        """Mark an experiment as finished; the last thing that is written of it."""
        content = {"format": _FORMAT, "request": self._request(experiment), "rows": [row.plain() for row in rows]}
        save_json(self.run(experiment).path / _METRICS, content)

    def moments(self, slide: StudySlide, settings: TrainingSettings) -> BlurMoments | None:
        """Sums of a slide for the baselines; None where they are not kept, or of another slide or settings."""
        found = saved_json(self._baseline(slide), StudyError)
        if found is None or found.get("request") != self._moments_request(slide, settings):
            return None
        return BlurMoments(np.array(found["tissue"]), np.array(found["frame"]))

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
        """Fingerprint of a slide and its regions."""
        if slide.name not in self._identities:
            entry = slide.entry
            opened = slide_identity(open_slide(entry.path, series=entry.series, z=entry.z, t=entry.t))
            regions = b"" if entry.regions is None else entry.regions.read_bytes()
            self._identities[slide.name] = f"{opened}-{hashlib.sha256(regions).hexdigest()[:8]}" if regions else opened
        return self._identities[slide.name]

    def _finished(self, experiment: Experiment) -> dict[str, Any] | None:
        path = self.run(experiment).path / _METRICS
        found = saved_json(path, StudyError)
        if found is not None and found.get("format") != _FORMAT:
            msg = f"{path} is not of a study by this program; choose another folder for the study."
            raise StudyError(msg)
        return found

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
        request = {
            "settings": {name: value for name, value in asdict(experiment.settings).items() if name not in _ANYWHERE},
            "slides": slides,
            "validate": fold.validate,
            "measured": [slide.name for slide in fold.measured],
        }
        plain: dict[str, Any] = json.loads(json.dumps(request))
        return plain


def _difference(found: dict[str, Any], asked: dict[str, Any]) -> str:
    for name in differing(found["settings"], asked["settings"]):
        return f"{name} was {found['settings'].get(name)}, now it is {asked['settings'].get(name)}"
    for name in differing(found["slides"], asked["slides"]):
        return f"the slide {name} is new, gone or changed"
    return "other tumours were held out" if differing(found, asked) else ""

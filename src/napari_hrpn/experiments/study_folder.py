"""The folder of a study: one run folder per network, and what is finished, which must be what is asked for now."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from napari_hrpn.core.files import locked_folder, replaced_file, saved_json
from napari_hrpn.experiments.errors import StudyError
from napari_hrpn.experiments.results import plain_row, row_from_plain
from napari_hrpn.slides import open_slide, slide_identity
from napari_hrpn.training import RunFolder, RunRequest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from napari_hrpn.experiments.folds import Experiment, Fold
    from napari_hrpn.experiments.results import ResultRow
    from napari_hrpn.experiments.study import StudySlide
    from napari_hrpn.training import SlideEntry

_FORMAT = "napari-hrpn experiment 1"
_METRICS = "metrics.json"
_ANYWHERE = ("device",)
"""Settings that do not change what is learnt."""


class StudyFolder:
    """Where a study is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.patches = path / "patches"
        self.baselines = path / "baselines"
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
            run = self.run(experiment)
            found = self._finished(experiment)
            if found is not None:
                difference = _difference(found["request"], self._request(experiment))
            else:
                request = run.request()
                asked = run_request(experiment)
                differs = request is not None and not request.matches(asked)
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
        return None if found is None else tuple(row_from_plain(row) for row in found["rows"])

    def keep(self, experiment: Experiment, rows: Sequence[ResultRow]) -> None:
        """Mark an experiment as finished; the last thing that is written of it."""
        content = {"format": _FORMAT, "request": self._request(experiment), "rows": [plain_row(row) for row in rows]}
        write_json(self.run(experiment).path / _METRICS, content)

    def identity(self, slide: StudySlide) -> str:
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
        asked = run_request(experiment)
        settings = {name: value for name, value in asdict(asked.settings).items() if name not in _ANYWHERE}
        slides = {
            slide.name: {
                "tumour": slide.entry.tumour_id,
                "roles": dict(slide.entry.roles),
                "identity": self.identity(slide),
            }
            for slide in (*experiment.fold.slides, *experiment.fold.measured)
        }
        request = {
            "settings": settings,
            "slides": slides,
            "validate": asked.validate,
            "measured": [slide.name for slide in experiment.fold.measured],
        }
        plain: dict[str, Any] = json.loads(json.dumps(request))
        return plain


def run_request(experiment: Experiment) -> RunRequest:
    """What an experiment asks of the training."""
    return RunRequest(fold_entries(experiment.fold), experiment.settings, experiment.fold.validate)


def fold_entries(fold: Fold) -> tuple[SlideEntry, ...]:
    """Slides of a fold for the training."""
    seen = tuple(replace(slide.entry, part="auto") for slide in fold.slides)
    held_out = fold.measured if fold.part == "test" else ()
    return (*seen, *(replace(slide.entry, part="test") for slide in held_out))


def write_json(path: Path, content: object) -> None:
    """Write JSON in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _difference(found: dict[str, Any], asked: dict[str, Any]) -> str:
    for name, value in asked["settings"].items():
        was = found["settings"].get(name)
        if was != value:
            return f"{name} was {was}, now it is {value}"
    for name in sorted(found["slides"].keys() | asked["slides"].keys()):
        if found["slides"].get(name) != asked["slides"].get(name):
            return f"the slide {name} is new, gone or changed"
    same = found == asked
    return "" if same else "other tumours were held out"

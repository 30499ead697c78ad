"""Folders of reports: what was asked for, finished parts, and what may be replaced."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from napari_hrpn.core.files import LOCK, differing, locked_folder, saved_json
from napari_hrpn.slides.writers.output_path import partial_output, remove

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path


class ReportError(ValueError):
    """A report cannot be written; the message says what was found, what was expected and what to do."""


FORMAT = "napari-hrpn evaluation 1"
REGIONS = "rois.geojson"
FIGURES, TABLES, _UNFINISHED = "figures", "tables", "unfinished"
_REQUEST, _PARTS = "request.json", "parts"
_WORDS = {
    "real": "the real slide or its channel",
    "roles": "the roles of the channels",
    "predictions": "the predictions",
    "tissue": "the tissue mask",
    "rois": "the regions of interest",
    "tumour": "the name of the tumour",
    "settings": "the settings",
}


class ReportFolder:
    """Where an evaluation or a cohort is kept, and what is finished of it; only files of its own are removed."""

    def __init__(self, path: Path, kind: str = "an evaluation", others: tuple[str, ...] = (REGIONS,)) -> None:
        self._kind, self._noun = kind, kind.split()[1]
        self.path, self._unfinished = path, path / _UNFINISHED
        self.json, self.page = path / f"{self._noun}.json", path / f"{self._noun}.html"
        self.format = f"napari-hrpn {self._noun} 1"
        self._results = self.page.name, *others, FIGURES, TABLES

    def locked(self) -> AbstractContextManager[None]:
        """Keep other programs from writing a report here at the same time."""
        self._check_is_folder()
        return locked_folder(self.path, ReportError, f"writing {self._kind} into", self._noun)

    def report(self) -> dict[str, Any] | None:
        """The report that is here, or the request of an unfinished one; None where nothing is."""
        self._check_is_folder()
        finished = saved_json(self.json, ReportError)
        if finished is not None:
            if finished.get("format") != self.format:
                msg = f"{self.json} is not of {self._kind} by this program; choose another folder."
                raise ReportError(msg)
            return finished
        begun = saved_json(self._unfinished / _REQUEST, ReportError)
        # the request of an evaluation does not name its format
        if begun is not None and begun.get("format", FORMAT) == self.format:
            return begun
        taken = [name for name in (*self._results, _UNFINISHED) if (self.path / name).exists()]
        if taken:
            msg = f"{self.path} holds {taken[0]}, which is not of {self._kind}; choose a new or empty folder."
            raise ReportError(msg)
        return None

    def begin(self, request: Mapping[str, Any], *, overwrite: bool = False) -> bool:
        """Make sure that the evaluation that is here is the one that is asked for; returns whether it is finished."""
        found = self._request()
        if found == request:
            # a page that somebody deleted is made again
            return self.json.exists() and self.page.exists()
        if found is not None and not overwrite:
            msg = (
                f"{self.path} holds another {self._noun} ({_difference(found, request)} differ); choose another "
                "folder, or --overwrite it."
            )
            raise ReportError(msg)
        self.start(request)
        return False

    def start(self, request: Mapping[str, Any]) -> None:
        """Note what is going to be made, and remove an older report."""
        # parts of another request must be gone before this one is noted, and the request be there while results go
        remove(self._unfinished / _PARTS)
        _write_json(self._unfinished / _REQUEST, request)
        for name in (self.json.name, *self._results):
            remove(self.path / name)

    def is_free_for(self, request: Mapping[str, Any]) -> bool:
        """Whether nothing else is here: no folder, an empty one, or what was begun or made of this request."""
        try:
            found = self._request()
        except ReportError:
            return False
        if found is None:
            return not self.path.exists() or all(one.name == LOCK for one in self.path.iterdir())
        return found == request

    def parts(self) -> dict[str, dict[str, Any]]:
        """Parts that are finished, by name."""
        found = {}
        for path in sorted((self._unfinished / _PARTS).glob("*.json")):
            content = saved_json(path, ReportError)
            if content is not None:
                found[str(content["name"])] = dict(content["found"])
        return found

    def keep(self, name: str, found: Mapping[str, Any]) -> None:
        """Keep a part that is finished."""
        # a name may hold what no file name can
        number = len(list((self._unfinished / _PARTS).glob("*.json")))
        _write_json(self._unfinished / _PARTS / f"{number:03d}.json", {"name": name, "found": found})

    def finish(self, content: Mapping[str, Any], page: str) -> None:
        """Write the page and, the last thing of all, the JSON; clear away what was kept for a resumption."""
        with partial_output(self.page, None, overwrite=True) as partial:
            partial.write_text(page, encoding="utf-8")
        _write_json(self.json, content)
        shutil.rmtree(self._unfinished, ignore_errors=True)

    def _request(self) -> dict[str, Any] | None:
        found = self.report()
        return found["about"]["request"] if found is not None and self.json.exists() else found

    def _check_is_folder(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            msg = f"{self.path} is a file; name a folder for the {self._noun}."
            raise ReportError(msg)


def read_evaluation(folder: Path) -> dict[str, Any]:
    """Read a complete evaluation.

    Parameters
    ----------
    folder : pathlib.Path
        As `write_evaluation` left it.

    Returns
    -------
    dict
        What is in its ``evaluation.json``.

    Raises
    ------
    ReportError
        If there is none.
    """
    path = ReportFolder(folder).json
    found = saved_json(path, ReportError)
    if found is None:
        state = "an unfinished evaluation" if (folder / _UNFINISHED).is_dir() else "no evaluation"
        msg = f"{folder} holds {state}; expected a folder that `napari-hrpn evaluate` has completed."
        raise ReportError(msg)
    if found.get("format") != FORMAT:
        msg = f"{path} is of another kind ({found.get('format')}); expected {FORMAT}: evaluate the slide again."
        raise ReportError(msg)
    return found


def _write_json(path: Path, content: object) -> None:
    """Write JSON in one step; a file that is there is replaced."""
    # piece by piece: all pieces together would take several times the memory of the content
    with partial_output(path, None, overwrite=True) as partial, partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, allow_nan=False, ensure_ascii=False)
        file.write("\n")


def _difference(found: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    return " and ".join(_WORDS.get(name, name) for name in differing(found, asked))

"""Folder of a report: its request, its finished parts, and rules for replacing an earlier report."""

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
# names of the fields of a request in messages
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
    """Folder of an evaluation or a cohort, finished or not; only files that a report writes are ever removed."""

    def __init__(self, path: Path, kind: str = "an evaluation", others: tuple[str, ...] = (REGIONS,)) -> None:
        self._kind, self._noun = kind, kind.split()[1]
        self.path, self._unfinished = path, path / _UNFINISHED
        self.json, self.page = path / f"{self._noun}.json", path / f"{self._noun}.html"
        self.format = f"napari-hrpn {self._noun} 1"
        self._results = self.page.name, *others, FIGURES, TABLES

    def locked(self) -> AbstractContextManager[None]:
        """Lock the folder against other programs, for the length of a block."""
        self._check_is_folder()
        return locked_folder(self.path, ReportError, f"writing {self._kind} into", self._noun)

    def report(self) -> dict[str, Any] | None:
        """Content of the finished report, or request of an unfinished one; None if there is neither."""
        self._check_is_folder()
        finished = saved_json(self.json, ReportError)
        if finished is not None:
            if finished.get("format") != self.format:
                msg = f"{self.json} is not {self._kind} of this program; choose another folder."
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
        """Begin or resume a report, unless a different one is in the way; returns whether it is finished already."""
        earlier = self._request()
        if earlier == request:
            # a page that the user deleted is made again
            is_finished = self.json.exists() and self.page.exists()
            if not (is_finished and overwrite):
                return is_finished
        elif earlier is not None and not overwrite:
            msg = (
                f"{self.path} holds another {self._noun} ({_difference(earlier, request)} differ); choose another "
                "folder, or --overwrite it."
            )
            raise ReportError(msg)
        self.start(request)
        return False

    def start(self, request: Mapping[str, Any]) -> None:
        """Write the request of a new report, and remove an older report."""
        # in this order a kill does no harm: parts never belong to another request, and a half-removed report has one
        remove(self._unfinished / _PARTS)
        _write_json(self._unfinished / _REQUEST, request)
        for name in (self.json.name, *self._results):
            remove(self.path / name)

    def is_free_for(self, request: Mapping[str, Any]) -> bool:
        """Whether the folder does not exist, is empty, or holds the report of this request, finished or not."""
        try:
            earlier = self._request()
        except ReportError:
            return False
        if earlier is None:
            return not self.path.exists() or all(entry.name == LOCK for entry in self.path.iterdir())
        return earlier == request

    def parts(self) -> dict[str, dict[str, Any]]:
        """Finished parts, by name."""
        parts = {}
        for path in sorted((self._unfinished / _PARTS).glob("*.json")):
            content = saved_json(path, ReportError)
            if content is not None:
                parts[str(content["name"])] = dict(content["found"])
        return parts

    def keep(self, name: str, part: Mapping[str, Any]) -> None:
        """Keep a finished part for a resumption."""
        # files are numbered, since the name of a part may contain characters that no file name may
        number = len(list((self._unfinished / _PARTS).glob("*.json")))
        _write_json(self._unfinished / _PARTS / f"{number:03d}.json", {"name": name, "found": part})

    def finish(self, content: Mapping[str, Any], page: str) -> None:
        """Write the page and, last of all, the JSON, which marks the report as complete; delete the kept parts."""
        with partial_output(self.page, None, overwrite=True) as partial:
            partial.write_text(page, encoding="utf-8")
        _write_json(self.json, content)
        shutil.rmtree(self._unfinished, ignore_errors=True)

    def _request(self) -> dict[str, Any] | None:
        report = self.report()
        return report["about"]["request"] if report is not None and self.json.exists() else report

    def _check_is_folder(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            msg = f"{self.path} is a file; name a folder for the {self._noun}."
            raise ReportError(msg)


def read_evaluation(folder: Path) -> dict[str, Any]:
    """Read a complete evaluation.

    Parameters
    ----------
    folder : pathlib.Path
        Folder that `write_evaluation` has completed.

    Returns
    -------
    dict
        Content of its ``evaluation.json``.

    Raises
    ------
    ReportError
        If the folder holds no complete evaluation.
    """
    path = ReportFolder(folder).json
    content = saved_json(path, ReportError)
    if content is None:
        state = "an unfinished evaluation" if (folder / _UNFINISHED).is_dir() else "no evaluation"
        msg = f"{folder} holds {state}; expected a folder that `napari-hrpn evaluate` has completed."
        raise ReportError(msg)
    if content.get("format") != FORMAT:
        msg = f"{path} has another format ({content.get('format')}); expected {FORMAT}: evaluate the slide again."
        raise ReportError(msg)
    return content


def _write_json(path: Path, content: object) -> None:
    """Write JSON in one step; an existing file is replaced."""
    # streamed into the file: the whole text would take several times the memory of the content
    with partial_output(path, None, overwrite=True) as partial, partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, allow_nan=False, ensure_ascii=False)
        file.write("\n")


def _difference(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return " and ".join(_WORDS.get(name, name) for name in differing(earlier, now))

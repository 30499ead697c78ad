"""What keeps a report from being written: one sentence for the user."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from napari_hrpn.core.files import LOCK, differing, locked_folder, saved_json
from napari_hrpn.slides.writers.output_path import partial_output

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path


class ReportError(ValueError):
    """A report cannot be written; the message says what was found, what was expected and what to do."""


FORMAT = "napari-hrpn evaluation 1"
JSON, PAGE, REGIONS = "evaluation.json", "evaluation.html", "rois.geojson"
FIGURES, TABLES, UNFINISHED = "figures", "tables", "unfinished"
REQUEST, _PARTS = "request.json", "parts"
_WORDS = {
    "real": "the real slide or its channel",
    "roles": "the roles of the channels",
    "predictions": "the predictions",
    "tissue": "the tissue mask",
    "rois": "the regions of interest",
    "tumour": "the name of the tumour",
    "settings": "the settings",
}


class EvaluationFolder:
    """Where an evaluation is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unfinished = path / UNFINISHED

    def locked(self) -> AbstractContextManager[None]:
        """Keep other programs from writing an evaluation here at the same time."""
        if self.path.exists() and not self.path.is_dir():
            msg = f"{self.path} is a file; name a folder for the evaluation."
            raise ReportError(msg)
        return locked_folder(self.path, ReportError, "writing an evaluation into", "evaluation")

    def begin(self, request: Mapping[str, Any], *, overwrite: bool = False) -> bool:
        """Make sure that what is there was made from what is asked for now."""
        found = self._found_request()
        if found is None:
            self._check_free()
        elif found != request:
            if not overwrite:
                msg = (
                    f"{self.path} holds another evaluation ({_difference(found, request)} differ); choose another "
                    "folder, or --overwrite it."
                )
                raise ReportError(msg)
            self._remove()
        elif (self.path / JSON).exists():
            return True
        write_json(self._unfinished / REQUEST, request)
        return False

    def is_free_for(self, request: Mapping[str, Any]) -> bool:
        """Whether nothing else is here: no folder, an empty one, or what was begun or made of this request."""
        if not self.path.exists():
            return True
        if not self.path.is_dir():
            return False
        try:
            found = self._found_request()
        except ReportError:
            return False
        return all(one.name == LOCK for one in self.path.iterdir()) if found is None else found == request

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
        write_json(self._unfinished / _PARTS / f"{number:03d}.json", {"name": name, "found": found})

    def finish(self, content: Mapping[str, Any]) -> Path:
        """Write ``evaluation.json``, the last thing of all, and clear away what was kept for a resumption."""
        write_json(self.path / JSON, content)
        shutil.rmtree(self._unfinished, ignore_errors=True)
        return self.path / JSON

    def _found_request(self) -> dict[str, Any] | None:
        finished = saved_json(self.path / JSON, ReportError)
        if finished is not None:
            if finished.get("format") != FORMAT:
                msg = f"{self.path / JSON} is not of an evaluation by this program; choose another folder."
                raise ReportError(msg)
            return dict(finished["about"]["request"])
        return saved_json(self._unfinished / REQUEST, ReportError)

    def _check_free(self) -> None:
        taken = [name for name in (PAGE, REGIONS, FIGURES, TABLES, UNFINISHED) if (self.path / name).exists()]
        if taken:
            msg = f"{self.path} holds {taken[0]}, which is not of an evaluation; choose a new or empty folder."
            raise ReportError(msg)

    def _remove(self) -> None:
        # first what says that the rest is complete
        (self.path / JSON).unlink(missing_ok=True)
        for name in (FIGURES, TABLES, UNFINISHED):
            shutil.rmtree(self.path / name, ignore_errors=True)
        for name in (PAGE, REGIONS):
            (self.path / name).unlink(missing_ok=True)


def read_evaluation(folder: Path) -> dict[str, Any]:
    """Read a complete evaluation.

    Parameters
    ----------
    folder : pathlib.Path
        As `EvaluationFolder` left it.

    Returns
    -------
    dict
        What is in its ``evaluation.json``.

    Raises
    ------
    ReportError
        If there is none.
    """
    found = saved_json(folder / JSON, ReportError)
    if found is None:
        state = "an unfinished evaluation" if (folder / UNFINISHED).is_dir() else "no evaluation"
        msg = f"{folder} holds {state}; expected a folder that `napari-hrpn evaluate` has completed."
        raise ReportError(msg)
    if found.get("format") != FORMAT:
        msg = (
            f"{folder / JSON} is of another kind ({found.get('format')}); expected {FORMAT}: evaluate the slide again."
        )
        raise ReportError(msg)
    return found


def write_json(path: Path, content: object) -> None:
    """Write JSON in one step; a file that is there is replaced."""
    # piece by piece: all pieces together would take several times the memory of the content
    with partial_output(path, None, overwrite=True) as partial, partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, allow_nan=False, ensure_ascii=False)
        file.write("\n")


def _difference(found: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    return " and ".join(_WORDS.get(name, name) for name in differing(found, asked))

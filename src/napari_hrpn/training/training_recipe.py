"""Recipe of a training: slides, settings, and the tumour that chooses the epoch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_hrpn.recipes import Recipe, file_hash, slide_hash
from napari_hrpn.settings.networks import BUNDLED
from napari_hrpn.training.start import absolute_start

if TYPE_CHECKING:
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.training.entries import SlideEntry
    from napari_hrpn.training.run_request import RunRequest


def training_recipe(request: RunRequest, start: Checkpoint | None, output: Path) -> Recipe:
    """Recipe of a training that begins with a checkpoint, or with random weights."""
    settings = asdict(absolute_start(request.settings))
    del settings["device"]
    hashes: dict[Any, str] = {}
    for entry in request.entries:
        if entry.path not in hashes:
            hashes[entry.path] = slide_hash(entry.path, entry.series, entry.z, entry.t)
        if entry.regions is not None:
            hashes[entry.regions] = file_hash(entry.regions)
    if start is not None:
        settings["start"] = settings["start"] if settings["start"] in BUNDLED else Path(settings["start"])
        hashes[settings["start"]] = start.digest
    classes = next((entry.classes for entry in request.entries if entry.classes), None)
    step = {"folder": output, "validate": request.validate, "class": classes, **settings}
    return Recipe(tuple(map(_table, request.entries)), {"train": step}, hashes)


def _table(entry: SlideEntry) -> dict[str, Any]:
    given = {key: getattr(entry, key) for key in ("tumour", "roles", "regions", "series", "z", "t")}
    part = {} if entry.part == "auto" else {"part": entry.part}
    return {"path": entry.path, **part, **{key: value for key, value in given.items() if value not in (None, "", {})}}

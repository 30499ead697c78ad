"""Recipe of a prediction: slide, checkpoints or study, and the settings that decide its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_hrpn.core.options import options
from napari_hrpn.models import checkpoint_path
from napari_hrpn.recipes import Recipe, file_hash, slide_table
from napari_hrpn.settings import PredictionSettings
from napari_hrpn.settings.networks import BUNDLED
from napari_hrpn.slides.predictions import FINGERPRINT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.inference.plan import Plan
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.slides import Location, Slide


def prediction_recipe(slide: Slide, plan: Plan, members: Sequence[Checkpoint], output: Location) -> Recipe | None:
    """Recipe of a prediction; None if the slide or a network is of no file."""
    files = [member.source for member in members if member.source is not None]
    is_on_disk = not isinstance(slide.source, Path) or slide.source.exists()
    if len(files) < len(members) or not is_on_disk:
        return None
    networks = list(map(_network, files))
    hashes: dict[Any, str] = dict(zip(networks, (member.digest for member in members), strict=True))
    made_by: dict[str, Any] = {"checkpoint": networks}
    if plan.errors is not None:
        # these are of a study, which has its networks in runs/NAME/
        study = files[0].parents[2]
        errors = study / "uncertainty.json"
        if not errors.is_file():
            return None
        made_by, hashes[errors] = {"study": study}, file_hash(errors)
    names = [name for name in options(PredictionSettings) if name != "unlike"]
    step: dict[str, Any] = {
        "folder": output,
        **made_by,
        **{name: plan.request[name] for name in names if plan.request.get(name) is not None},
        "unlike": plan.compared is not None,
    }
    if (box := plan.region) is not None:
        step["region"] = box.text
    table = slide_table(slide, dict(zip(members[0].card.stains, plan.channels, strict=True)))
    return Recipe((table,), {"predict": step}, {slide.source: plan.request[FINGERPRINT], **hashes})


def _network(source: Path) -> Path | str:
    """Name of a bundled checkpoint, or its file."""
    return next((name for name in BUNDLED if checkpoint_path(name) == source), source)

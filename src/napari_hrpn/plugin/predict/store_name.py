"""Where the prediction of a slide goes: the one rule for the names of folders, and which of them a run goes on with."""

from __future__ import annotations

import itertools
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from napari_hrpn.core import rounded_up
from napari_hrpn.plugin.viewer import file_title, slide_title
from napari_hrpn.plugin.viewer.prediction_names import NOT_IN_FILE_NAMES
from napari_hrpn.slides import prediction_record, slide_identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari_hrpn.inference import PredictionSettings
    from napari_hrpn.plugin.predict.run import ReadCheckpoint
    from napari_hrpn.slides import Slide

_NOT_DECISIVE = ("device", "largest_core", "memory_gb", "region")


@dataclass(frozen=True)
class Output:
    """Where a prediction goes."""

    path: Path  # A prediction to go on with, or a name that is free
    request: dict[str, Any]  # All that is known to decide the pixels, as the store records it
    replaceable: Path | None  # A prediction of the same slide by the same checkpoint with other settings


def store_name(slide: Slide) -> str:
    """Name of the folder that holds the first prediction of a slide."""
    return f"{_stem(slide)}.ome.zarr"


def find_output(
    folder: Path, slide: Slide, read: ReadCheckpoint, channels: Sequence[int], settings: PredictionSettings
) -> Output:
    """Find the folder of a prediction."""
    request = _request(slide, read, channels, settings)
    free, replaceable = None, None
    for index, path in enumerate(_names(folder, slide, read.checkpoint.card.title)):
        if not path.exists():
            if index == 1 and replaceable is not None:
                # what differs from the first in settings alone gets a number
                continue
            free = free or path
            if index:
                break
            continue
        record = prediction_record(path)
        if record is not None and all(record.request.get(key) == value for key, value in request.items()):
            return Output(path, request, None)
        if record is not None and (record.slide, record.checkpoint) == (request["slide"], request["checkpoint"]):
            replaceable = replaceable or path
    assert free is not None
    return Output(free, request, replaceable)


def _names(folder: Path, slide: Slide, title: str) -> Iterator[Path]:
    yield folder / store_name(slide)
    stem = f"{_stem(slide)}-{file_title(title)}"
    yield folder / f"{stem}.ome.zarr"
    for number in itertools.count(2):
        yield folder / f"{stem}-{number}.ome.zarr"


def _stem(slide: Slide) -> str:
    places = (("series", slide.series or None), ("z", slide.z), ("t", slide.t))
    which = "".join(f"-{name}{index}" for name, index in places if index is not None)
    return f"{re.sub(NOT_IN_FILE_NAMES, '_', slide_title(slide))}{which}.predicted"


def _request(
    slide: Slide, read: ReadCheckpoint, channels: Sequence[int], settings: PredictionSettings
) -> dict[str, Any]:
    from napari_hrpn.models import halo_of

    decisive = {key: value for key, value in asdict(settings).items() if key not in _NOT_DECISIVE}
    if settings.core is None:
        # a run that goes on takes over the core
        del decisive["core"]
    network = read.checkpoint.settings
    decisive["halo"] = rounded_up(halo_of(network) if settings.halo is None else settings.halo, network.stride)
    return {
        "slide": slide_identity(slide),
        "checkpoint": read.digest,
        "channels": list(channels),
        "pixel_size_um": list(slide.pixel_size_um or ()) if slide.pixel_size_is_given else None,
        **decisive,
    }

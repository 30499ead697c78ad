"""Job of a prediction: its region, and the folder that it is written to or resumed in."""

from __future__ import annotations

import itertools
import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from napari.layers import Shapes

from napari_hrpn.core import rounded_up
from napari_hrpn.plugin.parts.messages import UserError
from napari_hrpn.plugin.predict.settings_form import IN_SHAPES, IN_VIEW
from napari_hrpn.plugin.viewer import file_title, shapes_box, slide_title, visible_box
from napari_hrpn.plugin.viewer.open_slides import NOT_IN_FILE_NAMES
from napari_hrpn.slides import prediction_record, slide_identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import napari
    from napari.layers import Image

    from napari_hrpn.core import Box
    from napari_hrpn.inference import PredictionSettings
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.slides import Slide

_SMALL_VIEW_PX, _SMALL_CORE_PX = 1024, 512
"""Of a small view, tiles of 512 px compute less beside it than those of 1,024 px."""
_NOT_DECISIVE = ("device", "largest_core", "memory_gb", "region")


@dataclass(frozen=True)
class ReadCheckpoint:
    """What the form keeps of a checkpoint."""

    path: Path
    checkpoint: Checkpoint  # without its weights, which are large
    digest: str  # fingerprint, which the weights decide too


@dataclass(frozen=True)
class Job:
    """A prediction that is asked for."""

    slide: Slide
    roles: Mapping[str, int]  # channel of each input role
    read: ReadCheckpoint
    settings: PredictionSettings
    store: Path  # a prediction to go on with, or a name that is free
    request: Mapping[str, Any]  # all that is known to decide the pixels, as the store records it
    replaceable: Path | None  # a prediction of the same slide by the same checkpoint with other settings
    overwrite: bool = False  # whether another prediction may be replaced

    def replacing(self) -> Job:
        """The same in place of the prediction that may be replaced, if there is one."""
        return self if self.replaceable is None else replace(self, store=self.replaceable, overwrite=True)


def with_region(settings: PredictionSettings, viewer: napari.Viewer, kind: str, reference: Image) -> PredictionSettings:
    """Settings with the part of a slide that is to be predicted."""
    box: Box | None = None
    if kind == IN_VIEW:
        box = visible_box(viewer, reference)
        if not box.area:
            raise UserError("The slide is not in view: move to it, or predict the whole slide.")
    elif kind == IN_SHAPES:
        box = _box_of_shapes(viewer, reference)
    if box is not None and max(box.height, box.width) <= _SMALL_VIEW_PX:
        settings = replace(settings, largest_core=_SMALL_CORE_PX)
    return replace(settings, region=box)


def _box_of_shapes(viewer: napari.Viewer, reference: Image) -> Box:
    layers = [layer for layer in viewer.layers if isinstance(layer, Shapes)]
    active = viewer.layers.selection.active
    shapes = active if isinstance(active, Shapes) else next(iter(reversed(layers)), None)
    if shapes is None:
        raise UserError("There is no shapes layer: add one, draw around the region, and select the shape.")
    box = shapes_box(shapes, reference, viewer)
    if box is None:
        raise UserError(f"No shape of {shapes.name!r} lies on the slide: draw one around the region to predict.")
    return box


def store_name(slide: Slide) -> str:
    """Name of the folder that holds the first prediction of a slide."""
    return f"{_stem(slide)}.ome.zarr"


def find_job(
    folder: Path, slide: Slide, roles: Mapping[str, int], read: ReadCheckpoint, settings: PredictionSettings
) -> Job:
    """Find the folder of a prediction: that of the same one, to go on with, or a new one."""
    request = _request(slide, roles, read, settings)
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
            return Job(slide, roles, read, settings, path, request, None)
        if record is not None and (record.slide, record.checkpoint) == (request["slide"], request["checkpoint"]):
            replaceable = replaceable or path
    assert free is not None
    return Job(slide, roles, read, settings, free, request, replaceable)


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
    slide: Slide, roles: Mapping[str, int], read: ReadCheckpoint, settings: PredictionSettings
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
        "channels": [roles[role] for role in read.checkpoint.card.input_roles],
        "pixel_size_um": list(slide.pixel_size_um or ()) if slide.pixel_size_is_given else None,
        **decisive,
    }

"""What a prediction was made from, and whether that is what is asked for now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zarr

from napari_hrpn.inference.errors import PredictionError
from napari_hrpn.slides import as_location
from napari_hrpn.slides.location import address_errors, zarr_store
from napari_hrpn.slides.metadata import RECORD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_hrpn.slides import Location
    from napari_hrpn.slides.location import PlaceLike

FINGERPRINT = "fingerprint"
"""In a request; predictions of earlier versions do not have it."""


def recorded_request(path: PlaceLike) -> dict[str, Any] | None:
    """What an existing prediction was made from."""
    place = as_location(path)
    with address_errors(place):
        try:
            return dict(_record(place)["request"])
        except (AttributeError, LookupError, TypeError, ValueError, FileNotFoundError, NotADirectoryError):
            return None


def is_request(found: Mapping[str, Any] | None, request: Mapping[str, Any]) -> bool:
    """Whether a prediction was made from a request."""
    return found is not None and not _differing(found, request)


def _differing(found: Mapping[str, Any], request: Mapping[str, Any]) -> list[str]:
    keys = sorted(key for key in found.keys() | request.keys() if found.get(key) != request.get(key))
    return [key for key in keys if key != FINGERPRINT or key in found]


def refuse_another(
    path: Location, found: dict[str, Any] | None, request: Mapping[str, Any], title: str, *, overwrite: bool
) -> None:
    """Refuse to replace what is no prediction, or unasked a prediction made otherwise."""
    if found is None:
        msg = f"{path} is there already and is not a prediction; choose another place for the output."
        raise PredictionError(msg)
    if overwrite:
        return
    earlier, changed = (
        {**found, "checkpoint": _named(found, str(_record(path).get("title", "")))},
        _differing(found, request),
    )
    now = {**request, "checkpoint": _named(request, title)}
    words = [f"{key.replace('_', ' ')} {earlier.get(key)} instead of {now.get(key)}" for key in changed]
    if {"slide", FINGERPRINT} & set(changed):
        words.append("so from another slide, or from this one before it changed")
    msg = f"{path} holds a prediction made with {', '.join(words)}; choose another output (-o), or overwrite it."
    raise PredictionError(msg)


def _named(request: Mapping[str, Any], title: str) -> str:
    return f"'{title}' ({request.get('checkpoint')})" if title else str(request.get("checkpoint"))


def _record(path: Location) -> dict[str, Any]:
    record: Any = zarr.open_group(zarr_store(path), mode="r", zarr_format=3).attrs[RECORD]
    return dict(record)

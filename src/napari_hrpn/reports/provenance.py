"""Provenance of a report: SHA-256 of the files that were read, and the record of a prediction."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_hrpn.slides import slide_identity
from napari_hrpn.slides.location import address_errors, zarr_store
from napari_hrpn.slides.predictions import RECORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_hrpn.slides import Location, Slide

# slides have gigabytes: after each piece, progress is shown and a stop is possible
_PIECE_BYTES = 2**24


def hash_steps(path: Path) -> Iterator[tuple[int, str]]:
    """Hash a file piece by piece; yields the bytes read so far and their SHA-256."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
            done += len(piece)
            yield done, digest.hexdigest()
    yield done, digest.hexdigest()


def slide_facts(slide: Slide, sha256: str | None) -> dict[str, Any]:
    """Facts about a slide that a report records."""
    facts: dict[str, Any] = {
        "name": slide.source.name,
        "height_px": slide.shape[0],
        "width_px": slide.shape[1],
        "pixel_size_um": None if slide.pixel_size_um is None else list(slide.pixel_size_um),
        "dtype": str(slide.dtype),
        "channels": list(slide.channel_names),
        "identity": slide_identity(slide),
        "sha256": sha256,
    }
    record = prediction_record(slide.source)
    return facts if record is None else {**facts, "prediction": record}


def prediction_record(path: Location) -> dict[str, Any] | None:
    """Record of how a predicted slide was made.

    Parameters
    ----------
    path : pathlib.Path or UPath
        Any slide.

    Returns
    -------
    dict or None
        Settings, checkpoint and state; None if the slide is not a prediction of this program.
    """
    import zarr

    if isinstance(path, Path) and not path.is_dir():
        return None
    try:
        with address_errors(path):
            record: Any = zarr.open_group(zarr_store(path), mode="r", zarr_format=3).attrs[RECORD]
        return {"complete": bool(record["complete"]), "title": record.get("title", ""), **record["request"]}
    except (KeyError, TypeError, ValueError, OSError):
        return None

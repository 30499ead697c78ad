"""Header of a checkpoint: JSON read as a dataclass, with every value checked against its type.

The request in the folder of a training is read in the same way.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, is_dataclass
from dataclasses import fields as fields_of
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from napari_hrpn.models.scaling import IntensityScaling
from napari_hrpn.settings.vessel_distance import VesselDistance

_Record = TypeVar("_Record")
_NAMES = {
    "Any": Any,
    "IntensityScaling": IntensityScaling,
    "Literal": Literal,
    "Mapping": Mapping,
    "VesselDistance": VesselDistance,
}
"""Names in annotations that their modules import for type checkers only."""


def read_record(record: type[_Record], fields: object) -> _Record:
    """Make a dataclass from JSON, with each field checked against its annotation."""
    if not isinstance(fields, dict):
        raise TypeError(f"expected names and values, found {_short(fields)}")
    hints = get_type_hints(record, localns=_NAMES)
    unknown = sorted(fields.keys() - hints.keys())
    if unknown:
        raise TypeError(f"it has {_short(unknown[0])}, which is not known")
    for field in fields_of(record):  # type: ignore[arg-type]
        if field.name not in fields and field.default is MISSING and field.default_factory is MISSING:
            raise TypeError(f"it has no {field.name}")
    return record(**{name: _as(hints[name], value, name) for name, value in fields.items()})


def _as(hint: Any, value: object, name: str) -> object:  # noqa: ANN401 (any annotation)
    origin, parts = get_origin(hint), get_args(hint)
    if hint is Any or (origin is Literal and value in parts and isinstance(value, str)):
        return value
    if origin in (Union, types.UnionType):
        for part in parts:
            with suppress(TypeError):
                return _as(part, value, name)
    if origin is tuple and isinstance(value, list):
        kinds = [parts[0]] * len(value) if parts[-1] is Ellipsis else parts
        if len(kinds) == len(value):
            return tuple(_as(kind, part, name) for kind, part in zip(kinds, value, strict=True))
    if origin is Mapping and isinstance(value, dict):
        return {key: _as(parts[1], part, name) for key, part in value.items()}
    if is_dataclass(hint) and isinstance(hint, type):
        return read_record(hint, value)
    if isinstance(hint, type) and _is_a(value, hint):
        # a whole number is not converted to float, since the digest of a checkpoint is that of its JSON
        return value
    raise TypeError(f"{name} is {_short(value)}")


def _is_a(value: object, hint: type) -> bool:
    if hint in (int, float):
        return isinstance(value, int | hint) and not isinstance(value, bool) and math.isfinite(value)
    if isinstance(value, str):
        # JSON may contain half a character (a lone surrogate), which no message or file could show
        value.encode()
    return isinstance(value, hint)


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:60]}…"

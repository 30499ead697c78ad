"""The header of a checkpoint, read as what it should be: every value has its type before anything is built of it."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from napari_hrpn.models.ganda import GANDASettings
from napari_hrpn.models.hrpn import HRPNSettings
from napari_hrpn.models.scaling import IntensityScaling

Record = TypeVar("Record")
NAMES = {"Any": Any, "IntensityScaling": IntensityScaling, "Literal": Literal, "Mapping": Mapping}
"""Names in annotations that their modules import only for type checkers."""
SETTINGS: dict[str, type[HRPNSettings | GANDASettings]] = {"hrpn": HRPNSettings, "ganda": GANDASettings}


def read_settings(architecture: str, text: str) -> HRPNSettings | GANDASettings:
    """Read the settings of an architecture.

    Parameters
    ----------
    architecture : {"hrpn", "ganda"}
        Its name.
    text : str
        JSON.

    Returns
    -------
    HRPNSettings or GANDASettings
        Within bounds.

    Raises
    ------
    TypeError, ValueError
        If they are anything else.
    """
    return _record(SETTINGS[architecture], json.loads(text))


def read_card(card: type[Record], text: str) -> Record:
    """Read a model card.

    Parameters
    ----------
    card : type
        `ModelCard`.
    text : str
        JSON.

    Returns
    -------
    ModelCard
        With the scaling in it.

    Raises
    ------
    TypeError, ValueError
        If it is anything else.
    """
    fields = json.loads(text)
    if isinstance(fields, dict) and "scaling" in fields:
        fields["scaling"] = _record(IntensityScaling, fields["scaling"])
    return _record(card, fields)


def _record(record: type[Record], fields: object) -> Record:
    """A dataclass of JSON, each field checked against its annotation; JSON knows lists only where it has tuples."""
    if not isinstance(fields, dict):
        raise TypeError(f"expected names and values, found {_short(fields)}")
    hints = get_type_hints(record, localns=NAMES)
    unknown = sorted(fields.keys() - hints.keys())
    if unknown:
        raise TypeError(f"it has {_short(unknown[0])}, which is not known")
    return record(**{name: _as(hints[name], value, name) for name, value in fields.items()})


def _as(hint: Any, value: object, name: str) -> object:  # noqa: ANN401 (any annotation)
    origin, parts = get_origin(hint), get_args(hint)
    if hint is Any or (origin is Literal and value in parts and isinstance(value, str)):
        return value
    if origin in (Union, types.UnionType):
        present = next(part for part in parts if part is not type(None))
        return None if value is None else _as(present, value, name)
    if origin is tuple and isinstance(value, list):
        kinds = [parts[0]] * len(value) if parts[-1] is Ellipsis else parts
        if len(kinds) == len(value):
            return tuple(_as(kind, part, name) for kind, part in zip(kinds, value, strict=True))
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        # a whole number stays one: the digest of a checkpoint is that of its JSON
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is str and isinstance(value, str):
        # half a character, as JSON may have it, cannot be shown
        value.encode()
        return value
    if (origin is Mapping and isinstance(value, dict)) or (isinstance(hint, type) and isinstance(value, hint)):
        return value
    raise TypeError(f"{name} is {_short(value)}")


def _short(value: object) -> str:
    said = ascii(value)
    return said if len(said) <= 60 else f"{said[:60]}…"

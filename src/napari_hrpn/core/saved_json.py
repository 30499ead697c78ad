"""JSON that the program keeps for itself: there and whole, not there, or refused in one sentence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from napari_hrpn.core.atomic_write import replaced_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def saved_json(path: Path, refusal: type[ValueError]) -> dict[str, Any] | None:
    """Read JSON that the program wrote."""
    if path.exists() and not path.is_file():
        # a pipe would be waited for, and a device may have no end
        msg = f"{path} is no file; delete it to have it made again."
        raise refusal(msg)
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path} cannot be read ({getattr(error, 'strerror', None) or error}); delete it to have it made again."
        raise refusal(msg) from error
    if not isinstance(found, dict):
        msg = f"{path} holds something else than expected; delete it to have it made again."
        raise refusal(msg)
    return found


def save_json(path: Path, content: object) -> None:
    """Write JSON in one step; its folder is made where it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def differing(found: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Fields in which the request that something was made from differs from the one that is made now."""
    return sorted(name for name in found.keys() | asked.keys() if found.get(name) != asked.get(name))

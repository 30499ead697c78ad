"""JSON that the program keeps for itself: there and whole, not there, or refused in one sentence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

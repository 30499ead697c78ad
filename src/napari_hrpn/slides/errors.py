"""Errors and warnings about slides: one sentence of what was found, what was expected and what to do."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# packages that raise where a network or a store fails, and not the file
_NETWORKS = {"aiobotocore", "aiohttp", "azure", "botocore", "gcsfs"}


class SlideError(ValueError):
    """A slide cannot be opened or read; the message is one sentence for the user."""


class SlideWarning(UserWarning):
    """A slide opens, but the user should know something about it."""


def warn(sentence: str) -> None:
    """Warn the user of something about a slide."""
    warnings.warn(sentence, SlideWarning, stacklevel=3)


@contextmanager
def reading_errors(found: str) -> Iterator[None]:
    """Turn whatever a library raises into one sentence: what was found, then the reason in brackets."""
    try:
        yield
    except (SlideError, SlideWarning):
        raise
    except Exception as error:
        raise SlideError(f"{found} ({_reason(error)}).") from error


def _reason(error: BaseException) -> str:
    """Why a read failed, as a clause to stand in brackets."""
    if isinstance(error, MemoryError):
        return "there is not enough memory for it: convert the file with `napari-hrpn convert`"
    if isinstance(error, FileNotFoundError):
        return "the file is gone: put it back where it was opened"
    if isinstance(error, PermissionError):
        return "it may not be read: ask its owner for the permission"
    said = short_message(error)
    if isinstance(error, ConnectionError | TimeoutError) or type(error).__module__.partition(".")[0] in _NETWORKS:
        return f"{said}: check the network and your credentials, and try again"
    return f"{said}: the file may be damaged or incomplete, copy it again from where it came"


def short_message(error: BaseException) -> str:
    """What an error says, on one line, without the full stop."""
    return " ".join(str(error).split()).rstrip(".")[:160] or type(error).__name__

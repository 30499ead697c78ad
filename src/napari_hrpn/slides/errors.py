"""Errors and warnings about slides: one sentence with what was found, what was expected and what to do."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# packages whose errors come from the network or from object storage and not from the file
_NETWORKS = {"aiobotocore", "aiohttp", "azure", "botocore", "gcsfs"}


class SlideError(ValueError):
    """A slide cannot be opened or read; the message is one sentence for the user."""


class SlideWarning(UserWarning):
    """A slide can be opened, but with a problem that the user should know."""


def warn(sentence: str) -> None:
    """Warn the user about a problem of a slide."""
    warnings.warn(sentence, SlideWarning, stacklevel=3)


@contextmanager
def reading_errors(found: str) -> Iterator[None]:
    """Turn any error of a library into a `SlideError` of one sentence: what was found, then the reason in brackets."""
    try:
        yield
    except (SlideError, SlideWarning):
        raise
    except Exception as error:
        raise SlideError(f"{found} ({_reason(error)}).") from error


def _reason(error: BaseException) -> str:
    """Reason why a read failed, as a clause in brackets."""
    if isinstance(error, MemoryError):
        return "there is not enough memory for it: convert the file with `napari-hrpn convert`"
    if isinstance(error, FileNotFoundError):
        return "the file is gone: put it back where it was opened"
    if isinstance(error, PermissionError):
        return "it may not be read: ask its owner for permission"
    message = short_message(error)
    if isinstance(error, ConnectionError | TimeoutError) or type(error).__module__.partition(".")[0] in _NETWORKS:
        return f"{message}: check the network and your credentials, and try again"
    return f"{message}: the file may be damaged or incomplete, copy it again from its source"


def short_message(error: BaseException) -> str:
    """Message of an error on one line, shortened and without the full stop."""
    return " ".join(str(error).split()).rstrip(".")[:160] or type(error).__name__

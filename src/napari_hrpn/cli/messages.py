"""What is said on stderr: one line for an error, one for a warning."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Callable


class CommandError(ValueError):
    """A command cannot be carried out; the message is one sentence for the user."""


def complain(sentence: str) -> None:
    """Print an error as one line on stderr."""
    typer.echo(f"napari-hrpn: error: {_one_line(sentence)}", err=True)


def _one_line(text: str) -> str:
    """Join the lines of a text."""
    return " ".join(text.split())


def is_for_the_user(error: BaseException) -> bool:
    """Whether an error says what the user can do, so that a traceback would only hide it."""
    if isinstance(error, ValueError) and type(error).__module__.startswith("napari_hrpn."):
        return True
    return isinstance(error, OSError | MemoryError) or hasattr(error, "format_message")


def show_warning() -> Callable[..., None]:
    """Make a function for `warnings.showwarning`."""
    seen: set[str] = set()
    before = warnings.showwarning

    def _show(message: Warning | str, category: type[Warning], *place: object) -> None:
        if not category.__module__.startswith("napari_hrpn."):
            before(message, category, *place)  # type: ignore[arg-type]
        elif str(message) not in seen:
            seen.add(str(message))
            sys.stdout.flush()
            typer.echo(f"warning: {_one_line(str(message))}", err=True)

    return _show

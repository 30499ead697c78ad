"""Packages that the program needs or can use: the range of versions, the extra, and what is installed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

_EXTRA = re.compile(r"extra == \"([^\"]+)\"")


@dataclass(frozen=True)
class Need:
    """A package that the program's metadata name."""

    name: str
    wanted: str  # Range of versions, such as >=0.9
    extra: str  # Extra that brings it; empty if the program needs it
    installed: str | None  # Version; None if it is not installed
    is_met: bool  # Whether the installed version is in the range, or a package of an extra is not installed

    @property
    def problem(self) -> str:
        """Sentence on a package that is missing or too old; empty if nothing is wrong."""
        if self.is_met:
            return ""
        found = "which is not installed" if self.installed is None else f"but {self.installed} is installed"
        what = self.name + self.wanted
        return f"napari-hrpn needs {what}, {found}: pip install --upgrade '{what}'."


def needs(name: str | None = None) -> tuple[Need, ...]:
    """Packages of the program's metadata, in their order, or the one of that name: finding each takes a moment."""
    named = (Requirement(line) for line in requires("napari-hrpn") or ())
    return tuple(_need(requirement) for requirement in named if name in (None, requirement.name))


def _need(requirement: Requirement) -> Need:
    extra = _EXTRA.search(str(requirement.marker or ""))
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        installed = None
    is_met = bool(extra) if installed is None else requirement.specifier.contains(installed, prereleases=True)
    return Need(requirement.name, str(requirement.specifier), extra[1] if extra else "", installed, is_met)

"""TOML file of a study or a recipe: every key is known and of its type, and every file that it names exists."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from napari_hrpn.slides.location import user_path

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class TomlFile:
    """A file of the user, for reading."""

    path: Path
    error: type[ValueError]  # What is raised, with a sentence
    noun: str  # What the file is, such as a study

    def content(self) -> dict[str, Any]:
        """Tables and keys of the file."""
        if self.path.exists() and not self.path.is_file():
            # reading a pipe would block, and a device may have no end
            msg = f"the {self.noun} {self.path} is not a file; expected a TOML file."
            raise self.error(msg)
        try:
            return tomllib.loads(self.path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            msg = f"the {self.noun} {self.path} cannot be read ({error.strerror}); expected a TOML file."
            raise self.error(msg) from error
        except (ValueError, RecursionError) as error:
            # besides its own errors, tomllib raises others for numbers and nesting that Python cannot handle
            msg = (
                f"the {self.noun} {self.path.name} is not TOML ({error}); expected keys, [tables] and [[slide]] tables."
            )
            raise self.error(msg) from error

    def check(self, table: dict[str, Any], known: dict[str, Any], where: str = "") -> None:
        """Refuse a key that is not known, or whose value is of another type."""
        for key, value in table.items():
            location = f"{key}{f' of {where}' if where else ''} in {self.path.name}"
            if key not in known:
                msg = f"there is an unknown key {location}; expected {', '.join(known)}."
                raise self.error(msg)
            if not _fits(value, known[key]):
                msg = f"{location} is {value!r}; expected {_type_words(known[key])}."
                raise self.error(msg)

    def check_slide(self, table: dict[str, Any], known: dict[str, Any], where: str) -> None:
        """Refuse the table of a slide that has wrong keys, wrong channels or no path."""
        self.check(table, known, where)
        roles = table.get("roles", {})
        self.check(roles, dict.fromkeys(roles, str | int), f"roles of {where}")
        if "path" not in table:
            msg = f"there is no path of {where} in {self.path.name}; expected the file or folder of the slide."
            raise self.error(msg)

    def existing(self, name: str, key: str) -> Path:
        """Path of a file or folder that a key names, relative to this file."""
        # a file that was written on Windows may have backslashes
        places = map(self.beside, (name, name.replace("\\", "/")))
        found = next((place for place in places if place.exists()), None)
        if found is None:
            file = self.path.name
            msg = f"{key} in {file} is {name}, which does not exist; expected a path relative to {file}."
            raise self.error(msg)
        return found

    def beside(self, name: str) -> Path:
        """Absolute path of a name relative to this file."""
        return (self.path.parent / user_path(name, self.path.parent)).absolute()


def _fits(value: object, kind: Any) -> bool:  # noqa: ANN401 (a type, as it is written in an annotation)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in inner
    if origin in (Union, UnionType):
        return any(_fits(value, member) for member in inner)
    if origin in (list, tuple):
        return isinstance(value, list) and all(_fits(item, inner[0]) for item in value)
    # to Python, true and false are whole numbers
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float) if kind is float else origin or kind)


def _type_words(kind: Any) -> str:  # noqa: ANN401 (a type, as it is written in an annotation)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin in (Union, UnionType):
        return _type_words(next(member for member in inner if member is not NoneType))
    if origin in (list, tuple):
        return f"a list, each item {_type_words(inner[0])}"
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false", dict: "a table"}
    return names[origin or kind]

"""Options that a user can set: title, help, range and unit of each field of a settings class, in one place.

The check of a value, the form, the command-line option and the manual's table are all made from them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache
from numbers import Real
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

# a larger whole number has no float to be shown as
_LARGEST = int(sys.float_info.max)


@dataclass(frozen=True, kw_only=True)
class Option:
    """Description of a field of a settings class; it is part of the field's annotation."""

    title: str  # Label in a form
    help: str  # For the tooltip, --help and the manual
    minimum: float = -math.inf  # Smallest number that is allowed
    maximum: float = math.inf  # Largest number that is allowed
    above: float = -math.inf  # A number has to be larger than this
    multiple: int = 1  # A whole number has to be a multiple of this
    step: float | None = None  # What the arrows of a form add; None for `multiple`
    unit: str = ""  # Of a number
    titles: Mapping[str, str] = field(default_factory=dict)  # Titles of a `Literal`'s choices, in the order of a form
    automatic: str = "Automatic"  # What a form shows for None
    flag: str = ""  # On the command line; empty if the option does not exist there
    metavar: str | None = None  # What --help shows for its value
    noun: str = ""  # Name in messages; empty for the name of the field
    is_share: bool = False  # A form shows it in per cent
    is_logarithmic: bool = False  # The arrows of a form double and halve it
    # facts about the field, filled in by `options`
    name: str = ""
    types: tuple[Any, ...] = ()  # The parts of a union, else the one type
    default: Any = None

    @property
    def choices(self) -> tuple[str, ...]:
        """Words that a value may be; empty if any word is allowed."""
        words = tuple(word for kind in self.types if get_origin(kind) is Literal for word in get_args(kind))
        return words or tuple(self.titles)

    @property
    def is_number(self) -> bool:
        """Whether a value may be a number."""
        return int in self.types or float in self.types

    @property
    def expected(self) -> str:
        """Allowed values, for a message."""
        choices = ", ".join(self.choices)
        if not self.is_number:
            return f"one of {choices}" if len(self.choices) > 1 else choices
        return f"{choices}, or {self._range}" if choices else self._range

    @property
    def _range(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if self.multiple > 1:
            return f"a multiple of {self.multiple}{unit}"
        highest = f" to {self.maximum:g}{unit}" if math.isfinite(self.maximum) else ""
        if math.isfinite(self.above):
            return f"more than {self.above:g}{highest or unit}"
        if math.isfinite(self.minimum):
            return f"{self.minimum:g}{highest or f'{unit} or more'}"
        return "a number"

    def problem(self, value: object) -> str:
        """Sentence on what is wrong with a value; empty if nothing is."""
        if value is None or not (self.choices or self.is_number):
            return ""
        # for a type checker, int is no Real
        if self.is_number and isinstance(value, int | Real):
            # whole numbers are compared exactly; comparisons with NaN are false, so NaN is refused
            number = value if isinstance(value, int) else float(value)
            is_right = self.minimum <= number <= self.maximum and self.above < number < math.inf
            is_right &= self.multiple == 1 or number % self.multiple == 0
            is_huge = isinstance(number, int) and abs(number) > _LARGEST
            shown = "too large" if is_huge else f"{number:g} {self.unit}".strip()
        else:
            is_right, shown = value in self.choices, repr(value)
        noun = self.noun or self.name.replace("_", " ")
        return "" if is_right else f"{noun} is {shown}; expected {self.expected}."


@cache
def options(settings: type) -> Mapping[str, Option]:
    """Options of a settings class, by the names of their fields."""
    hints = get_type_hints(settings, include_extras=True)
    by_name = {}
    for setting in fields(settings):
        for option in getattr(hints[setting.name], "__metadata__", ()):
            kind = get_args(hints[setting.name])[0]
            types = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
            default = None if setting.default is MISSING else setting.default
            by_name[setting.name] = replace(option, name=setting.name, types=types, default=default)
    return MappingProxyType(by_name)


def check_options(settings: object, error: type[Exception]) -> None:
    """Refuse settings with a value that is out of its range or not one of its choices."""
    kind: type = type(settings)
    for name, option in options(kind).items():
        if problem := option.problem(getattr(settings, name)):
            raise error(problem)


def options_table(settings: type) -> str:
    """Command-line options as a Markdown table, for the manual."""
    rows = ["| option | meaning | default |", "| --- | --- | --- |"]
    for option in options(settings).values():
        default: object = option.default
        if NoneType in option.types:
            default = option.automatic[0].lower() + option.automatic[1:]
        elif isinstance(default, bool):
            default = "on" if default else "off"
        elif default == ():
            default = "none"
        else:
            default = f"`{','.join(default) if isinstance(default, tuple) else default}`"
        if option.flag:
            rows.append(f"| `{option.flag}` | {option.help} | {default} |")
    return "\n".join(rows)

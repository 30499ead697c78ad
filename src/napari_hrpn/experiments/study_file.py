"""Study file in TOML, with a check that every key is known and of its type, and that every file exists."""

from __future__ import annotations

import tomllib
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from napari_hrpn.experiments.study import Ablations, Study, StudyError, StudySlide, readable
from napari_hrpn.settings.networks import BUNDLED, COMPARED, NETWORKS, SYNTHETIC
from napari_hrpn.slides import slide_name
from napari_hrpn.slides.location import user_path
from napari_hrpn.training import SlideEntry, TrainingSettings

if TYPE_CHECKING:
    from pathlib import Path

_TOP = {
    "title": str, "test": list[str], "models": list[str], "recipe": str, "validate": str, "folds": bool,
    "settings": dict, "ablations": dict, "slide": list[dict[str, Any]],
}  # fmt: skip
_SLIDE = {
    "path": str, "tumour": str, "part": Literal["test"], "regions": str, "class": str | list[str], "roles": dict,
    "series": int, "z": int | str, "t": int,
}  # fmt: skip
_ABLATIONS = {"channels": list[str], "branches": list[int]}


def read_study(path: str | Path) -> Study:
    """Read the file of a study.

    Parameters
    ----------
    path : str or Path
        TOML with the keys title, test, models, recipe, validate, folds, tables settings and ablations, and a table
        slide for each slide; paths in it are relative to it.

    Returns
    -------
    Study
        The study; all its files exist, and no tumour is used for both training and testing.

    Raises
    ------
    StudyError
        If the file is wrong; the sentence names the key and the file.
    """
    path = user_path(path)
    content = _content(path)
    _check_table(content, _TOP, "", path)
    entries = [_entry(table, f"slide {number}", path) for number, table in enumerate(content.get("slide", []), start=1)]
    _check_twice(entries, path)
    plain = {key: value for key, value in content.items() if key in ("title", "recipe", "validate", "folds")}
    return Study(
        source=path,
        slides=_named(entries),
        test=_test_tumours(content.get("test", []), entries, path),
        models=tuple(content.get("models", COMPARED)),
        settings=_settings(content.get("settings", {}), path),
        ablations=_ablations(content.get("ablations"), path),
        **plain,
    )


def _content(path: Path) -> dict[str, Any]:
    if path.exists() and not path.is_file():
        # reading a pipe would block, and a device may have no end
        msg = f"the study {path} is not a file; expected a TOML file."
        raise StudyError(msg)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        msg = f"the study {path} cannot be read ({error.strerror}); expected a TOML file."
        raise StudyError(msg) from error
    except (ValueError, RecursionError) as error:
        # besides its own errors, tomllib raises others for numbers and nesting that Python cannot handle
        msg = f"the study {path.name} is not TOML ({error}); expected keys, [tables] and [[slide]] tables."
        raise StudyError(msg) from error


def _check_table(table: dict[str, Any], known: dict[str, Any], where: str, path: Path) -> None:
    for key, value in table.items():
        location = f"{key}{f' of {where}' if where else ''} in {path.name}"
        if key not in known:
            msg = f"there is an unknown key {location}; expected {', '.join(known)}."
            raise StudyError(msg)
        if not _fits(value, known[key]):
            msg = f"{location} is {value!r}; expected {_type_words(known[key])}."
            raise StudyError(msg)


def _fits(value: object, kind: Any) -> bool:  # noqa: ANN401 (a type, as it is written in an annotation)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in inner
    if origin is UnionType:
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
    if origin is UnionType:
        return _type_words(next(member for member in inner if member is not NoneType))
    if origin in (list, tuple):
        return f"a list, each item {_type_words(inner[0])}"
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false", dict: "a table"}
    return names[origin or kind]


def _entry(table: dict[str, Any], where: str, path: Path) -> SlideEntry:
    _check_table(table, _SLIDE, where, path)
    roles = table.get("roles", {})
    _check_table(roles, dict.fromkeys(roles, str | int), f"roles of {where}", path)
    if "path" not in table:
        msg = f"there is no path of {where} in {path.name}; expected the file or folder of the slide."
        raise StudyError(msg)
    files: dict[str, Any] = {
        key: _existing(table[key], f"{key} of {where}", path) for key in ("path", "regions") if key in table
    }
    named = table.pop("class", [])
    classes = (named,) if isinstance(named, str) else tuple(named)
    if classes and "regions" not in table:
        msg = f"class of {where} in {path.name} chooses objects of regions that are not given; give regions too."
        raise StudyError(msg)
    return SlideEntry(**(table | files), classes=classes)


def _named(entries: list[SlideEntry]) -> tuple[StudySlide, ...]:
    """Give each slide a unique name: that of its file, with tumour and number only if file names are equal."""
    names = [readable(slide_name(entry.path)) for entry in entries]
    if not _all_differ(names):
        names = [f"{readable(entry.tumour_id)}-{name}" for entry, name in zip(entries, names, strict=True)]
    if not _all_differ(names):
        names = [f"{name}-{number}" for number, name in enumerate(names, start=1)]
    return tuple(map(StudySlide, names, entries))


def _all_differ(names: list[str]) -> bool:
    return len({name.casefold() for name in names}) == len(names)


def _existing(name: str, key: str, path: Path) -> Path:
    # a study that was written on Windows may have backslashes
    names = (name, name.replace("\\", "/"))
    found = next((place for place in (_beside(path, one) for one in names) if place.exists()), None)
    if found is None:
        msg = f"{key} in {path.name} is {name}, which does not exist; expected a path relative to {path.name}."
        raise StudyError(msg)
    return found


def _beside(path: Path, name: str) -> Path:
    return (path.parent / user_path(name, path.parent)).absolute()


def _check_twice(entries: list[SlideEntry], path: Path) -> None:
    seen: dict[Any, int] = {}
    for number, entry in enumerate(entries, start=1):
        first = seen.setdefault((entry.path.resolve(), entry.series, entry.z, entry.t), number)
        if first != number:
            msg = (
                f"slide {first} and slide {number} in {path.name} are the same image, {entry.path.name}; name it once."
            )
            raise StudyError(msg)


def _test_tumours(named: list[str], entries: list[SlideEntry], path: Path) -> tuple[str, ...]:
    by_part = [entry.tumour_id for entry in entries if entry.part == "test"]
    for entry in entries:
        if entry.part != "test" and entry.tumour_id in set(by_part) - set(named):
            msg = (
                f'the tumour {entry.tumour_id} in {path.name} has slides with part = "test" and others without; '
                "a tumour is on one side only: mark all of its slides, or none."
            )
            raise StudyError(msg)
    return tuple(dict.fromkeys([*named, *by_part]))


def _settings(table: dict[str, Any], path: Path) -> dict[str, Any]:
    hints = get_type_hints(TrainingSettings)
    known = {name: kind for name, kind in hints.items() if name not in ("model", "recipe")}
    _check_table(table, {**known, **dict.fromkeys(NETWORKS, dict)}, "settings", path)
    for model in NETWORKS:
        _check_table(table.get(model, {}), known, f"settings.{model}", path)
    for where, named in (("settings", table), *((f"settings.{model}", table.get(model, {})) for model in NETWORKS)):
        if named.get("start", SYNTHETIC) not in BUNDLED:
            named["start"] = str(_existing(named["start"], f"start of {where}", path))
    return {name: _without_lists(value) for name, value in table.items()}


def _without_lists(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_lists(part) for key, part in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _ablations(table: dict[str, Any] | None, path: Path) -> Ablations | None:
    if table is None:
        return None
    _check_table(table, _ABLATIONS, "ablations", path)
    channels = tuple(tuple(role.strip() for role in text.split(",")) for text in table.get("channels", ()))
    given: dict[str, Any] = {"channels": channels, "branches": tuple(table.get("branches", ()))}
    return Ablations(**{name: values for name, values in given.items() if values})

"""Study file in TOML, with a check that every key is known and of its type, and that every file exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from napari_hrpn.experiments.study import Ablations, Study, StudyError, StudySlide, readable
from napari_hrpn.recipes.toml_file import TomlFile
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
    file = TomlFile(user_path(path), StudyError, "study")
    content, path = file.content(), file.path
    file.check(content, _TOP)
    entries = [_entry(table, f"slide {number}", file) for number, table in enumerate(content.get("slide", []), start=1)]
    _check_twice(entries, path)
    plain = {key: value for key, value in content.items() if key in ("title", "recipe", "validate", "folds")}
    return Study(
        source=path,
        slides=_named(entries),
        test=_test_tumours(content.get("test", []), entries, path),
        models=tuple(content.get("models", COMPARED)),
        settings=_settings(content.get("settings", {}), file),
        ablations=_ablations(content.get("ablations"), file),
        **plain,
    )


def _entry(table: dict[str, Any], where: str, file: TomlFile) -> SlideEntry:
    file.check_slide(table, _SLIDE, where)
    files: dict[str, Any] = {
        key: file.existing(table[key], f"{key} of {where}") for key in ("path", "regions") if key in table
    }
    named = table.pop("class", [])
    classes = (named,) if isinstance(named, str) else tuple(named)
    if classes and "regions" not in table:
        msg = f"class of {where} in {file.path.name} chooses objects of regions that are not given; give regions too."
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


def _settings(table: dict[str, Any], file: TomlFile) -> dict[str, Any]:
    hints = get_type_hints(TrainingSettings)
    known = {name: kind for name, kind in hints.items() if name not in ("model", "recipe")}
    file.check(table, {**known, **dict.fromkeys(NETWORKS, dict)}, "settings")
    for model in NETWORKS:
        file.check(table.get(model, {}), known, f"settings.{model}")
    for where, named in (("settings", table), *((f"settings.{model}", table.get(model, {})) for model in NETWORKS)):
        if named.get("start", SYNTHETIC) not in BUNDLED:
            named["start"] = str(file.existing(named["start"], f"start of {where}"))
    return {name: _without_lists(value) for name, value in table.items()}


def _without_lists(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_lists(part) for key, part in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _ablations(table: dict[str, Any] | None, file: TomlFile) -> Ablations | None:
    if table is None:
        return None
    file.check(table, _ABLATIONS, "ablations")
    channels = tuple(tuple(role.strip() for role in text.split(",")) for text in table.get("channels", ()))
    given: dict[str, Any] = {"channels": channels, "branches": tuple(table.get("branches", ()))}
    return Ablations(**{name: values for name, values in given.items() if values})

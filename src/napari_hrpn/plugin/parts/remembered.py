"""Fields of forms and recent checkpoints from one start of napari to the next, in one small file of the user.

Fields that have a preference, and those that belong to a slide or to this computer, are not remembered.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from filelock import Timeout
from platformdirs import user_state_path
from qtpy.QtCore import QObject

from napari_hrpn.core.files import held_lock, save_json, saved_json
from napari_hrpn.core.options import options
from napari_hrpn.plugin.background import soon
from napari_hrpn.plugin.parts.runs import push_button

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from napari_hrpn.core.options import Option
    from napari_hrpn.plugin.parts.options_form import OptionsForm

_VERSION = 1
_SAVE_MS = 500


class RememberedForm(QObject):
    """Fills in a form as it was left, saves it when it is changed, and adds a button for its defaults."""

    def __init__(self, form: OptionsForm, name: str, names: Collection[str]) -> None:
        super().__init__(form.native)
        self._form, self._name, self._names, self._defaults = form, name, names, form.value
        self._recall()
        self._soon = soon(self, self._save, _SAVE_MS)
        self.defaults_button = push_button(
            "Defaults", "Give all fields but those of the slide their defaults", self.reset
        )
        form.fold.content().layout().addWidget(self.defaults_button)
        form.changed.connect(self._save_soon)

    def reset(self) -> None:
        """Bring the defaults back."""
        self._form.show_options(self._defaults, keep=self._form.fields.keys() - self._names)

    def _recall(self) -> None:
        kind: type = type(self._defaults)
        found, known = remembered(self._name), options(kind)
        for name in self._names if isinstance(found, dict) else ():
            if name in found and _is_kind(found[name], known[name]):
                # a range may have changed since, or a choice may be gone
                with suppress(ValueError):
                    replace(self._form.value, **{name: found[name]})
                    self._form.fields[name].value = found[name]

    def _save_soon(self, _: object = None) -> None:
        self._soon.start()

    def _save(self) -> None:
        # values that do not fit together, which the form says itself, are not remembered
        with suppress(ValueError):
            values = self._form.value, self._defaults
            shown, before = ({name: getattr(of, name) for name in self._names} for of in values)
            remember(self._name, {} if shown == before else shown)


def remembered(name: str) -> Any:  # noqa: ANN401 (what was remembered)
    """What was remembered under a name; None if nothing was, or if the file cannot be read."""
    return (_content() or {}).get(name)


def remember(name: str, value: object) -> None:
    """Remember something that JSON can hold; where the file cannot be written, it is forgotten."""
    with suppress(OSError, Timeout):
        _file().parent.mkdir(parents=True, exist_ok=True)
        # another napari may just write: what it has written is kept
        lock = held_lock(_file().with_suffix(".lock"))
        try:
            content = _content()
            if content is not None and content.get(name) != value:
                save_json(_file(), {**content, "version": _VERSION, name: value})
        finally:
            if lock is not None:
                lock.release()


def _content() -> dict[str, Any] | None:
    """Content of the file, none if it is damaged; None if a newer version wrote it, which keeps its own."""
    try:
        content = saved_json(_file(), ValueError) or {}
    except ValueError:
        return {}
    return content if content.get("version", _VERSION) == _VERSION else None


def _file() -> Path:
    return user_state_path("napari-hrpn", appauthor=False) / "forms.json"


def _is_kind(value: object, option: Option) -> bool:
    kinds = {*option.types, *([str] if option.choices else []), *([int] if float in option.types else [])}
    return type(value) in kinds

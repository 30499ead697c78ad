"""Request of a training: slides, settings and what is held out, as it is kept in the folder of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from napari_hrpn.models.checkpoint_header import read_record
from napari_hrpn.settings import TrainingSettings
from napari_hrpn.settings.networks import NO_AUGMENTATION
from napari_hrpn.training.entries import SlideEntry
from napari_hrpn.training.start import absolute_start

# these settings may change when a run is resumed: they do not decide what a step computes
_FREE = ("epochs", "max_minutes", "device")


@dataclass(frozen=True)
class RunRequest:
    """Request of a run: everything that decides its result.

    Attributes
    ----------
    entries : tuple of SlideEntry
        The slides.
    settings : TrainingSettings
        Settings of the training.
    validate : str or None
        The tumour held out for validation, if it was named.
    """

    entries: tuple[SlideEntry, ...]
    settings: TrainingSettings
    validate: str | None = None

    def matches(self, other: RunRequest) -> bool:
        """Whether a run with one request may be resumed with the other: all that decides its steps is equal."""
        return self._decisive() == other._decisive()

    def _decisive(self) -> RunRequest:
        standard = TrainingSettings()
        free = {name: getattr(standard, name) for name in _FREE}
        # a recipe names a slide from its own folder, and links may name it otherwise
        entries = tuple(
            replace(
                _entry(plain_entry(entry)), path=entry.path.resolve(), regions=entry.regions and entry.regions.resolve()
            )
            for entry in self.entries
        )
        return replace(self, entries=entries, settings=replace(absolute_start(self.settings), **free))


def plain_entry(entry: SlideEntry) -> dict[str, Any]:
    """A slide for JSON."""
    regions = None if entry.regions is None else str(entry.regions.absolute())
    found = {**asdict(entry), "path": str(entry.path.absolute()), "regions": regions}
    # requests were saved without classes before these could be chosen
    classes = found.pop("classes")
    return found | ({"classes": list(classes)} if classes else {})


@dataclass(frozen=True)
class SavedRequest:
    """Content of ``run.json``."""

    format: Literal["napari-hrpn training 1"]
    slides: tuple[Any, ...]
    settings: Mapping[str, Any]
    validate: str | None

    def request(self) -> RunRequest:
        """The request, with options that did not exist when it was saved switched off."""
        settings = read_record(TrainingSettings, {**NO_AUGMENTATION, **self.settings})
        return RunRequest(tuple(map(_entry, self.slides)), settings, self.validate)


def _entry(plain: Any) -> SlideEntry:  # noqa: ANN401 (out of JSON)
    if not isinstance(plain, dict):
        raise TypeError("a slide is not described by names and values")
    paths = {name: Path(plain[name]) for name in ("path", "regions") if isinstance(plain.get(name), str)}
    return read_record(SlideEntry, {**plain, **paths})

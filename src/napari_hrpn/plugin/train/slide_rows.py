"""Rows of the slides of a training: tumour, part, channels and regions of each; slides are opened in another thread."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_hrpn.plugin.reader import get_reader
from napari_hrpn.plugin.viewer import slide_label, slide_title
from napari_hrpn.slides import SlideError, find_channel, guess_roles, list_series, local_path, open_slide

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Iterable, Sequence

    from napari_hrpn.analysis import Finding
    from napari_hrpn.slides import Slide
    from napari_hrpn.training import SlideEntry

    Opening = Callable[[], Iterable["TrainingRow | str"]]

EVERYWHERE, FROM_FILE = "everywhere", "from file"


class TrainingRow:
    """A slide, the choices of the user, its number of patches and its findings."""

    def __init__(self, slide: Slide, entry: SlideEntry, *, is_loaded: bool = False) -> None:
        self.slide = slide
        self.title, self.label = slide_title(slide), slide_label(slide)
        self.tumour, self.part = entry.tumour_id, entry.part
        # a layer, a file, or everywhere
        self.regions: Any = EVERYWHERE if entry.regions is None else entry.regions
        self.region_files = [] if entry.regions is None else [entry.regions]
        self.channel_of: dict[str, int | None] = {}
        self.patches = ""
        self.findings: tuple[Finding, ...] = ()
        self._start, self._is_loaded = entry, is_loaded

    @property
    def facts(self) -> str:
        """Path, size and channels of the slide."""
        slide, (height, width) = self.slide, self.slide.shape
        size = "" if slide.pixel_size_um is None else f" of {slide.pixel_size_um[0]:.3g} µm"
        return f"{slide.source}\n{width} x {height} px{size}, {slide.dtype}: {', '.join(slide.channel_names)}"

    def ask_for(self, roles: Sequence[str]) -> None:
        """Guess the channel of each role that has none."""
        for role in roles:
            if role not in self.channel_of:
                self.channel_of[role] = self._first_channel(role)

    def channels(self, roles: Sequence[str]) -> dict[str, int]:
        """Chosen channels by role."""
        return {role: index for role in roles if (index := self.channel_of[role]) is not None}

    def entry(self, roles: Sequence[str]) -> SlideEntry:
        """Entry of the slide for a training; drawn regions are added later."""
        text = self.tumour.strip()
        return replace(
            self._start,
            tumour=self._start.tumour if text in ("", self._start.tumour_id) else text,
            part=self.part,
            roles=self._named_channels(roles),
            regions=self.regions if isinstance(self.regions, Path) else None,
        )

    def _first_channel(self, role: str) -> int | None:
        given = self._start.roles.get(role)
        return self._guess(role) if given is None else self._index(given)

    def _guess(self, role: str) -> int | None:
        names = self.slide.channel_names
        index: int | None = getattr(guess_roles(names), role, None)
        like = (index for index, name in enumerate(names) if role.casefold() in name.casefold())
        return next(like, None) if index is None else index

    def _index(self, given: int | str) -> int | None:
        if isinstance(given, int):
            return given if given in range(len(self.slide.channel_names)) else None
        try:
            return find_channel(self.slide, given)
        except SlideError:
            return None

    def _named_channels(self, roles: Sequence[str]) -> dict[str, int | str]:
        from napari_hrpn.training import TrainingError

        chosen = self.channels(roles)
        for role in roles:
            if role not in chosen:
                msg = f"{self.title} has no channel chosen for the {role}: choose it, or remove the slide."
                raise TrainingError(msg)
        if len(set(chosen.values())) < len(chosen):
            msg = f"{self.title} has one channel for two of {', '.join(chosen)}: choose a different one for each."
            raise TrainingError(msg)
        named = {role: self._name(role, index) for role, index in chosen.items()}
        return {role: name for role, name in named.items() if name is not None}

    def _name(self, role: str, index: int) -> int | str | None:
        """Name of a channel in an entry: as loaded, which may be None; else its name if it is unique, or its index."""
        if self._is_loaded and self._first_channel(role) == index:
            return self._start.roles.get(role)
        name = self.slide.channel_names[index]
        return name if self._index(name) == index else index


def open_rows(openings: Sequence[Opening], stop: threading.Event) -> Generator[TrainingRow | str, None, None]:
    """Open slides one after the other; yields the sentence of an error for a slide that cannot be opened.

    It runs in another thread: the first entry of a training imports torch, which takes seconds.
    """
    for opening in openings:
        if stop.is_set():
            return
        try:
            yield from opening()
        except SlideError as error:
            yield str(error)


def row_of_entry(entry: SlideEntry) -> Iterable[TrainingRow]:
    """Open a slide of a loaded run."""
    yield TrainingRow(open_slide(entry.path, series=entry.series, z=entry.z, t=entry.t), entry, is_loaded=True)


def row_of_slide(slide: Slide) -> Iterable[TrainingRow]:
    """Make the row of a slide that is open already."""
    from napari_hrpn.training import SlideEntry

    yield TrainingRow(slide, SlideEntry(local_path(slide.source), series=slide.series, z=slide.z, t=slide.t))


def rows_of_path(path: Path) -> Iterable[TrainingRow | str]:
    """Open a file or a folder; for a folder that is no slide, the slides in it."""
    try:
        slide = open_slide(path)
    except SlideError:
        inside = _rows_inside(path)
        if all(isinstance(found, str) for found in inside):
            raise
        yield from inside
        return
    yield from row_of_slide(slide)
    images = len(list_series(path))
    if images > 1:
        yield (
            f"{path.name} holds {images} images, of which image {slide.series} is added: open the file in the viewer "
            "and press Add open slides to add others."
        )


def _rows_inside(folder: Path) -> list[TrainingRow | str]:
    """Open the slides of several channels in a folder; files of single stains would be one slide together."""
    found: list[TrainingRow | str] = []
    children: list[Path] = []
    with contextlib.suppress(OSError):
        children = sorted(folder.iterdir())
    for child in children:
        if get_reader(str(child)) is not None:
            try:
                slide = open_slide(child)
            except SlideError as error:
                found.append(str(error))
                continue
            if len(slide.channel_names) > 1:
                found += row_of_slide(slide)
    return found

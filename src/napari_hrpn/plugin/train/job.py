"""One press of the button "Train": slides, settings, place, and the regions that were drawn for it.

Drawn regions are written, off the GUI thread, to a folder of the widget's; when the run starts they are copied into the
run's. Their files are called after what they hold, so other regions are other files.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_hrpn.core.files import replaced_file
from napari_hrpn.plugin.parts.user_error import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from napari_hrpn.plugin.viewer.drawn_regions import Drawn
    from napari_hrpn.training import SlideEntry, TrainingSettings

NEW, UNFINISHED, FINISHED, OTHER = "new", "unfinished", "finished", "other"
_REGIONS = "regions"


@dataclass(frozen=True)
class TrainingJob:
    """What the form says."""

    entries: tuple[SlideEntry, ...]  # The slides; with all their regions once these are written
    # What is drawn on each slide and not written yet; None where there is nothing to write
    regions: tuple[Drawn | None, ...]
    settings: TrainingSettings
    drawn: Path  # Folder of the regions that were drawn
    beside: Path  # Folder that the run's is made in, where the user has chosen none
    folder: Path | None = None  # The run's, if it is chosen
    is_fresh: bool = False  # Whether a run that is there is left alone, though it is this very one
    validate: str | None = None  # As a run that was loaded has it
    is_checked: bool = False  # Whether its warnings are known and shown

    def written(self) -> TrainingJob:
        """Write the regions that are drawn; those of a large label image take seconds."""
        entries = tuple(
            entry if regions is None else replace(entry, regions=regions.write(self.drawn))
            for entry, regions in zip(self.entries, self.regions, strict=True)
        )
        return replace(self, entries=entries, regions=(None,) * len(entries))

    def expected_entries(self, folder: Path) -> tuple[SlideEntry, ...]:
        """Entries whose drawn regions lie in the folder of a run."""
        kept = folder.absolute() / _REGIONS
        return tuple(
            replace(entry, regions=kept / entry.regions.name)
            if entry.regions is not None and entry.regions.parent == self.drawn
            else entry
            for entry in self.entries
        )

    def keep_regions(self, folder: Path) -> tuple[SlideEntry, ...]:
        """Copy drawn regions into the folder of a run."""
        regions = [entry.regions for entry in self.entries if entry.regions is not None]
        try:
            for source in (path for path in regions if path.parent == self.drawn):
                (folder / _REGIONS).mkdir(parents=True, exist_ok=True)
                with replaced_file(folder / _REGIONS / source.name, sync=False) as partial:
                    partial.write_bytes(source.read_bytes())
        except OSError as error:
            msg = f"{folder} cannot be written ({error.strerror}); choose another folder for the run."
            raise UserError(msg) from error
        return self.expected_entries(folder)

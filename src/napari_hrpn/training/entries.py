"""A slide as a user names it for training, and as the training sees it once it is opened and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_hrpn.slides import slide_name

if TYPE_CHECKING:
    from napari_hrpn.slides import RegionMask, Slide

Part = Literal["auto", "train", "validation", "test"]


@dataclass(frozen=True)
class SlideEntry:
    """A slide for training, as a form, a command line or a study file names it.

    Attributes
    ----------
    path : pathlib.Path
        The slide.
    tumour : str
        The tumour or animal it is from; the name of the file where left out. All slides of a tumour stay in one part.
    part : {"auto", "train", "validation", "test"}
        What it is for; "auto" is trained on, or held out for validation when nothing else is.
    roles : mapping of str to (int or str)
        Channel of a role, by name or index; guessed from the names where left out.
    regions : pathlib.Path or None
        Annotated regions: GeoJSON, or a label image of the slide at any size.
    series : int or None
        As for `open_slide`.
    z, t : int or None
        As for `open_slide`.
    """

    path: Path
    tumour: str = ""
    part: Part = "auto"
    roles: Mapping[str, int | str] = field(default_factory=dict)
    regions: Path | None = None
    series: int | None = None
    z: int | None = None
    t: int | None = None

    @property
    def tumour_id(self) -> str:
        """The tumour's name, or else the file's without its endings."""
        return self.tumour or slide_name(self.path)


@dataclass(frozen=True, eq=False)
class TrainingSlide:
    """An opened slide, ready to be cut.

    Attributes
    ----------
    entry : SlideEntry
        What it was made from.
    slide : Slide
        Opened.
    inputs : tuple of int
        Channels of the input stains, in the network's order.
    target : int
        Channel that is predicted.
    regions : RegionMask or None
        Where patches may lie; None: anywhere. With a single tumour its slide occurs twice, with two masks.
    """

    entry: SlideEntry
    slide: Slide
    inputs: tuple[int, ...]
    target: int
    regions: RegionMask | None = None

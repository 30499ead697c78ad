"""A slide that processes open themselves, each on its machine.

The rule: it is the same file everywhere, or a sentence says where it is not.
"""

from __future__ import annotations

import socket
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_hrpn.inference.errors import PredictionError
from napari_hrpn.slides import SlideWarning, open_slide, slide_identity
from napari_hrpn.slides.location import is_there

if TYPE_CHECKING:
    from napari_hrpn.slides import Location, Slide


@dataclass(frozen=True)
class SameSlide:
    """What it takes to open a slide again."""

    source: Location  # As `open_slide` takes it
    series: int  # Which of its images
    z: int | None
    t: int | None
    identity: str | None  # Fingerprint of the slide, as `slide_identity` gives it; None where it is yet to be taken
    given_um: tuple[float, float] | None = None  # The pixel size that the user gave; None for the file's own

    @classmethod
    def of(cls, slide: Slide, identity: str | None) -> SameSlide:
        """Of a slide that is open in this process."""
        # an address is one everywhere
        source = slide.source.absolute() if isinstance(slide.source, Path) else slide.source
        given_um = slide.pixel_size_um if slide.pixel_size_is_given else None
        return cls(source, slide.series, slide.z, slide.t, identity, given_um)

    def opened(self) -> Slide:
        """Open it."""
        check_there(self.source)
        with warnings.catch_warnings():
            # the process that asked for it has said them already
            warnings.simplefilter("ignore", SlideWarning)
            slide = open_slide(self.source, series=self.series, z=self.z, t=self.t, pixel_size_um=self.given_um)
        if self.identity is not None and slide_identity(slide) != self.identity:
            msg = (
                f"{self.source} is not the same file on {socket.gethostname()} as on the machine that asked for it; "
                "put slides on storage that all machines share."
            )
            raise PredictionError(msg)
        return slide


def check_there(path: Location) -> None:
    """Refuse what this machine does not see."""
    if not is_there(path):
        msg = (
            f"{path} is not there on {socket.gethostname()}, where a worker runs; put slides and predictions on "
            "storage that all machines see under the same path."
        )
        raise PredictionError(msg)

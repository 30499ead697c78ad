"""What is compared in the evaluation of a slide, and what a part of it does before, during and after the one scan."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from napari_hrpn.analysis.tissue.vessel_mask import VesselMask
from napari_hrpn.core import relayed
from napari_hrpn.core.errors import AgreementError
from napari_hrpn.slides import ChannelRoles, RegionMask, in_all, predicted_part

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import dask.array as da

    from napari_hrpn.analysis.scan.block_scan import BlockCounter
    from napari_hrpn.analysis.tissue.slide_penetration import ProbeImage
    from napari_hrpn.core import Progress
    from napari_hrpn.slides import Annotation, FinishedTiles

TAKEN_NAMES = ("real", "nuclei", "vessels", "probe")


@dataclass(frozen=True, eq=False)
class SlideComparison:
    """A real channel, its predictions, and where they are compared.

    Attributes
    ----------
    real : ProbeImage
        The slide with the imaged probe, and which channel that is.
    predictions : tuple of ProbeImage
        One or more, of the same height and width, each with a name of its own.
    roles : ChannelRoles
        What the other channels of the real slide show; without vessels there is no penetration.
    tissue : RegionMask or None
        Where numbers are taken by default; None where tissue is not known: the whole frame then.
    glass : RegionMask or None
        Where there is certainly no tissue, for the grey level without probe; None for none.
    rois : tuple of Annotation
        Regions of interest; may overlap.
    vessels : VesselMask or None
        The vessels, where somebody drew them; None where they are found by their stain.
    """

    real: ProbeImage
    predictions: tuple[ProbeImage, ...]
    roles: ChannelRoles = field(default_factory=ChannelRoles)
    tissue: RegionMask | None = None
    glass: RegionMask | None = None
    rois: tuple[Annotation, ...] = ()
    vessels: VesselMask | None = None

    def __post_init__(self) -> None:
        names = [prediction.name for prediction in self.predictions]
        if not names or len({*names, *TAKEN_NAMES}) != len(names) + len(TAKEN_NAMES):
            msg = (
                f"the predictions are called {', '.join(names) or 'nothing'}; expected one or more, each with a name "
                f"of its own that is none of {', '.join(TAKEN_NAMES)}"
            )
            raise AgreementError(msg)
        height, width = self.real.slide.shape
        for prediction in self.predictions:
            own = prediction.slide.shape
            if own != (height, width):
                msg = (
                    f"{prediction.slide.source.name} is {own[1]} x {own[0]} px and {self.real.slide.source.name} is "
                    f"{width} x {height} px; expected a prediction of this slide, of the same size"
                )
                raise AgreementError(msg)
        if self.finished is not None and not self.finished.cells.any():
            what = " and ".join(image.slide.source.name for image in self.predictions)
            msg = f"no tile is predicted yet in all of {what}; expected one or more: predict again to go on"
            raise AgreementError(msg)

    @cached_property
    def finished(self) -> FinishedTiles | None:
        """What is predicted in all predictions, as it is when it is asked for first; None where all pixels are."""
        images = self.real, *self.predictions
        return in_all(image.slide.finished for image in images)

    @cached_property
    def region_names(self) -> tuple[str, ...]:
        """What the regions of interest are called: by their names, numbered where these do not tell them apart."""
        given = [roi.name.strip() for roi in self.rois]
        number = Counter(given)
        return tuple(
            name if name and number[name] == 1 and name not in ("tissue", "frame") else f"{name or 'ROI'} {index}"
            for index, name in enumerate(given, start=1)
        )

    @property
    def everywhere(self) -> RegionMask:
        """The tissue, or the whole frame where it is not known; of unfinished predictions what is there."""
        shape = self.real.slide.shape
        return predicted_part(self.tissue or RegionMask.whole(shape), self.finished, shape)


_Result = TypeVar("_Result")
_Findings = TypeVar("_Findings", covariant=True)


class CountedPart(Protocol[_Findings]):
    """A part that counts pixels."""

    name: str

    @property
    def channels(self) -> Sequence[da.Array]:
        """Channels at full resolution that it reads."""

    def begin(self) -> Generator[float, None, None]:
        """Look at coarse levels; yields the share that is done."""

    def ranges(self) -> Sequence[BlockCounter[Any]]:
        """Counters of a pass before, for pixels whose type does not say which values they have."""

    def counters(self) -> Sequence[BlockCounter[Any]]:
        """Counters of the pass over all pixels."""

    def finish(self) -> Generator[float, None, _Findings]:
        """Turn counts into numbers; yields the share that is done."""


def shares(
    work: Generator[Progress, None, _Result], start: float = 0.0, stop: float = 1.0
) -> Generator[float, None, _Result]:
    """Run a piece of work as the part of another that goes from one share of it to another."""
    return relayed(work, lambda progress: start + (stop - start) * progress.share)

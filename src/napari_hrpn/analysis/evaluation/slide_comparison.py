"""Input of an evaluation (real channel, predictions, regions), and the interface of its parts."""

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
    """A real channel, its predictions, and the regions in which they are compared.

    Attributes
    ----------
    real : ProbeImage
        The slide and its channel of the imaged probe.
    predictions : tuple of ProbeImage
        One or more predictions of the same height and width, with different names.
    roles : ChannelRoles
        Roles of the other channels of the real slide; without vessels, penetration is not measured.
    tissue : RegionMask or None
        Region that is measured by default; None if tissue is not known, so that the whole frame is measured.
    glass : RegionMask or None
        Region that certainly has no tissue, for the grey level without probe; None if there is none.
    rois : tuple of Annotation
        Regions of interest, which may overlap.
    vessels : VesselMask or None
        Vessels that a user drew; None if they are found by their stain.
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
                f"the names of the predictions are {', '.join(names) or 'none'}; expected one or more predictions with "
                f"different names other than {', '.join(TAKEN_NAMES)}: rename them"
            )
            raise AgreementError(msg)
        height, width = self.real.slide.shape
        for prediction in self.predictions:
            size = prediction.slide.shape
            if size != (height, width):
                msg = (
                    f"{prediction.slide.source.name} is {size[1]} x {size[0]} px and {self.real.slide.source.name} is "
                    f"{width} x {height} px; expected a prediction of this slide, of the same size"
                )
                raise AgreementError(msg)
        if self.finished is not None and not self.finished.cells.any():
            unfinished = " and ".join(image.slide.source.name for image in self.predictions)
            msg = f"no tile is predicted yet in all of {unfinished}; expected at least one: resume the prediction"
            if self.finished.left_out:
                msg = f"{self.finished.left_out}, and nothing else is predicted; expected more of the slide to measure"
            raise AgreementError(msg)

    @cached_property
    def finished(self) -> FinishedTiles | None:
        """Tiles finished in all predictions, as first read and then fixed for all parts; None if all are complete."""
        images = self.real, *self.predictions
        return in_all(image.slide.finished for image in images)

    @cached_property
    def region_names(self) -> tuple[str, ...]:
        """Names of the regions of interest; those without a name, or with one that is not unique, get a number."""
        names = [roi.name.strip() for roi in self.rois]
        occurrences = Counter(names)
        return tuple(
            name if name and occurrences[name] == 1 and name not in ("tissue", "frame") else f"{name or 'ROI'} {index}"
            for index, name in enumerate(names, start=1)
        )

    @property
    def everywhere(self) -> RegionMask:
        """The tissue, or the whole frame if it is not known; of an unfinished prediction, only the finished tiles."""
        shape = self.real.slide.shape
        return predicted_part(self.tissue or RegionMask.whole(shape), self.finished, shape)


_Result = TypeVar("_Result")
_Findings = TypeVar("_Findings", covariant=True)


class CountedPart(Protocol[_Findings]):
    """A part of an evaluation: its work before, during and after the scan that all parts share."""

    name: str

    @property
    def channels(self) -> Sequence[da.Array]:
        """Channels at full resolution that the part reads."""

    def begin(self) -> Generator[float, None, None]:
        """Measure coarse levels before the scan; yields the share that is done."""

    def ranges(self) -> Sequence[BlockCounter[Any]]:
        """Counters for a first scan that finds the range of grey levels; none if the pixel type defines it."""

    def counters(self) -> Sequence[BlockCounter[Any]]:
        """Counters for the scan of all pixels."""

    def finish(self) -> Generator[float, None, _Findings]:
        """Compute the results from the counts; yields the share that is done."""


def shares(
    work: Generator[Progress, None, _Result], start: float = 0.0, stop: float = 1.0
) -> Generator[float, None, _Result]:
    """Run work that reports progress and yield it as shares of a larger task, between a start and a stop."""
    return relayed(work, lambda progress: start + (stop - start) * progress.share)

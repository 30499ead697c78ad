"""What is compared in the evaluation of a slide, and how: the only home of its defaults."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from napari_hrpn.analysis.agreement import largest_value
from napari_hrpn.analysis.distance_shells import PenetrationSettings
from napari_hrpn.analysis.moments import AgreementError
from napari_hrpn.analysis.patch_sums import PATCH_PX
from napari_hrpn.analysis.vessel_mask import VesselMask, VesselSettings
from napari_hrpn.slides import ChannelRoles, RegionMask, in_all, predicted_part

if TYPE_CHECKING:
    import numpy as np

    from napari_hrpn.analysis.slide_penetration import ProbeImage
    from napari_hrpn.slides import Annotation, FinishedTiles

_SMALLEST_PATCH_PX = 64
_ENOUGH_PATCHES = 24
TAKEN_NAMES = ("real", "nuclei", "vessels", "probe")


@dataclass(frozen=True)
class EvaluationSettings:
    """How a slide is evaluated.

    Attributes
    ----------
    psnr_max : float or {"dtype", "real"}
        MAX of the PSNR: the largest value of the real slide's pixel type, the brightest real pixel of each region,
        or a grey level.
    patch_px : int or None
        Edge of the patches of violins and heterogeneity; None takes the paper's 512, halved until a small field has
        24 of them.
    minimum_tissue : float
        Share of a patch that has to be tissue for it to count, above 0 and up to 1.
    block_px : int or None
        Side of the blocks of the bootstrap; None takes six correlation lengths of each region.
    resamples, permutations, seed : int
        Of the intervals by block bootstrap, and of the tests by permutation.
    confidence : float
        Of the intervals.
    vessels : VesselSettings
        How vessels are found.
    penetration : PenetrationSettings
        Shells, bands and distances.
    background : float or None
        Grey level of tissue without probe, such as of an uninjected section, taken off for the penetration; None takes
        the blank glass of each image.
    """

    psnr_max: float | str = "dtype"
    patch_px: int | None = None
    minimum_tissue: float = 0.5
    block_px: int | None = None
    resamples: int = 2000
    permutations: int = 999
    seed: int = 0
    confidence: float = 0.95
    vessels: VesselSettings = field(default_factory=VesselSettings)
    penetration: PenetrationSettings = field(default_factory=PenetrationSettings)
    background: float | None = None

    def __post_init__(self) -> None:
        named = isinstance(self.psnr_max, str)
        if named and self.psnr_max not in ("dtype", "real"):
            msg = f"the MAX of the PSNR is {self.psnr_max!r}; expected dtype, real, or a grey level above 0"
            raise AgreementError(msg)
        if not named and not (math.isfinite(float(self.psnr_max)) and float(self.psnr_max) > 0):
            msg = f"the MAX of the PSNR is {self.psnr_max}; expected a grey level above 0, dtype or real"
            raise AgreementError(msg)
        if self.patch_px is not None and self.patch_px < 1:
            msg = f"the patches have an edge of {self.patch_px} px; expected 1 px or more, such as {PATCH_PX}"
            raise AgreementError(msg)
        if not 0 < self.minimum_tissue <= 1:
            msg = f"a patch counts from a share of tissue of {self.minimum_tissue}; expected above 0 and up to 1"
            raise AgreementError(msg)
        if self.seed < 0:
            msg = f"the seed is {self.seed}; expected a whole number of 0 or more"
            raise AgreementError(msg)
        if self.background is not None and not math.isfinite(self.background):
            msg = f"the background is {self.background}; expected a grey level, such as that of an uninjected section"
            raise AgreementError(msg)
        if self.block_px is not None and self.block_px < 1:
            msg = f"the blocks have a side of {self.block_px} px; expected 1 px or more, wider than any structure"
            raise AgreementError(msg)

    def psnr_peak(self, dtype: np.dtype, brightest: float) -> float | None:
        """MAX of the PSNR of a region.

        Parameters
        ----------
        dtype : numpy.dtype
            Type of the real slide's pixels.
        brightest : float
            Brightest real pixel of the region.

        Returns
        -------
        float or None
            None where there is none: floating point has no largest value, and an empty or black region no peak.
        """
        if self.psnr_max == "real":
            return brightest if brightest > 0 else None
        return largest_value(dtype) if self.psnr_max == "dtype" else float(self.psnr_max)

    def patch_of(self, shape: tuple[int, int]) -> int:
        """Edge of the patches of a slide.

        Parameters
        ----------
        shape : tuple of int
            Its height and width in pixels.

        Returns
        -------
        int
            In pixels.
        """
        if self.patch_px is not None:
            return self.patch_px
        edge = PATCH_PX
        while edge > _SMALLEST_PATCH_PX and (shape[0] // edge) * (shape[1] // edge) < _ENOUGH_PATCHES:
            edge //= 2
        return edge


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
        import numpy as np

        height, width = self.real.slide.shape
        frame = RegionMask(np.ones((1, 1), bool), (float(height), float(width)))
        return predicted_part(self.tissue or frame, self.finished, (height, width))

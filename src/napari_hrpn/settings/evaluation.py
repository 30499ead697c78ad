"""Settings of an evaluation, of its vessel mask and of the distances from vessels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np

from napari_hrpn.core.errors import AgreementError, AnalysisError
from napari_hrpn.core.options import Option, check_options

PATCH_PX = 512
"""Side of a patch in the paper."""

# the side is halved until a small slide has this many patches, but not below this side
_SMALLEST_PATCH_PX = 64
_ENOUGH_PATCHES = 24
# pixels of a shell are counted in steps of about this distance
_STEP_UM = 0.125


@dataclass(frozen=True)
class VesselSettings:
    """How the vessel mask is made from the stain."""

    pixel_um: Annotated[
        float,
        Option(title="Pixel", help="Largest pixel size of the level.", above=0, unit="µm", noun="the pixel"),
    ] = 1.1
    smoothing_um: Annotated[
        float,
        Option(
            title="Smoothing",
            help="Standard deviation of the Gaussian that evens out noise; 0 for none.",
            minimum=0,
            unit="µm",
            noun="the smoothing",
        ),
    ] = 0.7
    threshold: Annotated[
        float | None,
        Option(
            title="Threshold",
            help="Grey level of the smoothed stain above which a pixel is vessel; if not given, it is found by Otsu's "
            "method.",
        ),
    ] = None
    closing_um: Annotated[
        float,
        Option(
            title="Closing",
            help="Gaps in a wall that are narrower than twice this are closed; 0 for none.",
            minimum=0,
            unit="µm",
            noun="the closing",
        ),
    ] = 1.0
    largest_lumen_um2: Annotated[
        float,
        Option(
            title="Largest lumen",
            help="Enclosed holes up to this area are lumens and are filled; larger ones are tissue between vessels.",
            minimum=0,
            unit="µm²",
            noun="the largest lumen",
        ),
    ] = 1000.0
    smallest_um2: Annotated[
        float,
        Option(
            title="Least area",
            help="Smaller objects, with their lumens filled, are left out as dust.",
            minimum=0,
            unit="µm²",
            noun="the least area",
        ),
    ] = 20.0

    def __post_init__(self) -> None:
        check_options(self, AnalysisError)


@dataclass(frozen=True)
class PenetrationSettings:
    """How the distance from the vessels is divided into shells and bands.

    Attributes
    ----------
    shell_um : float
        Thickness of a shell.
    furthest_um : float
        Pixels further than this from every vessel are one last, open shell. A multiple of the thickness.
    beyond_um : tuple of float
        Distances beyond which the share of the signal is reported.
    band_edges_um : tuple of float
        Outer edges of the distance bands; the last band has none. Multiples of the thickness.
    near_um : tuple of float
        Distances up to which the probe around each vessel is averaged, in rising order.
    periphery_um : float
        Tissue nearer than this to the edge of the tissue is periphery, the rest core.
    fit_from_um : float
        The decay is fitted from here on: nearer, the signal around a thin vessel falls faster than exponentially.
        If that gives no length, the decay is fitted from the vessel's edge up to here instead.
    fit_down_to, near_down_to : float
        The fit beyond `fit_from_um`, and the one from the edge, end where the signal is below this share of the first
        shell's.
    near_shell_um : float
        Thickness of the shells of the fit from the edge, or a pixel of the mask if that is larger.
    fit_least_r2 : float
        The decay length is reported only if its line explains this share of the logarithm's variance, or more.
    """

    shell_um: float = 5.0
    furthest_um: float = 300.0
    beyond_um: tuple[float, ...] = (10.0, 20.0, 30.0, 50.0, 100.0, 200.0)
    band_edges_um: tuple[float, ...] = (10.0, 30.0, 60.0)
    near_um: tuple[float, ...] = (10.0, 20.0, 50.0)
    periphery_um: float = 200.0
    fit_from_um: float = 20.0
    fit_down_to: float = 0.02
    near_down_to: float = 0.05
    near_shell_um: float = 0.5
    fit_least_r2: float = 0.8

    def __post_init__(self) -> None:
        for name in ("shell_um", "near_shell_um"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                msg = f"{name} is {getattr(self, name)}; expected a number above 0"
                raise AnalysisError(msg)
        for name in ("beyond_um", "band_edges_um", "near_um"):
            _check_distances(name, getattr(self, name), self.furthest_um)
        for name in ("furthest_um", "band_edges_um"):
            in_shells = np.atleast_1d(getattr(self, name)) / self.shell_um
            are_whole = np.isfinite(in_shells).all() and np.allclose(in_shells, np.rint(in_shells))
            if not are_whole or in_shells.min(initial=1) < 1:
                msg = f"{name} is {getattr(self, name)}; expected multiples of shell_um, {self.shell_um:g}"
                raise AnalysisError(msg)

    @property
    def shells(self) -> int:
        """Number of closed shells."""
        return round(self.furthest_um / self.shell_um)

    @property
    def steps(self) -> int:
        """Number of distance steps in a shell; pixels are counted per step."""
        return math.ceil(self.shell_um / _STEP_UM)

    @property
    def step_um(self) -> float:
        """Thickness of a step."""
        return self.shell_um / self.steps


def _check_distances(name: str, distances: tuple[float, ...], furthest: float) -> None:
    rise = all(0 < a < b for a, b in pairwise((*distances, math.inf)))
    if not rise or any(not d <= furthest for d in distances):
        msg = f"{name} is {distances}; expected rising distances above 0 and up to furthest_um, {furthest:g}"
        raise AnalysisError(msg)


@dataclass(frozen=True)
class EvaluationSettings:
    """How a slide is evaluated.

    Attributes
    ----------
    resamples, permutations : int
        Number of resamples of the block bootstrap, and of permutations of the permutation tests.
    confidence : float
        Confidence level of the intervals.
    vessels : VesselSettings
        How vessels are found.
    penetration : PenetrationSettings
        Shells, bands and distances.
    """

    psnr_max: Annotated[
        float | Literal["dtype", "real"],
        Option(
            title="MAX of the PSNR",
            help="MAX of the PSNR: dtype, the largest value of the real slide's pixel type; real, the brightest real "
            "pixel of each region; or a grey level.",
            above=0,
            noun="the MAX of the PSNR",
            flag="--psnr-max",
            metavar="MAX",
        ),
    ] = "dtype"
    patch_px: Annotated[
        int | None,
        Option(
            title="Patch",
            help="Side of a patch.",
            minimum=1,
            unit="px",
            automatic="512 as in the paper; halved until a small field has 24 of them",
            noun="the side of the patches",
            flag="--patch",
            metavar="PX",
        ),
    ] = None
    minimum_tissue: Annotated[
        float,
        Option(
            title="Tissue",
            help="Share of a patch that must be tissue for the patch to count.",
            above=0,
            maximum=1,
            is_share=True,
            step=0.05,
            noun="the share of tissue from which a patch counts",
        ),
    ] = 0.5
    block_px: Annotated[
        int | None,
        Option(
            title="Block",
            help="Side of the bootstrap blocks; must be larger than any structure.",
            minimum=1,
            unit="px",
            automatic="six correlation lengths of each region",
            noun="the side of the blocks",
            flag="--block",
            metavar="PX",
        ),
    ] = None
    resamples: int = 2000
    permutations: int = 999
    seed: Annotated[
        int,
        Option(
            title="Seed",
            help="Seed of the intervals and permutations.",
            minimum=0,
            noun="the seed",
            flag="--seed",
            metavar="N",
        ),
    ] = 0
    confidence: float = 0.95
    vessels: VesselSettings = field(default_factory=VesselSettings)
    penetration: PenetrationSettings = field(default_factory=PenetrationSettings)
    background: Annotated[
        float | None,
        Option(
            title="Background",
            help="Grey level of the probe channel in tissue without probe, such as an uninjected section; subtracted "
            "for the penetration.",
            automatic="the median of blank glass",
            noun="the background",
            flag="--background",
            metavar="LEVEL",
        ),
    ] = None

    def __post_init__(self) -> None:
        check_options(self, AgreementError)

    def patch_of(self, shape: tuple[int, int]) -> int:
        """Side of the patches of a slide, in pixels.

        Parameters
        ----------
        shape : tuple of int
            Height and width of the slide in pixels.

        Returns
        -------
        int
            The chosen side, or 512 px halved until a small slide has enough patches.
        """
        if self.patch_px is not None:
            return self.patch_px
        edge = PATCH_PX
        while edge > _SMALLEST_PATCH_PX and (shape[0] // edge) * (shape[1] // edge) < _ENOUGH_PATCHES:
            edge //= 2
        return edge

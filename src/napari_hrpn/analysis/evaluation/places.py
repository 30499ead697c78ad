"""A look at coarse levels before the pass over all pixels: what a density spans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_hrpn.analysis.density_range import DENSITY_PERCENTILES, range_of_density
from napari_hrpn.analysis.intensity import tissue_percentiles
from napari_hrpn.slides import RegionMask

if TYPE_CHECKING:
    from napari_hrpn.analysis.slide_penetration import ProbeImage

_DENSITY_PIXEL_UM = 1.1


def density_range(real: ProbeImage, prediction: ProbeImage, tissue: RegionMask) -> tuple[float, float]:
    """Grey levels that a density plot of a prediction spans: all but a thousandth of the pixels."""
    ends = [
        tissue_percentiles(image.slide, [image.channel], tissue, DENSITY_PERCENTILES, _DENSITY_PIXEL_UM)[0]
        for image in (real, prediction)
    ]
    whole = has_whole_numbers(real, prediction)
    return range_of_density([(float(low), float(high)) for low, high in ends], whole=whole)


def has_whole_numbers(*images: ProbeImage) -> bool:
    """Whether one of some channels holds integers."""
    return any(image.slide.dtype.kind in "biu" for image in images)

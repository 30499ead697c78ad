"""Grey levels that a density plot of pixel pairs spans, the same in reports and widgets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_hrpn.analysis.intensity import tissue_percentiles
from napari_hrpn.analysis.intensity_histogram import MOST_WHOLE
from napari_hrpn.analysis.joint_histogram import DENSITY_CELLS
from napari_hrpn.slides import RegionMask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.analysis.slide_penetration import ProbeImage

# a density leaves out no more than a thousandth of the pixels of an image
DENSITY_PERCENTILES = (0.05, 99.95)


def range_of_density(ends: Sequence[tuple[float, float]], *, whole: bool) -> tuple[float, float]:
    """Grey levels that a density spans, the same for both of its axes and wherever it is drawn."""
    lows, highs = zip(*ends, strict=True)
    low, high = min(0.0, *lows), max(highs)
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, 1.0
    if whole and max(high, -low) < MOST_WHOLE:
        low, width = math.floor(low), max(1, math.ceil((high - math.floor(low) + 1) / DENSITY_CELLS))
        return low - 0.5, low - 0.5 + width * DENSITY_CELLS
    return low, high if high > low else low + max(1.0, DENSITY_CELLS * math.ulp(low))


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

"""What the widget computes off the GUI thread: vessels, the probe around them, densities, subareas.

Nothing of Qt or napari is touched here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.plugin.measuring.parts import Part, Steps, one_step, who

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.analysis import VesselSettings
    from napari_hrpn.plugin.comparison import ComparedChannel
    from napari_hrpn.slides import RegionMask, Slide

GLASS_PIXEL_UM = 8.0
BANDS, EDGE = "bands", "edge"


@dataclass(frozen=True, eq=False)
class Subareas:
    """Parts of the tissue as labels.

    Attributes
    ----------
    labels : numpy.ndarray of uint8, shape (y, x)
        0 where there is none.
    downsample : tuple of float
        Full-resolution pixels per pixel, along y and x.
    names : tuple of str
        Of the labels from 1 on.
    """

    labels: NDArray[np.uint8]
    downsample: tuple[float, float]
    names: tuple[str, ...]


def vessels_part(stain: ComparedChannel, tissue: RegionMask | None, settings: VesselSettings) -> Part:
    """Find vessels by their stain.

    Parameters
    ----------
    stain : ComparedChannel
        Of the vessels.
    tissue : RegionMask or None
        Where they are looked for.
    settings : VesselSettings
        How they are told from the rest.

    Returns
    -------
    Part
        Its result is a `VesselMask`.
    """

    def _begin(_: Mapping[Hashable, Any]) -> Steps:
        from napari_hrpn.analysis import vessel_mask

        return vessel_mask(stain.slide, stain.channel, tissue, settings)

    key = "vessels", who(stain.slide), stain.channel, settings, _digest(tissue)
    return Part(key, "Looking for vessels", 0.3 * _pixels(stain.slide), _begin)


def edited_part(labels: NDArray[Any], slide: Slide, mark: Hashable) -> Part:
    """Take a drawn or edited mask for the vessels.

    Parameters
    ----------
    labels : numpy.ndarray
        Shape (y, x), over the whole slide.
    slide : Slide
        The slide.
    mark : hashable
        Changes with the labels.

    Returns
    -------
    Part
        Its result is a `VesselMask`.
    """

    def _begin(_: Mapping[Hashable, Any]) -> Steps:
        from napari_hrpn.analysis import edited_vessel_mask

        return one_step(edited_vessel_mask, labels, slide)

    return Part(("edited", who(slide), mark), "Taking over the mask", 0.05 * _pixels(slide), _begin)


def table_part(stain: ComparedChannel, vessels: Part, tissue: RegionMask | None) -> Part:
    """Measure each vessel.

    Parameters
    ----------
    stain : ComparedChannel
        Of the vessels.
    vessels : Part
        That finds them.
    tissue : RegionMask or None
        Where they count.

    Returns
    -------
    Part
        Its result is a `VesselTable`.
    """

    def _begin(results: Mapping[Hashable, Any]) -> Steps:
        from napari_hrpn.analysis import measure_vessels

        return measure_vessels(stain.slide, stain.channel, results[vessels.key], tissue)

    key = "table", who(stain.slide), stain.channel, vessels.key, _digest(tissue)
    return Part(key, "Measuring each vessel", 0.5 * _pixels(stain.slide), _begin)


def background_part(images: Sequence[ComparedChannel], tissue: RegionMask | None) -> Part:
    """Find the grey level of blank glass.

    Parameters
    ----------
    images : sequence of ComparedChannel
        Of one size.
    tissue : RegionMask or None
        What is no glass.

    Returns
    -------
    Part
        Its result is a mapping from name to grey level; what has no glass is left out.
    """

    def _begin(_: Mapping[Hashable, Any]) -> Steps:
        return one_step(_blank_glass, images, tissue)

    key = "background", _which(images), _digest(tissue)
    return Part(key, "Looking at the blank glass", 0.02 * _pixels(images[0].slide) * len(images), _begin)


def penetration_part(
    images: Sequence[ComparedChannel], vessels: Part, tissue: RegionMask | None, background: Part | float
) -> Part:
    """Measure how far the probe got from the vessels, in all images at once.

    Parameters
    ----------
    images : sequence of ComparedChannel
        The real one and predictions, of one size.
    vessels : Part
        That finds them.
    tissue : RegionMask or None
        What is measured.
    background : Part or float
        What is taken off: the part that finds it, or one grey level for all.

    Returns
    -------
    Part
        Its result is a `SlidePenetration`.
    """
    names = [image.name for image in images]

    def _begin(results: Mapping[Hashable, Any]) -> Steps:
        from napari_hrpn.analysis import ProbeImage, slide_penetration

        levels = results[background.key] if isinstance(background, Part) else dict.fromkeys(names, background)
        probes = [ProbeImage(image.name, image.slide, image.channel) for image in images]
        return slide_penetration(results[vessels.key], probes, tissue, background=levels)

    taken_off = background.key if isinstance(background, Part) else background
    key = "penetration", _which(images), tuple(names), vessels.key, taken_off, _digest(tissue)
    return Part(key, "Measuring distances from vessels", float(_pixels(images[0].slide) * (len(images) + 2)), _begin)


def nuclei_part(stain: ComparedChannel, tissue: RegionMask | None) -> Part:
    """Count nuclei.

    Parameters
    ----------
    stain : ComparedChannel
        Of the nuclei.
    tissue : RegionMask or None
        Where they count.

    Returns
    -------
    Part
        Its result is a `CellDensity`.
    """

    def _begin(_: Mapping[Hashable, Any]) -> Steps:
        from napari_hrpn.analysis import cell_density

        return cell_density(stain.slide, stain.channel, tissue)

    key = "nuclei", who(stain.slide), stain.channel, _digest(tissue)
    return Part(key, "Counting nuclei", 0.5 * _pixels(stain.slide), _begin)


def subareas_part(kind: str, slide: Slide, vessels: Part, tissue: RegionMask | None) -> Part:
    """Cut the tissue into subareas.

    Parameters
    ----------
    kind : str
        `BANDS` of distance from the vessels, or `EDGE` for core and periphery.
    slide : Slide
        The slide.
    vessels : Part
        That finds them.
    tissue : RegionMask or None
        What is cut.

    Returns
    -------
    Part
        Its result is `Subareas`.
    """

    def _begin(results: Mapping[Hashable, Any]) -> Steps:
        from napari_hrpn.plugin.penetration.subareas import core_and_periphery, distance_bands

        if kind == EDGE:
            return core_and_periphery(slide, tissue)
        return distance_bands(results[vessels.key], tissue)

    key = "subareas", kind, who(slide), vessels.key if kind == BANDS else None, _digest(tissue)
    return Part(key, "Cutting the tissue into subareas", 0.3 * _pixels(slide), _begin)


def _which(images: Sequence[ComparedChannel]) -> Hashable:
    return tuple((who(image.slide), image.channel) for image in images)


def _digest(tissue: RegionMask | None) -> str | None:
    return None if tissue is None else tissue.digest


def _pixels(slide: Slide) -> int:
    return slide.shape[0] * slide.shape[1]


def _blank_glass(images: Sequence[ComparedChannel], tissue: RegionMask | None) -> dict[str, float]:
    from napari_hrpn.analysis import TissueMask, background_levels

    found: dict[str, float] = {}
    if tissue is None:
        return found
    for image in images:
        level = image.slide.level_for(GLASS_PIXEL_UM)
        shape = image.slide.levels[level].shape[1:]
        mask = TissueMask(_spread(tissue, shape), image.slide.downsample(level), level)
        grey = background_levels(image.slide, [image.channel], mask)
        if grey is not None:
            found[image.name] = float(grey[0])
    return found


def _spread(tissue: RegionMask, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The tissue on another grid over the same slide, each pixel as it is at its centre."""
    y, x = (
        ((np.arange(size) + 0.5) * own / size).astype(np.intp)
        for own, size in zip(tissue.mask.shape, shape, strict=True)
    )
    return tissue.mask[np.ix_(y, x)]

"""Agreement of a predicted with a real channel over whole slides: one pass, constant memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_hrpn.analysis.scan.slide_pairs import slide_pairs
from napari_hrpn.analysis.statistics.agreement import Agreement, compute, largest_value
from napari_hrpn.core import Progress

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_hrpn.slides import RegionMask, Slide


@dataclass(frozen=True)
class SlideAgreement:
    """Agreement over a slide."""

    tissue: Agreement | None  # over the pixels of the tissue alone; None where no mask was given
    frame: Agreement  # over all pixels. Blank glass is easy to predict, so this R2 is usually the higher one


def slide_agreement(
    real: Slide,
    real_channel: int,
    predicted: Slide,
    predicted_channel: int = 0,
    tissue: RegionMask | None = None,
    data_range: float | None = None,
) -> Generator[Progress, None, SlideAgreement]:
    """Compare a predicted channel with the real one, pixel by pixel at full resolution.

    Parameters
    ----------
    real : Slide
        The slide with the imaged probe.
    real_channel : int
        Its channel of the probe.
    predicted : Slide
        The prediction, of the same height and width.
    predicted_channel : int
        Its channel.
    tissue : RegionMask, optional
        Of the real slide.
    data_range : float, optional
        MAX of the PSNR; the largest value of the real slide's pixel type where left out.

    Yields
    ------
    Progress
        After each block.

    Returns
    -------
    SlideAgreement
        Over the tissue and over the frame, pooled.

    Raises
    ------
    AgreementError
        If the slides differ in size or hold pixels that are not finite.
    SlideError
        If one of them cannot be read.
    """
    pairs = yield from slide_pairs(real, real_channel, predicted, predicted_channel, tissue=tissue)
    peak = largest_value(real.dtype) if data_range is None else data_range
    return SlideAgreement(
        tissue=None if pairs.tissue is None else compute(pairs.tissue.sums, peak),
        frame=compute(pairs.frame.sums, peak),
    )

"""Agreement of a predicted with a real channel over whole slides: one pass, constant memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.analysis.agreement import Agreement, compute, largest_value
from napari_hrpn.analysis.agreement_sums import AgreementError, AgreementSums, update

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_hrpn.analysis.tissue import TissueMask
    from napari_hrpn.slides import Slide

BLOCK_PX = 2048


@dataclass(frozen=True)
class AgreementReport:
    """How far a comparison of slides has come.

    Attributes
    ----------
    done, total : int
        Blocks compared and all of them.
    """

    done: int
    total: int


@dataclass(frozen=True)
class SlideAgreement:
    """Agreement over a slide.

    Attributes
    ----------
    tissue : Agreement or None
        Over the pixels of the tissue alone; None where no mask was given.
    frame : Agreement
        Over all pixels. Blank glass is easy to predict, so this R2 is usually the higher one.
    """

    tissue: Agreement | None
    frame: Agreement


def slide_agreement(
    real: Slide,
    real_channel: int,
    predicted: Slide,
    predicted_channel: int = 0,
    tissue: TissueMask | None = None,
    data_range: float | None = None,
) -> Generator[AgreementReport, None, SlideAgreement]:
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
    tissue : TissueMask, optional
        Of the real slide.
    data_range : float, optional
        MAX of the PSNR; the largest value of the real slide's pixel type where left out.

    Yields
    ------
    AgreementReport
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
    if real.shape != predicted.shape:
        msg = (
            f"the real slide is {real.shape[0]} x {real.shape[1]} px and the predicted one "
            f"{predicted.shape[0]} x {predicted.shape[1]}; expected one size"
        )
        raise AgreementError(msg)
    pixels = real.levels[0][real_channel], predicted.levels[0][predicted_channel]
    inside, outside = AgreementSums(), AgreementSums()
    boxes = _boxes(real.shape)
    for done, box in enumerate(boxes, start=1):
        y, p = (np.asarray(level[box].compute()) for level in pixels)
        mask = np.zeros(y.shape, bool) if tissue is None else tissue.within(box[0], box[1])
        inside, outside = update(inside, y, p, mask), update(outside, y, p, ~mask)
        yield AgreementReport(done, len(boxes))
    peak = largest_value(real.dtype) if data_range is None else data_range
    return SlideAgreement(None if tissue is None else compute(inside, peak), compute(inside + outside, peak))


def _boxes(shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    rows, columns = (
        [slice(start, min(start + BLOCK_PX, size)) for start in range(0, size, BLOCK_PX)] for size in shape
    )
    return [(row, column) for row in rows for column in columns]

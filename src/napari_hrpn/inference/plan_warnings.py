"""Warnings of a prediction: pixel size, intensities, fit to the training, precision, pixels that are no numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_hrpn.inference.predictor import computes_in
from napari_hrpn.slides.resampling import has_pixel_size, pixel_size_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_hrpn.inference.fit import Fit
    from napari_hrpn.inference.predictor import Device
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.settings import PredictionSettings
    from napari_hrpn.slides import Slide

_INTENSITY_TOLERANCE = 2.0


def pixel_size_warnings(
    slide: Slide, checkpoint: Checkpoint, settings: PredictionSettings | None = None
) -> tuple[str, ...]:
    """Warning that a slide's pixel size is not known, or not the one that the checkpoint was trained on.

    Parameters
    ----------
    slide : Slide
        The slide.
    checkpoint : Checkpoint
        Its card has the pixel size of the training.
    settings : PredictionSettings, optional
        With resampling, a different pixel size needs no warning.

    Returns
    -------
    tuple of str
        One sentence, or none.
    """
    trained = checkpoint.card.pixel_size_um
    if trained is None:
        return ()
    if slide.pixel_size_um is None:
        return (
            f"{slide.source.name} has no pixel size; the checkpoint was trained at {trained:g} µm per pixel, "
            "and at another pixel size the prediction means little.",
        )
    is_resampled = checkpoint.card.resamples or (settings is not None and settings.resample)
    if has_pixel_size(slide.pixel_size_um, trained) or is_resampled:
        return ()
    return (
        f"{slide.source.name} has pixels of {pixel_size_words(slide.pixel_size_um)} but the checkpoint was trained at "
        f"{trained:g} µm: resample it, or the prediction means little.",
    )


def unknown_warnings(
    slide: Slide, channels: tuple[int, ...], unknown_px: Sequence[int], reach_px: int
) -> tuple[str, ...]:
    """Warning of pixels of the predicted tiles that are not grey levels: one sentence, or none."""
    counts = [
        f"{count:,} {'pixel' if count == 1 else 'pixels'} of {slide.channel_names[channel]}"
        for channel, count in zip(channels, unknown_px, strict=True)
        if count
    ]
    if not counts:
        return ()
    return (
        f"{slide.source.name}: {' and '.join(counts)} in the predicted tiles hold no number (NaN, infinite or beyond "
        "1e12); the network was shown the channel's background there, so the prediction there is not known, and that "
        f"up to {reach_px} px around may be off.",
    )


def prediction_warnings(
    slide: Slide,
    checkpoint: Checkpoint,
    percentiles: NDArray[np.float64],
    settings: PredictionSettings,
    device: Device,
    fit: Fit,
) -> tuple[str, ...]:
    """Sentences on why a prediction may be poor, or take long."""
    card, sentences = checkpoint.card, list(pixel_size_warnings(slide, checkpoint, settings))
    if fit.level in ("note", "warning"):
        sentences.append(fit.sentence)
    # checkpoints of earlier versions have no quantiles: a fixed scaling fails on inputs that are far brighter or darker
    # than the training slides, while percentiles adapt
    ranges = () if card.scaling.kind == "percentile" or fit.level != "unknown" else card.input_ranges
    for role, (_, high), (_, trained) in zip(card.input_roles, percentiles, ranges, strict=bool(ranges)):
        if not trained / _INTENSITY_TOLERANCE <= high <= trained * _INTENSITY_TOLERANCE:
            sentences.append(
                f"bright {role} have grey level {high:.4g} but the checkpoint was trained with {trained:.4g}: "
                "expect a poor prediction, or train on slides like this one."
            )
    if not computes_in(device.name, settings.precision):
        sentences.append(
            f"{device.title} only emulates {settings.precision}, which takes longer than fp32: set the precision to "
            "fp32."
        )
    return tuple(sentences)

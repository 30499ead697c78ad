"""Overview picture of a prediction: real, predicted, and both laid over each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_hrpn.core.files import replaced_file
from napari_hrpn.reports.drawing import new_figure, plain_text
from napari_hrpn.slides import contrast_limits

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from napari_hrpn.analysis import Agreement
    from napari_hrpn.slides import Slide

_PANEL_PX = 700
OVERLAY = "overlay: real red, predicted green"


def write_overview(
    real: Slide,
    real_channel: int,
    predicted: Slide,
    path: Path,
    *,
    predicted_channel: int = 0,
    agreement: Agreement | None = None,
    r2_ceiling: float | None = None,
) -> Path:
    """Draw the real channel in red, the predicted one in green, and both together, where equal is yellow.

    All panels share the contrast of the real channel, so that a prediction that is too dark looks too dark.

    Parameters
    ----------
    real : Slide
        The slide with the imaged probe.
    real_channel : int
        Its channel of the probe.
    predicted : Slide
        The prediction, of the same height and width.
    path : pathlib.Path
        The picture, usually PNG; written in one step, an older one is replaced.
    predicted_channel : int
        Its channel.
    agreement : Agreement, optional
        Numbers for the title.
    r2_ceiling : float, optional
        Best possible R2, for the title.

    Returns
    -------
    pathlib.Path
        The picture.
    """
    limits = contrast_limits(real)[real_channel]
    y = scaled(coarse_pixels(real, real_channel), limits)
    p = scaled(coarse_pixels(predicted, predicted_channel), limits)
    # pyramids of two files may differ in a row at an odd edge
    y, p = y[: p.shape[0], : p.shape[1]], p[: y.shape[0], : y.shape[1]]
    dark = np.zeros_like(y)
    figure, panels = new_figure(15, 5 * panel_ratio(y.shape) + 0.8, columns=3)
    probe = real.channel_names[real_channel]
    titles = (f"{probe} real", f"{probe} predicted", OVERLAY)
    for axes, title, bands in zip(panels, titles, ((y, dark, dark), (dark, p, dark), (y, p, dark)), strict=True):
        axes.imshow(np.stack(bands, axis=-1), interpolation="nearest")
        axes.set_title(title)
        axes.set_axis_off()
        draw_scale_bar(axes, real, y.shape)
    figure.suptitle(overview_title(agreement, r2_ceiling))
    plain_text(figure)
    with replaced_file(path, sync=False) as partial:
        figure.savefig(partial, format=path.suffix[1:], dpi=_PANEL_PX / 5, bbox_inches="tight")
    return path


def overview_title(agreement: Agreement | None, r2_ceiling: float | None) -> str:
    """Put the numbers of a prediction into words."""
    if agreement is None:
        return ""
    ceiling = "" if r2_ceiling is None else f" (at best {r2_ceiling:.3f})"
    return (
        f"R² {agreement.r2:.3f}{ceiling}   Pearson r {agreement.pearson_r:.3f}   RMSE {agreement.rmse:.4g}   "
        f"PSNR {agreement.psnr_db:.1f} dB   n = {agreement.n:,} px"
    )


def scale_bar_um(width_um: float) -> float:
    """Length of a scale bar: 1, 2 or 5 times a power of ten, at most a quarter of the picture."""
    power = 10.0 ** math.floor(math.log10(width_um / 4))
    return max(step * power for step in (1, 2, 5) if step * power <= width_um / 4 * (1 + 1e-9))


def panel_ratio(shape: tuple[int, ...]) -> float:
    """Height over width of a panel for a picture, within what fits on a page."""
    return min(max(shape[0] / shape[1], 1 / 5), 3.0)


def coarse_pixels(slide: Slide, channel: int) -> NDArray[np.float32]:
    """Read a channel at the size of a picture."""
    fits = [index for index, level in enumerate(slide.levels) if max(level.shape[1:]) >= _PANEL_PX]
    level = slide.levels[max(fits, default=0)][channel]
    # a level may be far larger than the picture where the next one is too small
    step = max(1, max(level.shape) // (2 * _PANEL_PX))
    return np.asarray(level[::step, ::step].compute(), np.float32)


def scaled(pixels: NDArray[np.float32], limits: tuple[float, float]) -> NDArray[np.float32]:
    """Pixels from 0 to 1 between the limits of a contrast."""
    low, high = limits
    return np.asarray(np.clip((pixels - low) / max(high - low, 1e-6), 0, 1), np.float32)


def draw_scale_bar(axes: Axes, slide: Slide, shape: tuple[int, ...], colour: str = "white") -> None:
    """Draw a scale bar into a picture of a slide; none where the size of a pixel is not known."""
    if slide.pixel_size_um is None:
        return
    height, width = shape
    pixel_um = slide.pixel_size_um[1] * slide.shape[1] / width
    length_um = scale_bar_um(width * pixel_um)
    right, y = 0.96 * width, 0.95 * height
    left = right - length_um / pixel_um
    axes.plot([left, right], [y, y], color=colour, linewidth=4, solid_capstyle="butt")
    words = f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} µm"
    axes.text((left + right) / 2, y - 0.015 * height, words, color=colour, ha="center", va="bottom", fontsize=12)

"""Pictures of real and predicted slides, violins of patches, and the profile of penetration."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.core.files import replaced_file
from napari_hrpn.reports.drawing import REAL_COLOUR, Drawing, file_name, new_figure, plain_text, tidy
from napari_hrpn.reports.numbers import number
from napari_hrpn.slides import contrast_limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from napari_hrpn.analysis import Agreement, ProbeImage
    from napari_hrpn.slides import Slide

    Plain = dict[str, Any]

_PANEL_PX = 700
_OVERLAY = "overlay: real red, predicted green"


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
    """Draw the real channel in red, the predicted one in green, and their overlay, in which equal levels are yellow.

    All panels have the contrast of the real channel, so that a prediction that is too dark appears dark.

    Parameters
    ----------
    real : Slide
        The slide with the imaged probe.
    real_channel : int
        Channel of the probe in `real`.
    predicted : Slide
        The prediction, of the same height and width.
    path : pathlib.Path
        The picture, usually PNG; it is written in one step, and an existing file is replaced.
    predicted_channel : int
        Channel of the probe in `predicted`.
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
    y = _scaled(_coarse_pixels(real, real_channel), limits)
    p = _scaled(_coarse_pixels(predicted, predicted_channel), limits)
    # pyramids of two files may differ in a row at an odd edge
    y, p = y[: p.shape[0], : p.shape[1]], p[: y.shape[0], : y.shape[1]]
    dark = np.zeros_like(y)
    figure, panels = new_figure(15, 5 * _panel_ratio(y.shape) + 0.8, columns=3)
    probe = real.channel_names[real_channel]
    titles = (f"{probe} real", f"{probe} predicted", _OVERLAY)
    for axes, title, bands in zip(panels, titles, ((y, dark, dark), (dark, p, dark), (y, p, dark)), strict=True):
        axes.imshow(np.stack(bands, axis=-1), interpolation="nearest")
        axes.set_title(title)
        axes.set_axis_off()
        _draw_scale_bar(axes, real, y.shape)
    figure.suptitle(overview_title(agreement, r2_ceiling))
    plain_text(figure)
    with replaced_file(path, sync=False) as partial:
        figure.savefig(partial, format=path.suffix[1:], dpi=_PANEL_PX / 5, bbox_inches="tight")
    return path


def overview_title(agreement: Agreement | None, r2_ceiling: float | None) -> str:
    """Title of an overview, with the numbers of the prediction."""
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


def _panel_ratio(shape: tuple[int, ...]) -> float:
    """Height over width of a panel, limited so that very long or wide slides fit on a page."""
    return min(max(shape[0] / shape[1], 1 / 5), 3.0)


def _coarse_pixels(slide: Slide, channel: int) -> NDArray[np.float32]:
    """Read a channel at about the resolution of a picture."""
    fits = [index for index, level in enumerate(slide.levels) if max(level.shape[1:]) >= _PANEL_PX]
    level = slide.levels[max(fits, default=0)][channel]
    # the smallest level that is large enough may still be far larger than the picture
    step = max(1, max(level.shape) // (2 * _PANEL_PX))
    return np.asarray(level[::step, ::step].compute(), np.float32)


def _scaled(pixels: NDArray[np.float32], limits: tuple[float, float]) -> NDArray[np.float32]:
    """Scale pixels to 0 to 1 between contrast limits."""
    low, high = limits
    return np.asarray(np.clip((pixels - low) / max(high - low, 1e-6), 0, 1), np.float32)


def _draw_scale_bar(axes: Axes, slide: Slide, shape: tuple[int, ...], colour: str = "white") -> None:
    """Draw a scale bar into a picture of a slide, if its pixel size is known."""
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


# predictions have other colours
_CHANNEL_COLOURS = {"nuclei": "#6a51a3", "vessels": "#66a61e", "probe": REAL_COLOUR}
_FEWEST_FOR_A_VIOLIN = 3


def patch_figure(part: Plain, colours: Mapping[str, str]) -> Drawing:
    """Draw the total intensity of each patch, channel by channel."""
    images, chosen = part["images"], [patch for patch in part["patches"] if patch["enough"]]
    figure, panels = new_figure(1.2 + 2.2 * len(images), 4.4, columns=len(images))
    for axes, image, colour in zip(panels, images, image_colours(images, colours), strict=True):
        draw_violin(axes, [patch[f"{image} total"] for patch in chosen], 0, colour)
        words = part["channels"][image] if image in _CHANNEL_COLOURS else image
        tidy(axes, "", "total intensity per patch" if axes is panels[0] else "", f"{words}\nn = {len(chosen)} patches")
        axes.set_xticks([])
        axes.ticklabel_format(axis="y", scilimits=(-3, 4))
        axes.margins(y=0.08)
    # real and predicted probe can only be compared on one scale
    probes = [axes for axes, image in zip(panels, images, strict=True) if image not in ("nuclei", "vessels")]
    limits = [limit for axes in probes for limit in axes.get_ylim()]
    for axes in probes:
        axes.set_ylim(min(limits), max(limits))
    caption = (
        f"Sum of the grey levels of each patch of {part['patch_px']} x {part['patch_px']} px with at least "
        f"{part['minimum_tissue']:.0%} tissue, as in the paper's figure 2C. Line: median; every point is a patch."
    )
    return Drawing("patches", "Patches", caption, figure)


def draw_violin(axes: Axes, values: Sequence[float], x: float, colour: str) -> None:
    """Draw a violin, its median and all its points; for one or two values only the points."""
    numbers = np.asarray([value for value in values if value is not None], float)
    if len(numbers) >= _FEWEST_FOR_A_VIOLIN and numbers.std() > 0:
        violin: Any = axes.violinplot(numbers, positions=[x], widths=0.8, showextrema=False, showmedians=True)
        for body in violin["bodies"]:
            body.set(facecolor=colour, edgecolor="none", alpha=0.3)
        violin["cmedians"].set(color=colour, linewidth=2)
    # golden-ratio steps spread points evenly, and in the same way each time
    spread = (np.arange(len(numbers)) * 0.618034) % 1 - 0.5
    size = 9 if len(numbers) < 500 else 2
    axes.scatter(x + 0.5 * spread, numbers, s=size, color=colour, alpha=0.5, linewidths=0)


def penetration_figure(part: Plain, colours: Mapping[str, str]) -> Drawing:
    """Draw the mean grey level over the distance from the nearest vessel."""
    # core and periphery without pixels get no panel
    areas = list(
        dict.fromkeys(profile["area"] for profile in part["profiles"] if profile["n"] or profile["area"] == "tissue")
    )
    figure, panels = new_figure(1 + 5 * len(areas), 4.4, columns=len(areas))
    for axes, area in zip(panels, areas, strict=True):
        profiles = [profile for profile in part["profiles"] if profile["area"] == area]
        profile_colours = image_colours([profile["image"] for profile in profiles], colours)
        for profile, colour in zip(profiles, profile_colours, strict=True):
            _draw_profile(axes, profile, colour)
        n = profiles[0]["n"]
        title = f"{area}, n = {n:,} px outside vessels"
        tidy(axes, "distance from the nearest vessel, µm", "mean grey level", title, has_legend=True)
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    caption = (
        f"Mean grey level in shells of distance from the edge of the nearest of {part['density']['vessels']:,} "
        "vessels, up to the last shell with a thousandth of the pixels. D50: distance within which half of the signal "
        "outside vessels lies. "
        f"{background_words(part)}."
    )
    return Drawing("penetration", "Penetration from the vessels", caption, figure)


def background_words(part: Plain) -> str:
    """Sentence on the background that was subtracted."""
    if not part["background"]:
        return "No background was subtracted, as there is no blank glass"
    origin = "as stated" if part["background_from"] == "stated" else "the median of blank glass"
    levels = ", ".join(f"{name} {number(level)}" for name, level in part["background"].items())
    return f"Background subtracted, {origin}: {levels}"


def _draw_profile(axes: Axes, profile: Plain, colour: str) -> None:
    furthest = profile["range_um"] or 0
    shells = [shell for shell in profile["shells"] if shell["to_um"] is not None and shell["to_um"] <= furthest]
    middle = [(shell["from_um"] + shell["to_um"]) / 2 for shell in shells]
    lengths = {"D50": profile["d50_um"], "1/e": profile["decay_um"]}
    known = [f"{words} {number(length, 2)} µm" for words, length in lengths.items() if length is not None]
    label = f"{profile['image']}: {', '.join(known)}" if known else profile["image"]
    axes.plot(middle, [shell["mean"] for shell in shells], "o-", color=colour, markersize=3, label=label)
    if profile["d50_um"] is not None:
        axes.axvline(profile["d50_um"], color=colour, linestyle=":", linewidth=1)


def slide_figure(real: ProbeImage, prediction: ProbeImage, probe: str) -> Drawing:
    """Draw the real channel, the predicted one, their difference and their overlay."""
    limits = contrast_limits(real.slide)[real.channel]
    y, p = _pictures(real, prediction)
    figure, panels = new_figure(11, 2 * (4.9 * _panel_ratio(y.shape) + 0.4), 2, 2)
    # a percentile, so that a few outliers do not make all other differences invisible
    largest = max(1e-6, float(np.nanpercentile(np.abs(p - y), 99.5)))
    for axes, pixels, colours, ends, title in (
        (panels[0], y, "inferno", limits, f"real {probe}"),
        (panels[1], p, "inferno", limits, f"predicted, {prediction.name}"),
        (panels[2], p - y, "RdBu_r", (-largest, largest), "difference, predicted - real"),
    ):
        image = axes.imshow(pixels, cmap=colours, vmin=ends[0], vmax=ends[1], interpolation="nearest")
        axes.set_title(title, fontsize=10)
        figure.colorbar(image, ax=axes, shrink=0.9, pad=0.01)
    bands = _scaled(y, limits), _scaled(p, limits), np.zeros_like(y)
    panels[3].imshow(np.stack(bands, axis=-1), interpolation="nearest")
    panels[3].set_title(_OVERLAY, fontsize=10)
    for axes in panels:
        axes.set_axis_off()
        _draw_scale_bar(axes, real.slide, y.shape, "black" if axes is panels[2] else "white")
    height, width = real.slide.shape
    caption = (
        f"{width:,} x {height:,} px at {'full resolution' if y.shape == (height, width) else 'a coarse level'}. Real "
        "and predicted have the same contrast, so a prediction that is too dark appears dark; equal levels are yellow "
        "in the overlay."
    )
    return Drawing(f"overview-{file_name(prediction.name)}", f"Real and predicted: {prediction.name}", caption, figure)


def _pictures(real: ProbeImage, prediction: ProbeImage) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    y, p = _coarse_pixels(real.slide, real.channel), _coarse_pixels(prediction.slide, prediction.channel)
    if math.hypot(*np.subtract(y.shape, p.shape)) <= 2:
        # pyramids of two files may differ in a row at an odd edge
        return y[: p.shape[0], : p.shape[1]], p[: y.shape[0], : y.shape[1]]
    rows, columns = (
        (np.arange(size) * predicted_size / size).astype(np.intp)
        for size, predicted_size in zip(y.shape, p.shape, strict=True)
    )
    return y, p[np.ix_(rows, columns)]


def image_colours(images: Sequence[str], colours: Mapping[str, str]) -> list[str]:
    """Colours of images: fixed ones for channels, and for predictions the same as in the other figures."""
    known = {**_CHANNEL_COLOURS, "real": REAL_COLOUR, **colours}
    return [known[image] for image in images]

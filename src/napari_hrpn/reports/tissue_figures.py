"""Figures of a slide: patches as the paper's figure 2C, profiles from the vessels, and an overview."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.reports.drawing import REAL_COLOUR, Drawing, file_name, new_figure, tidy
from napari_hrpn.reports.numbers import number
from napari_hrpn.reports.overview import OVERLAY, coarse_pixels, draw_scale_bar, panel_ratio, scaled
from napari_hrpn.slides import contrast_limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from napari_hrpn.analysis import ProbeImage

    Plain = dict[str, Any]

# none of those that predictions have
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
    # real and predicted probe side by side say something only on one scale
    probes = [axes for axes, image in zip(panels, images, strict=True) if image not in ("nuclei", "vessels")]
    limits = [limit for axes in probes for limit in axes.get_ylim()]
    for axes in probes:
        axes.set_ylim(min(limits), max(limits))
    caption = (
        f"Sum of the grey levels of each patch of {part['patch_px']} x {part['patch_px']} px with at least "
        f"{part['minimum_tissue']:.0%} tissue, as the paper's figure 2C. Line: median; every point is a patch."
    )
    return Drawing("patches", "Patches", caption, figure)


def draw_violin(axes: Axes, values: Sequence[float], place: float, colour: str) -> None:
    """Draw a violin, its median and all its points; of one or two values the points alone."""
    numbers = np.asarray([value for value in values if value is not None], float)
    if len(numbers) >= _FEWEST_FOR_A_VIOLIN and numbers.std() > 0:
        drawn: Any = axes.violinplot(numbers, positions=[place], widths=0.8, showextrema=False, showmedians=True)
        for body in drawn["bodies"]:
            body.set(facecolor=colour, edgecolor="none", alpha=0.3)
        drawn["cmedians"].set(color=colour, linewidth=2)
    # golden-ratio steps spread points evenly and the same each time
    spread = (np.arange(len(numbers)) * 0.618034) % 1 - 0.5
    size = 9 if len(numbers) < 500 else 2
    axes.scatter(place + 0.5 * spread, numbers, s=size, color=colour, alpha=0.5, linewidths=0)


def penetration_figure(part: Plain, colours: Mapping[str, str]) -> Drawing:
    """Draw the mean grey level over the distance from the nearest vessel."""
    # a core without a pixel is no panel
    areas = list(dict.fromkeys(own["area"] for own in part["profiles"] if own["n"] or own["area"] == "tissue"))
    figure, panels = new_figure(1 + 5 * len(areas), 4.4, columns=len(areas))
    for axes, area in zip(panels, areas, strict=True):
        profiles = [profile for profile in part["profiles"] if profile["area"] == area]
        own = image_colours([profile["image"] for profile in profiles], colours)
        for profile, colour in zip(profiles, own, strict=True):
            _draw_profile(axes, profile, colour)
        n = profiles[0]["n"]
        title = f"{area}, n = {n:,} px outside vessels"
        tidy(axes, "distance from the nearest vessel, µm", "mean grey level", title, has_legend=True)
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    caption = (
        f"Mean grey level in shells of distance from the edge of the nearest of {part['density']['vessels']:,} "
        "vessels, as far as a shell holds a thousandth of the pixels. D50: distance within which half of the signal "
        "outside vessels is. "
        f"{background_words(part)}."
    )
    return Drawing("penetration", "Penetration from the vessels", caption, figure)


def background_words(part: Plain) -> str:
    """Say which background was taken off."""
    if not part["background"]:
        return "No background was taken off, for want of blank glass"
    origin = "as stated" if part["background_from"] == "stated" else "the median of blank glass"
    levels = ", ".join(f"{name} {number(level)}" for name, level in part["background"].items())
    return f"Background taken off, {origin}: {levels}"


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
    """Draw the real channel, the predicted one, their difference, and both laid over each other."""
    limits = contrast_limits(real.slide)[real.channel]
    y, p = _pictures(real, prediction)
    figure, panels = new_figure(11, 2 * (4.9 * panel_ratio(y.shape) + 0.4), 2, 2)
    largest = max(1e-6, float(np.nanpercentile(np.abs(p - y), 99.5)))
    for axes, pixels, colours, ends, title in (
        (panels[0], y, "inferno", limits, f"real {probe}"),
        (panels[1], p, "inferno", limits, f"predicted, {prediction.name}"),
        (panels[2], p - y, "RdBu_r", (-largest, largest), "difference, predicted - real"),
    ):
        image = axes.imshow(pixels, cmap=colours, vmin=ends[0], vmax=ends[1], interpolation="nearest")
        axes.set_title(title, fontsize=10)
        figure.colorbar(image, ax=axes, shrink=0.9, pad=0.01)
    bands = scaled(y, limits), scaled(p, limits), np.zeros_like(y)
    panels[3].imshow(np.stack(bands, axis=-1), interpolation="nearest")
    panels[3].set_title(OVERLAY, fontsize=10)
    for axes in panels:
        axes.set_axis_off()
        draw_scale_bar(axes, real.slide, y.shape, "black" if axes is panels[2] else "white")
    height, width = real.slide.shape
    caption = (
        f"{width:,} x {height:,} px at {'full resolution' if y.shape == (height, width) else 'a coarse level'}. Real "
        "and predicted share a contrast, so a prediction that is too dark looks too dark; equal is yellow in the "
        "overlay."
    )
    return Drawing(f"overview-{file_name(prediction.name)}", f"Real and predicted: {prediction.name}", caption, figure)


def _pictures(real: ProbeImage, prediction: ProbeImage) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    y, p = coarse_pixels(real.slide, real.channel), coarse_pixels(prediction.slide, prediction.channel)
    if math.hypot(*np.subtract(y.shape, p.shape)) <= 2:
        # pyramids of two files may differ in a row at an odd edge
        return y[: p.shape[0], : p.shape[1]], p[: y.shape[0], : y.shape[1]]
    rows, columns = ((np.arange(size) * own / size).astype(np.intp) for size, own in zip(y.shape, p.shape, strict=True))
    return y, p[np.ix_(rows, columns)]


def image_colours(images: Sequence[str], colours: Mapping[str, str]) -> list[str]:
    """Colours of images: those of the channels, and those that the predictions have in the other figures."""
    known = {**_CHANNEL_COLOURS, "real": REAL_COLOUR, **colours}
    return [known[image] for image in images]

"""What a network and a fit of diffusion and uptake associate with one vessel, beside each other.

Both say by how much the probe differs in an image without the vessel, or with one more. Neither says what would happen
in the animal.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from skimage.transform import resize_local_mean

from napari_hrpn.analysis.tissue.vessel_edit import VesselWindow, vessel_window
from napari_hrpn.analysis.tissue.vessel_transport import VesselTransport, fit_vessel_transport
from napari_hrpn.core import Box, Progress, relayed
from napari_hrpn.core.errors import PredictionWarning
from napari_hrpn.inference.counterfactual import CounterfactualNetwork, ShamNoise
from napari_hrpn.settings.what_if import WhatIfSettings

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from napari_hrpn.analysis.tissue.vessel_edit import VesselEdit
    from napari_hrpn.settings.what_if import Action
    from napari_hrpn.slides import Region, Slide

SHELLS_UM = ((0.0, 10.0), (10.0, 30.0), (30.0, 60.0))
_SCREEN_STEPS = 255


@dataclass(frozen=True, eq=False)
class WhatIf:
    """Differences, without a vessel or with one more, less the slide as it is, on pixels of the slide.

    Attributes
    ----------
    action : str
        "remove", "add", or "sham", which changes a place without vessels.
    place_um : tuple of float
        The place (y, x) that was named, from the upper left corner of the slide.
    box : Box
        Part of the slide that the following images show.
    predicted : numpy.ndarray
        Prediction of the slide as it is, in grey levels.
    network : numpy.ndarray
        Difference that the network predicts.
    noise : numpy.ndarray or None
        Grey level up to which a difference counts as noise: two SDs of the differences of sham edits at the same
        distance from the edit, widened for the number of shams, and at least the floor. None if no sham edit was
        possible.
    physics : numpy.ndarray
        Difference of the fitted diffusion and uptake.
    distance_um : numpy.ndarray
        Distance from the vessel; 0 inside.
    transport : VesselTransport
        The fit.
    strength : float
        Strength of the vessel per area: the grey level far inside a vessel as wide as the plane.
    probe : str
        The image to which diffusion and uptake were fitted: "imaged" or "predicted".
    shams : int
        Number of sham edits.
    noise_floor : float
        The least noise: half a step of the 255 between the darkest and the brightest predicted pixel, and at least half
        a grey level if the network was trained on integers.
    area_um2 : float
        Area of the vessel, or of the vessel that a sham edit has the shape of.
    warnings : tuple of str
        What to know before the result is believed, a sentence each.
    """

    action: Action
    place_um: tuple[float, float]
    box: Box
    predicted: NDArray[np.float32]
    network: NDArray[np.float32]
    noise: NDArray[np.float32] | None
    physics: NDArray[np.float32]
    distance_um: NDArray[np.float64]
    transport: VesselTransport
    strength: float
    probe: str
    shams: int
    noise_floor: float
    area_um2: float
    warnings: tuple[str, ...]

    @property
    def significant(self) -> NDArray[np.bool_]:
        """Where the network's difference is above the noise of sham edits; everywhere if that is not known."""
        if self.noise is None:
            return np.ones(self.network.shape, bool)
        return np.abs(self.network) > np.maximum(self.noise, 1e-6)

    @property
    def opposite_share(self) -> float | None:
        """Share of the pixels above the noise with more probe without the vessel, or less with one more."""
        above = self.network[self.significant]
        expected = {"remove": -1, "add": 1, "sham": 0}[self.action]
        return float((above * expected < 0).mean()) if above.size and expected and self.noise is not None else None

    def _significant_share(self, inside: NDArray[np.bool_]) -> float | None:
        return float(self.significant[inside].mean()) if self.noise is not None and inside.any() else None

    def numbers(self) -> dict[str, Any]:
        """Mean differences in shells around the vessel, and the fit, as plain values."""
        shells = []
        for low, high in SHELLS_UM:
            inside = (self.distance_um > low) & (self.distance_um <= high)
            count = int(np.count_nonzero(inside))
            means = {
                "network": float(self.network[inside].mean(dtype=np.float64)) if count else None,
                "physics": float(self.physics[inside].mean(dtype=np.float64)) if count else None,
                "significant_share": self._significant_share(inside),
            }
            shells.append({"from_um": low, "to_um": high, "n_px": count, **means})
        near = self.distance_um <= SHELLS_UM[-1][1]
        fit = self.transport
        return {
            "action": self.action,
            "place_um": list(self.place_um),
            "box_px": [self.box.y0, self.box.y1, self.box.x0, self.box.x1],
            "shells": shells,
            "significant_share": self._significant_share(near),
            "opposite_share": self.opposite_share,
            "shams": self.shams,
            "noise_floor": self.noise_floor,
            "area_um2": self.area_um2,
            "warnings": list(self.warnings),
            "physics": {
                "fitted_to": self.probe,
                "lambda_um": fit.length_um,
                "lambda_95_um": list(fit.interval_um),
                "explained_variance": fit.r2,
                "floor": fit.floor,
                "strength": self.strength,
                "median_strength": fit.median_strength,
                "vessels": len(fit.strengths) - 1,
            },
        }


def what_if(
    network: CounterfactualNetwork,
    action: Action,
    place_um: tuple[float, float],
    settings: WhatIfSettings | None = None,
    *,
    outlines: Sequence[Region] = (),
    probe: int | None = None,
) -> Generator[Progress, None, WhatIf]:
    """Compare the slide as it is with the slide without a vessel, or with one more, by the network and by physics.

    Parameters
    ----------
    network : CounterfactualNetwork
        Checkpoint and slide.
    action : str
        "remove" a vessel, "add" a copy of another one, or "sham": put vessel-free texture where no vessel is.
    place_um : tuple of float
        The place (y, x), from the upper left corner of the slide.
    settings : WhatIfSettings, optional
        How much of the slide is used, and the sham edits.
    outlines : sequence of Region, optional
        All vessels in them are removed together, instead of the one at the place.
    probe : int, optional
        Channel of the slide that shows the imaged probe; diffusion and uptake are fitted to the prediction if it is
        left out, or empty in the window.

    Yields
    ------
    Progress
        After each step.

    Returns
    -------
    WhatIf
        Both differences, and the noise.

    Raises
    ------
    AnalysisError, PredictionError, SlideError
        In one sentence, if there is no vessel at the place, or no pixel size.
    """
    settings = settings or WhatIfSettings()
    _warn(network.warnings)
    total = settings.shams + 4
    window = yield from relayed(
        vessel_window(network.slide, network.vessels, network.level, place_um, network.tissue, settings),
        lambda step: Progress(step.share, total, "finding the vessels"),
    )
    edit, shams = _edits(network, window, action, place_um, outlines, settings)
    imaged = None if probe is None else _imaged(network, window, probe)
    doubts = list(window.doubts(edit, shams, network.slide.levels[network.level].shape[1:]))
    if probe is not None and imaged is None:
        doubts.append(_empty_probe_words(network.slide, probe))
    _warn(doubts)
    box = _shown(network, window, edit)
    distance_um = network.distance_um(edit, box)
    predicted, change, noise, floor = yield from _by_network(network, edit, shams, box, distance_um)
    yield Progress(total - 2, total, "reading the probe")
    transport = yield from relayed(
        fit_vessel_transport(window, _predicted(network, window) if imaged is None else imaged),
        lambda step: Progress(total - 2 + step.share, total, step.words),
    )
    strength, modelled = _physics(window, transport, edit, action)
    return WhatIf(
        action=action,
        place_um=place_um,
        box=box,
        predicted=predicted,
        network=change,
        noise=noise,
        physics=_on_slide(modelled, window, box, network.slide.downsample(network.level)),
        distance_um=distance_um,
        transport=transport,
        strength=strength,
        probe="predicted" if imaged is None else "imaged",
        shams=len(shams),
        noise_floor=floor,
        area_um2=float(np.count_nonzero(edit.region) * math.prod(window.pixel_um)),
        warnings=(*network.warnings, *doubts),
    )


def _warn(sentences: Sequence[str]) -> None:
    """Warn about the caller of `what_if`."""
    for sentence in sentences:
        warnings.warn(sentence, PredictionWarning, stacklevel=3)


def _edits(
    network: CounterfactualNetwork,
    window: VesselWindow,
    action: Action,
    place_um: tuple[float, float],
    outlines: Sequence[Region],
    settings: WhatIfSettings,
) -> tuple[VesselEdit, list[VesselEdit]]:
    """The edit, and sham edits in its shape."""
    random = np.random.default_rng(settings.seed)
    if action != "remove":
        edit = window.added(place_um)
        edit = edit if action == "add" else window.removed(window.on_window(edit), random)
    elif outlines:
        edit = window.removed(window.vessels_in(outlines, network.slide.downsample(network.level)), random)
    else:
        edit = window.removed(window.vessel_at(place_um), random)
    return edit, window.shams(edit, settings.shams, random)


def _by_network(
    network: CounterfactualNetwork,
    edit: VesselEdit,
    shams: Sequence[VesselEdit],
    box: Box,
    distance_um: NDArray[np.float64],
) -> Generator[Progress, None, tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None, float]]:
    """Prediction of the slide as it is, its change by the edit, the noise of that if known, and the noise's floor."""
    total = len(shams) + 4
    yield Progress(1, total, "predicting without the edit and with it")
    predicted = network.predicted(box)
    change = network.predicted(box, edit) - predicted
    differences = []
    for done, sham in enumerate(shams, start=2):
        yield Progress(done, total, "predicting sham edits")
        reach, difference = network.difference(sham)
        differences.append((network.distance_um(sham, reach), difference))
    # less is to be seen neither in whole grey levels nor on a screen
    floor = max(network.rounding, float(np.ptp(predicted)) / 2 / _SCREEN_STEPS)
    noise = ShamNoise.of(differences, floor).at(distance_um).astype(np.float32) if differences else None
    return predicted, change, noise, floor


def _shown(network: CounterfactualNetwork, window: VesselWindow, edit: VesselEdit) -> Box:
    """Part of the slide that the network's difference and the outermost shell reach, within the window."""
    down, right = network.slide.downsample(network.level)
    height_um, width_um = network.slide.pixel_size_um or (1.0, 1.0)
    furthest_um, stride = SHELLS_UM[-1][1], network.stride
    y, x = math.ceil(furthest_um / height_um), math.ceil(furthest_um / width_um)
    vessel = edit.box
    near = Box(
        math.floor(vessel.y0 * down) - y,
        math.ceil(vessel.y1 * down) + y,
        math.floor(vessel.x0 * right) - x,
        math.ceil(vessel.x1 * right) + x,
    )
    shown = near.union(network.reach(edit)).intersection(_in_slide_pixels(window.box, down, right, network.slide.shape))
    return Box(-(-shown.y0 // stride) * stride, shown.y1, -(-shown.x0 // stride) * stride, shown.x1)


def _in_slide_pixels(box: Box, down: float, right: float, shape: tuple[int, int]) -> Box:
    """A box of a level in pixels of the slide."""
    y1, x1 = min(shape[0], round(box.y1 * down)), min(shape[1], round(box.x1 * right))
    return Box(round(box.y0 * down), y1, round(box.x0 * right), x1)


def _imaged(network: CounterfactualNetwork, window: VesselWindow, probe: int) -> NDArray[np.generic] | None:
    """Imaged probe on the pixels of the window; None if the channel is empty there."""
    image = np.asarray(network.slide.levels[network.level][(probe, *window.box.slices)].compute())
    return image if np.ptp(image[window.tissue]) > 0 else None


def _empty_probe_words(slide: Slide, probe: int) -> str:
    return (
        f"channel {slide.channel_names[probe]} of {slide.source.name} is the same everywhere in the window, so that "
        "diffusion and uptake are fitted to the predicted probe."
    )


def _predicted(network: CounterfactualNetwork, window: VesselWindow) -> NDArray[np.generic]:
    """Predicted probe on the pixels of the window."""
    slide = network.slide
    down, right = slide.downsample(network.level)
    box, stride = _in_slide_pixels(window.box, down, right, slide.shape), network.stride
    aligned = Box(box.y0 // stride * stride, box.y1, box.x0 // stride * stride, box.x1)
    image = network.predicted(aligned)[box.y0 - aligned.y0 :, box.x0 - aligned.x0 :]
    return np.asarray(resize_local_mean(image, window.labels.shape, preserve_range=True))


def _physics(
    window: VesselWindow, transport: VesselTransport, edit: VesselEdit, action: Action
) -> tuple[float, NDArray[np.float64]]:
    """Strength of the vessel per area, and the change of the probe on the pixels of the window."""
    vessel = window.on_window(edit)
    if action == "add":
        return transport.median_strength, transport.change(transport.median_strength * vessel.astype(np.float64))
    strengths = transport.strengths[window.labels] * vessel
    return float(strengths.sum() / vessel.sum()), -transport.change(strengths)


def _on_slide(
    values: NDArray[np.float64], window: VesselWindow, box: Box, downsample: tuple[float, float]
) -> NDArray[np.float32]:
    """Values of the pixels of a window at the pixels of a box of the slide."""
    y, x = (
        np.clip(np.floor((np.arange(start, stop) + 0.5) / step).astype(int) - first, 0, size - 1)
        for start, stop, step, first, size in (
            (box.y0, box.y1, downsample[0], window.box.y0, values.shape[0]),
            (box.x0, box.x1, downsample[1], window.box.x0, values.shape[1]),
        )
    )
    return values[np.ix_(y, x)].astype(np.float32)

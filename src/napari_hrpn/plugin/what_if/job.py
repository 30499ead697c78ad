"""Comparison in the background, and its numbers as sentences and rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_hrpn.analysis.tissue.vessel_edit import NO_NOISE
from napari_hrpn.core import Progress, relayed
from napari_hrpn.core.errors import PredictionWarning
from napari_hrpn.plugin.parts.messages import warned_in_form
from napari_hrpn.settings import PredictionSettings
from napari_hrpn.settings.what_if import EDITS

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Mapping

    from napari_hrpn.inference import WhatIf
    from napari_hrpn.plugin.background import Work
    from napari_hrpn.settings.what_if import Action, WhatIfSettings
    from napari_hrpn.slides import Slide


def difference_job(
    slide: Slide,
    roles: Mapping[str, int | None],
    checkpoint: str,
    action: Action,
    place_um: tuple[float, float],
    settings: WhatIfSettings,
) -> Work:
    """Work that returns the result."""

    def work(stop: threading.Event) -> Generator[Progress, None, WhatIf]:
        """Compare; raises `Stopped` when the user has stopped it."""
        from napari_hrpn.inference import CounterfactualNetwork, what_if
        from napari_hrpn.models import checkpoint_path, load_checkpoint

        network = load_checkpoint(checkpoint_path(checkpoint))
        is_sized = slide.pixel_size_um is not None and network.card.pixel_size_um is not None
        inputs = {role: channel for role, channel in roles.items() if channel is not None and role != "probe"}
        edited = CounterfactualNetwork(slide, network, Path("what-if"), PredictionSettings(resample=is_sized), inputs)
        steps = what_if(edited, action, place_um, settings, probe=roles["probe"])
        return (yield from relayed(warned_in_form(PredictionWarning, steps), lambda step: step, stop))

    return work


def sentences_of(result: WhatIf) -> tuple[str, str]:
    """One line for the network, one for physics."""
    numbers = result.numbers()
    shells = [shell for shell in numbers["shells"] if shell["n_px"]]
    at = ", ".join(f"{shell['from_um']:g}-{shell['to_um']:g}" for shell in shells)
    network, physics = (", ".join(f"{shell[engine]:+.1f}" for shell in shells) for engine in ("network", "physics"))
    fit, opposite = numbers["physics"], numbers["opposite_share"]
    share = numbers["significant_share"]
    of_noise = NO_NOISE if share is None else f"{share:.0%} of these pixels are above the noise"
    more = "" if opposite is None else f"; of all pixels above it, {opposite:.0%} have the opposite sign"
    return (
        f"The network associates the {EDITS[result.action]} with {network} grey levels at {at} µm; {of_noise}{more}.",
        f"Diffusion and uptake: {physics}; λ {result.transport.length_words}; R² {fit['explained_variance']:.2f}, "
        f"fitted to the {fit['fitted_to']} probe.",
    )


def rows_of(result: WhatIf) -> list[dict[str, Any]]:
    """A row per distance from the vessel."""
    numbers = result.numbers()
    y, x = result.place_um
    fit = numbers["physics"]
    low, high = fit["lambda_95_um"]
    about = {"action": result.action, "place y, µm": y, "place x, µm": x}
    of_fit = {
        "lambda, µm": fit["lambda_um"],
        "lambda from, µm": low,
        "lambda to, µm": high,
        "R2 of the fit": fit["explained_variance"],
    }
    return [{**about, **shell, **of_fit, "fitted to": fit["fitted_to"]} for shell in numbers["shells"]]

"""Counterfactuals on phantoms: what network and physics say beside the phantom solved again without a vessel.

    python benchmarks/what_if.py
    python benchmarks/what_if.py --checkpoint FILE --seeds 4 --vessels 4

Truth is the noise-free probe of the phantom without the vessel, less the one with it. Compared are the pixels around
each vessel where the truth is above the noise of the camera (one SD); all vessels count together. How much a vessel
leaks has a part that shows in no input and that no network can know: the second table is of phantoms without it. The
row "true image" is the network's difference between the phantoms with and without the vessel, which no edit can beat.
"""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from napari_hrpn.analysis import AnalysisError
from napari_hrpn.analysis.tissue.vessel_edit import vessel_window
from napari_hrpn.analysis.tissue.vessel_transport import fit_vessel_transport
from napari_hrpn.core import drive
from napari_hrpn.inference import CounterfactualNetwork, PredictionSettings, WhatIf, what_if
from napari_hrpn.models import Checkpoint, bundled_checkpoint, load_checkpoint
from napari_hrpn.phantom import PHANTOM_PRESETS, Phantom, PhantomSettings, phantom_slide
from napari_hrpn.phantom.sampling import Bounds
from napari_hrpn.phantom.tissue import TissueShape, vessels_within
from napari_hrpn.settings.what_if import WhatIfSettings

Found = tuple[np.ndarray, np.ndarray, float, np.ndarray]
"""Truth, difference of an engine, noise of the camera, and where the difference is not grey."""

PROBE, VESSELS = 2, 1
TUMOUR = PHANTOM_PRESETS["tumour"]
BORDER_UM = 50.0


@dataclass
class Pairs:
    """Sums over the pixels where the truth is above the noise."""

    truth: list[np.ndarray] = field(default_factory=list)
    found: list[np.ndarray] = field(default_factory=list)
    certain: list[np.ndarray] = field(default_factory=list)

    def add(self, truth: np.ndarray, found: np.ndarray, noise: float, certain: np.ndarray) -> None:
        """Add the pixels around a vessel."""
        above = np.abs(truth) > noise
        self.truth.append(truth[above].astype(np.float64))
        self.found.append(found[above].astype(np.float64))
        self.certain.append(certain[above])

    def row(self) -> str:
        """Vessels, slope of the engine on the truth, R2, sign agreement, and that where the map is not grey."""
        truth, found, certain = map(np.concatenate, (self.truth, self.found, self.certain))
        if not truth.size:
            return f"{len(self.truth)} | - | - | - | -"
        same = np.sign(truth) == np.sign(found)
        slope = (truth @ found) / (truth @ truth)
        r2 = np.corrcoef(truth, found)[0, 1] ** 2
        sure = f"{same[certain].mean():.3f}" if certain.any() else "-"
        return f"{len(self.truth)} | {slope:.2f} | {r2:.2f} | {same.mean():.3f} | {sure}"


def vessel_centres(settings: PhantomSettings, size: int, seed: int) -> np.ndarray:
    """Centres (y, x) in µm of all vessels of a phantom."""
    extent = size * settings.pixel_size_um
    shape = TissueShape(settings, (extent, extent), seed)
    return vessels_within(Bounds(-100, -100, extent + 100, extent + 100), settings, shape).centre_um


def far_from_border(centres: np.ndarray, extent_um: float, count: int) -> Iterator[tuple[float, float]]:
    """The vessels nearest to the middle of the slide."""
    from_middle = np.abs(centres - extent_um / 2).max(axis=1)
    for index in np.argsort(from_middle)[:count]:
        if from_middle[index] < extent_um / 2 - BORDER_UM:
            yield float(centres[index, 0]), float(centres[index, 1])


def without(phantom: Phantom, centres: tuple[tuple[float, float], ...]) -> Phantom:
    """The phantom solved again without some vessels."""
    settings = replace(phantom.settings, removed_vessels_um=centres)
    return phantom_slide(settings, size=phantom.slide.shape, seed=phantom.seed)


def compare(
    settings: PhantomSettings, size: int, seed: int, count: int, checkpoint: Checkpoint, shams: int
) -> Iterator[tuple[str, Found]]:
    """Differences around the vessels of one phantom, of both engines."""
    phantom = phantom_slide(settings, size=size, seed=seed)
    centres, wanted = vessel_centres(settings, size, seed), WhatIfSettings(shams=shams)
    network = network_of(phantom, checkpoint)
    mu = phantom.noise_free_probe.compute()
    noise = float(np.std(phantom.slide.levels[0][PROBE].compute() - mu))
    for centre in far_from_border(centres, size * settings.pixel_size_um, count):
        missing = without(phantom, (centre,))
        truth = missing.noise_free_probe.compute() - mu
        bare = network_of(missing, checkpoint)
        try:
            imaged = drive(what_if(network, "remove", centre, wanted, probe=PROBE))
            yield from both("remove", imaged, truth, noise)
            seen = bare.predicted(imaged.box) - imaged.predicted
            yield "remove, network shown the true image", (truth[imaged.box.slices], seen, noise, imaged.significant)
            added = drive(what_if(bare, "add", centre, wanted, probe=PROBE))
            yield from both("add", added, -truth, noise)
        except AnalysisError as error:
            print(f"skipped: {error}", flush=True)


def both(action: str, result: WhatIf, truth: np.ndarray, noise: float) -> Iterator[tuple[str, Found]]:
    """What both engines say, beside the truth."""
    part = truth[result.box.slices]
    yield f"{action}, network", (part, result.network, noise, result.significant)
    yield f"{action}, physics", (part, result.physics, noise, np.abs(result.physics) > noise)


def network_of(phantom: Phantom, checkpoint: Checkpoint) -> CounterfactualNetwork:
    """The checkpoint on a phantom, resampled to its own pixel size."""
    return CounterfactualNetwork(phantom.slide, checkpoint, Path("what-if"), PredictionSettings(resample=True))


def floors(settings: PhantomSettings, size: int, seed: int, checkpoint: Checkpoint) -> tuple[float, ...]:
    """Mean grey levels: the probe, the phantom without any vessel, and what network and physics say about that."""
    phantom, centres = phantom_slide(settings, size=size, seed=seed), vessel_centres(settings, size, seed)
    network, middle_um = network_of(phantom, checkpoint), size * settings.pixel_size_um / 2
    middle = middle_um, middle_um
    window = drive(vessel_window(phantom.slide, VESSELS, network.level, middle, None, WhatIfSettings()))
    probe = phantom.slide.levels[network.level][PROBE][window.box.slices].compute()
    fit = drive(fit_vessel_transport(window, probe))
    edit = window.removed(window.labels > 0, np.random.default_rng(0))
    box = network.reach(edit)
    bare = without(phantom, tuple(map(tuple, centres.tolist())))
    return (
        float(phantom.noise_free_probe.mean().compute()),
        float(bare.noise_free_probe.mean().compute()),
        float(network.predicted(box, edit).mean()),
        fit.floor,
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=bundled_checkpoint())
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--vessels", type=int, default=3, help="of each phantom")
    parser.add_argument("--shams", type=int, default=8)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--pixel-um", type=float, nargs="+", default=[0.2744, 0.55])
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(arguments.checkpoint)
    for pixel_um, hidden_sd in itertools.product(arguments.pixel_um, (TUMOUR.permeability_hidden_sd, 0.0)):
        print(f"\n{pixel_um} µm, hidden SD of the permeability {hidden_sd}:\n")
        print("| edit, engine | vessels | slope | R2 | sign agreement | the same where not grey |")
        print("| --- | --- | --- | --- | --- | --- |")
        settings = replace(TUMOUR, has_outline=False, pixel_size_um=pixel_um, permeability_hidden_sd=hidden_sd)
        pairs: dict[str, Pairs] = defaultdict(Pairs)
        floor: list[tuple[float, ...]] = []
        for seed in range(101, 101 + arguments.seeds):
            steps = compare(settings, arguments.size, seed, arguments.vessels, checkpoint, arguments.shams)
            for engine, found in steps:
                pairs[engine].add(*found)
            floor.append(floors(settings, arguments.size, seed, checkpoint))
        for engine in sorted(pairs, reverse=True):
            print(f"| {engine} | {pairs[engine].row()} |", flush=True)
        probe, bare, network, physics = np.mean(floor, axis=0)
        print(
            f"\nAll vessels removed: probe {probe:.1f} grey levels, phantom without vessels {bare:.1f}, "
            f"network {network:.1f}, floor of the fit {physics:.1f}\n",
            flush=True,
        )


if __name__ == "__main__":
    main()

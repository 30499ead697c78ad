"""Train the checkpoint `synthetic` that comes with the package, on synthetic tumours alone.

    python scripts/train_synthetic.py src/napari_hrpn/models/synthetic.safetensors

A third are of the preset `tumour`; a third are dense beds of capillaries in which most of the probe still is; the
others are of the preset `varied`, each of a regime of its own. The same command goes on with what was stopped;
`benchmarks/checkpoints.py` measures the result on tumours and on real tissue that it has not seen.
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from napari_hrpn.analysis import tissue_mask
from napari_hrpn.models import load_checkpoint, save_checkpoint
from napari_hrpn.phantom import PHANTOM_PRESETS, phantom_slide
from napari_hrpn.slides import Slide, write_ome_tiff
from napari_hrpn.training import (
    EpochReport,
    SlideEntry,
    recipe_settings,
    train_model,
)

PIXEL_UM = 0.55
VARIED_PX, TUMOUR_PX = 1024, 4096
SEEDS = {"varied": range(1000, 1105), "capillaries": range(4000, 4144), "tumour": range(2000, 2062)}
VALIDATION = {"varied": 8, "capillaries": 12, "tumour": 1}
"""So many of the last seeds of a kind choose the epoch."""
PROBE_SD = 25.0
"""SD of the probe in the tissue of all but the preset `tumour`, where it is about this on average, in grey levels: how
bright a probe is shows in no input, and the network should learn as much from a faint one as from a bright one."""
FACTS: dict[str, Any] = {
    "title": "Synthetic tumours",
    "description": (
        "Trained on computer-made tumours only, of many vascular beds, probes and stains. It has never seen a real "
        "section."
    ),
    "target": "QD",
    "probe": {"name": "computer-made: in the vessels of some tumours, far beyond them in others"},
    "source": "computer-made by this program",
    "licence": "BSD-3-Clause",
    "valid_for": "The demo and the phantoms, and as a start for a training on few slides of your own.",
    "not_for": "Predictions to publish, of any real section.",
}


def write_phantom(path: Path, kind: str, seed: int) -> None:
    """Write a phantom as a slide, unless it is there."""
    if path.exists():
        return
    random = np.random.default_rng(seed)
    if kind == "tumour":
        settings = PHANTOM_PRESETS["tumour"]
    else:
        settings = replace(PHANTOM_PRESETS["varied"], pixel_size_um=float(random.uniform(0.4, 0.8)))
    if kind == "capillaries":
        # dense tissue, in which the probe has hardly left thin vessels that wind through the section, and nuclei
        # exclude little of the floor
        settings = replace(
            phantom_slide(settings, size=VARIED_PX, seed=seed).settings,
            has_outline=False,
            vessel_density_per_mm2=ratio(random, 400, 1000),
            vessel_radius_um=ratio(random, 1.2, 2.5),
            vessel_half_length_um=float(random.uniform(4, 12)),
            vessel_distance_um=9.0,
            solid_vessel_um=5.0,
            section_sd=float(random.uniform(0.4, 0.9)),
            section_um=ratio(random, 2, 8),
            perfused_share=float(random.uniform(0.7, 1)),
            permeability_visible=float(random.uniform(-0.5, 0.5)),
            retained_share=float(random.uniform(0.8, 1)),
            retained_sd=float(random.uniform(0.4, 0.8)),
            penetration_um=ratio(random, 2, 10),
            nucleus_density_per_mm2=ratio(random, 4000, 13000),
            nucleus_distance_um=3.4,
            nucleus_radius_um=float(random.uniform(3, 4.2)),
            nuclear_exclusion=float(random.uniform(0, 0.4)),
            necrosis=0.0,
        )
    slide = phantom_slide(settings, size=TUMOUR_PX if kind == "tumour" else VARIED_PX, seed=seed).slide
    for _ in write_ome_tiff(slide if kind == "tumour" else _equally_bright(slide), path):
        pass


def ratio(random: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is evenly distributed."""
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def _equally_bright(slide: Slide) -> Slide:
    pixels = slide.levels[0].compute()
    height, width = slide.shape
    tissue = tissue_mask(slide, 0).at_level(slice(0, height), slice(0, width), (1.0, 1.0))
    probe = pixels[2][tissue].astype(np.float64)
    low = np.percentile(probe, 1)
    scaled = 5 + (pixels[2] - low) * PROBE_SD / max(probe.std(), 1e-3)
    pixels[2] = np.clip(np.rint(scaled), 0, 255)
    return replace(slide, levels=(da.from_array(pixels, chunks=(1, 512, 512), name=False),), stored_levels=1)


def main() -> None:
    """Make phantoms, train with the fast recipe, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "napari-hrpn-synthetic")
    parser.add_argument("--start", help="checkpoint whose weights it begins with")
    parser.add_argument("--epochs", type=int, default=44, help="of 200 steps")
    parser.add_argument("--inputs", default="nuclei,vessels,distance")
    parser.add_argument("--processes", type=int, default=2, help="that make phantoms")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    phantoms = [
        (given.folder / f"{kind}-{seed}.ome.tif", kind, seed) for kind, seeds in SEEDS.items() for seed in seeds
    ]
    with ProcessPoolExecutor(given.processes) as pool:
        list(pool.map(write_phantom, *zip(*phantoms, strict=True)))
    entries = [
        SlideEntry(path, f"{kind} {seed}", "validation" if seed > SEEDS[kind][-1] - VALIDATION[kind] else "train")
        for path, kind, seed in phantoms
    ]
    settings = recipe_settings(
        "fast",
        channels=tuple(given.inputs.split(",")),
        pixel_um=PIXEL_UM,
        # percentiles of each slide: others will not be as bright as these
        scaling="percentile",
        minimum_tissue=0.25,
        # half of the default: phantoms have gains of their own, and percentiles take most of them out
        gain=1.25,
        offset=0.03,
        # wider than the network sees, so that a part of each crop is predicted from all that it will have in a slide
        patch_px=384,
        batch=3,
        steps_per_epoch=200,
        epochs=given.epochs,
        **({"start": given.start, "learning_rate": 2e-3, "warm_up": 0.1} if given.start else {}),
    )
    run = given.folder / f"run-{given.inputs}-{given.epochs}"
    for report in train_model(entries, run, settings, cache=given.folder / "patches"):
        if isinstance(report, EpochReport):
            print(report.record, flush=True)
    checkpoint = load_checkpoint(run / "checkpoint.safetensors")
    made = {"name": "synthetic", "command": f"python scripts/train_synthetic.py OUT --epochs {given.epochs}"}
    card = replace(checkpoint.card, **FACTS, recipe={**made, **checkpoint.card.recipe})
    save_checkpoint(replace(checkpoint, card=card), given.output)


if __name__ == "__main__":
    main()

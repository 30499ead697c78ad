"""Train the checkpoint `synthetic` that comes with the package, on synthetic tumours alone.

    python scripts/train_synthetic.py src/napari_hrpn/models/synthetic.safetensors

Most tumours are of the preset `varied`, each of a regime of its own; the others are of the fixed presets. The same
command goes on with what was stopped. `benchmarks/validation.py synthetic` measures the result on tumours and on real
tissue that it has not seen.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np

from napari_hrpn.analysis import tissue_mask
from napari_hrpn.models import load_checkpoint, save_checkpoint
from napari_hrpn.phantom import PHANTOM_PRESETS, phantom_slide
from napari_hrpn.slides import Slide, write_ome_tiff
from napari_hrpn.training import EpochReport, SlideEntry, recipe_settings, train_model

PIXEL_UM = 0.55
VARIED_PX, TUMOUR_PX = 1024, 2048
SEEDS = {"varied": range(1000, 1140), "tumour": range(2000, 2044), "intravascular": range(3000, 3008)}
VALIDATION = {"varied": 4, "tumour": 2, "intravascular": 1}
"""So many of the last seeds of a preset choose the epoch."""
BRIGHT_GREY = 120.0
"""Grey level of the 99.5th percentile of every probe: how bright a probe is shows in no input, only where it is."""
DESCRIPTION = (
    "Trained on computer-made tumours only, of many vascular beds, probes and stains. It has never seen a real "
    "section: it is where a training on few slides of your own should start from, not what to publish predictions of."
)


def phantom_entry(folder: Path, preset: str, seed: int, part: str) -> SlideEntry:
    """Write a phantom as a slide, unless it is there."""
    path = folder / f"{preset}-{seed}.ome.tif"
    if not path.exists():
        settings, size = PHANTOM_PRESETS[preset], TUMOUR_PX
        if preset != "tumour":
            size = VARIED_PX
        if preset == "varied":
            settings = replace(settings, pixel_size_um=float(np.random.default_rng(seed).uniform(0.4, 0.8)))
        for _ in write_ome_tiff(_equally_bright(phantom_slide(settings, size=size, seed=seed).slide), path):
            pass
    return SlideEntry(path, f"{preset} {seed}", part)  # type: ignore[arg-type]


def _equally_bright(slide: Slide) -> Slide:
    pixels = slide.levels[0].compute()
    tissue = tissue_mask(slide, 0).at_level(*(slice(0, side) for side in slide.shape), (1.0, 1.0))
    low, high = np.percentile(pixels[2][tissue], (1, 99.5))
    probe = low + (pixels[2] - low) * (BRIGHT_GREY - low) / max(high - low, 1)
    pixels[2] = np.clip(np.rint(probe), 0, 255)
    return replace(slide, levels=(da.from_array(pixels, chunks=(1, 512, 512), name=False),), stored_levels=1)


def main() -> None:
    """Make phantoms, train with the fast recipe, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "napari-hrpn-synthetic")
    parser.add_argument("--max-minutes", type=float, default=40)
    parser.add_argument("--inputs", default="nuclei,vessels,distance")
    parser.add_argument("--share", type=float, default=1, help="part of the tumours that is used, for a trial")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for preset, seeds in SEEDS.items():
        used = list(seeds)[-max(2, round(len(seeds) * given.share)) :]
        for seed in used:
            part = "validation" if seed > seeds[-1] - VALIDATION[preset] else "train"
            entries.append(phantom_entry(given.folder, preset, seed, part))
            print(entries[-1].path.name, flush=True)
    settings = recipe_settings(
        "fast",
        channels=tuple(given.inputs.split(",")),
        pixel_um=PIXEL_UM,
        # percentiles of each slide: others will not be as bright as these
        scaling="percentile",
        minimum_tissue=0.25,
        patch_px=192,
        batch=6,
        steps_per_epoch=150,
        epochs=1000,
        max_minutes=given.max_minutes,
    )
    run = given.folder / f"run-{given.inputs}-{given.max_minutes:g}-{given.share:g}"
    for report in train_model(entries, run, settings, cache=given.folder / "patches"):
        if isinstance(report, EpochReport):
            print(report.record, flush=True)
    checkpoint = load_checkpoint(run / "checkpoint.safetensors")
    card = replace(checkpoint.card, title="Synthetic tumours", description=DESCRIPTION, target="QD")
    made = {
        "name": "synthetic",
        "command": f"python scripts/train_synthetic.py OUT --max-minutes {given.max_minutes:g}",
    }
    save_checkpoint(replace(checkpoint, card=replace(card, recipe={**made, **card.recipe})), given.output)


if __name__ == "__main__":
    main()

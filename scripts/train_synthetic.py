"""Train the checkpoint that comes with the package, on synthetic tumours alone.

    python scripts/train_synthetic.py src/napari_hrpn/models/synthetic.safetensors

It takes about half an hour on two cores; the same command goes on with what was stopped. The held-out phantom of the
card is seen by neither training nor the choice of anything.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_hrpn.analysis import agreement
from napari_hrpn.inference import predict_slide
from napari_hrpn.models import Checkpoint, load_checkpoint, save_checkpoint
from napari_hrpn.phantom import phantom_slide, r2_ceiling
from napari_hrpn.slides import open_slide, write_ome_tiff
from napari_hrpn.training import SlideEntry, StepReport, recipe_settings, train_model

PRESET, HELD_OUT_SEED = "tumour", 31
SEEDS = {"train": range(11, 23), "validation": [23], "test": [HELD_OUT_SEED]}
DESCRIPTION = (
    "Trained on computer-made tumours only, so that the software runs out of the box. It has never seen a real "
    "section: on real slides it shows how the tool works, not where a probe goes. Train on your own."
)


def phantom_entry(folder: Path, seed: int, part: str, size_px: int) -> SlideEntry:
    """Write a phantom as a slide, unless it is there; the held-out one is larger, for few vessels decide its R2."""
    size_px = 2 * size_px if part == "test" else size_px
    path = folder / f"phantom-{seed}-{size_px}.ome.tif"
    if not path.exists():
        for _ in write_ome_tiff(phantom_slide(PRESET, size=size_px, seed=seed).slide, path):
            pass
    return SlideEntry(path, f"phantom {seed}", part)  # type: ignore[arg-type]


def held_out_metrics(checkpoint: Checkpoint, path: Path) -> dict[str, float]:
    """Measure the checkpoint on the phantom that training never saw."""
    slide = open_slide(path)
    phantom = phantom_slide(PRESET, size=slide.shape, seed=HELD_OUT_SEED)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "predicted.ome.zarr"
        for _ in predict_slide(slide, checkpoint, store):
            pass
        predicted = open_slide(store).levels[0][0].compute()
    real = slide.levels[0][2].compute().astype(np.float32)
    tissue = agreement(real, predicted, phantom.tissue.compute(), data_range=255)
    figures = {
        "held_out_r2_tissue": tissue.r2,
        "held_out_r2_ceiling_tissue": r2_ceiling(phantom, tissue_only=True),
        "held_out_pearson_r_tissue": tissue.pearson_r,
        "held_out_r2_frame": agreement(real, predicted, data_range=255).r2,
        "held_out_r2_ceiling_frame": r2_ceiling(phantom),
        "held_out_psnr_db_tissue": tissue.psnr_db,
    }
    return {name: round(figure, 4) for name, figure in figures.items()}


def main() -> None:
    """Make phantoms, train with the fast recipe, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "napari-hrpn-synthetic")
    parser.add_argument("--steps-per-epoch", type=int, default=100)
    parser.add_argument("--patch-px", type=int, default=384)
    parser.add_argument("--size-px", type=int, default=2048)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    entries = [
        phantom_entry(given.folder, seed, part, given.size_px) for part, seeds in SEEDS.items() for seed in seeds
    ]
    steps, patch_px = given.steps_per_epoch, given.patch_px
    # percentiles of each slide: others will not be as bright as these
    changes = {"scaling": "percentile", "minimum_tissue": 0.25, "batch": 4, "epochs": 9, "steps_per_epoch": steps}
    run = given.folder / f"run-{steps}-{patch_px}-{given.size_px}"
    for report in train_model(entries, run, recipe_settings("fast", patch_px=patch_px, **changes)):
        if isinstance(report, StepReport) and report.step % 10 == 0:
            print(f"epoch {report.epoch} step {report.step} loss {report.loss:.1f} {report.seconds:.0f} s", flush=True)
    checkpoint = load_checkpoint(run / "checkpoint.safetensors")
    metrics = held_out_metrics(checkpoint, entries[-1].path)
    card = replace(checkpoint.card, title="Synthetic tumours", description=DESCRIPTION, target="QD")
    made = {"name": "synthetic", "command": "python scripts/train_synthetic.py", "preset": PRESET}
    made |= {"size_px": given.size_px, "held_out_px": 2 * given.size_px}
    card = replace(card, recipe={**made, **card.recipe}, metrics={**metrics, **card.metrics})
    save_checkpoint(replace(checkpoint, card=card), given.output)
    print(metrics)


if __name__ == "__main__":
    main()

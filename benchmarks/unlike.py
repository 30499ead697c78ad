"""How well the distance from the training finds changed slides: AUROC of blocks of tumours against changed ones.

    python benchmarks/unlike.py run/checkpoint.safetensors
    python benchmarks/unlike.py synthetic --training tumour1.ome.tif tumour2.ome.tif

0.5 is chance, 1 is always. A tumour of the preset `null` has inputs like any other's, only its probe is another: no
distance of inputs can find it, and 0.5 is right. A checkpoint without features of its training gets those of the slides
that are named.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import dask.array as da
import numpy as np
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from napari_hrpn.core import drive
from napari_hrpn.inference import predict_slide
from napari_hrpn.models import Checkpoint, checkpoint_path, load_checkpoint
from napari_hrpn.models.training_features import BLOCK_PX
from napari_hrpn.phantom import phantom_slide
from napari_hrpn.settings import PredictionSettings
from napari_hrpn.slides import Slide, coarser_levels, open_slide
from napari_hrpn.training import SlideEntry, open_entry, recipe_settings, with_training_features

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Pixels: TypeAlias = "NDArray[np.float64]"
SEEDS = (31, 32, 33)
CHANGES: dict[str, Callable[[Pixels, float], Pixels]] = {
    "blurred, SD 1 µm": lambda pixels, pixel_um: ndimage.gaussian_filter(pixels, (0, 1 / pixel_um, 1 / pixel_um)),
    "blurred, SD 3 µm": lambda pixels, pixel_um: ndimage.gaussian_filter(pixels, (0, 3 / pixel_um, 3 / pixel_um)),
    "gain x 3, saturated": lambda pixels, _: 3 * pixels,
    "nuclei and vessels swapped": lambda pixels, _: pixels[[1, 0, 2]],
}


def block_distances(slide: Slide, checkpoint: Checkpoint) -> np.ndarray:
    """Distance of each block of the tissue; each block counts once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "predicted.ome.zarr")
        drive(predict_slide(slide, checkpoint, path, PredictionSettings(unlike=True)))
        pixels = np.asarray(open_slide(path).levels[0][-1])
    return np.unique(pixels[pixels > 0])


def changed(slide: Slide, name: str) -> Slide:
    """The slide with its pixels changed, rounded and clipped to 8 bit."""
    pixel_um = slide.pixel_size_um[0] if slide.pixel_size_um else 1.0
    pixels = CHANGES[name](slide.levels[0].compute().astype(np.float64), pixel_um)
    whole = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    finest = da.from_array(whole, chunks=(1, 512, 512), name=False)
    return replace(slide, levels=(finest, *coarser_levels(finest)), stored_levels=1)


def auroc(usual: np.ndarray, other: np.ndarray) -> float:
    """How often a block of the one is further from the training than a block of the other."""
    labels = np.repeat([0, 1], [len(usual), len(other)])
    return float(roc_auc_score(labels, np.concatenate([usual, other])))


def main() -> None:
    """Print a row for each change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a file, or the name of a bundled checkpoint")
    parser.add_argument("--training", type=Path, nargs="*", default=[], help="slides that it was trained on")
    parser.add_argument("--preset", default="tumour", help="of the held-out tumours")
    parser.add_argument("--size", type=int, default=1024, help="pixels along a tumour's side")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    checkpoint = load_checkpoint(checkpoint_path(given.checkpoint))
    if given.training:
        settings = recipe_settings("fast", channels=checkpoint.card.input_roles)
        slides = [open_entry(SlideEntry(path), settings) for path in given.training]
        checkpoint = with_training_features(checkpoint, slides)
    tumours = [phantom_slide(given.preset, size=given.size, seed=seed).slide for seed in SEEDS]
    null = [phantom_slide("null", size=given.size, seed=seed).slide for seed in SEEDS]
    usual = [block_distances(slide, checkpoint) for slide in tumours]
    furthest = np.percentile(np.concatenate(usual), 95)
    print(
        f"{', '.join(str(len(found)) for found in usual)} blocks of {BLOCK_PX} px, 95 % of them within {furthest:.2f}\n"
    )
    print("| change | AUROC of each tumour | of all | 95 % of the blocks within |\n| --- | --- | --- | --- |")
    for name in (*CHANGES, "preset null"):
        unlike = [changed(slide, name) for slide in tumours] if name in CHANGES else null
        others = [block_distances(slide, checkpoint) for slide in unlike]
        each = ", ".join(f"{auroc(*pair):.2f}" for pair in zip(usual, others, strict=True))
        together = np.concatenate(others)
        row = name, each, f"{auroc(np.concatenate(usual), together):.2f}", f"{np.percentile(together, 95):.2f}"
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()

"""What a checkpoint predicts on tissue that it has not seen: real fields, and held-out synthetic tumours.

    python benchmarks/checkpoints.py synthetic DIR --data FOLDER_OF_FIELDS
    python benchmarks/checkpoints.py run/checkpoint.safetensors DIR --fields 1 2

Predictions are kept in DIR, so that the command goes on where it was stopped. Raw vessels and the same inputs blurred
stand beside the network.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np

from napari_hrpn.analysis import tissue_mask
from napari_hrpn.inference import predict_slide, slide_fit
from napari_hrpn.models import Checkpoint, checkpoint_path, load_checkpoint
from napari_hrpn.phantom import phantom_slide, r2_ceiling
from napari_hrpn.settings import PredictionSettings
from napari_hrpn.slides import Slide, open_slide, write_ome_tiff

TUMOUR_SEEDS = (31, 32, 33)


def predicted(slide: Slide, checkpoint: Checkpoint, path: Path) -> np.ndarray:
    """Prediction of all pixels, glass too."""
    for _ in predict_slide(slide, checkpoint, path, PredictionSettings(skip_blank=False)):
        pass
    pixels: np.ndarray = open_slide(path).levels[0][0].compute()
    return pixels


def agreement(real: np.ndarray, prediction: np.ndarray) -> tuple[float, float]:
    """Pearson's r and R² over the given pixels."""
    error = np.mean((prediction.astype(np.float64) - real) ** 2)
    return float(np.corrcoef(prediction, real)[0, 1]), float(1 - error / np.var(real))


def fields(checkpoint: Checkpoint, arguments: argparse.Namespace) -> None:
    """Real fields, on all their pixels: each is full of tissue."""
    print("| field | Pearson r | of raw vessels | fit, in the training's own differences |\n| --- | --- | --- | --- |")
    rows = []
    for number in arguments.fields:
        slide = open_slide(arguments.data / f"fov{number:02}.ome.tif")
        name = f"fov{number:02}-{checkpoint.digest}.ome.zarr"
        _, vessels, probe = (plane.ravel() for plane in slide.levels[0].compute().astype(np.float64))
        r, _ = agreement(probe, predicted(slide, checkpoint, arguments.folder / name).ravel())
        raw, fit = float(np.corrcoef(vessels, probe)[0, 1]), slide_fit(slide, checkpoint).distance
        rows.append((r, raw))
        print(f"| {number} | {r:.3f} | {raw:.3f} | {'-' if fit is None else f'{fit:.1f}'} |", flush=True)
    print("| mean | {:.3f} | {:.3f} | |".format(*np.mean(rows, axis=0)))


def tumours(checkpoint: Checkpoint, arguments: argparse.Namespace) -> None:
    """Synthetic tumours at the paper's pixel size, on their tissue."""
    print("| tumour | Pearson r | R² | of a perfect model |\n| --- | --- | --- | --- |")
    rows = []
    for seed in TUMOUR_SEEDS:
        path = arguments.folder / f"{arguments.preset}-{seed}-{arguments.size}.ome.tif"
        phantom = phantom_slide(arguments.preset, size=arguments.size, seed=seed)
        if not path.exists():
            for _ in write_ome_tiff(phantom.slide, path):
                pass
        slide = open_slide(path)
        prediction = predicted(slide, checkpoint, path.with_name(f"{path.name}-{checkpoint.digest}.ome.zarr"))
        inside = tissue_mask(slide, 0).within(*(slice(0, side) for side in slide.shape))
        real = slide.levels[0][2].compute()[inside].astype(np.float64)
        rows.append((*agreement(real, prediction[inside]), r2_ceiling(phantom, tissue_only=True)))
        print("| {} | {:.3f} | {:.3f} | {:.3f} |".format(seed, *rows[-1]), flush=True)
    print("| mean | {:.3f} | {:.3f} | {:.3f} |".format(*np.mean(rows, axis=0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a file, or the name of a bundled checkpoint")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, help="folder of the real fields; without it only tumours are predicted")
    parser.add_argument("--fields", type=int, nargs="*", default=range(1, 9))
    parser.add_argument("--preset", default="tumour", help="of the synthetic tumours; none for none")
    parser.add_argument("--size", type=int, default=4096, help="pixels along a tumour's side")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    checkpoint = load_checkpoint(checkpoint_path(arguments.checkpoint))
    if arguments.data is not None:
        fields(checkpoint, arguments)
    if arguments.preset != "none":
        tumours(checkpoint, arguments)


if __name__ == "__main__":
    main()

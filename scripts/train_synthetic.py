"""Train the checkpoint `synthetic` that comes with the package, on synthetic tumours alone.

    python scripts/train_synthetic.py src/napari_hrpn/models/synthetic.safetensors

Some are of the preset `tumour`; some are dense beds of capillaries in which most of the probe still is; the others are
of the preset `varied`, each of a regime of its own. A first training from random weights is followed by a second, on
more phantoms and larger tumours; its weights after the last epoch are averaged with those that it began with. The same
command goes on with what was stopped; `benchmarks/checkpoints.py` measures the result on tumours and on real tissue
that it has not seen.
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from napari_hrpn.analysis import tissue_mask
from napari_hrpn.core import drive
from napari_hrpn.inference import predict_slide
from napari_hrpn.models import Checkpoint, load_checkpoint, save_checkpoint
from napari_hrpn.phantom import PHANTOM_PRESETS, phantom_slide
from napari_hrpn.settings import PredictionSettings, TrainingSettings
from napari_hrpn.settings.training import NO_VALIDATION
from napari_hrpn.slides import Slide, open_slide, write_ome_tiff
from napari_hrpn.training import (
    EpochReport,
    SlideEntry,
    open_entry,
    recipe_settings,
    train_model,
    with_training_features,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

PIXEL_UM = 0.55
VARIED_PX = 1024


@dataclass(frozen=True)
class Stage:
    """One of the trainings: seeds of each kind of phantom, how many of the last are left out, and what is set."""

    seeds: dict[str, range]
    left_out: dict[str, int]
    tumour_px: int
    settings: dict[str, Any]

    def entries(self, folder: Path) -> list[tuple[SlideEntry, str, int]]:
        """Slides, with the kind and the seed that make them; those that are left out have the part validation."""
        return [
            (
                SlideEntry(
                    folder / f"{kind}-{seed}{f'-{self.tumour_px}' if kind == 'tumour' else ''}.ome.tif",
                    f"{kind} {seed}",
                    "validation" if seed > seeds[-1] - self.left_out[kind] else "train",
                ),
                kind,
                seed,
            )
            for kind, seeds in self.seeds.items()
            for seed in seeds
        ]


FIRST = Stage(
    {"varied": range(1000, 1045), "capillaries": range(4000, 4064), "tumour": range(2000, 2061)},
    {"varied": 3, "capillaries": 3, "tumour": 2},
    2048,
    {"patch_px": 256, "batch": 4, "steps_per_epoch": 300, "epochs": 50},
)
"""Those that are left out choose the epoch."""
SECOND = Stage(
    {"varied": range(1000, 1105), "capillaries": range(4000, 4144), "tumour": range(2000, 2062)},
    {"varied": 8, "capillaries": 12, "tumour": 1},
    4096,
    # the network sees 105 µm far: in crops of 256 px, which are 141 µm wide, nearly all pixels lack a part of that
    {
        "patch_px": 384,
        "batch": 3,
        "steps_per_epoch": 200,
        "epochs": 30,
        "learning_rate": 2e-3,
        "warm_up": 0.1,
    },
)
"""Those that are left out show how the loss falls; the last epoch is kept."""
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


def write_phantom(path: Path, kind: str, seed: int, tumour_px: int) -> None:
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
    slide = phantom_slide(settings, size=tumour_px if kind == "tumour" else VARIED_PX, seed=seed).slide
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


def settings_of(stage: Stage, start: Path | None = None) -> TrainingSettings:
    """Settings of a stage."""
    return recipe_settings(
        "fast",
        channels=("nuclei", "vessels", "distance"),
        pixel_um=PIXEL_UM,
        # percentiles of each slide: others will not be as bright as these
        scaling="percentile",
        minimum_tissue=0.25,
        # half of the default: phantoms have gains of their own, and percentiles take most of them out
        gain=1.25,
        offset=0.03,
        start=None if start is None else str(start),
        **stage.settings,
    )


def trained(stage: Stage, folder: Path, start: Path | None, processes: int) -> Path:
    """Make the phantoms of a stage and train on them; returns the checkpoint."""
    slides = stage.entries(folder)
    with ProcessPoolExecutor(processes) as pool:
        paths, kinds, seeds = zip(*((entry.path, kind, seed) for entry, kind, seed in slides), strict=True)
        list(pool.map(write_phantom, paths, kinds, seeds, [stage.tumour_px] * len(slides)))
    settings = settings_of(stage, start)
    name = "first" if start is None else "second"
    entries = [entry for entry, _, _ in slides if start is None or entry.part == "train"]
    validate = None if start is None else NO_VALIDATION
    for report in train_model(entries, folder / name, settings, validate=validate, cache=folder / f"patches-{name}"):
        if isinstance(report, EpochReport):
            print(report.record, flush=True)
    return folder / name / "checkpoint.safetensors"


def averaged(first: Checkpoint, second: Checkpoint) -> Checkpoint:
    """Mean of the weights and batch statistics of two checkpoints, with the card of the second."""
    weights = {
        name: (first.weights[name] + weight) / 2 if weight.is_floating_point() else weight
        for name, weight in second.weights.items()
    }
    return replace(second, weights=weights)


def main() -> None:
    """Train twice, average, add what is known of the training, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "napari-hrpn-synthetic")
    parser.add_argument("--processes", type=int, default=2, help="that make phantoms")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    first = trained(FIRST, given.folder, None, given.processes)
    second = load_checkpoint(trained(SECOND, given.folder, first, given.processes))
    write(averaged(load_checkpoint(first), second), given.folder, given.output)


def left_out(checkpoint: Checkpoint, entries: Iterable[SlideEntry], folder: Path) -> dict[str, float]:
    """Mean Pearson r and R² on the tissue of phantoms that were left out of the second training."""
    rows = []
    for entry in entries:
        slide, path = open_slide(entry.path), folder / f"{entry.path.name}-{checkpoint.digest}.ome.zarr"
        drive(predict_slide(slide, checkpoint, path, PredictionSettings(skip_blank=False)))
        tissue = tissue_mask(slide, 0).within(*(slice(0, side) for side in slide.shape))
        real, predicted = (
            pixels[tissue].astype(np.float64)
            for pixels in (slide.levels[0][2].compute(), open_slide(path).levels[0][0].compute())
        )
        rows.append((np.corrcoef(real, predicted)[0, 1], 1 - ((predicted - real) ** 2).mean() / real.var()))
    r, r2 = np.mean(rows, axis=0)
    return {"left_out_r": float(r), "left_out_r2": float(r2)}


def write(checkpoint: Checkpoint, folder: Path, output: Path) -> None:
    """Add what averaging has changed, features of the training and figures, and the facts on the card."""
    entries = [entry for entry, _, _ in SECOND.entries(folder)]
    slides = [open_entry(entry, settings_of(SECOND)) for entry in entries if entry.part == "train"]
    checkpoint = with_training_features(checkpoint, slides)
    figures = left_out(checkpoint, (entry for entry in entries if entry.part == "validation"), folder)
    made = {"name": "synthetic", "command": "python scripts/train_synthetic.py OUT"}
    card = replace(checkpoint.card, **FACTS, metrics=figures, recipe={**made, **checkpoint.card.recipe})
    save_checkpoint(replace(checkpoint, card=card), output)


if __name__ == "__main__":
    main()

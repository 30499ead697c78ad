"""The fast recipe beside the published one: same slides, same split, same machine, a tenth of the time.

    python benchmarks/recipes.py                            # on phantoms: about 15 minutes on two cores
    python benchmarks/recipes.py --slides fov*.ome.tif      # on your own slides, the last held out for validation

The published recipe runs all its epochs; the fast one gets a tenth of the time that took, and no more.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_hrpn.phantom import phantom_slide
from napari_hrpn.slides import write_ome_zarr
from napari_hrpn.training import EpochReport, SlideEntry, TrainingSettings, recipe_settings, train_model

if TYPE_CHECKING:
    from collections.abc import Sequence

SEEDS = (1, 2, 3, 4)


@dataclass(frozen=True)
class Row:
    """One recipe on one set of slides."""

    recipe: str
    seconds: float
    epochs: int
    best_validation_loss: float
    patches_per_second: float


def phantoms(folder: Path, size: int) -> list[Path]:
    paths = [folder / f"phantom{seed}.ome.zarr" for seed in SEEDS]
    for seed, path in zip(SEEDS, paths, strict=True):
        for _ in write_ome_zarr(phantom_slide("tumour", size=size, seed=seed).slide, path):
            pass
    return paths


def row(paths: Sequence[Path], settings: TrainingSettings, folder: Path) -> Row:
    """Train, and read off the best validation loss and the time."""
    records = []
    for report in train_model([SlideEntry(path) for path in paths], folder, settings):
        if isinstance(report, EpochReport):
            records.append(report.record)
            print(
                f"{settings.recipe:6} epoch {report.record.epoch:3} of {report.epochs}: validation loss "
                f"{report.record.validation_loss:9.3f}, {report.record.seconds:6.1f} s",
                flush=True,
            )
    best = min(record.validation_loss for record in records)
    speed = sum(record.patches_per_second for record in records) / len(records)
    return Row(settings.recipe, records[-1].seconds, len(records), best, speed)


def compare(paths: Sequence[Path], folder: Path, device: str, epochs: int) -> tuple[Row, Row]:
    published = row(paths, recipe_settings("paper", device=device, epochs=epochs), folder / "paper")
    # short epochs, for the validation loss to be looked at now and then within so little time
    fast = recipe_settings("fast", device=device, epochs=1000, steps_per_epoch=10, max_minutes=published.seconds / 600)
    return published, row(paths, fast, folder / "fast")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=Path, nargs="+", help="slides with a probe channel; phantoms if left out")
    parser.add_argument("--size", type=int, default=2048, help="pixels along a phantom's side")
    parser.add_argument("--epochs", type=int, default=20, help="of the published recipe")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="save the figures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = arguments.slides or phantoms(folder, arguments.size)
        published, fast = compare(paths, folder, arguments.device, arguments.epochs)
    print("\n| recipe | seconds | epochs | best validation loss | patches/s |\n| --- | --- | --- | --- | --- |")
    for each in (published, fast):
        print(
            f"| {each.recipe} | {each.seconds:.0f} | {each.epochs} | {each.best_validation_loss:.3f} "
            f"| {each.patches_per_second:.1f} |"
        )
    print(f"\nfast / paper: time {fast.seconds / published.seconds:.2f}, ", end="")
    print(f"loss {fast.best_validation_loss / published.best_validation_loss:.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps([vars(published), vars(fast)], indent=2))


if __name__ == "__main__":
    main()

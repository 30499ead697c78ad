"""Patches per second that reach the network: from the cache, from the slide, and what the paper's epoch needs.

    python benchmarks/feed.py                         # a slide of 8,192 px; about a minute
    python benchmarks/feed.py --size 16384 --json feed.json

The slide is an OME-Zarr of three 16-bit channels in chunks of 512 px. Every row ends with the same thing: batches of
32 patches of 512 px as scaled float32, inputs and target. The files were just written, so that all rows find them in
the system's memory. The paper's 27,780 patches in 300 s are 93 a second. Rows take turns, round after round, and the
table has their medians: what else the machine does then weighs on all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.core import drive

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_hrpn.slides import Slide
    from napari_hrpn.training import TrainingSettings
    from napari_hrpn.training.data.patch_loader import PatchSource

PATCH_PX, BATCH = 512, 32
PAPER_PER_SECOND = 27_780 / 300
AIM_PAPER, AIM_ZARR = 5, 10


def write_slide(folder: Path, size: int) -> Path:
    """A slide of repeated phantom tissue; each repetition is as hard to decode as the first."""
    import dask.array as da

    from napari_hrpn.phantom import phantom_slide
    from napari_hrpn.slides import write_ome_zarr

    block = phantom_slide("tumour", size=1024, seed=1).slide
    repeats = -(-size // 1024)
    tiled = da.tile(da.from_array(block.levels[0].compute(), chunks=(1, 512, 512)), (1, repeats, repeats))
    slide = replace(block, levels=(tiled[:, :size, :size],))
    drive(write_ome_zarr(slide, folder / "slide.ome.zarr"))
    return folder / "slide.ome.zarr"


def cut(slide: Slide, folder: Path, settings: TrainingSettings) -> tuple[PatchSource, float]:
    """Cut the patches; what the feed takes, and the seconds it took."""
    from napari_hrpn.models import IntensityScaling
    from napari_hrpn.slides import local_path
    from napari_hrpn.training import SlideEntry, TrainingSlide, cut_patches
    from napari_hrpn.training.data.patch_loader import PatchSource

    entry = TrainingSlide(SlideEntry(local_path(slide.source)), slide, (0, 1), 2)
    started = time.perf_counter()
    (cache,) = drive(cut_patches([entry], settings, folder))
    scaling = IntensityScaling(offsets=(100.0, 100.0), scales=(900.0, 900.0), target_offset=100.0, target_scale=500.0)
    return PatchSource(cache, None, scaling), time.perf_counter() - started


def our_batches(source: PatchSource, settings: TrainingSettings) -> Generator[int, None, None]:
    """Batches of the feed, epoch after epoch; the number of patches in each."""
    from napari_hrpn.training.data.patch_loader import PatchFeed

    feed, epoch = PatchFeed([source], settings), 0
    while True:
        with closing(feed.batches(epoch)) as batches:
            for batch in batches:
                yield len(batch.inputs)
        epoch += 1


def zarr_batches(path: Path, source: PatchSource, *, aligned: bool) -> Generator[int, None, None]:
    """The same from the slide itself, as a training without a cache reads it."""
    import zarr

    level: Any = zarr.open_group(path, mode="r")["0"]
    random = np.random.default_rng(0)
    inputs = np.empty((BATCH, 2, PATCH_PX, PATCH_PX), np.float32)
    target = np.empty((BATCH, 1, PATCH_PX, PATCH_PX), np.float32)
    while True:
        for scaled, scaled_target in zip(inputs, target, strict=True):
            y, x = random.integers(np.array(level.shape[1:]) - PATCH_PX + 1).tolist()
            if aligned:
                y, x = y // PATCH_PX * PATCH_PX, x // PATCH_PX * PATCH_PX
            pixels = level[:, y : y + PATCH_PX, x : x + PATCH_PX]
            source.scaling.scale_inputs(pixels[:2], scaled)
            source.scaling.scale_target(pixels[2:], scaled_target)
        yield BATCH


def measured(batches: Generator[int, None, None], seconds: float) -> tuple[float, float]:
    """Patches per second, and milliseconds of processor time for one; the first batches are not counted."""
    for _ in range(6):
        next(batches)
    count, started, processor = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - started < seconds:
        count += next(batches)
    return count / (time.perf_counter() - started), 1000 * (time.process_time() - processor) / count


def compare(size: int, seconds: float, rounds: int) -> dict[str, Any]:
    """All figures of one run."""
    from napari_hrpn.settings.networks import NO_AUGMENTATION
    from napari_hrpn.slides import open_slide
    from napari_hrpn.training import recipe_settings

    grid = recipe_settings("paper", patch_px=PATCH_PX, batch=BATCH)
    fast = recipe_settings("fast", patch_px=PATCH_PX, batch=BATCH, steps_per_epoch=1000)
    crops = replace(fast, **NO_AUGMENTATION)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_slide(folder, size)
        source, cutting = cut(open_slide(path), folder / "patches", grid)
        programs: dict[str, Callable[[], Generator[int, None, None]]] = {
            "our feed, grid": lambda: our_batches(source, grid),
            "our feed, grid, flips and turns": lambda: our_batches(source, replace(grid, flips=True)),
            "our feed, random crops, flips and turns": lambda: our_batches(source, crops),
            "our feed, random crops, flips, turns and augmentation": lambda: our_batches(source, fast),
            "zarr, random places": lambda: zarr_batches(path, source, aligned=False),
            "zarr, whole chunks": lambda: zarr_batches(path, source, aligned=True),
        }
        found: dict[str, list[tuple[float, float]]] = {program: [] for program in programs}
        with source.cache:
            for _ in range(rounds):
                for program, start in programs.items():
                    with closing(start()) as batches:
                        found[program].append(measured(batches, seconds))
            return {
                "size": size,
                "processors": os.cpu_count(),
                "patches": len(source.cache),
                "cache_gb": source.cache.patches.nbytes / 1e9,
                "cutting_s": cutting,
                "rounds": found,
                "patches_per_second": {
                    **{program: statistics.median(rate for rate, _ in each) for program, each in found.items()},
                    "the paper's epoch": PAPER_PER_SECOND,
                },
                "cpu_ms": {program: statistics.median(cost for _, cost in each) for program, each in found.items()},
            }


def table(figures: dict[str, Any]) -> str:
    """The figures as a Markdown table."""
    found = figures["patches_per_second"]
    zarr, paper = found["zarr, random places"], found["the paper's epoch"]
    lines = [
        f"{figures['patches']:,} patches of {PATCH_PX} px ({figures['cache_gb']:.2f} GB) cut in "
        f"{figures['cutting_s']:.1f} s; {figures['processors']} processors",
        "",
        f"| | patches/s | x the paper's (aim {AIM_PAPER}) | x random zarr reads (aim {AIM_ZARR}) | CPU ms/patch |",
        "|---|---|---|---|---|",
    ]
    for name, each in found.items():
        cost = f"{figures['cpu_ms'][name]:.2f}" if name in figures["cpu_ms"] else ""
        lines.append(f"| {name} | {each:,.0f} | {each / paper:.1f} | {each / zarr:.1f} | {cost} |")
    return "\n".join(lines)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=8192, help="pixels along a side of the slide")
    parser.add_argument("--seconds", type=float, default=3, help="for each row and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="save the figures")
    arguments = parser.parse_args()
    figures = compare(arguments.size, arguments.seconds, arguments.rounds)
    print(table(figures))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()

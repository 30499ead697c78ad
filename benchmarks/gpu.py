"""Everything that needs a graphics card, in one command of at most eight minutes, without a network connection.

    python benchmarks/gpu.py --json gpu.json            # on a machine with a CUDA device
    python benchmarks/gpu.py --device cpu --small       # tries the command itself, on small slides, without a card

`benchmarks/README.md` says how to run it where little is installed. It checks that the card predicts what a processor
predicts, measures prediction and training end to end beside what bounds them, lets memory run out, and runs the tests
that are marked `gpu`. It prints the tables of `docs/performance.md`; a part that fails says why, and the rest goes on.
The exit code is 1 where something that must hold does not.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from predict import make_checkpoint

from napari_hrpn.core import drive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from napari_hrpn.inference import PredictionReport, PredictionSettings
    from napari_hrpn.inference.cpu.strips import Scale
    from napari_hrpn.inference.predictor import Ready
    from napari_hrpn.models import Checkpoint
    from napari_hrpn.slides import Slide
    from napari_hrpn.training import EpochRecord, TrainingSettings

PAPER_PATCHES, PAPER_SECONDS = 27_780, 300.0
FP32_BOUND, SEAM_BOUND = 1e-4, 1e-5
BF16_MEAN_BOUND, BF16_LARGEST_BOUND = 0.002, 0.1
"""Of the range, as `PredictionSettings.precision` states them."""
LIMIT_GB = 3.0
"""Less than a tile of 4,096 px takes as a whole."""
SECONDS = 480.0


@dataclass
class Figures:
    """What was found: rows of the table, what must hold, and what could not be measured."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def add(self, what: str, reached: float | str, aim: str = "", *, holds: bool | None = None) -> None:
        """Add a row, print it, and remember what must hold and does not."""
        self.rows.append({"what": what, "reached": reached, "aim": aim, "holds": holds})
        if holds is False:
            self.broken.append(what)
        words = reached if isinstance(reached, str) else f"{reached:.3g}"
        print(f"| {what} | {words} | {aim} | {'' if holds is None else 'yes' if holds else 'NO'} |", flush=True)


@dataclass(frozen=True)
class Bench:
    """Where to measure, and how much.

    Attributes
    ----------
    folder : Path
        For everything that is written.
    device : str
        "cuda", or "cpu" to try the command.
    size : int
        Side of the slide that is predicted and cut into patches, in pixels.
    small : bool
        Whether this is a trial of the command.
    found : Figures
        Filled as it goes.
    """

    folder: Path
    device: str
    size: int
    small: bool
    found: Figures

    @property
    def is_cuda(self) -> bool:
        """Whether there is a card to ask."""
        return self.device.startswith("cuda")

    def synchronise(self) -> None:
        """Wait until the card has done what it was given."""
        if self.is_cuda:
            torch.cuda.synchronize(self.device)

    def peak_gb(self) -> float:
        """Largest memory of tensors on the card since the last call of `forget_peak`."""
        return torch.cuda.max_memory_allocated(self.device) / 1e9 if self.is_cuda else float("nan")

    def forget_peak(self) -> None:
        """Begin to look for the largest memory anew."""
        if self.is_cuda:
            torch.cuda.reset_peak_memory_stats(self.device)


def bundled() -> Checkpoint:
    """The checkpoint that comes along: trained weights, which show what half precision does."""
    from napari_hrpn.models import bundled_checkpoint, load_checkpoint

    return load_checkpoint(bundled_checkpoint())


def published(bench: Bench) -> Checkpoint:
    """The network as published, on the slide's own pixels: the bundled one would be fed a quarter of them."""
    from napari_hrpn.models import load_checkpoint

    path = bench.folder / "network.safetensors"
    if not path.exists():
        make_checkpoint(path)
    return load_checkpoint(path)


def predicted(
    bench: Bench, slide: Slide, name: str, checkpoint: Checkpoint | None = None, **changes: object
) -> tuple[NDArray[np.float32], PredictionReport]:
    """Predict every pixel of a slide with the published network or another one, and changed settings."""
    import zarr

    from napari_hrpn.inference import PredictionSettings, predict_slide

    settings = replace(PredictionSettings(device=bench.device, skip_blank=False), **changes)  # type: ignore[arg-type]
    path = bench.folder / f"{name}.ome.zarr"
    report = drive(predict_slide(slide, checkpoint or published(bench), path, settings))
    pixels: NDArray[np.float32] = np.asarray(zarr.open_array(path / "0", mode="r")[0])
    return pixels, report


def written_phantom(bench: Bench, preset: str, size: int, seed: int) -> Path:
    """A phantom as an OME-Zarr."""
    from napari_hrpn.phantom import phantom_slide
    from napari_hrpn.slides import write_ome_zarr

    path = bench.folder / f"{preset}-{size}-{seed}.ome.zarr"
    if not path.exists():
        drive(write_ome_zarr(phantom_slide(preset, size=size, seed=seed).slide, path))
    return path


def large_slide(bench: Bench) -> Path:
    """Repeated phantom tissue of the size that is predicted, with coarser levels, in chunks of 512 px."""
    import dask.array as da

    from napari_hrpn.phantom import phantom_slide
    from napari_hrpn.slides import coarser_levels, write_ome_zarr

    path = bench.folder / "large.ome.zarr"
    if not path.exists():
        block = phantom_slide("tumour", size=1024, seed=1).slide
        repeats = bench.size // 1024
        finest = da.tile(da.from_array(block.levels[0].compute(), chunks=(1, 512, 512)), (1, repeats, repeats))
        drive(write_ome_zarr(replace(block, levels=(finest, *coarser_levels(finest))), path))
    return path


def check_equality(bench: Bench) -> None:
    """The card against the processor, cores against each other, half precision against its stated bound."""
    from napari_hrpn.slides import open_slide

    slide = open_slide(written_phantom(bench, "tumour", 700 if bench.small else 1500, 4))
    trained = bundled()
    exact, _ = predicted(bench, slide, "cpu", trained, device="cpu")
    reach = float(np.ptp(exact))
    whole, _ = predicted(bench, slide, "whole", trained)
    tiles, _ = predicted(bench, slide, "tiles", trained, core=512)
    rough, _ = predicted(bench, slide, "bf16", trained, precision="bf16")
    largest = float(np.abs(whole - exact).max()) / reach
    bench.found.add("largest difference from the processor, fp32, of the range", largest, f"{FP32_BOUND:g}",
                    holds=largest <= FP32_BOUND)  # fmt: skip
    seam = float(np.abs(tiles - whole).max()) / reach
    bench.found.add("cores of 512 px against one core, of the range", seam, f"{SEAM_BOUND:g}", holds=seam <= SEAM_BOUND)
    errors = np.abs(rough - exact) / reach
    bench.found.add("mean difference of bf16", float(errors.mean()), f"{BF16_MEAN_BOUND:g}",
                    holds=float(errors.mean()) <= BF16_MEAN_BOUND)  # fmt: skip
    bench.found.add("largest difference of bf16", float(errors.max()), f"{BF16_LARGEST_BOUND:g}",
                    holds=float(errors.max()) <= BF16_LARGEST_BOUND)  # fmt: skip


def network_alone(bench: Bench, core: int, precision: str) -> float:
    """Megapixels per second of the network on a tile that lies on the device."""
    from napari_hrpn.inference.predictor import Predictor

    predictor = Predictor(published(bench), bench.device, precision)
    side = core + 2 * predictor.halo
    pixels = np.random.default_rng(0).random((predictor.in_channels, side, side), np.float32)
    ready = predictor.ready(pixels)
    predictor.run(ready, predictor.halo)
    runs = 1 if bench.small else 6
    bench.synchronise()
    started = time.perf_counter()
    for _ in range(runs):
        predictor.run(ready, predictor.halo)
    bench.synchronise()
    return runs * core**2 / 1e6 / (time.perf_counter() - started)


def reading_alone(slide: Slide, checkpoint: Checkpoint, settings: PredictionSettings) -> float:
    """Megapixels per second of reading what the tiles need, by the engine's own readers, with nothing computed."""
    from napari_hrpn.inference import engine
    from napari_hrpn.inference.plan import make_plan
    from napari_hrpn.inference.predictor import Predictor
    from napari_hrpn.slides import ChunkCache

    predictor = Predictor(checkpoint, settings.device, settings.precision)
    plan = make_plan(slide, [checkpoint], [predictor], Path("/nonexistent/none.ome.zarr"), settings, None)
    chunks = ChunkCache(engine.KEPT_BYTES, engine.DECODING_THREADS)
    started = time.perf_counter()
    with ThreadPoolExecutor(engine.READERS) as readers:
        tiles = [piece.core for tile in plan.grid for piece in plan.pieces(tile)]
        level = slide.levels[plan.sampling.level]
        for _ in readers.map(
            lambda core: plan.sampling.read(level, chunks, plan.channels, core)[0].shape,
            tiles,
        ):
            pass
    return slide.shape[0] * slide.shape[1] / 1e6 / (time.perf_counter() - started)


@contextmanager
def copying(way: str) -> Iterator[None]:
    """Pixels reach the card from pinned memory on a stream of their own, from pinned memory, or plainly."""
    from napari_hrpn.inference.predictor import Predictor, as_they_are

    if way == "stream":
        yield
        return
    original = Predictor.ready

    def ready(_: Predictor, pixels: NDArray[np.generic], scale: Scale = as_they_are) -> Ready:
        scaled = torch.from_numpy(scale(pixels))[None]
        return scaled.pin_memory() if way == "pinned" else scaled

    Predictor.ready = ready  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        Predictor.ready = original  # type: ignore[method-assign]


def measure_prediction(bench: Bench) -> None:
    """A whole slide end to end, beside the network alone and reading alone."""
    from napari_hrpn.inference import PredictionSettings
    from napari_hrpn.slides import open_slide

    slide = open_slide(large_slide(bench))
    megapixels = slide.shape[0] * slide.shape[1] / 1e6
    for precision in ("fp32", "bf16"):
        bench.forget_peak()
        _, report = predicted(bench, slide, f"large-{precision}", precision=precision)
        speed, peak = megapixels / report.seconds, bench.peak_gb()
        settings = PredictionSettings(device=bench.device, skip_blank=False, precision=precision)
        reading = reading_alone(slide, published(bench), settings)
        network = network_alone(bench, report.core, precision)
        slower = min(network, reading)
        where = f"{bench.size:,} px, {precision}"
        bench.found.add(f"{where}: end to end, Mpx/s", speed)
        bench.found.add(f"{where}: network alone, Mpx/s (core {report.core} px)", network)
        bench.found.add(f"{where}: reading alone, Mpx/s", reading)
        bench.found.add(f"{where}: end to end over the smaller of the two", speed / slower, "0.9")
        for part in ("reading", "waiting", "computing", "writing"):
            bench.found.add(f"{where}: seconds {part}, of {report.seconds:.1f} s", getattr(report, f"seconds_{part}"))
        bench.found.add(f"{where}: peak memory of the card, GB", peak)
    for way in ("pinned", "plain") if bench.is_cuda else ():
        with copying(way):
            _, report = predicted(bench, slide, f"large-{way}", precision="bf16")
        words = "pinned, without a copy stream" if way == "pinned" else "neither pinned nor a copy stream"
        bench.found.add(f"{bench.size:,} px, bf16, {words}: end to end, Mpx/s", megapixels / report.seconds)


def training_records(
    bench: Bench, name: str, entries: list[Any], patches: int | None, settings: TrainingSettings
) -> list[EpochRecord]:
    """Train until so many patches were learnt from, or to the end; the records of the epochs."""
    from napari_hrpn.training import EpochReport, StepReport, train_model

    stop, records, seen = threading.Event(), [], 0
    for report in train_model(entries, bench.folder / name, settings, stop=stop):
        if isinstance(report, EpochReport):
            records.append(report.record)
        elif isinstance(report, StepReport):
            seen += settings.batch
            if patches is not None and seen >= patches:
                stop.set()
    return records


def measure_paper_epoch(bench: Bench) -> None:
    """The published recipe on as many patches as the paper has, read again and again from one slide's cache."""
    from napari_hrpn.training import SlideEntry, recipe_settings

    entries = [
        SlideEntry(large_slide(bench), tumour="learnt from", part="train"),
        SlideEntry(written_phantom(bench, "tumour", 512 if bench.small else 1024, 2), "judged by", part="validation"),
    ]
    patches = 64 if bench.small else PAPER_PATCHES + 1024
    for precision in ("fp32", "bf16"):
        settings = recipe_settings("paper", device=bench.device, epochs=100, precision=precision)
        settings = replace(settings, patch_px=128, batch=8) if bench.small else settings
        records = training_records(bench, f"paper-{precision}", entries, patches, settings)
        # the first one warms up
        steady = records[1:] or records
        speed = median(record.patches_per_second for record in steady)
        seconds = PAPER_PATCHES / speed
        where = f"recipe paper, {precision}"
        bench.found.add(
            f"{where}: epoch of {PAPER_PATCHES:,} patches, s (the paper: {PAPER_SECONDS:.0f})", seconds, "20"
        )
        bench.found.add(f"{where}: share in which the loop waits for patches", median(r.waiting_share for r in steady))
        alone = learning_alone(bench, settings)
        bench.found.add(f"{where}: steps on a batch that lies on the card, patches/s", alone)
        bench.found.add(f"{where}: share of time in which the card waits", max(0.0, 1 - speed / alone))
        bench.found.add(f"{where}: peak memory of the card, GB", max(r.peak_memory_bytes for r in steady) / 1e9)


def learning_alone(bench: Bench, settings: TrainingSettings) -> float:
    """Patches per second of the learner's steps on one batch that lies on the device."""
    from napari_hrpn.training.data.patch_loader import Batch
    from napari_hrpn.training.learners.learner import Learner

    learner = Learner(settings, bench.device, settings.precision)
    shape = (settings.batch, 1, settings.patch_px, settings.patch_px)
    inputs = torch.rand((settings.batch, 2, *shape[2:]), device=bench.device)
    target, valid = torch.rand(shape, device=bench.device), torch.ones(shape, dtype=torch.bool, device=bench.device)
    batch = Batch(inputs, target, valid)
    for _ in range(3):
        learner.step([batch], settings.learning_rate)
    steps = 2 if bench.small else 30
    bench.synchronise()
    started = time.perf_counter()
    for _ in range(steps):
        learner.step([batch], settings.learning_rate)
    bench.synchronise()
    return steps * settings.batch / (time.perf_counter() - started)


def measure_fast_recipe(bench: Bench) -> None:
    """The fast recipe on phantoms for a minute, judged on one that it never saw."""
    from napari_hrpn.analysis import slide_agreement
    from napari_hrpn.inference import PredictionSettings, predict_slide
    from napari_hrpn.models import load_checkpoint
    from napari_hrpn.phantom import phantom_slide, r2_ceiling
    from napari_hrpn.slides import open_slide
    from napari_hrpn.training import SlideEntry, recipe_settings

    size = 512 if bench.small else 2048
    paths = [written_phantom(bench, "tumour", size, seed) for seed in (11, 12, 13, 14)]
    entries = [*(SlideEntry(path, part="train") for path in paths[:3]), SlideEntry(paths[3], part="validation")]
    bench.forget_peak()
    settings = recipe_settings(device=bench.device, max_minutes=0.2 if bench.small else 1.0)
    records = training_records(bench, "fast", entries, None, settings)
    bench.found.add("recipe fast, a minute: epochs", float(len(records)))
    bench.found.add("recipe fast: patches/s", median(record.patches_per_second for record in records))
    bench.found.add("recipe fast: share in which the loop waits for patches", median(r.waiting_share for r in records))
    phantom = phantom_slide("tumour", size=size, seed=15)
    path = written_phantom(bench, "tumour", size, 15)
    checkpoint = load_checkpoint(bench.folder / "fast" / "checkpoint.safetensors")
    store = bench.folder / "held-out.ome.zarr"
    drive(predict_slide(open_slide(path), checkpoint, store, PredictionSettings(device=bench.device)))
    agreement = drive(slide_agreement(open_slide(path), 2, open_slide(store)))
    bench.found.add(
        f"recipe fast: R2 on a phantom it never saw (at best {r2_ceiling(phantom):.3f})", agreement.frame.r2
    )


def measure_short_memory(bench: Bench) -> None:
    """A core that does not fit into the memory left: the same pixels, in quarters."""
    from napari_hrpn.slides import open_slide

    if not bench.is_cuda:
        bench.found.add("memory that runs out", "needs a CUDA device")
        return
    slide = open_slide(written_phantom(bench, "tumour", 4096, 5))
    plenty, _ = predicted(bench, slide, "plenty", core=4096, memory_gb=60)
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(bench.device).total_memory
    torch.cuda.set_per_process_memory_fraction(LIMIT_GB * 1e9 / total, bench.device)
    try:
        little, _ = predicted(bench, slide, "little", core=4096, memory_gb=60)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, bench.device)
    difference = float(np.abs(little - plenty).max() / np.ptp(plenty))
    bench.found.add(f"a core of 4,096 px in {LIMIT_GB:g} GB: largest difference, of the range", difference,
                    f"{FP32_BOUND:g}", holds=difference <= FP32_BOUND)  # fmt: skip


def check_memory_is_freed(bench: Bench) -> None:
    """What the card still holds for this process after everything above."""
    if not bench.is_cuda:
        bench.found.add("memory held at the end", "needs a CUDA device")
        return
    gc.collect()
    held = torch.cuda.memory_allocated(bench.device) / 1e6
    kept = torch.cuda.memory_reserved(bench.device) / 1e6
    # cuBLAS and cuDNN keep a workspace for the life of a process
    bench.found.add("memory held by tensors at the end, MB", held, "100", holds=held < 100)
    bench.found.add("memory kept for tensors to come, MB", kept, "200", holds=kept < 200)


def run_gpu_tests(bench: Bench) -> None:
    """The tests that are marked `gpu`, without the settings that need a window."""
    root = Path(__file__).resolve().parents[1]
    options = ["-q", "-c", "/dev/null", f"--rootdir={root}", "-p", "no:cacheprovider", "--import-mode=importlib"]
    tests = [str(path) for path in sorted(root.glob("tests/*/test_gpu*.py"))]
    command = [sys.executable, "-W", "ignore", "-m", "pytest", *options, "-m", "gpu", *tests]
    paths = os.pathsep.join([str(root / "tests"), str(root / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    result = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=200
    )
    lines = result.stdout.strip().splitlines() or [result.stderr.strip()[-200:]]
    bench.found.add("tests that are marked gpu", lines[-1].strip("= "), holds=result.returncode == 0)
    if result.returncode:
        print(result.stdout[-4000:], result.stderr[-2000:], file=sys.stderr)


PARTS: dict[str, Callable[[Bench], None]] = {
    "equality": check_equality,
    "prediction": measure_prediction,
    "paper": measure_paper_epoch,
    "fast": measure_fast_recipe,
    "memory": measure_short_memory,
    "freed": check_memory_is_freed,
    "tests": run_gpu_tests,
}


def run_parts(bench: Bench, names: list[str]) -> dict[str, float]:
    """Run the parts one after another; a part that fails is a row, and no part begins after the time is up."""
    seconds, began = {}, time.perf_counter()
    for name in names:
        started = time.perf_counter()
        if started - began > SECONDS - 30:
            bench.found.add(f"part {name}", f"left out: {SECONDS:.0f} s are over", holds=False)
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                PARTS[name](bench)
        except Exception as error:
            traceback.print_exc()
            bench.found.add(f"part {name}", f"failed: {type(error).__name__}: {str(error)[:200]}", holds=False)
        seconds[name] = time.perf_counter() - started
    return seconds


def machine(device: str) -> str:
    """The card, or the processor, and the versions that count."""
    card = torch.cuda.get_device_name(device) if device.startswith("cuda") else "no graphics card"
    return f"{card}, torch {torch.__version__}, Python {sys.version.split()[0]}"


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu to try the command")
    parser.add_argument("--size", type=int, default=16384, help="pixels along the large slide's side, times 1,024")
    parser.add_argument("--small", action="store_true", help="a trial: small slides, few steps")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure")
    parser.add_argument("--folder", type=Path, help="for what is written; a temporary one where left out")
    parser.add_argument("--json", type=Path, help="save the figures")
    arguments = parser.parse_args()
    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        parser.exit(2, "gpu.py: there is no CUDA device; --device cpu --small tries the command without one.\n")
    print(f"{machine(arguments.device)}\n\n| figure | reached | aim | holds |\n| --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        size = 1024 if arguments.small else arguments.size
        bench = Bench(Path(name), arguments.device, size, arguments.small, Figures())
        seconds = run_parts(bench, arguments.parts)
    print("\n" + ", ".join(f"{name} {passed:.0f} s" for name, passed in seconds.items()))
    if arguments.json:
        figures = {"machine": machine(arguments.device), "size": size, "rows": bench.found.rows, "seconds": seconds}
        arguments.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    if bench.found.broken:
        sys.exit(f"does not hold: {'; '.join(bench.found.broken)}")


if __name__ == "__main__":
    main()

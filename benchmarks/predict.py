"""Prediction of a whole slide, beside MONAI, dask and the bare network on the same weights and slide.

    python benchmarks/predict.py                         # about 40 minutes on two cores
    python benchmarks/predict.py --small --repeats 1     # about 5

Each run has a fresh process, warms up on a small slide, reads the slide from OME-Zarr, writes to Zarr, and runs the
network of 2,176,824 parameters. Ratios are of medians. Figures are beside each other in one run; trust their ratios.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

HALO_PX = 192
SMALL, MIDDLE, LARGE = 4096, 8192, 16384
OURS = "napari-hrpn"
LARGEST_CORE = 4096
BLANK = f"{OURS}, blank"
LITTLE_MEMORY_GB, MIDDLE_MEMORY_GB = "0.25", "0.6"


def make_slide(folder: Path, size: int, *, tissue: float = 1.0) -> Path:
    """Write a slide of repeated phantom tissue, without pyramid levels; the part right of `tissue` is blank."""
    import dask.array as da
    import zarr

    from napari_hrpn.phantom import PHANTOM_PRESETS, phantom_slide
    from napari_hrpn.slides.metadata import multiscales_metadata

    path = folder / f"slide-{size}-{tissue:g}.ome.zarr"
    if not path.exists():
        period = min(size, 2048)
        block = phantom_slide(PHANTOM_PRESETS["null"], size=period, seed=1).slide.levels[0].compute()
        pixels = da.tile(da.from_array(block, chunks=(1, 512, 512)), (1, size // period, size // period))
        if tissue < 1:
            pixels[:, :, int(tissue * size) :] = 0
        group = zarr.create_group(path)
        array = group.create_array("0", shape=pixels.shape, dtype=pixels.dtype, chunks=(1, 512, 512))
        pixels.store(array, lock=False)
        group.attrs["ome"] = multiscales_metadata("slide", [pixels.shape], ["DAPI", "AF488", "QD"], (0.2744, 0.2744))
    return path


def make_checkpoint(path: Path) -> None:
    """Write the network with random weights."""
    import torch

    from napari_hrpn.models import HRPN, Checkpoint, IntensityScaling, ModelCard, save_checkpoint

    torch.manual_seed(0)
    network = HRPN()
    card = ModelCard(scaling=IntensityScaling(scales=(100.0, 100.0)), pixel_size_um=0.2744)
    save_checkpoint(Checkpoint(network.settings, network.state_dict(), card), path)


def run_ours(slide: Path, checkpoint: Path, output: Path, *options: str) -> dict[str, float]:
    """Predict with the engine as the command line does."""
    from napari_hrpn.core import drive
    from napari_hrpn.inference import PredictionSettings, predict_slide
    from napari_hrpn.models import load_checkpoint
    from napari_hrpn.slides import open_slide

    settings = PredictionSettings(
        device="cpu",
        skip_blank="blank" in options,
        precision="bf16" if "bf16" in options else "fp32",
        memory_gb=next((float(option) for option in options if option[0].isdigit()), None),
    )
    steps = predict_slide(open_slide(slide), load_checkpoint(checkpoint), output, settings)
    report = drive(steps, lambda tile: print(f"finished {tile.finished}", flush=True))
    return {
        "run_per_kept": report.pixels_run / max(1, report.pixels_kept),
        "share_in_network": report.seconds_computing / report.seconds,
        "core": report.core,
    }


def run_bare(slide: Path, checkpoint: Path, output: Path) -> dict[str, float]:
    """Run the network on tiles of the engine's size, with nothing read or written."""
    from napari_hrpn.inference.cpu.heap import thread_on_main_heap
    from napari_hrpn.inference.predictor import Predictor
    from napari_hrpn.models import load_checkpoint
    from napari_hrpn.slides import open_slide

    del output
    size = open_slide(slide).shape[0]
    core = min(size, LARGEST_CORE)
    predictor = Predictor(load_checkpoint(checkpoint))
    pixels = np.random.default_rng(0).random((2, core + 2 * HALO_PX, core + 2 * HALO_PX), np.float32)
    with thread_on_main_heap("network") as network:
        for _ in range((size // core) ** 2):
            network.submit(predictor.run, pixels, HALO_PX).result()
    return {"run_per_kept": ((core + 2 * HALO_PX) / core) ** 2}


def run_monai(slide: Path, checkpoint: Path, output: Path, overlap: str) -> dict[str, float]:
    """Predict as MONAI's documentation shows: the slide in memory, gaussian blending, windows of 512 px."""
    import torch
    import zarr
    from monai.inferers import sliding_window_inference

    from napari_hrpn.models import load_checkpoint
    from napari_hrpn.slides import open_slide

    network, share = load_checkpoint(checkpoint).network(), float(overlap)
    pixels = open_slide(slide).levels[0][:2].compute().astype(np.float32) / 100
    with torch.inference_mode():
        predicted = sliding_window_inference(
            torch.from_numpy(pixels)[None], (512, 512), 4, network, overlap=share, mode="gaussian"
        )
    zarr.save_array(str(output), predicted[0, 0].numpy())
    steps = 1 + -(-(pixels.shape[1] - 512) // int(512 * (1 - share)))
    return {"run_per_kept": (steps * 512) ** 2 / pixels[0].size}


def run_dask(slide: Path, checkpoint: Path, output: Path) -> dict[str, float]:
    """Predict with map_overlap on blocks of 512 px with the halo that makes it exact."""
    import dask
    import torch

    from napari_hrpn.models import load_checkpoint
    from napari_hrpn.slides import open_slide

    network = load_checkpoint(checkpoint).network()

    def predict(block: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            predicted: np.ndarray = network(torch.from_numpy(block.astype(np.float32) / 100)[None])[0].numpy()
        return predicted

    pixels = open_slide(slide).levels[0][:2].rechunk((2, 512, 512))
    depth = {0: 0, 1: HALO_PX, 2: HALO_PX}
    chunks = ((1,), *pixels.chunks[1:])
    predicted = pixels.map_overlap(predict, depth=depth, boundary="reflect", dtype=np.float32, chunks=chunks)
    with dask.config.set(scheduler="threads", num_workers=1):
        predicted.to_zarr(str(output))
    return {"run_per_kept": ((512 + 2 * HALO_PX) / 512) ** 2}


def run_tia_toolbox(slide: Path, checkpoint: Path, output: Path, overlap: str) -> dict[str, float]:
    """As `tia_toolbox.py` says."""
    from tia_toolbox import run_tia_toolbox

    return run_tia_toolbox(slide, checkpoint, output, overlap)


RUNNERS: dict[str, Callable[..., dict[str, float]]] = {
    OURS: run_ours,
    "bare network": run_bare,
    "MONAI": run_monai,
    "dask map_overlap": run_dask,
    "TIAToolbox": run_tia_toolbox,
}


def measure(program: str, slide: Path, output: Path) -> None:
    """Run one program in this process and print its figures as JSON."""
    import monai.inferers  # noqa: F401 (what is imported is not the program's memory)
    import torch  # noqa: F401
    import zarr  # noqa: F401

    from napari_hrpn.training.estimate import peak_memory_bytes

    name, *options = program.split(", ")
    checkpoint, small = slide.with_name("network.safetensors"), slide.with_name(output.name + ".small")
    RUNNERS[name](make_slide(slide.parent, 512), checkpoint, small, *options)
    shutil.rmtree(small, ignore_errors=True)
    print("started", flush=True)
    before, started, processor = peak_memory_bytes("cpu"), time.perf_counter(), time.process_time()
    figures = RUNNERS[name](slide, checkpoint, output, *options)
    figures["seconds"] = time.perf_counter() - started
    figures["cpu_seconds"] = time.process_time() - processor
    figures["peak_mb"] = (peak_memory_bytes("cpu") - before) / 2**20
    print(json.dumps(figures))


class Case(NamedTuple):
    """A program on a slide of `size` px, of which a share is tissue."""

    program: str
    size: int
    tissue: float = 1.0


@dataclass
class Bench:
    """Runs programs in fresh processes and keeps the medians of their figures."""

    folder: Path
    repeats: int
    rows: list[dict[str, Any]] = field(default_factory=list)

    def run(self, *cases: Case, repeats: int | None = None) -> list[dict[str, Any]]:
        """Medians of some runs of each case, in turn: what else the machine does meets all of them."""
        slides = [make_slide(self.folder, case.size, tissue=case.tissue) for case in cases]
        rounds = [
            [self._once(case.program, slide, self.folder / "out") for case, slide in zip(cases, slides, strict=True)]
            for _ in range(repeats or self.repeats)
        ]
        rows = []
        for case, runs in zip(cases, zip(*rounds, strict=True), strict=True):
            figures = {name: median(run[name] for run in runs) for name in runs[0]}
            rows.append({**case._asdict(), "runs": len(runs), **figures})
            print(row_of_table(rows[-1]), flush=True)
        self.rows += rows
        return rows

    def killed_at_half(self, size: int) -> tuple[float, bool]:
        """Time of a run killed at half its tiles and of the one that goes on, over that of one run; if equal."""
        import zarr

        slide, whole, resumed = make_slide(self.folder, size), self.folder / "whole", self.folder / "resumed"
        seconds = self._once(OURS, slide, whole)["seconds"]
        process = subprocess.Popen(self._command(OURS, slide, resumed), stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = iter(process.stdout)
        next(line for line in lines if line.startswith("started"))
        started = time.perf_counter()
        half = f"finished {(size // LARGEST_CORE) ** 2 // 2}\n"
        next(line for line in lines if line == half)
        process.kill()
        lost = time.perf_counter() - started
        process.wait()
        rest = self._once(OURS, slide, resumed, is_new=False)["seconds"]
        one, two = (zarr.open_array(str(path / "0"), mode="r")[:] for path in (whole, resumed))
        return (lost + rest) / seconds, bool(np.array_equal(one, two))

    def _once(self, program: str, slide: Path, output: Path, *, is_new: bool = True) -> dict[str, float]:
        if is_new:
            shutil.rmtree(output, ignore_errors=True)
        result = subprocess.run(self._command(program, slide, output), check=True, stdout=subprocess.PIPE, text=True)
        figures: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
        return figures

    @staticmethod
    def _command(program: str, slide: Path, output: Path) -> list[str]:
        return [sys.executable, __file__, "--measure", program, str(slide), str(output)]


def seams() -> tuple[float, float]:
    """Largest difference of tiles from the whole over the range of the whole: ours, and MONAI's."""
    import torch
    from monai.inferers import sliding_window_inference

    from napari_hrpn.analysis.tissue.vessel_distance import with_distance
    from napari_hrpn.core import TileGrid
    from napari_hrpn.inference.predictor import Predictor
    from napari_hrpn.models import bundled_checkpoint, load_checkpoint
    from napari_hrpn.phantom import PHANTOM_PRESETS, phantom_slide

    checkpoint = load_checkpoint(bundled_checkpoint())
    card = checkpoint.card
    assert card.pixel_size_um is not None
    assert card.distance is not None
    settings = replace(PHANTOM_PRESETS["tumour"], pixel_size_um=card.pixel_size_um)
    slide = phantom_slide(settings, size=1536, seed=4).slide
    inputs = with_distance(slide, 1, 0, card.distance).levels[0].compute()[[0, 1, -1]]
    pixels = card.scaling.scale_inputs(inputs)
    network = checkpoint.network()
    with torch.inference_mode():
        image = torch.from_numpy(pixels)[None]
        whole = network(image)[0, 0].numpy()
        windows = sliding_window_inference(image, (512, 512), 4, network, overlap=0.25, mode="gaussian")[0, 0].numpy()
    predictor = Predictor(checkpoint)
    padded = np.pad(pixels, ((0, 0), (HALO_PX, HALO_PX), (HALO_PX, HALO_PX)), mode="reflect")
    one, tiles = predictor.run(padded, HALO_PX), np.empty(slide.shape, np.float32)
    for tile in TileGrid(*slide.shape, 512, HALO_PX, predictor.stride):
        y, x, end = tile.core.y0, tile.core.x0, 512 + 2 * HALO_PX
        tiles[y : y + 512, x : x + 512] = predictor.run(padded[:, y : y + end, x : x + end], HALO_PX)
    return float(np.abs(tiles - one).max() / np.ptp(one)), float(np.abs(windows - whole).max() / np.ptp(whole))


HEADER = """\
| program | slide, px | Mpx/s | CPU s per Mpx | run per kept | in network | peak MB |
| --- | --- | --- | --- | --- | --- | --- |"""


def row_of_table(row: dict[str, Any]) -> str:
    """One program on one slide."""
    mega = row["size"] ** 2 / 1e6
    share = f"{row['share_in_network']:.1%}" if "share_in_network" in row else ""
    size = f"{row['size']:,}" + (f", {1 - row['tissue']:.0%} blank" if row["tissue"] < 1 else "")
    return (
        f"| {row['program']} | {size} | {mega / row['seconds']:.2f} | {row['cpu_seconds'] / mega:.2f} "
        f"| {row['run_per_kept']:.2f} | {share} | {row['peak_mb']:,.0f} |"
    )


Aim = tuple[str, float, float]
"""What, how much of it, and at most how much is wanted."""


def compare_small(bench: Bench) -> list[Aim]:
    """Figures of a small slide."""
    few = max(1, bench.repeats // 2)
    names = (OURS, f"{OURS}, bf16", "MONAI, 0.25", BLANK)
    ours, half_precision, loose, full, blank = bench.run(
        *(Case(name, SMALL) for name in names), Case(BLANK, SMALL, 0.4)
    )
    (tight,) = bench.run(Case("MONAI, 0.5", SMALL), repeats=few)
    return [
        ("CPU seconds, fp32, over MONAI 0.25", ours["cpu_seconds"] / loose["cpu_seconds"], 0.18),
        ("CPU seconds, fp32, over MONAI 0.5", ours["cpu_seconds"] / tight["cpu_seconds"], 0.11),
        ("CPU seconds, bf16, over MONAI 0.25", half_precision["cpu_seconds"] / loose["cpu_seconds"], 0.09),
        ("pixels run per pixel kept", ours["run_per_kept"], 1.5),
        ("60 % blank over full, 4,096 px", blank["seconds"] / full["seconds"], 0.45),
    ]


def compare_large(bench: Bench) -> list[Aim]:
    """Figures that take large slides, each of one run."""
    bench.run(Case("dask map_overlap", SMALL), repeats=1)
    small, large, bare = bench.run(Case(OURS, SMALL), Case(OURS, LARGE), Case("bare network", LARGE), repeats=1)
    names = (OURS, f"{OURS}, {MIDDLE_MEMORY_GB}", f"{OURS}, {LITTLE_MEMORY_GB}", "MONAI, 0.25")
    middle, _, little, windows = bench.run(*(Case(name, MIDDLE) for name in names), repeats=1)
    full, blank = bench.run(Case(BLANK, MIDDLE), Case(BLANK, MIDDLE, 0.4), repeats=2)
    resumed, is_equal = bench.killed_at_half(MIDDLE)
    our_seam, their_seam = seams()
    return [
        ("wall time over the bare network, 16,384 px", large["seconds"] / bare["seconds"], 1.05),
        ("peak memory, 16,384 over 4,096 px", large["peak_mb"] / small["peak_mb"], 1.1),
        ("peak memory over MONAI's, 8,192 px", middle["peak_mb"] / windows["peak_mb"], 1 / 6),
        ("60 % blank over full, 8,192 px", blank["seconds"] / full["seconds"], 0.45),
        (f"peak memory over MONAI's with --memory {LITTLE_MEMORY_GB}", little["peak_mb"] / windows["peak_mb"], 1 / 6),
        (f"killed at half and resumed, {'identical' if is_equal else 'NOT IDENTICAL'}", resumed, 1.05),
        ("largest seam over the range", our_seam, 1e-5),
        ("the same, MONAI 0.25", their_seam, float("nan")),
    ]


def compare_tia_toolbox(bench: Bench) -> list[Aim]:
    """Figures of a small slide, in an environment that has TIAToolbox."""
    from tia_toolbox import make_photograph

    make_photograph(make_slide(bench.folder, SMALL))
    ours, theirs = bench.run(Case(OURS, SMALL), Case("TIAToolbox, 0.25", SMALL))
    names = {"wall time": "seconds", "CPU seconds": "cpu_seconds", "peak memory": "peak_mb"}
    return [(f"{what} over TIAToolbox's", ours[name] / theirs[name], float("nan")) for what, name in names.items()]


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="runs on the smallest slide")
    parser.add_argument("--small", action="store_true", help="leave out the large slides")
    parser.add_argument("--tia-toolbox", action="store_true", help="beside TIAToolbox alone, where it is installed")
    parser.add_argument("--json", type=Path, help="save the figures")
    parser.add_argument("--measure", nargs=3, metavar=("PROGRAM", "SLIDE", "OUTPUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        program, slide, output = arguments.measure
        measure(program, Path(slide), Path(output))
        return
    print(HEADER)
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), arguments.repeats)
        make_checkpoint(bench.folder / "network.safetensors")
        if arguments.tia_toolbox:
            figures = compare_tia_toolbox(bench)
        else:
            figures = compare_small(bench) + ([] if arguments.small else compare_large(bench))
    print("\n| figure | reached | aim, at most |\n| --- | --- | --- |")
    for what, reached, aim in figures:
        print(f"| {what} | {reached:.2g} | {'' if np.isnan(aim) else f'{aim:.2g}'} |")
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": bench.rows, "figures": figures}, indent=2))


if __name__ == "__main__":
    main()

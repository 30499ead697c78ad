"""Evaluation of a whole slide beside plain reading of the same pixels, and how fast the panels answer.

    python benchmarks/analysis.py                              # 4,096 and 16,384 px; some minutes on two cores
    python benchmarks/analysis.py --sizes 4096 --dtype float32 --json analysis.json

The slide is an OME-Zarr of repeated phantom tissue (8 bits, chunks of 512 px, pyramid), the prediction its blurred
probe with noise. Each row is a fresh process, and those of a size take turns, round after round; the table has
medians. Reading is what an evaluation reads, block by block, with as many threads: ratios are those of one run.
The files were just written, so they come from the system's memory, which is the hardest for a ratio to reading.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_hrpn.analysis import SlideComparison

TILE_PX = 2048
ROI_PX = 864, 960
AIM_RATIO, AIM_MEMORY = 1.5, 0.1
READING, READING_ALL = "reading real and predicted", "reading these, nuclei and vessels"
PAIR, EVALUATION = "evaluation of real and predicted alone", "evaluation with nuclei and vessels"
PROGRAMS = (READING, PAIR, READING_ALL, EVALUATION)
PASS = "all pixels"
PANELS = {"ROI correlation": "roi_drag.py", "Threshold MIoU": "threshold_slider.py"}


def write_pair(folder: Path, size: int, dtype: str) -> None:
    """Write a slide and a prediction of it; each repetition is as hard to decode as the first."""
    from dataclasses import replace

    import dask.array as da
    from scipy import ndimage

    from napari_hrpn.phantom import phantom_slide
    from napari_hrpn.slides import write_ome_zarr

    block = phantom_slide("tumour", size=TILE_PX, seed=1).slide
    pixels = block.levels[0].compute()
    noise = np.random.default_rng(0).normal(0, 3, pixels.shape[1:])
    blurred = ndimage.gaussian_filter(pixels[2].astype(np.float32), 1.5) * 0.9 + noise
    predicted = np.clip(np.rint(blurred), 0, 255) if dtype == "uint8" else blurred
    images = {"real": (pixels, block.channel_names), "predicted": (predicted[None].astype(dtype), ("predicted",))}
    for name, (tile, channels) in images.items():
        repeats = -(-size // TILE_PX)
        level = da.tile(da.from_array(tile, chunks=(1, 512, 512)), (1, repeats, repeats))[:, :size, :size]
        slide = replace(block, levels=(level,), channel_names=channels)
        for _ in write_ome_zarr(slide, folder / f"{name}.ome.zarr"):
            pass


def comparison(folder: Path, *, stains: bool = True) -> SlideComparison:
    """What `napari-hrpn evaluate` compares: the tissue by the nuclei, and one region."""
    from napari_hrpn.analysis import ProbeImage, SlideComparison, tissue_mask
    from napari_hrpn.slides import Annotation, ChannelRoles, RegionMask, open_slide

    real, predicted = (open_slide(folder / f"{name}.ome.zarr") for name in ("real", "predicted"))
    tissue = tissue_mask(real, 0)
    glass = RegionMask(~tissue.mask, tissue.downsample)
    y, x = (size // 2 for size in real.shape)
    corners = np.array([[y, x], [y, x + ROI_PX[1]], [y + ROI_PX[0], x + ROI_PX[1]], [y + ROI_PX[0], x]], float)
    rois = (Annotation("field", "include", ((corners,),)),)
    images = ProbeImage("real", real, 2), ProbeImage("prediction", predicted)
    roles = ChannelRoles(0, 1, 2) if stains else ChannelRoles(probe=2)
    return SlideComparison(images[0], images[1:], roles, tissue, glass, rois)


def read(compared: SlideComparison, *, all_channels: bool) -> dict[str, float]:
    """Read every pixel once, as an evaluation does, and count nothing."""
    from napari_hrpn.analysis.scan.block_scan import BlockCounter, PixelBlock, count_blocks

    real, predicted = compared.real.slide.levels[0], compared.predictions[0].slide.levels[0]
    channels = [real[index] for index in (range(3) if all_channels else (2,))] + [predicted[0]]

    class Reader(BlockCounter[None]):
        def count(self, block: PixelBlock) -> None:
            for channel in channels:
                block.pixels(channel)

        def add(self, found: None) -> None:
            pass

    for _ in count_blocks(channels, [Reader()]):
        pass
    return {}


def evaluate(compared: SlideComparison) -> dict[str, float]:
    """Evaluate; seconds by step."""
    from napari_hrpn.analysis import evaluate_slide

    seconds: dict[str, float] = {}
    before = time.perf_counter()
    for report in evaluate_slide(compared):
        now = time.perf_counter()
        seconds[report.part] = seconds.get(report.part, 0.0) + now - before
        before = now
    return seconds


def measure(program: str, folder: Path) -> None:
    """Run one program in this process and print its figures as JSON."""
    compared = comparison(folder, stains=program != PAIR)
    programs: dict[str, Callable[[], dict[str, float]]] = {
        READING: lambda: read(compared, all_channels=False),
        READING_ALL: lambda: read(compared, all_channels=True),
        PAIR: lambda: evaluate(compared),
        EVALUATION: lambda: evaluate(compared),
    }
    # what every program needs is not its own memory
    import napari_hrpn.analysis.evaluation  # noqa: F401

    before, started, processor = _peak_mb(), time.perf_counter(), time.process_time()
    steps = programs[program]()
    figures = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - processor,
        "peak_mb": _peak_mb(),
        "peak_above_start_mb": _peak_mb() - before,
        "steps": steps,
    }
    print(json.dumps(figures))


def _peak_mb() -> float:
    # not getrusage: on Linux its peak is that of the process which started this one, if that was higher
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def compare(sizes: list[int], dtype: str, rounds: int, place: Path | None) -> list[dict[str, Any]]:
    """Every program on every size, each in a process of its own."""
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=place) as name:
            folder = Path(name)
            write_pair(folder, size, dtype)
            found: dict[str, list[dict[str, Any]]] = {program: [] for program in PROGRAMS}
            for _ in range(rounds):
                for program, each in found.items():
                    command = [sys.executable, __file__, "--measure", program, str(folder)]
                    result = subprocess.run(command, check=True, capture_output=True, text=True)
                    each.append(json.loads(result.stdout.splitlines()[-1]))
        rows += [{"size": size, "program": program, **_median(each)} for program, each in found.items()]
    return rows


def _median(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    keys = [key for key in rounds[0] if key != "steps"]
    steps = {name: statistics.median(one["steps"][name] for one in rounds) for name in rounds[0]["steps"]}
    return {**{key: statistics.median(one[key] for one in rounds) for key in keys}, "steps": steps, "rounds": rounds}


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown tables: speed and memory, then where the time of the evaluation went."""
    lines = [
        f"{os.cpu_count()} processors",
        "",
        f"| | size, px | Mpx/s | x reading the pair (aim {AIM_RATIO}) | x reading the same | CPU ms/Mpx | peak, MB "
        "| of it above start |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in _with_pass(rows):
        mega = row["size"] ** 2 / 1e6
        pair = next(one for one in rows if one["size"] == row["size"] and one["program"] == READING)
        memory = f"{row['peak_mb']:,.0f} | {row['peak_above_start_mb']:,.0f}" if "peak_mb" in row else "|"
        cpu = f"{1000 * row['cpu_seconds'] / mega:.1f}" if "cpu_seconds" in row else ""
        same = next(one for one in rows if one["size"] == row["size"] and one["program"] == row["reads"])
        ratios = " | ".join(f"{row['seconds'] / one['seconds']:.2f}" for one in (pair, same))
        lines.append(
            f"| {row['program']} | {row['size']:,} | {mega / row['seconds']:,.1f} | {ratios} | {cpu} | {memory} |"
        )
    peaks = [row["peak_mb"] for row in rows if row["program"] == EVALUATION]
    if len(peaks) > 1:
        lines += ["", f"Peak memory from the smallest to the largest slide: {peaks[-1] / peaks[0] - 1:+.0%} "
                  f"(aim: within {AIM_MEMORY:.0%})"]  # fmt: skip
    evaluations = [row for row in rows if row["program"] == EVALUATION]
    sizes = " | ".join(f"{row['size']:,} px" for row in evaluations)
    lines += ["", f"| ms/Mpx of the evaluation | {sizes} |", "|---" * (1 + len(evaluations)) + "|"]
    for step in evaluations[0]["steps"]:
        each = " | ".join(f"{1000 * row['steps'][step] / (row['size'] ** 2 / 1e6):.1f}" for row in evaluations)
        lines.append(f"| {step} | {each} |")
    return "\n".join(lines)


def _with_pass(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With a row for the pass over all pixels alone, before each evaluation."""
    found = []
    for plain in rows:
        row = {**plain, "reads": READING if plain["program"] in (READING, PAIR) else READING_ALL}
        if PASS in row["steps"]:
            alone = {key: row[key] for key in ("size", "reads")}
            found.append({**alone, "program": "its pass over all pixels", "seconds": row["steps"][PASS]})
        found.append(row)
    return found


def panel_latencies() -> dict[str, dict[str, Any]]:
    """What the benchmarks of the panels measure, each in a process with a window; {} for those that are not there."""
    found = {}
    for panel, script in PANELS.items():
        path = Path(__file__).with_name(script)
        if path.exists():
            code = f"import json; from {path.stem} import measure; print(json.dumps(measure()))"
            display = [] if os.environ.get("DISPLAY") else ["xvfb-run", "-a", "-s", "-screen 0 1600x1200x24"]
            command = [*display, sys.executable, "-c", code]
            result = subprocess.run(command, check=True, capture_output=True, text=True, cwd=path.parent)
            found[panel] = json.loads(result.stdout.splitlines()[-1])
    return found


def _flat(figures: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in figures.items():
        words = f"{before}, {name}" if before else name
        if isinstance(value, dict):
            yield from _flat(value, words)
        else:
            yield words, f"{value:,.4g}" if isinstance(value, int | float) else str(value)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[4096, 16384], help="along a side, in px")
    parser.add_argument("--dtype", choices=("uint8", "float32"), default="uint8", help="pixels of the prediction")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the slides are written for the time; 0.8 GB at 16,384 px")
    parser.add_argument("--no-panels", action="store_true", help="leave out the latency of the panels")
    parser.add_argument("--json", type=Path, help="save the figures")
    parser.add_argument("--measure", nargs=2, metavar=("PROGRAM", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure[0], Path(arguments.measure[1]))
        return
    rows = compare(arguments.sizes, arguments.dtype, arguments.rounds, arguments.folder)
    if rows:
        print(table(rows), flush=True)
    panels = {} if arguments.no_panels else panel_latencies()
    for panel, figures in panels.items():
        print(
            "\n".join(["", f"| {panel} | |", "|---|---|", *(f"| {name} | {value} |" for name, value in _flat(figures))])
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": rows, "panels": panels}, indent=2))


if __name__ == "__main__":
    main()

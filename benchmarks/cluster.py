"""Prediction on several processes: what a second worker brings, and what a kill costs.

    python benchmarks/cluster.py                       # 8,192 px in 64 tiles: some minutes a run on two cores
    python benchmarks/cluster.py --size 16384 --core 2048 --json cluster.json

Every run is a program of its own, every worker is held to one thread, and the time is that of the prediction, from
the slide's path to its last tile, without the start of Python. The last run is killed with signal 9 at half, workers
and all, and begun again. Needs two cores that have nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from predict import make_checkpoint, make_slide

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_hrpn.inference import PredictionSettings

NAME = "out.ome.zarr"


def reports(workers: int, slide: Path, checkpoint: Path, output: Path, core: int) -> Iterator[Any]:
    """Predict, and tell after each tile how many there are; without workers, in this process."""
    import torch

    from napari_hrpn.inference import PredictionSettings, predict_slide
    from napari_hrpn.models import load_checkpoint
    from napari_hrpn.slides import open_slide

    settings, network = PredictionSettings(device="cpu", skip_blank=False, core=core), load_checkpoint(checkpoint)
    if workers:
        yield from _reports_of_workers(workers, slide, network, output, settings)
        return
    torch.set_num_threads(1)
    yield 0
    for report in predict_slide(open_slide(slide), network, output, settings):
        yield report.finished


def _reports_of_workers(
    workers: int,
    slide: Path,
    network: Any,  # noqa: ANN401 (a Checkpoint, whose module imports torch)
    output: Path,
    settings: PredictionSettings,
) -> Iterator[int]:
    from napari_hrpn.inference.cluster import SlideRequest, TileOfMany, local_workers, predict_slides
    from napari_hrpn.slides import open_slide

    with local_workers(workers, "cpu", threads=1) as client:
        yield 0
        for report in predict_slides([partial(SlideRequest, open_slide(slide), output)], network, client, settings):
            if isinstance(report, TileOfMany):
                yield report.finished


def measure(workers: int, slide: Path, checkpoint: Path, output: Path, core: int) -> None:
    """Print after each tile how many are finished and how long it took."""
    started = None
    for finished in reports(workers, slide, checkpoint, output, core):
        # the first report comes when everything is loaded and all workers have started
        started = time.perf_counter() if started is None else started
        print(json.dumps([finished, time.perf_counter() - started]), flush=True)


def run(workers: int, folder: Path, slide: Path, core: int, stop_at: int | None = None) -> tuple[int, float]:
    """Run a program of its own, kill it after some tiles, and return how many it had finished and after how long."""
    folder.mkdir(exist_ok=True)
    words = ["--measure", str(workers), str(slide), str(slide.with_name("network.safetensors")), str(folder / NAME)]
    command = [sys.executable, __file__, *words, "--core", str(core)]
    finished, seconds = 0, 0.0
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            finished, seconds = json.loads(line)
            if finished == stop_at:
                process.kill()
                break
    return finished, seconds


def contents(path: Path) -> dict[str, bytes]:
    """Every file of a prediction."""
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def compare(folder: Path, size: int, core: int) -> list[dict[str, Any]]:
    """Run everything once and put it beside each other."""
    slide = make_slide(folder, size)
    make_checkpoint(folder / "network.safetensors")
    rows: list[dict[str, Any]] = []
    for title, workers in (("one process, no workers", 0), ("one worker", 1), ("two workers", 2)):
        tiles, seconds = run(workers, folder / str(workers), slide, core)
        rows.append({"run": title, "seconds": seconds, "tiles": tiles})
        print(f"{title}: {tiles} tiles in {seconds:.1f} s", flush=True)
    half, before = run(2, folder / "resumed", slide, core, stop_at=rows[-1]["tiles"] // 2)
    tiles, after = run(2, folder / "resumed", slide, core)
    rows.append({"run": "two workers, killed at half and resumed", "seconds": before + after, "tiles": tiles})
    print(f"killed after {half} tiles and {before:.1f} s, the rest in {after:.1f} s", flush=True)
    expected = contents(folder / "0" / NAME)
    for row, place in zip(rows, ("0", "1", "2", "resumed"), strict=True):
        row |= {"size": size, "core": core, "mpx_per_second": size**2 / 1e6 / row["seconds"]}
        row["identical"] = contents(folder / place / NAME) == expected
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as a Markdown table, with both ratios below."""
    lines = ["| run | seconds | Mpx/s | files as those of one process |", "|---|---|---|---|"]
    for row in rows:
        same = "identical" if row["identical"] else "DIFFERENT"
        lines.append(f"| {row['run']} | {row['seconds']:.1f} | {row['mpx_per_second']:.2f} | {same} |")
    _, one, two, resumed = (row["seconds"] for row in rows)
    lines += ["", "| aim | ratio | reached |", "|---|---|---|"]
    lines.append(f"| two workers against one | at least 1.85 | {one / two:.2f} |")
    lines.append(f"| killed at half and resumed, against one run | at most 1.05 | {resumed / two:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=8192, help="a multiple of 2,048 px")
    parser.add_argument("--core", type=int, default=1024, help="a multiple of 512 px")
    parser.add_argument("--json", type=Path, help="save the figures")
    parser.add_argument("--measure", nargs=4, metavar=("WORKERS", "SLIDE", "NETWORK", "OUTPUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        workers, slide, network, output = arguments.measure
        measure(int(workers), Path(slide), Path(network), Path(output), arguments.core)
        return
    with tempfile.TemporaryDirectory() as name:
        rows = compare(Path(name), arguments.size, arguments.core)
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()

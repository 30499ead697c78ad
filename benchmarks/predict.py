"""Prediction of a whole slide: speed, waste and memory, beside MONAI and dask on the same network and slide.

    python benchmarks/predict.py                        # 4,096 and 16,384 px; the peers at 4,096 px
    python benchmarks/predict.py --peers-up-to 16384    # the peers at both: about an hour on two cores

Each program runs in a fresh process, reads the slide from OME-Zarr, writes to Zarr, and runs the network of 2,176,824
parameters with random weights. Figures are beside each other in one run; trust their ratios.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

PROGRAMS = ("napari-hrpn", "monai 0.25", "monai 0.5", "dask map_overlap")
HALO_PX = 192


def make_slide(folder: Path, size: int) -> Path:
    """Write a slide of repeated phantom tissue, without pyramid levels that nobody reads here."""
    import dask.array as da
    import zarr

    from napari_hrpn.sample_data import PHANTOM_PRESETS, phantom_slide
    from napari_hrpn.slides.metadata import multiscales_metadata

    path = folder / f"slide-{size}.ome.zarr"
    if not path.exists():
        block = phantom_slide(PHANTOM_PRESETS["null"], size=2048, seed=1).slide.levels[0].compute()
        pixels = da.tile(da.from_array(block, chunks=(1, 512, 512)), (1, size // 2048, size // 2048))
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


def run_ours(slide_path: Path, checkpoint_path: Path, output: Path) -> dict[str, float]:
    """Predict with the engine as the command line does."""
    from napari_hrpn.inference import PredictionSettings, predict_slide
    from napari_hrpn.models import load_checkpoint
    from napari_hrpn.slides import open_slide

    settings = PredictionSettings(device="cpu", skip_blank=False)
    steps = predict_slide(open_slide(slide_path), load_checkpoint(checkpoint_path), output, settings)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            report = stop.value
            break
    return {
        "run_per_kept": report.pixels_run / report.pixels_kept,
        "share_in_network": report.seconds_computing / report.seconds,
        "seconds_reading": report.seconds_reading,
        "seconds_writing": report.seconds_writing,
        "core": report.core,
    }


def run_monai(slide_path: Path, checkpoint_path: Path, output: Path, overlap: float) -> dict[str, float]:
    """Predict as MONAI's documentation shows: the slide in memory, gaussian blending, windows of 512 px."""
    import torch
    import zarr
    from monai.inferers import sliding_window_inference

    from napari_hrpn.models import load_checkpoint
    from napari_hrpn.slides import open_slide

    network = load_checkpoint(checkpoint_path).network()
    pixels = open_slide(slide_path).levels[0][:2].compute().astype(np.float32) / 100
    with torch.inference_mode():
        predicted = sliding_window_inference(
            torch.from_numpy(pixels)[None], (512, 512), 4, network, overlap=overlap, mode="gaussian"
        )
    zarr.save_array(str(output), predicted[0, 0].numpy())
    steps = 1 + -(-(pixels.shape[1] - 512) // int(512 * (1 - overlap)))
    return {"run_per_kept": (steps * 512) ** 2 / pixels[0].size}


def run_dask(slide_path: Path, checkpoint_path: Path, output: Path) -> dict[str, float]:
    """Predict with map_overlap on blocks of 512 px with the halo that makes it exact."""
    import dask
    import torch

    from napari_hrpn.models import load_checkpoint
    from napari_hrpn.slides import open_slide

    network = load_checkpoint(checkpoint_path).network()

    def predict(block: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            predicted: np.ndarray = network(torch.from_numpy(block.astype(np.float32) / 100)[None])[0].numpy()
        return predicted

    pixels = open_slide(slide_path).levels[0][:2].rechunk((2, 512, 512))
    depth = {0: 0, 1: HALO_PX, 2: HALO_PX}
    chunks = ((1,), *pixels.chunks[1:])
    predicted = pixels.map_overlap(predict, depth=depth, boundary="reflect", dtype=np.float32, chunks=chunks)
    with dask.config.set(scheduler="threads", num_workers=1):
        predicted.to_zarr(str(output))
    return {"run_per_kept": ((512 + 2 * HALO_PX) / 512) ** 2}


def measure(program: str, slide: Path, checkpoint: Path, output: Path) -> None:
    """Run one program in this process and print its figures as JSON."""
    import torch  # noqa: F401 (every program needs it; its memory is not the program's)
    import zarr  # noqa: F401

    from napari_hrpn.inference import predict_slide  # noqa: F401

    if program.startswith("monai"):
        import monai.inferers  # noqa: F401
    before, started, processor = _peak_mb(), time.perf_counter(), time.process_time()
    if program == "napari-hrpn":
        figures = run_ours(slide, checkpoint, output)
    elif program == "dask map_overlap":
        figures = run_dask(slide, checkpoint, output)
    else:
        figures = run_monai(slide, checkpoint, output, float(program.split()[1]))
    figures["seconds"] = time.perf_counter() - started
    figures["cpu_seconds"] = time.process_time() - processor
    figures["peak_mb"] = _peak_mb() - before
    print(json.dumps(figures))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare(sizes: list[int], peers_up_to: int) -> list[dict[str, Any]]:
    """Run every program on every size, each in a process of its own."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_checkpoint(folder / "network.safetensors")
        for size in sizes:
            slide = make_slide(folder, size)
            for program in PROGRAMS if size <= peers_up_to else PROGRAMS[:1]:
                output = folder / "out.ome.zarr"
                command = [sys.executable, __file__, "--measure", program, str(slide), str(output)]
                result = subprocess.run(command, check=True, capture_output=True, text=True)
                rows.append({"program": program, "size": size, **json.loads(result.stdout.splitlines()[-1])})
                print(table(rows[-1:], header=len(rows) == 1), flush=True)
                shutil.rmtree(output)
    return rows


def table(rows: list[dict[str, Any]], *, header: bool = True) -> str:
    """Rows as a Markdown table."""
    lines = []
    if header:
        lines = [
            "| program | size, px | Mpx/s | CPU s/Mpx | px run per px kept | time in network | peak, MB |",
            "|---|---|---|---|---|---|---|",
        ]
    for row in rows:
        mega = row["size"] ** 2 / 1e6
        share = f"{row['share_in_network']:.1%}" if "share_in_network" in row else ""
        lines.append(
            f"| {row['program']} | {row['size']:,} | {mega / row['seconds']:.2f} | {row['cpu_seconds'] / mega:.2f} "
            f"| {row['run_per_kept']:.2f} | {share} | {row['peak_mb']:,.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 16384], help="multiples of 2,048 px")
    parser.add_argument("--peers-up-to", type=int, default=4096, help="largest size that the peers run on, in px")
    parser.add_argument("--json", type=Path, help="save the figures")
    parser.add_argument("--measure", nargs=3, metavar=("PROGRAM", "SLIDE", "OUTPUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        program, slide, output = arguments.measure
        measure(program, Path(slide), Path(slide).with_name("network.safetensors"), Path(output))
        return
    rows = compare(arguments.sizes, arguments.peers_up_to)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()

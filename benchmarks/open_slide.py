"""Time and memory to open a 40,960 x 40,960 x 3 pyramidal OME-TIFF, contrast included, in fresh processes."""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

TILE = 512
CHANNELS = ("DAPI", "AF488", "QD")
# each program imports what it needs first, so that the figures are those of opening alone
MEASURE = """
import gc, json, sys, time
{imports}
def resident():
    gc.collect()
    fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(fields["VmRSS"].split()[0]) / 1024, int(fields["VmHWM"].split()[0]) / 1024
open("/proc/self/clear_refs", "w").write("5")
before, _ = resident()
started = time.perf_counter()
{opening}
seconds = time.perf_counter() - started
after, peak = resident()
print(json.dumps(dict(seconds=seconds, kept=after - before, peak=peak - before)))
"""
IMPORTS = "import dask.array, imagecodecs, numpy, tifffile, zarr"
OURS = f"{IMPORTS}\nimport napari_hrpn.slides.formats.tiff\nfrom napari_hrpn.slides import contrast_limits, open_slide"
PROGRAMS = {
    "imports only": (IMPORTS, "pass"),
    "napari-hrpn, without contrast": (
        OURS,
        "slide = open_slide(sys.argv[1])",
    ),
    "napari-hrpn, with contrast": (
        OURS,
        "slide = open_slide(sys.argv[1]); limits = contrast_limits(slide)",
    ),
    "napari-tiff, without contrast": (
        f"{IMPORTS}\nfrom napari_tiff.napari_tiff_reader import reader_function",
        "layers = reader_function(sys.argv[1])",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=40_960, help="pixels along a side")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.ome.tif"
        write_slide(path, arguments.size)
        print(f"{path.name}: {arguments.size} px, {path.stat().st_size / 2**20:.0f} MiB on disk")
        print(f"{'':32}{'seconds':>9}{'MiB kept':>10}{'MiB peak':>10}   (median of {arguments.repeats})")
        for title, (imports, opening) in PROGRAMS.items():
            if title.startswith("napari-tiff") and importlib.util.find_spec("napari_tiff") is None:
                print(f"{title:32}   not installed")
                continue
            program = MEASURE.format(imports=imports, opening=opening)
            runs = [run(program, path) for _ in range(arguments.repeats)]
            middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            print(f"{title:32}{middle['seconds']:9.3f}{middle['kept']:10.1f}{middle['peak']:10.1f}")


def run(program: str, path: Path) -> dict[str, float]:
    """Figures of one fresh process."""
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def write_slide(path: Path, size: int) -> None:
    """A slide of seven levels whose tiles repeat, so that it is made and compressed in no time."""
    import imagecodecs
    import tifffile

    random = np.random.default_rng(0)
    noise = random.integers(0, 4000, (TILE, TILE), np.uint16)
    repeated = np.tile(noise[:16, :16], (TILE // 16, TILE // 16))
    packed = {
        True: bytes(imagecodecs.zlib_encode(noise.tobytes(), level=1)),
        False: bytes(imagecodecs.zlib_encode(repeated.tobytes(), level=9)),
    }

    def tiles(side: int) -> Iterator[bytes]:
        # the level that contrast is taken from has tiles that are as hard to read as real ones
        tile = packed[side == sides[-1]]
        return (tile for _ in range(len(CHANNELS) * (-(-side // TILE)) ** 2))

    sides = [size // 2**level for level in range(7)]
    with tifffile.TiffWriter(path, ome=True, bigtiff=True) as tif:
        for level, side in enumerate(sides):
            tif.write(
                tiles(side),
                shape=(len(CHANNELS), side, side),
                dtype=np.uint16,
                tile=(TILE, TILE),
                compression="zlib",
                photometric="minisblack",
                subifds=len(sides) - 1 if level == 0 else None,
                subfiletype=1 if level else 0,
                metadata={
                    "axes": "CYX",
                    "Channel": {"Name": list(CHANNELS)},
                    "PhysicalSizeX": 0.3,
                    "PhysicalSizeY": 0.3,
                }
                if level == 0
                else None,
            )


if __name__ == "__main__":
    main()

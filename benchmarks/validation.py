"""The studies of docs/validation.md: made ready in a folder, then carried out by `napari-hrpn cross-validate`.

    python benchmarks/validation.py dextran DIR --data FOLDER_OF_FIELDS --max-minutes 10
    python benchmarks/validation.py merck DIR --data FOLDER_OF_SECTIONS --max-minutes 10
    python benchmarks/validation.py phantoms DIR
    python benchmarks/validation.py null DIR

Each prints the table of the study, and for phantoms what boosted trees and a perfect model reach. A study that was
stopped goes on when the command is repeated.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.ensemble import HistGradientBoostingRegressor

from napari_hrpn.analysis import tissue_mask
from napari_hrpn.cli import run
from napari_hrpn.phantom import PHANTOM_PRESETS, Phantom, phantom_slide, r2_ceiling
from napari_hrpn.slides import Annotation, open_slide, write_geojson, write_ome_zarr

TEST_SEEDS = (101, 102, 103)
TREE_SEEDS = (1, 2, 3)
SCALES_UM = (0, 2, 4, 8, 16, 32)


def slide_table(path: Path, tumour: str, regions: Path | None = None) -> str:
    lines = ["[[slide]]", f'path = "{path.absolute()}"', f'tumour = "{tumour}"']
    return "\n".join([*lines, *([] if regions is None else [f'regions = "{regions.name}"'])])


def dextran(_: Path, arguments: argparse.Namespace) -> str:
    """Fields 3 to 8 to learn from (one of them chooses the epoch), 1 and 2, which overlap, for the test."""
    slides = [slide_table(arguments.data / f"fov0{i}.ome.tif", f"field {i}") for i in range(1, 9)]
    top = 'title = "Dextran fields"\ntest = ["field 1", "field 2"]\nmodels = ["hrpn"]\nfolds = false'
    return "\n\n".join([top, *slides])


def merck(folder: Path, arguments: argparse.Namespace) -> str:
    """One section by its tissue: half to learn from, a quarter that chooses the epoch, a quarter for the test."""
    path = arguments.data / "z0708.ome.tif"
    slide = open_slide(path)
    columns = tissue_mask(slide, 0).mask.sum(axis=0).cumsum()
    height, width = slide.shape
    edges = [round(float((columns < share * columns[-1]).mean()) * width) for share in (0, 0.5, 0.75, 1.0)]
    slides = []
    for name, left, right in zip(("left", "middle", "right"), edges[:-1], edges[1:], strict=True):
        # the network's field of view reaches over any gap, but no pixel is in two bands
        ring = np.array([(0, left + 8), (height, left + 8), (height, right - 8), (0, right - 8)], float)
        regions = folder / f"{name}.geojson"
        write_geojson([Annotation(name, "include", ((ring,),))], regions, overwrite=True)
        copy = folder / f"{name}.ome.zarr"
        if not copy.exists():
            for _ in write_ome_zarr(slide, copy):
                pass
        slides.append(slide_table(copy, name, regions))
    top = 'title = "One section by region"\ntest = ["right"]\nvalidate = "middle"\nmodels = ["hrpn"]\nfolds = false'
    return "\n\n".join([top, *slides])


def phantom(seed: int, arguments: argparse.Namespace) -> Phantom:
    settings = replace(PHANTOM_PRESETS[arguments.preset], pixel_size_um=arguments.pixel_size)
    return phantom_slide(settings, size=arguments.size, seed=seed)


def phantoms(folder: Path, arguments: argparse.Namespace) -> str:
    """Synthetic tumours of one preset: some to learn from, three that nothing has seen, all the paper's ablations."""
    slides = []
    for seed in (*range(1, arguments.train + 1), *TEST_SEEDS):
        path = folder / f"phantom{seed}.ome.zarr"
        if not path.exists():
            for _ in write_ome_zarr(phantom(seed, arguments).slide, path):
                pass
        slides.append(slide_table(path, f"phantom {seed}"))
    test = ", ".join(f'"phantom {seed}"' for seed in TEST_SEEDS)
    top = f'title = "Phantoms, {arguments.preset}"\ntest = [{test}]\nfolds = false'
    if arguments.preset == "null":
        return "\n\n".join([f'{top}\nmodels = ["hrpn"]', *slides])
    return "\n\n".join([top, "[ablations]", *slides])


def sample(seed: int, arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Both inputs at some scales, and the probe, at one of a hundred pixels of the tissue."""
    slide = phantom(seed, arguments).slide
    *inputs, probe = slide.levels[0].compute().astype(np.float32)
    scales = [gaussian_filter(each, sigma / arguments.pixel_size) for each in inputs for sigma in SCALES_UM]
    there = tissue_mask(slide, 0).within(slice(0, slide.shape[0]), slice(0, slide.shape[1]))[::10, ::10]
    return np.stack(scales, axis=-1)[::10, ::10][there], probe[::10, ::10][there]


def bounds(arguments: argparse.Namespace) -> str:
    """What boosted trees reach, a simple model that sees as far as the network, and what no model can pass."""
    features, probe = zip(*(sample(seed, arguments) for seed in TREE_SEEDS), strict=True)
    trees = HistGradientBoostingRegressor(max_iter=200).fit(np.concatenate(features), np.concatenate(probe))
    lines = [
        "| phantom | R² of boosted trees, tissue | of a perfect model, tissue | frame |",
        "| --- | --- | --- | --- |",
    ]
    for seed in TEST_SEEDS:
        best = phantom(seed, arguments)
        reached = trees.score(*sample(seed, arguments))
        lines.append(f"| {seed} | {reached:.3f} | {r2_ceiling(best, tissue_only=True):.3f} | {r2_ceiling(best):.3f} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=["dextran", "merck", "phantoms", "null"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, help="folder of the images")
    parser.add_argument("--size", type=int, default=1536, help="pixels along a phantom's side")
    parser.add_argument("--pixel-size", type=float, default=1.0976, help="of a phantom, in µm")
    parser.add_argument("--train", type=int, default=6, help="phantoms that are not for the test")
    parser.add_argument("--max-minutes", type=float, help="for each training")
    parser.add_argument("--settings", nargs="*", default=[], metavar="NAME=VALUE", help="that differ from the recipe's")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    if arguments.study in ("dextran", "merck") and arguments.data is None:
        parser.error(f"{arguments.study} needs --data, the folder of the images")
    arguments.preset = "null" if arguments.study == "null" else "tumour"
    arguments.folder.mkdir(parents=True, exist_ok=True)
    make = {"dextran": dextran, "merck": merck}.get(arguments.study, phantoms)
    file = arguments.folder / "study.toml"
    settings = "\n".join(["\n[settings]", *arguments.settings]) if arguments.settings else ""
    file.write_text(f"{make(arguments.folder, arguments)}\n{settings}\n")
    command = ["cross-validate", str(file), "-o", str(arguments.folder / "study"), "--device", arguments.device]
    limit = [] if arguments.max_minutes is None else ["--max-minutes", str(arguments.max_minutes)]
    code = run([*command, *limit])
    table = arguments.folder / "study" / "table.md"
    if code == 0:
        print(table.read_text())
        if make is phantoms:
            print(bounds(arguments))
    return code


if __name__ == "__main__":
    sys.exit(main())

"""The studies of docs/validation.md: made ready in a folder, then carried out by `napari-hrpn cross-validate`.

    python benchmarks/validation.py dextran DIR --data FOLDER_OF_FIELDS --max-minutes 10
    python benchmarks/validation.py merck DIR --data FOLDER_OF_SECTIONS --max-minutes 10
    python benchmarks/validation.py mibi DIR --data FOLDER_OF_PATIENTS --max-minutes 3 --settings patch_px=128
    python benchmarks/validation.py halves DIR --data FOLDER_OF_FIELDS --settings patch_px=128 epochs=8
    python benchmarks/validation.py phantoms DIR
    python benchmarks/validation.py null DIR

Each prints the table of the study, for phantoms also what boosted trees and a perfect model reach, for halves what is
kept of R² when the inputs of the test have another gain or offset, and for mibi the correlation of smoothed images. A
study that was stopped goes on when the command is repeated.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from sklearn.ensemble import HistGradientBoostingRegressor

from napari_hrpn.analysis import tissue_mask
from napari_hrpn.cli import run
from napari_hrpn.models import load_checkpoint
from napari_hrpn.phantom import PHANTOM_PRESETS, Phantom, phantom_slide, r2_ceiling
from napari_hrpn.slides import Annotation, Slide, open_slide, write_geojson, write_ome_zarr

TEST_SEEDS = (101, 102, 103)
TREE_SEEDS = (1, 2, 3)
SCALES_UM = (0, 2, 4, 8, 16, 32)
SMOOTHED_UM = (0, 2, 5, 10)
TESTED_HALF = (1, 2, 3, 4)
# gains of nuclei and vessels, and what is added, as a share of the range of each over the training slides
CHANGES = {
    "as it is": ((1, 1), 0),
    "both x 0.6": ((0.6, 0.6), 0),
    "both x 0.8": ((0.8, 0.8), 0),
    "both x 1.25": ((1.25, 1.25), 0),
    "both x 1.6": ((1.6, 1.6), 0),
    "nuclei x 0.6, vessels x 1.6": ((0.6, 1.6), 0),
    "nuclei x 1.6, vessels x 0.6": ((1.6, 0.6), 0),
    "both + 5 % of the range": ((1, 1), 0.05),
    "nuclei x 0.7, vessels x 1.35, both + 5 %": ((0.7, 1.35), 0.05),
}


def slide_table(path: Path, tumour: str, regions: Path | None = None, roles: str = "") -> str:
    lines = ["[[slide]]", f'path = "{path.absolute()}"', f'tumour = "{tumour}"']
    lines += [f"roles = {{ {roles} }}"] if roles else []
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


def mibi(_: Path, arguments: argparse.Namespace) -> str:
    """Collagen from histone H3 and CD31: every patient is left out once, and another one chooses the epoch."""
    roles = 'nuclei = "HH3", vessels = "CD31", probe = "COLI"'
    slides = [slide_table(path, path.name.split(".")[0], roles=roles) for path in sorted(arguments.data.glob("pt*"))]
    return "\n\n".join(['title = "Collagen of other patients"\nmodels = ["hrpn"]', *slides])


def smoothed(arguments: argparse.Namespace) -> str:
    """Pearson r of each left-out patient's collagen with predictions, on tissue, after a blur of both."""
    found: dict[str, list[list[float]]] = {"HRPN": [], "least squares on blurred inputs": []}
    patients = {path.name.split(".")[0]: open_slide(path) for path in sorted(arguments.data.glob("pt*"))}
    planes = {name: _features(slide) for name, slide in patients.items()}
    lines = ["| patient | counts per pixel | share of pixels with any |", "| --- | --- | --- |"]
    for name, slide in patients.items():
        features, real, tissue = planes[name]
        lines.append(f"| {name} | {real[tissue].mean():.3f} | {(real[tissue] > 0).mean():.3f} |")
        others = [(each[:, mask], target[mask]) for other, (each, target, mask) in planes.items() if other != name]
        normal = sum(values @ values.T for values, _ in others), sum(values @ target for values, target in others)
        (store,) = (arguments.folder / "study" / "runs").glob(f"*-without-{name}/predictions/{name}.ome.zarr")
        predictions = open_slide(store).levels[0][0].compute(), np.tensordot(np.linalg.lstsq(*normal)[0], features, 1)
        assert slide.pixel_size_um is not None, "the patients have a pixel size"
        for rows, prediction in zip(found.values(), predictions, strict=True):
            rows.append(
                [
                    _blurred_r(real, prediction.astype(np.float64), tissue, um / slide.pixel_size_um[0])
                    for um in SMOOTHED_UM
                ]
            )
    lines += ["", f"| Pearson r, blurred by (SD, µm) | {' | '.join(map(str, SMOOTHED_UM))} |"]
    lines += [f"| --- |{' --- |' * len(SMOOTHED_UM)}"]
    lines += [f"| {kind} | {' | '.join(f'{r:.3f}' for r in np.mean(rows, axis=0))} |" for kind, rows in found.items()]
    return "\n".join(lines)


def _features(slide: Slide) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A constant and both inputs at some scales, the collagen, and the tissue."""
    names = list(slide.channel_names)
    nuclei, vessels, real = (
        slide.levels[0][names.index(name)].compute().astype(np.float64) for name in ("HH3", "CD31", "COLI")
    )
    assert slide.pixel_size_um is not None, "the patients have a pixel size"
    blurred = [gaussian_filter(each, um / slide.pixel_size_um[0]) for each in (nuclei, vessels) for um in SCALES_UM]
    tissue = tissue_mask(slide, names.index("HH3")).within(*(slice(0, side) for side in slide.shape))
    return np.stack([np.ones_like(real), *blurred]), real, tissue


def _blurred_r(real: np.ndarray, prediction: np.ndarray, tissue: np.ndarray, sd_px: float) -> float:
    images = (gaussian_filter(image, sd_px)[tissue] for image in (real, prediction))
    return float(np.corrcoef(*images)[0, 1])


def halves(_: Path, arguments: argparse.Namespace) -> str:
    """Fields 5 to 8 of a section to learn from (8 chooses the epoch), fields 1 to 4 for the test."""
    slides = [slide_table(arguments.data / f"fov0{i}.ome.tif", f"field {i}") for i in range(1, 9)]
    test = ", ".join(f'"field {i}"' for i in TESTED_HALF)
    top = f'title = "Half of a section"\ntest = [{test}]\nvalidate = "field 8"\nmodels = ["hrpn"]\nfolds = false'
    return "\n\n".join([top, *slides])


def kept(arguments: argparse.Namespace) -> str:
    """R² on the other half, on tissue, when its inputs have another gain or offset, and which share of it is kept."""
    (path,) = (arguments.folder / "study" / "runs").glob("hrpn*/checkpoint.safetensors")
    checkpoint = load_checkpoint(path)
    network, scaling = checkpoint.network().eval(), checkpoint.card.scaling
    found: dict[str, list[tuple[float, float]]] = {change: [] for change in CHANGES}
    for i in TESTED_HALF:
        slide = open_slide(arguments.data / f"fov0{i}.ome.tif")
        *inputs, probe = slide.levels[0].compute().astype(np.float32)
        tissue = tissue_mask(slide, 0).within(slice(0, probe.shape[0]), slice(0, probe.shape[1]))
        padding = [(0, -size % checkpoint.settings.stride) for size in probe.shape]
        for change, (gains, offset) in CHANGES.items():
            changed = np.stack(inputs) * np.reshape(gains, (2, 1, 1)) + offset * np.reshape(scaling.scales, (2, 1, 1))
            padded = np.pad(scaling.scale_inputs(changed), [(0, 0), *padding], mode="reflect")
            with torch.inference_mode():
                batch = torch.from_numpy(padded)[None].contiguous(memory_format=torch.channels_last)
                output = network(batch)[0, 0].numpy()
            predicted = scaling.unscale_output(output)[: probe.shape[0], : probe.shape[1]][tissue]
            error = ((predicted - probe[tissue]) ** 2).mean() / probe[tissue].var()
            found[change].append((float(np.corrcoef(predicted, probe[tissue])[0, 1]), float(1 - error)))
    rows = {change: np.mean(fields, axis=0) for change, fields in found.items()}
    r2 = rows["as it is"][1]
    lines = ["| inputs of the test | Pearson r | R² | R² kept |", "| --- | --- | --- | --- |"]
    lines += [f"| {change} | {row[0]:.3f} | {row[1]:.3f} | {row[1] / r2:.2f} |" for change, row in rows.items()]
    shares = [row[1] / r2 for change, row in rows.items() if change != "as it is"]
    return "\n".join([*lines, f"| mean, least | | | {np.mean(shares):.2f}, {min(shares):.2f} |"])


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


def add_training_options(parser: argparse.ArgumentParser, train: int) -> None:
    """Options of phantoms to train on, and of the trainings."""
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=1536, help="pixels along a phantom's side")
    parser.add_argument("--pixel-size", type=float, default=1.0976, help="of a phantom, in µm")
    parser.add_argument("--train", type=int, default=train, help="phantoms that are not for the test")
    parser.add_argument("--max-minutes", type=float, help="for each training")
    parser.add_argument("--settings", nargs="*", default=[], metavar="NAME=VALUE", help="that differ from the recipe's")
    parser.add_argument("--device", default="auto")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=["dextran", "merck", "mibi", "halves", "phantoms", "null"])
    add_training_options(parser, train=6)
    parser.add_argument("--data", type=Path, help="folder of the images")
    arguments = parser.parse_args()
    if arguments.study in ("dextran", "merck", "mibi", "halves") and arguments.data is None:
        parser.error(f"{arguments.study} needs --data, the folder of the images")
    arguments.preset = "null" if arguments.study == "null" else "tumour"
    arguments.folder.mkdir(parents=True, exist_ok=True)
    make = {"dextran": dextran, "merck": merck, "mibi": mibi, "halves": halves}.get(arguments.study, phantoms)
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
        if make is halves:
            print(kept(arguments))
        if make is mibi:
            print(smoothed(arguments))
    return code


if __name__ == "__main__":
    sys.exit(main())

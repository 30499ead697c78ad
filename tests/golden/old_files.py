"""Files as the package wrote them when the golden files were made, packed into one archive that is unpacked anywhere.

Weights are replaced by zeros, which pack to nothing; places of folders and times of files, by which slides are known,
are put back as they are unpacked.
"""

import json
import os
import struct
import zipfile
from pathlib import Path

import numpy as np

from golden.inputs import FILES, STAINS, phantom, write_slide

ARCHIVE = FILES / "old.zip"
TIME = 1_700_000_000
HERE = "@HERE@"
SAME_AS = b"@SAME AS@"
TUMOURS = ("T0", "T1", "T2")
QUICK = ["--branches", "1", "--patch", "64", "--batch", "2", "--steps", "2", "--precision", "fp32", "--device", "cpu"]
PREDICTION = ["--device", "cpu", "--core", "512"]
NETWORK = "network.safetensors"
"""Checkpoint of the predictions, which is made wherever it is needed: the bundled ones change with versions."""
STUDY = """title = "Three tumours"
test = ["T2"]
models = ["hrpn"]
[settings]
branches = 1
patch_px = 32
epochs = 1
steps_per_epoch = 2
batch = 2
device = "cpu"
precision = "fp32"
[ablations]
channels = ["nuclei", "nuclei,vessels"]
branches = [1]
""" + "".join(f'[[slide]]\npath = "slides/{name}.ome.tif"\n' for name in TUMOURS)
REGIONS = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[[20, 5], [300, 8], [250, 60], [20, 5]]]},
            "properties": {"objectType": "annotation", "name": "wedge", "classification": {"name": "Stroma"}},
        }
    ],
}
LEFT_OUT = (
    NETWORK,
    "patches/*",
    "*/predictions/*",
    "*.lock",
    "*.html",
    "figures/*.svg",
    "figures/*.png",
    "density.csv",
    "density.parquet",
)


def write_network(folder: Path) -> Path:
    """Write a small network with weights that are the same everywhere."""
    import torch

    from napari_hrpn.models import HRPN, Checkpoint, HRPNSettings, IntensityScaling, ModelCard, save_checkpoint

    settings = HRPNSettings(branches=1, stem_channels=8, stage1_channels=4, stage1_blocks=1, branch_channels=(6,))
    weights = HRPN(settings).state_dict()
    for name, tensor in weights.items():
        if tensor.dim() == 4:
            # fractions that have no rounding, and differ from pixel to pixel and from channel to channel
            weights[name] = ((torch.arange(tensor.numel()) * 7 % 23 - 8) / 64).float().reshape(tensor.shape)
        elif name.endswith("bias"):
            weights[name] = torch.full_like(tensor, 0.0625)
    scaling = IntensityScaling("percentile", target_scale=50)
    card = ModelCard("Golden network", target="QD", scaling=scaling, pixel_size_um=0.5)
    save_checkpoint(Checkpoint(settings, weights, card), folder / NETWORK)
    return folder / NETWORK


def write_slides(folder: Path) -> None:
    """Write three tumours, and a long one of two tiles."""
    pixels = phantom()
    for number, name in enumerate(TUMOURS):
        write_slide(pixels[:, 120 * number : 120 * number + 120, 60:260], STAINS, folder / "slides" / f"{name}.ome.tif")
    long = np.concatenate([pixels[:, rows : rows + 64, 60:380] for rows in (0, 200)], axis=2)
    write_slide(long, STAINS, folder / "slides" / "long.ome.tif")
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    (folder / "rois.geojson").write_text(json.dumps(REGIONS), encoding="utf-8")
    set_times(folder)


def commands(folder: Path) -> dict[str, list[str]]:
    """The commands that make the folders, by folder; the same commands go on with them."""
    slides = [str(folder / "slides" / f"{name}.ome.tif") for name in TUMOURS]
    long = str(folder / "slides" / "long.ome.tif")
    predicted = str(folder / "predicted" / "long.predicted.ome.zarr")
    regions = str(folder / "rois.geojson")
    prediction = ["--checkpoint", str(folder / NETWORK), *PREDICTION]
    return {
        "predicted": ["predict", long, "-o", str(folder / "predicted"), *prediction],
        "stopped": ["predict", long, "-o", str(folder / "stopped"), *prediction],
        "run": ["train", *slides, "-o", str(folder / "run"), *QUICK, "--epochs", "1"],
        "study": ["cross-validate", str(folder / "study.toml"), "-o", str(folder / "study")],
        "evaluation": ["evaluate", long, predicted, "-o", str(folder / "evaluation"), "--roi", regions],
    }


def make(folder: Path) -> None:
    """Make all the folders with the package as it is."""
    from napari_hrpn.cli import run

    write_slides(folder)
    write_network(folder)
    for name, words in commands(folder).items():
        if name == "stopped":
            _predict_one_tile(folder)
        else:
            assert run(words) == 0
            set_times(folder)


def _predict_one_tile(folder: Path) -> None:
    from napari_hrpn import open_slide
    from napari_hrpn.core import Box
    from napari_hrpn.inference import PredictionSettings, predict_slide
    from napari_hrpn.models import load_checkpoint

    output = folder / "stopped" / "long.predicted.ome.zarr"
    slide = open_slide(folder / "slides" / "long.ome.tif")
    settings = PredictionSettings(device="cpu", core=512, region=Box(0, 1, 0, 1))
    finished = [report.finished for report in predict_slide(slide, load_checkpoint(folder / NETWORK), output, settings)]
    assert finished == [1]


def set_times(folder: Path) -> None:
    """Give all files and folders one time."""
    for path in folder.rglob("*"):
        os.utime(path, (TIME, TIME))


def pack(folder: Path) -> None:
    """Put what was made into the archive."""
    ARCHIVE.parent.mkdir(exist_ok=True)
    packed: dict[bytes, str] = {}
    with zipfile.ZipFile(ARCHIVE, "w", zipfile.ZIP_LZMA) as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and not any(path.match(pattern) or _is_below(name, pattern) for pattern in LEFT_OUT):
                content = _packed(path, folder)
                first = packed.setdefault(content, name)
                stored = content if first == name else SAME_AS + first.encode()
                archive.writestr(zipfile.ZipInfo(name), stored, zipfile.ZIP_LZMA)


def _is_below(name: str, pattern: str) -> bool:
    return f"/{pattern.strip('*/')}/" in f"/{name}" and pattern.endswith("/*")


def _packed(path: Path, folder: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        return without_weights(content)
    return content.replace(str(folder).encode(), HERE.encode()) if path.suffix == ".json" else content


def without_weights(content: bytes) -> bytes:
    """A safetensors file whose floats are zeros."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    data = bytearray(content[8 + length :])
    for name, tensor in header.items():
        if name != "__metadata__" and tensor["dtype"] == "F32":
            first, end = tensor["data_offsets"]
            data[first:end] = bytes(end - first)
    return content[: 8 + length] + bytes(data)


def unpack(folder: Path) -> Path:
    """Take everything out of the archive, as if it had been made in this folder."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            if content.startswith(SAME_AS):
                content = archive.read(content.removeprefix(SAME_AS).decode())
            if name.endswith(".json"):
                content = content.replace(HERE.encode(), json.dumps(str(folder))[1:-1].encode())
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    # pages are not in the archive, and one that is missing would be made again
    (folder / "evaluation" / "evaluation.html").touch()
    write_network(folder)
    set_times(folder)
    return folder

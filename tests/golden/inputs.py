"""Slides, predictions and regions that the golden files are made of.

Everything is integers of a stored phantom, so that no rounding of a library enters, and is written without the package,
so that the same files stand before and after its code is changed.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

HERE = Path(__file__).parent
FILES = HERE / "files"
PIXEL_UM = 1.2
STAINS = ("DAPI", "CD31", "QD")
KINDS = ("uint8", "uint16", "float32")


@dataclass(frozen=True)
class Inputs:
    """Files of one slide and of its predictions."""

    real: Path
    predictions: tuple[Path, ...]
    regions: Path
    tissue: Path


def phantom() -> np.ndarray:
    """Nuclei, vessels and probe of the stored phantom, uint8 of shape (3, y, x)."""
    return tifffile.imread(FILES / "phantom.tif")


def smoothed(image: np.ndarray, radius: int) -> np.ndarray:
    """Sums over squares of 2 radius + 1 pixels, of a border that repeats the edge; exact."""
    edge = 2 * radius + 1
    sums = np.pad(image.astype(np.int64), radius + 1, mode="edge").cumsum(axis=0).cumsum(axis=1)
    return (sums[edge:, edge:] - sums[:-edge, edge:] - sums[edge:, :-edge] + sums[:-edge, :-edge])[:-1, :-1]


def real_pixels(kind: str) -> np.ndarray:
    """Stains of the slide: uint16 where the prediction is, otherwise uint8."""
    return phantom() if kind != "uint16" else phantom().astype(np.uint16) * 201 + 7


def predicted_pixels(kind: str, *, poor: bool = False) -> np.ndarray:
    """A prediction, 0.6 times the probe and 0.3 times its surroundings; a poor one is of the vessels."""
    _, vessels, probe = real_pixels(kind).astype(np.int64)
    if poor:
        return (smoothed(vessels, 4) // 162).astype(kind)
    thousandths = 600 * probe + 12 * smoothed(probe, 2) + 20 * scatter(probe.shape) * (probe.max() // 8)
    if kind == "float32":
        # eighths of a grey level are exact
        return (thousandths // 125).astype(np.float32) / 8 - 9
    return np.maximum(thousandths // 1000 + 3, 0).astype(kind)


def scatter(shape: tuple[int, int]) -> np.ndarray:
    """Whole numbers from -8 to 8 that look like noise and are the same everywhere."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    mixed = (y * 2_654_435_761 + x * 40_503 * (y + 17)) % 1_000_003
    return mixed * (mixed + 7) % 1_000_003 % 17 - 8


def write_slide(pixels: np.ndarray, names: tuple[str, ...], path: Path) -> Path:
    """Write stains (c, y, x) as an OME-TIFF with a pixel size."""
    metadata = {
        "axes": "CYX",
        "Channel": {"Name": list(names)},
        "PhysicalSizeY": PIXEL_UM,
        "PhysicalSizeX": PIXEL_UM,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, ome=True, photometric="minisblack", tile=(256, 256), metadata=metadata)
    return path


def write_inputs(folder: Path, kind: str) -> Inputs:
    """Write a slide, a good and a poor prediction of it, and the regions."""
    return Inputs(
        write_slide(real_pixels(kind), STAINS, folder / "slide.ome.tif"),
        (
            write_slide(predicted_pixels(kind)[None], ("QD",), folder / "slide good predicted.ome.tif"),
            write_slide(predicted_pixels(kind, poor=True)[None], ("QD",), folder / "slide poor predicted.ome.tif"),
        ),
        write_regions(folder / "rois.geojson", outlines()),
        write_regions(folder / "tissue.geojson", {"tissue": TISSUE}),
    )


TISSUE = [
    np.array([[45.0, 10.5], [410.5, 4.0], [400.25, 390.0], [60.75, 395.5]]),
    np.array([[100.0, 20.0], [160.0, 40.5], [120.5, 90.0]]),
]
"""Rings (x, y) of drawn tissue with a hole."""


def outlines() -> dict[str, list[np.ndarray]]:
    """Rings (x, y) of three regions: one that reaches beyond the slide, one with a hole, one that is oblique."""
    return {
        "rim": [np.array([[-40.25, 150.5], [130.5, 120.25], [160.5, 330.0], [-20.0, 380.75]])],
        "ring": [
            np.array([[200.0, 60.0], [400.0, 60.0], [400.0, 240.0], [200.0, 240.0]]),
            np.array([[260.5, 110.5], [330.25, 120.0], [300.0, 190.5]]),
        ],
        "core": [np.array([[220.3, 300.7], [380.1, 270.2], [420.9, 400.4], [300.6, 440.8], [210.2, 380.5]])],
    }


def write_regions(path: Path, regions: dict[str, list[np.ndarray]]) -> Path:
    """Write regions as QuPath does; the one named core has a class."""
    features = [
        {
            "type": "Feature",
            "id": f"00000000-0000-4000-8000-{number:012d}",
            "geometry": {"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()] for ring in rings]},
            "properties": {
                "objectType": "annotation",
                "name": name,
                **({"classification": {"name": "Tumor", "color": [200, 0, 0]}} if name == "core" else {}),
            },
        }
        for number, (name, rings) in enumerate(regions.items())
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path

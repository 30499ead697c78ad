"""Slides to be written, with their pyramid by sums and counts; OME-Zarrs as other programs write them."""

import json
from pathlib import Path

import dask.array as da
import numpy as np
import zarr

from napari_hrpn.slides import Slide, coarser_levels

NAMES = ("DAPI", "CD31", "QD655")


def some_slide(shape=(3, 900, 1101), dtype="uint16", chunk=512, pixel_size_um=(0.5, 0.325)):
    pixels = np.random.default_rng(shape[1]).integers(0, 250, shape).astype(dtype)
    finest = da.from_array(pixels, chunks=(1, chunk, chunk))
    names = NAMES[: shape[0]]
    return Slide((finest, *coarser_levels(finest)), names, pixel_size_um, Path("somewhere.tif")), pixels


def halved(level):
    """Mean of the pixels there are in each 2x2, by sums and counts."""
    starts = [range(0, size, 2) for size in level.shape[1:]]

    def sums(values):
        return np.add.reduceat(np.add.reduceat(values, starts[0], axis=1), starts[1], axis=2)

    if level.dtype.kind == "f":
        return (sums(level.astype(float)) / sums(np.ones(level.shape))).astype(level.dtype)
    total, count = sums(level.astype(np.int64)), sums(np.ones(level.shape, np.int64))
    return ((2 * total + count) // (2 * count)).astype(level.dtype)


def write_image(folder, levels, axes="cyx", version="0.5", unit="micrometer", scale=0.5, labels=("DAPI", "CD31", "QD")):
    old = version == "0.4"
    for index, level in enumerate(levels):
        array = zarr.create_array(
            store=str(folder / str(index)),
            shape=level.shape,
            dtype=level.dtype,
            chunks=tuple(min(64, n) for n in level.shape),
            zarr_format=2 if old else 3,
        )
        array[...] = level
    kinds = {"t": "time", "c": "channel"}
    datasets = [
        {
            "path": str(index),
            "coordinateTransformations": [
                {"type": "scale", "scale": [scale * 2**index if axis in "yx" else 1.0 for axis in axes]}
            ],
        }
        for index in range(len(levels))
    ]
    described = [
        {"name": axis, "type": kinds.get(axis, "space")} | ({"unit": unit} if axis in "zyx" else {}) for axis in axes
    ]
    attributes = {
        "multiscales": [{"version": version, "axes": described, "datasets": datasets, "name": "tumour"}],
        "omero": {"channels": [{"label": label} for label in labels]},
    }
    write_attributes(folder, attributes, version)


def write_attributes(folder, attributes, version="0.5"):
    folder.mkdir(parents=True, exist_ok=True)
    if version == "0.4":
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps(attributes))
    else:
        content = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": attributes | {"version": version}}}
        (folder / "zarr.json").write_text(json.dumps(content))

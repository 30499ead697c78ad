"""OME-Zarrs as other programs write them: both versions, any axes."""

import json

import zarr


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

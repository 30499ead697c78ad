"""Label images of an OME-Zarr open as Labels layers on their slide."""

import json

import numpy as np
import pytest
from napari.layers import Image, Labels

from support.ome_zarr import write_image


def test_label_images_lie_on_the_tissue(make_napari_viewer, tmp_path):
    path = tmp_path / "slide.ome.zarr"
    nuclei = np.random.default_rng(2).integers(0, 100, (91, 121)).astype(np.int32)
    write_image(path, [np.ones((3, 91, 121), np.uint16)], version="0.4", scale=0.5)
    for name, levels in (("nuclei", [nuclei, nuclei[::2, ::2]]), ("vessels", [nuclei[::2, ::2]])):
        write_image(path / "labels" / name, levels, axes="yx", version="0.4", labels=())
    (path / "labels" / ".zattrs").write_text(json.dumps({"labels": ["nuclei", "vessels"]}))
    viewer = make_napari_viewer()
    layers = viewer.open(str(path), plugin="napari-hrpn")
    assert [type(layer) for layer in layers] == [Image, Image, Image, Labels, Labels]
    assert [layer.name for layer in layers[3:]] == ["nuclei · slide", "vessels · slide"]
    assert not any(layer.visible for layer in layers[3:])
    assert np.array_equal(np.asarray(layers[3].data[0]), nuclei)
    # pixel (5, 10) of the reduced labels covers four pixels of the slide
    assert tuple(layers[3].data_to_world((10, 20))) == pytest.approx(tuple(layers[0].data_to_world((10, 20))))
    assert tuple(layers[4].data_to_world((5, 10))) == pytest.approx(tuple(layers[0].data_to_world((10.5, 20.5))))
    layers[3].visible = True
    assert layers[3].get_value((5.0, 10.0), world=True)[1] == nuclei[10, 20]

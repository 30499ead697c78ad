"""A real slide and a prediction of it in memory, and their layers."""

from pathlib import Path

import dask.array as da
import numpy as np
from scipy import ndimage

from napari_hrpn.plugin.viewer import slide_layers
from napari_hrpn.slides import Slide, coarser_levels

SHAPE = (700, 900)


def compared_slides(title="tumour", shape=SHAPE, dtype="uint8", *, noise=0.3):
    """A slide of DAPI, CD31 and QD whose left quarter is glass, and a prediction that is right but for noise."""
    random = np.random.default_rng(sum(shape) + len(title))
    image = ndimage.gaussian_filter(random.random((4, *shape)), (0, 3, 3))
    image = (image - image.min()) / np.ptp(image)
    image[:3, :, : shape[1] // 4] = 0
    predicted = (1 - noise) * image[2] + noise * image[3]
    scale = 200 if np.dtype(dtype).kind in "iu" else 1.0
    names = ("DAPI", "CD31", "QD")
    real = slide_of_pixels((scale * image[:3]).astype(dtype), f"{title}.ome.tif", names)
    return real, slide_of_pixels((scale * predicted[None]).astype(dtype), f"{title}.predicted.ome.zarr", ("QD",))


def slide_of_pixels(pixels, source, names, pixel_size_um=(0.5, 0.5)):
    finest = da.from_array(pixels, chunks=(1, 256, 256), name=False)
    return Slide((finest, *coarser_levels(finest, 256)), tuple(names), pixel_size_um, Path(source))


def show(viewer, slide, **changes):
    """Add the layers of a slide."""
    for data, attributes, _ in slide_layers(slide):
        viewer.add_image(data, **{**attributes, **changes})

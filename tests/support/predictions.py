"""Slides and checkpoints for the tile engine: random weights that reach far, odd sizes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask.array as da
import numpy as np
import torch
import zarr
from scipy import ndimage

from napari_hrpn.core import rounded_up
from napari_hrpn.models import HRPN, Checkpoint, HRPNSettings, IntensityScaling, ModelCard
from napari_hrpn.slides import Slide, coarser_levels, open_slide
from napari_hrpn.slides.metadata import multiscales_metadata


def lively_checkpoint(branches: int = 1, in_channels: int = 2, **card: object) -> Checkpoint:
    """Random weights under which every layer passes its signal on, so that errors at a seam would show."""
    torch.manual_seed(branches)
    network = HRPN(HRPNSettings(branches=branches, in_channels=in_channels))
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=(2 / parameter[0].numel()) ** 0.5)
    fields = {"scaling": IntensityScaling(offsets=(10, 10), scales=(50, 50), target_scale=20.0), "pixel_size_um": 0.5}
    return Checkpoint(network.settings, network.state_dict(), ModelCard(**{**fields, **card}))


def make_slide(
    height: int, width: int, source: Path, *, pixel_size_um: tuple[float, float] | None = (0.5, 0.5), blank: int = 0
) -> Slide:
    """Smooth spots on three channels; the first `blank` columns are empty."""
    random = np.random.default_rng(height * 10_007 + width)
    noise = random.random((3, height, width))
    image = ndimage.gaussian_filter(noise, (0, 3, 3))
    image = (image - image.min()) / np.ptp(image) * 200 + 20
    image[:, :, :blank] = 5
    finest = da.from_array(image.astype(np.uint8), chunks=(1, 512, 512), name=False)
    return Slide((finest, *coarser_levels(finest)), ("DAPI", "AF488", "QD"), pixel_size_um, source)


def save_slide(slide: Slide, path: Path) -> Slide:
    """The same slide in a file, as processes need it that open it themselves; of its finest level only."""
    group = zarr.create_group(path)
    pixels = slide.levels[0].compute()
    group.create_array("0", data=pixels, chunks=(1, 512, 512))
    group.attrs["ome"] = multiscales_metadata("slide", [pixels.shape], slide.channel_names, slide.pixel_size_um)
    return open_slide(path)


def one_shot(slide: Slide, checkpoint: Checkpoint, halo: int, mode: str = "reflect") -> np.ndarray:
    """The published network, unfolded, in one go on the padded slide."""
    stride, (height, width) = checkpoint.settings.stride, slide.shape
    bottom, right = rounded_up(height, stride) - height + halo, rounded_up(width, stride) - width + halo
    pixels = np.pad(slide.levels[0][:2].compute(), ((0, 0), (halo, bottom), (halo, right)), mode=mode)
    scaled = torch.from_numpy((pixels.astype(np.float32) - 10) / 50)[None]
    with torch.no_grad():
        output = checkpoint.network()(scaled)[0, 0].numpy() * 20
    return output[halo : halo + height, halo : halo + width]


@contextmanager
def one_thread() -> Iterator[None]:
    """The network on one thread, as in a worker: sums of another number of them may round the last bit otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

"""Sample slides (File > Open Sample > HRPN): phantoms, and real tissue that is downloaded when it is first opened.

They appear at once. Phantoms fill from the middle outwards, real tissue when it has been downloaded; its file is kept.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from napari_hrpn.core import Box
    from napari_hrpn.phantom import Phantom
    from napari_hrpn.plugin.viewer import LayerData, LiveLevels
    from napari_hrpn.slides import Slide

_NOISE_FREE = "noise-free QD"


def _sample(preset: str) -> list[LayerData]:
    """Make the layers of a phantom, and a hidden layer of its perfect prediction."""
    from napari import current_viewer

    from napari_hrpn.phantom import phantom_slide
    from napari_hrpn.plugin.viewer import grow, make_room, slide_layers, widen_slider
    from napari_hrpn.slides import contrast_limits

    phantom = phantom_slide(preset)
    finest = phantom.slide.levels[0]
    # the contrast is that of the block in the middle, which is needed first anyway
    middle = finest.blocks[:, finest.numblocks[1] // 2, finest.numblocks[2] // 2]
    limits = contrast_limits(replace(phantom.slide, levels=(middle,)))
    expected = _noise_free_slide(phantom)
    viewer = current_viewer()
    live, live_expected = None, None
    if viewer is not None:
        viewer.layers.events.inserted.connect(widen_slider)
        make_room(viewer, phantom.slide)
        live, live_expected = _live_levels(phantom.slide), _live_levels(expected)
        fill = partial(_fill, (phantom.slide, expected), (live, live_expected))
        grow(viewer, phantom.slide, (*live, *live_expected), fill)
    layers = slide_layers(phantom.slide, limits=limits, live=live)
    hidden = slide_layers(expected, limits=limits[2:], live=live_expected, visible=False)
    # without metadata, the widgets do not offer the perfect prediction as a slide
    return [*layers, *((data, attributes | {"metadata": {}}, kind) for data, attributes, kind in hidden)]


# phantoms of 256 px and 4,096 px; one with a realistically dim probe; one with saturation, cross-talk, shading and
# shifted channels; one whose probe cannot be predicted; capillaries with a probe that is still in them, and with one
# that has left; and one whose seed draws all of this
tiny, tumour, paper_like, stress, null, intravascular, extravasated, varied = (
    partial(_sample, preset)
    for preset in ("tiny", "tumour", "paper_like", "stress", "null", "intravascular", "extravasated", "varied")
)


def _noise_free_slide(phantom: Phantom) -> Slide:
    from napari_hrpn.slides import coarser_levels

    finest = phantom.noise_free_probe[None]
    levels = (finest, *coarser_levels(finest))[: len(phantom.slide.levels)]
    return replace(phantom.slide, levels=levels, channel_names=(_NOISE_FREE,))


def _live_levels(slide: Slide) -> tuple[LiveLevels, ...]:
    from napari_hrpn.plugin.viewer import LiveLevels, Plane

    height, width = slide.shape
    return tuple(
        LiveLevels([Plane(level.shape[1:], slide.dtype) for level in slide.levels], in_memory_px=max(height, width))
        for _ in slide.channel_names
    )


def _fill(
    slides: Sequence[Slide], live: Sequence[Sequence[LiveLevels]], stop: threading.Event
) -> Generator[None, None, Slide | None]:
    """Compute the slides block by block; one calculation gives all channels of a block."""
    for box in _from_the_middle(slides[0]):
        for slide, channels in zip(slides, live, strict=True):
            block = slide.levels[0][:, box.y0 : box.y1, box.x0 : box.x1].compute(scheduler="synchronous")
            for levels, pixels in zip(channels, block, strict=True):
                _put(pixels, box, levels)
        yield
        if stop.is_set():
            return None
    return _in_memory(slides[0], live[0])


def _put(pixels: np.ndarray, box: Box, levels: LiveLevels) -> None:
    from napari_hrpn.slides import halve

    top, left = box.y0, box.x0
    for level in levels.levels:
        level[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        pixels, top, left = halve(pixels), top // 2, left // 2


def _from_the_middle(slide: Slide) -> list[Box]:
    from napari_hrpn.core import TileGrid

    height, width = slide.shape
    edge = slide.levels[0].chunksize[1]
    boxes = [tile.core for tile in TileGrid(height, width, core=edge, halo=0, stride=1)]
    return sorted(boxes, key=lambda box: box.distance_to(height / 2, width / 2))


def _in_memory(slide: Slide, live: Sequence[LiveLevels]) -> Slide:
    import dask.array as da

    stacks = zip(*(levels.levels for levels in live), strict=True)
    levels = tuple(da.stack([da.from_array(array, name=False) for array in stack]) for stack in stacks)
    return replace(slide, levels=levels, stored_levels=len(levels))


_DEXTRAN = (
    "https://raw.githubusercontent.com/suryanshshukla10/Dextran_Analysis/ec4b1f8b6dbe5b072805e3bc5d08f7b3dc477d74/"
    "data/fov/001-MFD-2A1-dextran-0-endomucin_40.0x/"
)
_LIGHT_SHEET = (
    "https://raw.githubusercontent.com/Merck/3D_Tumor_Lightsheet_Analysis_Pipeline/"
    "fe0202e21e1b8f15613263d8522ffadda73b32a4/data/demo_study/source/transformed/np_and_resized/"
)
_HASHES = (
    "4b198172815aa669129df64af7f7c533bb68b4a272be9e6af9795c5d4651efdd",
    "922a893be2b087c8ac3aa9b5d45d6b418e32f24a5f1bf7408467f8a3c631d75b",
    "46c354deea622ea5f1a807bf542cc832206323531e068a66d4a0d24c318ce7aa",
    "bb64dc2370731f4ea4f33726553bb90f0c184d27509eb5f4c47a88bc44ccd3a5",
    "ae2719e8581a54eda8c4be7be59da6bec57735bcf0b140ec1ee21f4e41070e9a",
    "1b01e0bf8fce6c19258d66672d63f93286d6d73fb946dac0cd76e12c0e3ee868",
    "2bceb510fd79810b0a2ccf4e8ed974aee8dc28d86f8547c71f0ccd3310dffdc5",
    "a7fa17da87273530edb6179f434e2cedd3c3c551dc2a5be00f2bf01fc4e3505c",
)


@dataclass(frozen=True)
class _RealSlide:
    """A slide of real tissue: its files with their SHA-256, in the order of the channels, and what is in them."""

    files: tuple[tuple[str, str], ...]
    channels: tuple[str, ...]
    shape: tuple[int, int]
    dtype: str
    pixel_um: float
    limits: tuple[tuple[float, float], ...]


# The colour planes of a field are, in this order, vessels, probe and nuclei. Both sources have the MIT licence.
REAL_SLIDES = {
    f"dextran-{number}": _RealSlide(
        files=((f"{_DEXTRAN}{number:02d}.jpg", sha256),),
        channels=("DAPI", "Endomucin", "Dextran"),
        shape=(600, 1041),
        dtype="uint8",
        pixel_um=0.69,
        limits=((3, 95), (0, 90), (0, 85)),
    )
    for number, sha256 in enumerate(_HASHES, start=1)
} | {
    "light-sheet": _RealSlide(
        files=(
            (
                f"{_LIGHT_SHEET}tumor/7IV-4X_Ch2_z0708.npy",
                "1f56319ccd0030042f700a44e023b035e65885e12f7e10b23a1b74e70776ce8b",
            ),
            (
                f"{_LIGHT_SHEET}vessel/7IV-4X_Ch3_z0708.npy",
                "738d5bffeb9424e34af3b4a6dc31690ffc032fefc58db12df9e03d98d7d1f9a8",
            ),
            (
                f"{_LIGHT_SHEET}virus/7IV-4X_Ch1_z0708.npy",
                "9353724492c10145083f1f79f5f7256c0f961e7561025109fe404be947733759",
            ),
        ),
        channels=("Syto16", "CD31", "Virus"),
        shape=(757, 573),
        dtype="uint16",
        pixel_um=4.0,
        limits=((2, 540), (2, 2780), (3, 960)),
    )
}
_downloading = threading.Lock()


def _real(name: str) -> list[LayerData]:
    """Make the layers of a real slide, and fill them once its files are there."""
    from napari import current_viewer
    from napari.utils import progress

    from napari_hrpn.plugin.viewer import grow, layers_of, make_room, slide_layers
    from napari_hrpn.slides import open_slide

    sample, viewer = REAL_SLIDES[name], current_viewer()
    is_there = viewer is None or _kept(name).exists()
    slide = open_slide(_downloaded(name)) if is_there else _awaited(name)
    if viewer is not None:
        make_room(viewer, slide)
    if is_there:
        return slide_layers(slide, limits=sample.limits)

    def remove() -> None:
        """Leave no black layers behind."""
        for layer in layers_of(viewer, slide):
            viewer.layers.remove(layer)

    live = _live_levels(slide)
    # a new bar lets Qt handle events, among them the end of a download that fails at once
    bar = progress(desc=f"Downloading {name}")
    grower = grow(viewer, slide, live, partial(_fill_when_there, name, live))
    grower.failed.connect(remove)
    grower.destroyed.connect(bar.close)
    return slide_layers(slide, limits=sample.limits, live=live)


dextran_1, dextran_2, dextran_3, dextran_4, dextran_5, dextran_6, dextran_7, dextran_8, light_sheet = (
    partial(_real, name) for name in REAL_SLIDES
)


def _kept(name: str) -> Path:
    """File of a real slide on this machine."""
    from platformdirs import user_cache_path

    return user_cache_path("napari-hrpn", appauthor=False) / "samples" / f"{name}.ome.tif"


def _awaited(name: str) -> Slide:
    """A real slide whose pixels are downloaded when they are computed."""
    import dask.array as da
    from dask import delayed

    from napari_hrpn.slides import Slide, open_slide

    sample = REAL_SLIDES[name]

    def read() -> npt.NDArray[np.generic]:
        pixels: npt.NDArray[np.generic] = open_slide(_downloaded(name)).levels[0].compute(scheduler="synchronous")
        return pixels

    finest = da.from_delayed(delayed(read)(), (len(sample.channels), *sample.shape), sample.dtype)
    return Slide((finest,), sample.channels, (sample.pixel_um, sample.pixel_um), _kept(name))


def _fill_when_there(
    name: str, live: Sequence[LiveLevels], stop: threading.Event
) -> Generator[None, None, Slide | None]:
    from napari_hrpn.slides import open_slide

    yield
    slide = open_slide(_downloaded(name))
    for levels, pixels in zip(live, slide.levels[0].compute(scheduler="synchronous"), strict=True):
        levels.levels[0][:] = pixels
    return None if stop.is_set() else slide


def _downloaded(name: str) -> Path:
    """File of a real slide, after it was downloaded if it is not there yet."""
    import dask.array as da

    from napari_hrpn.core import drive
    from napari_hrpn.slides import Slide, write_ome_tiff

    sample, path = REAL_SLIDES[name], _kept(name)
    # a widget may ask for the pixels while the layer is being filled
    with _downloading:
        if not path.exists():
            pixels = da.from_array(_original(sample, path.parent), name=False)
            slide = Slide((pixels,), sample.channels, (sample.pixel_um, sample.pixel_um), path.with_suffix(""))
            drive(write_ome_tiff(slide, path))
    return path


def _original(sample: _RealSlide, folder: Path) -> npt.NDArray[np.generic]:
    """Pixels of shape (c, y, x) from the files of a sample, which are downloaded and checked."""
    import numpy as np
    from PIL import Image

    from napari_hrpn.slides import SlideError

    try:
        import pooch
        from requests import HTTPError, RequestException
    except ImportError as error:
        raise SlideError(
            'Real samples are downloaded by pooch, which is not installed: run `pip install "napari-hrpn[all]"`.'
        ) from error
    pooch.get_logger().setLevel("WARNING")
    try:
        files = [pooch.retrieve(url, f"sha256:{sha256}", path=folder / "originals") for url, sha256 in sample.files]
    except (RequestException, ValueError) as error:
        reasons = {HTTPError: "the server has no such file", ValueError: "its content has changed"}
        raise SlideError(
            f"{sample.files[0][0]} cannot be downloaded ({reasons.get(type(error), 'the server does not answer')}): "
            "try again with a connection to the internet, or open a phantom, which needs none."
        ) from error
    if len(files) == 1:
        return np.moveaxis(np.asarray(Image.open(files[0])), 2, 0)[[2, 0, 1]]
    return np.stack([np.load(file, allow_pickle=False) for file in files])

"""Labels layers of the label images that are stored with a slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_hrpn.plugin.viewer.open_slides import layer_name
from napari_hrpn.plugin.viewer.slides_as_layers import level_data, scaled
from napari_hrpn.slides import label_images

if TYPE_CHECKING:
    from napari_hrpn.plugin.viewer.slides_as_layers import LayerData
    from napari_hrpn.slides import Slide


def label_layers(slide: Slide, title: str) -> list[LayerData]:
    """Convert the label images of a slide to layers on it, which are hidden at first."""
    layers: list[LayerData] = []
    pixel = slide.pixel_size_um or (1.0, 1.0)
    for image in label_images(slide):
        factors = [_reduction(*sides) for sides in zip(slide.shape, image.shape, strict=True)]
        data = level_data([level[0] for level in image.levels])
        about = {
            "name": layer_name(image.source.name, title),
            **scaled(slide, factors),
            # napari places the centre of the first pixel
            "translate": tuple((factor - 1) / 2 * side for factor, side in zip(factors, pixel, strict=True)),
            "visible": False,
        }
        layers.append((data.pop("data"), {**data, **about}, "labels"))
    return layers


def _reduction(whole: int, reduced: int) -> float:
    """Pixels of the slide in a pixel of a label image of all of it; the last one may have fewer."""
    rounded = round(whole / reduced)
    return rounded if -(-whole // max(1, rounded)) == reduced else whole / reduced

"""Lazy layer of predicted minus real pixels, on all levels that both have."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hrpn.plugin.viewer.coordinates import pixel_shape, placement
from napari_hrpn.plugin.viewer.slide_metadata import KEY, finished_part, prediction_facts

if TYPE_CHECKING:
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_hrpn.slides import RegionMask

_COLORMAP = ((0.75, 0.9, 1.0), (0.1, 0.45, 1.0), (0.0, 0.0, 0.0), (1.0, 0.5, 0.0), (1.0, 0.95, 0.7))
"""Blue where the real probe is brighter, black where both are equal, orange where the prediction is."""


class Difference:
    """Predicted minus real pixels of one level, as an array that is computed where it is sliced."""

    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(
        self,
        real: Any,  # noqa: ANN401
        predicted: Any,  # noqa: ANN401
        finished: RegionMask | None = None,
        downsample: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        self._real, self._predicted, self._finished, self._downsample = real, predicted, finished, downsample
        self.shape: tuple[int, int] = (int(real.shape[0]), int(real.shape[1]))
        self.size = math.prod(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: ANN401
        return np.array(self[:, :], dtype=dtype, copy=copy)

    def __getitem__(self, key: Any) -> NDArray[np.float32]:  # noqa: ANN401
        key = key if isinstance(key, tuple) else (key, slice(None))
        difference: NDArray[np.float32] = np.asarray(self._predicted[key], np.float32) - np.asarray(
            self._real[key], np.float32
        )
        if self._finished is not None and not self._finished.mask.all():
            difference[~self._is_finished(key).reshape(difference.shape)] = np.nan
        return difference

    def _is_finished(self, key: Any) -> NDArray[np.bool_]:  # noqa: ANN401
        assert self._finished is not None
        mask = self._finished.mask
        rows, columns = (
            # the middle of a pixel tells where it is
            np.atleast_1d(np.minimum((np.arange(size)[part] + 0.5) * own // square, cells - 1).astype(np.intp))
            for size, part, own, square, cells in zip(
                self.shape, key, self._downsample, self._finished.downsample, mask.shape, strict=True
            )
        )
        return np.asarray(mask[np.ix_(rows, columns)])


def difference_layer(real: Image, predicted: Image) -> dict[str, Any]:
    """What to add to a viewer to show predicted minus real."""
    from napari.utils import Colormap

    of_real = {level.shape: level for level in _levels(real)}
    finished, (height, width) = finished_part(predicted), pixel_shape(predicted)
    levels = [
        Difference(of_real[level.shape], level, finished, (height / level.shape[0], width / level.shape[1]))
        for level in _levels(predicted)
        if level.shape in of_real
    ]
    reach = max(abs(float(limit)) for limit in real.contrast_limits)
    return {
        "data": levels if len(levels) > 1 else levels[0],
        "multiscale": len(levels) > 1,
        "cache": False,
        **placement(real),
        "name": f"{predicted.name} − {real.name}",
        "rgb": False,
        "colormap": Colormap(_COLORMAP, name="predicted minus real"),
        "contrast_limits": (-reach, reach),
        "blending": "translucent",
        "metadata": {KEY: {"prediction": {**prediction_facts(predicted), "helper": "difference"}}},
    }


def _levels(layer: Image) -> list[Any]:
    return list(layer.data) if layer.multiscale else [layer.data]

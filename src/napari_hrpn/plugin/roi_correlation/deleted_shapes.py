"""Shapes that were deleted last, to be brought back: napari has no undo for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari
    import pandas as pd
    from napari.layers import Shapes
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class DeletedShapes:
    """Shapes with their names and colours."""

    layer: Shapes
    vertices: tuple[NDArray[Any], ...]  # Of each; none where the layer itself was deleted
    kinds: tuple[str, ...]
    look: dict[str, Any]  # Widths and colours of each, as `Shapes.add` takes them
    features: pd.DataFrame  # A row of each

    @classmethod
    def of(cls, layer: Shapes, indices: Sequence[int]) -> DeletedShapes:
        """What a layer holds under some numbers."""
        kept = sorted(int(index) for index in indices)
        look = {
            "edge_width": [layer.edge_width[index] for index in kept],
            "edge_color": np.array(layer.edge_color[kept]),
            "face_color": np.array(layer.face_color[kept]),
        }
        return cls(
            layer,
            tuple(np.array(layer.data[index]) for index in kept),
            tuple(layer.shape_type[index] for index in kept),
            look,
            layer.features.iloc[kept].copy(),
        )

    @property
    def count(self) -> int:
        """How many shapes come back."""
        return len(self.vertices) or len(self.layer.data)

    def bring_back(self, viewer: napari.Viewer) -> None:
        """Add them to their layer again, behind those that are there; a layer that was deleted comes back itself."""
        layer = self.layer
        if layer not in viewer.layers:
            viewer.add_layer(layer)
        if not self.vertices:
            return
        layer.add(list(self.vertices), shape_type=list(self.kinds), **self.look)
        features = layer.features.copy()
        first = len(features) - len(self.vertices)
        for column in self.features.columns:
            if column in features.columns:
                features.iloc[first:, features.columns.get_loc(column)] = self.features[column].to_numpy()
        layer.features = features
